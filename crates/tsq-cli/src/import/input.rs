//! Opening files to import: compression, and which format it is.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use tsq_ingest::{Format, Input};

use crate::failure::{Failure, Result};

/// A file that is ready to be read.
pub(super) struct Source {
    /// For messages.
    pub name: String,
    /// Bytes as they lie on disk; 0 where that is not known.
    pub len: u64,
    /// Bytes read of them so far.
    pub consumed: Arc<AtomicU64>,
    pub format: &'static Format,
    pub input: Input,
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

const BUFFER_LEN: usize = 256 << 10;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Opens a file, or standard input for `-`. `format` is the one the user named.
pub(super) fn open(path: &Path, format: Option<&str>) -> Result<Source> {
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let cannot = |error: io::Error| Failure::failed(format!("cannot read {name}: {error}"));
    let consumed = Arc::new(AtomicU64::new(0));
    let (raw, len, ending): (Box<dyn Read>, u64, Vec<u8>) = if path == Path::new("-") {
        (Box::new(io::stdin()), 0, Vec::new())
    } else {
        let mut file = File::open(path).map_err(cannot)?;
        let len = file.metadata().map_err(cannot)?.len();
        let ending = last_bytes(&mut file, len).map_err(cannot)?;
        (Box::new(file), len, ending)
    };
    let counted = Counted { inner: raw, count: consumed.clone() };
    let mut input: Input = Box::new(BufReader::with_capacity(BUFFER_LEN, counted));
    let named = format.and_then(Format::by_name);
    let by_path = Format::by_path(&without_compression(path)).or_else(|| Format::by_path(path));
    // This format is compressed by itself.
    let tsr = Format::by_name("tsr").expect("it is in the list");
    let wanted = named.or(by_path);
    let compressed = input.fill_buf().map_err(cannot)?.to_vec();
    if compressed.starts_with(GZIP_MAGIC) {
        input = Box::new(BufReader::with_capacity(BUFFER_LEN, MultiGzDecoder::new(input)));
    } else if compressed.starts_with(ZSTD_MAGIC) {
        if wanted.is_some_and(|format| std::ptr::eq(format, tsr)) || wanted.is_none() && holds_tsr(&compressed) {
            return Ok(Source { name, len, consumed, format: tsr, input });
        }
        let decoder = zstd::Decoder::with_buffer(input).map_err(cannot)?;
        input = Box::new(BufReader::with_capacity(BUFFER_LEN, decoder));
    }
    let start = input.fill_buf().map_err(cannot)?;
    let format = recognise(named, by_path, start, &ending).ok_or_else(|| {
        let names: Vec<_> = tsq_ingest::FORMATS.iter().map(|format| format.name).collect();
        Failure::usage(format!("cannot tell what {name} is: name it with --format, one of {}", names.join(", ")))
    })?;
    Ok(Source { name, len, consumed, format, input })
}

/// The last bytes of a file, where OpenMetrics says that it ends. Pipes have none that can be known before.
fn last_bytes(file: &mut File, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if len > 0 && file.seek(SeekFrom::End(-i64::try_from(len.min(8)).expect("at most 8"))).is_ok() {
        file.take(8).read_to_end(&mut bytes)?;
        file.seek(SeekFrom::Start(0))?;
    }
    Ok(bytes)
}

/// The name without `.gz` or `.zst`.
fn without_compression(path: &Path) -> PathBuf {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz" | "zst") => path.with_extension(""),
        _ => path.to_path_buf(),
    }
}

/// Whether compressed bytes begin as a TSR container does.
fn holds_tsr(compressed: &[u8]) -> bool {
    let mut start = [0; 8];
    let decoder = zstd::Decoder::with_buffer(compressed);
    decoder.and_then(|mut decoder| decoder.read_exact(&mut start)).is_ok() && start == *b"TSQREAL1"
}

/// The format that the user named, else by the file's name, else by its content. Of the two text formats the end
/// decides, whatever the name: their times differ by a factor of a thousand.
fn recognise(
    named: Option<&'static Format>,
    by_path: Option<&'static Format>,
    start: &[u8],
    ending: &[u8],
) -> Option<&'static Format> {
    if named.is_some() {
        return named;
    }
    let openmetrics = ending.trim_ascii_end().ends_with(b"# EOF");
    match by_path {
        Some(format) if format.name == "prometheus" && openmetrics => Format::by_name("openmetrics"),
        Some(format) => Some(format),
        None if openmetrics => Format::by_name("openmetrics"),
        None => by_content(start),
    }
}

/// JSON objects begin with a brace; CSV with a header that has a column `value` or a known time column.
fn by_content(start: &[u8]) -> Option<&'static Format> {
    let text = String::from_utf8_lossy(start);
    let first = text.lines().find(|line| !line.trim().is_empty())?.trim();
    if first.starts_with('{') && first[1..].trim_start().starts_with('"') && first.contains("\":") {
        return Format::by_name("jsonl");
    }
    let mut columns = first.split([',', ';', '\t']).map(|name| name.trim().trim_matches('"'));
    let known = ["value", "time", "timestamp", "timestamp_ms", "time_ms", "ts", "ts_ms", "date", "datetime"];
    if first.contains([',', ';', '\t']) && columns.any(|name| known.contains(&name.to_ascii_lowercase().as_str())) {
        return Format::by_name("csv");
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn format_of(name: &str, content: &[u8]) -> Option<&'static str> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        open(&path, None).ok().map(|source| source.format.name)
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn formats_are_recognised() {
        let json = br#"{"metric":{"__name__":"up"},"values":[1],"timestamps":[1]}"#;
        let zstd = |content: &[u8]| zstd::encode_all(content, 1).unwrap();
        for (name, content, want) in [
            ("a.csv", b"time,value\n".to_vec(), Some("csv")),
            ("a.txt", b"up 1 1000\n".to_vec(), Some("prometheus")),
            // A dump of another tool: its seconds must not be read as milliseconds.
            ("a.txt", b"up 1 1000\n# EOF\n".to_vec(), Some("openmetrics")),
            ("a", b"up 1 1000\n# EOF".to_vec(), Some("openmetrics")),
            ("a", json.to_vec(), Some("jsonl")),
            ("a", b"run,Time,value\n1,2,3".to_vec(), Some("csv")),
            ("a", b"{\"up\", job=\"x\"} 1 1000\n".to_vec(), None),
            ("a", b"hello\n".to_vec(), None),
            ("a", b"".to_vec(), None),
            ("a.jsonl.gz", gzip(json), Some("jsonl")),
            ("a", gzip(json), Some("jsonl")),
            ("a.prom.zst", zstd(b"up 1 1000\n"), Some("prometheus")),
            ("a", zstd(b"TSQREAL1"), Some("tsr")),
            ("a.tsr.zst", zstd(b"TSQREAL1"), Some("tsr")),
            ("a.tsr", zstd(b"TSQREAL1"), Some("tsr")),
        ] {
            assert_eq!(format_of(name, &content), want, "{name} {}", String::from_utf8_lossy(&content));
        }
    }

    #[test]
    fn compressed_content_arrives_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.prom.gz");
        let twice = [gzip(b"up 1 1000\n"), gzip(b"up 2 2000\n")].concat();
        std::fs::write(&path, &twice).unwrap();
        let mut source = open(&path, None).unwrap();
        let mut text = String::new();
        source.input.read_to_string(&mut text).unwrap();
        assert_eq!(text, "up 1 1000\nup 2 2000\n");
        assert_eq!(source.consumed.load(Ordering::Relaxed), twice.len() as u64);
        assert_eq!(source.len, twice.len() as u64);
    }
}
