//! MLflow's file store, `mlruns/`.
//!
//! ```text
//! <experiment id>/meta.yaml                       name, lifecycle_stage
//! <experiment id>/<run id>/meta.yaml              run_name, status (a number), start_time, end_time, lifecycle_stage
//! <experiment id>/<run id>/metrics/<key>          lines "timestamp value step"; the key is a path
//! <experiment id>/<run id>/params/<key>, tags/<key>   the value
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use yaml_rust2::{Yaml, YamlLoader};

use super::Damages;
use super::event::{At, Queue, RunEvent, RunHeader, RunReader, RunStatus};
use crate::error::{ImportError, ParseError};

/// Largest `meta.yaml`, parameter or tag that is read.
const TEXT_MAX: u64 = 4 << 20;
/// Folders inside one another that the key of a metric may name.
const DEPTH_MAX: usize = 64;

/// Reads the runs below a folder that is an `mlruns` store, one of its experiments, or one of their runs.
#[derive(Debug)]
pub struct MlrunsReader {
    /// Runs to come, the next one last, with the names of their experiments.
    runs: Vec<(PathBuf, String)>,
    deleted: bool,
    skipped: u64,
    queue: Queue,
    /// Metric files of the present run to come, the next one last.
    metrics: Vec<(String, PathBuf)>,
    end: Option<RunEvent>,
    offset: u64,
    damages: Damages,
}

impl MlrunsReader {
    /// Whether a folder is a store, an experiment or a run of this format.
    pub fn is_one(dir: &Path) -> bool {
        !runs_below(dir).is_ok_and(|runs| runs.is_empty())
    }

    /// Finds the runs. `deleted` says whether those that were deleted are given too.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn open(dir: &Path, deleted: bool) -> Result<Self, ImportError> {
        let mut runs = runs_below(dir)?;
        runs.reverse();
        Ok(Self {
            runs,
            deleted,
            skipped: 0,
            queue: Queue::default(),
            metrics: Vec::new(),
            end: None,
            offset: 0,
            damages: Damages::default(),
        })
    }

    /// Deleted runs that were left out.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn run(&mut self, dir: &Path, experiment: String) -> Result<(), ImportError> {
        let meta = Meta::read(&dir.join("meta.yaml"))?;
        if meta.text("lifecycle_stage") == "deleted" && !self.deleted {
            self.skipped += 1;
            return Ok(());
        }
        let folder = || dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let run_id = Some(meta.text("run_id")).filter(|id| !id.is_empty()).unwrap_or_else(folder);
        self.queue.push(RunEvent::Run(Box::new(RunHeader {
            source: "mlflow",
            experiment,
            run_id,
            run_name: meta.text("run_name"),
            user: meta.text("user_id"),
            start_time_ms: meta.integer("start_time"),
        })));
        for (key, file) in files_below(&dir.join("params"))? {
            let value = self.text(&file)?;
            self.queue.push(RunEvent::Param { key, value });
        }
        for (key, file) in files_below(&dir.join("tags"))? {
            let value = self.text(&file)?;
            self.queue.push(RunEvent::Tag { key, value });
        }
        self.metrics = files_below(&dir.join("metrics"))?;
        self.metrics.reverse();
        let status = match meta.integer("status") {
            Some(2) => RunStatus::Scheduled,
            Some(3) => RunStatus::Finished,
            Some(4) => RunStatus::Failed,
            Some(5) => RunStatus::Killed,
            _ => RunStatus::Running,
        };
        self.end = Some(RunEvent::End { status, time_ms: meta.integer("end_time") }).filter(|_| status.is_end());
        Ok(())
    }

    fn text(&mut self, file: &Path) -> Result<String, ImportError> {
        let bytes = read(file)?;
        self.offset += bytes.len() as u64;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The points of a metric. A line that is none is left out: a writer that was killed leaves half of one.
    fn points(&mut self, key: &str, file: &Path) -> Result<(), ImportError> {
        let bytes = fs::read(file).map_err(|error| named(file, &error))?;
        let mut at = 0;
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let text = String::from_utf8_lossy(line);
            match point(text.trim_ascii()) {
                Some((at, value)) => self.queue.push(RunEvent::Point { key: key.to_owned(), at, value }),
                None if text.trim_ascii().is_empty() => {}
                None => {
                    let text: String = text.trim_ascii().chars().take(80).collect();
                    let message = format!("{}: expected \"timestamp value step\", found {text:?}", file.display());
                    self.damages.add(at, message);
                }
            }
            at += line.len() as u64;
        }
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

/// A line of a metric. Old stores have no steps.
fn point(line: &str) -> Option<(At, f64)> {
    let mut fields = line.split_ascii_whitespace();
    let time_ms = fields.next()?.parse().ok()?;
    let value = fields.next()?.parse().ok()?;
    let step = fields.next().map_or(Ok(0), str::parse).ok()?;
    fields.next().is_none().then_some((At { time_ms, step }, value))
}

impl RunReader for MlrunsReader {
    fn next_event(&mut self) -> Result<Option<RunEvent>, ImportError> {
        loop {
            if let Some(event) = self.queue.next() {
                return Ok(Some(event));
            }
            if let Some((key, file)) = self.metrics.pop() {
                self.points(&key, &file)?;
            } else if let Some(end) = self.end.take() {
                return Ok(Some(end));
            } else if let Some((dir, experiment)) = self.runs.pop() {
                self.run(&dir, experiment)?;
            } else {
                return Ok(None);
            }
        }
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    fn damages(&self) -> &Damages {
        &self.damages
    }
}

/// The flat map of a `meta.yaml`.
struct Meta(Yaml);

impl Meta {
    fn read(file: &Path) -> Result<Self, ImportError> {
        let bytes = read(file)?;
        let text = String::from_utf8_lossy(&bytes);
        let documents = YamlLoader::load_from_str(&text).map_err(|error| {
            let marker = error.marker();
            let message = format!("{}: {}", file.display(), error.info());
            ImportError::Parse(ParseError::new(marker.line() as u64, marker.col() as u64 + 1, message))
        })?;
        Ok(Self(documents.into_iter().next().unwrap_or(Yaml::Null)))
    }

    fn text(&self, key: &str) -> String {
        match &self.0[key] {
            Yaml::String(text) | Yaml::Real(text) => text.clone(),
            Yaml::Integer(value) => value.to_string(),
            Yaml::Boolean(value) => value.to_string(),
            _ => String::new(),
        }
    }

    fn integer(&self, key: &str) -> Option<i64> {
        match &self.0[key] {
            Yaml::Integer(value) => Some(*value),
            Yaml::String(text) => text.parse().ok(),
            _ => None,
        }
    }
}

fn named(file: &Path, error: &io::Error) -> ImportError {
    ImportError::Io(io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}

fn read(file: &Path) -> Result<Vec<u8>, ImportError> {
    let len = fs::metadata(file).map_err(|error| named(file, &error))?.len();
    if len > TEXT_MAX {
        let message = format!("{}: {len} bytes, of which at most {TEXT_MAX} are read", file.display());
        return Err(ImportError::Options(message));
    }
    fs::read(file).map_err(|error| named(file, &error))
}

/// Names of a folder's folders or files in order. No folder has none.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(named(dir, &error)),
    };
    let mut paths =
        entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(|e| named(dir, &e))?;
    paths.sort();
    Ok(paths)
}

/// The files below a folder by their paths in it, which are keys.
fn files_below(dir: &Path) -> Result<Vec<(String, PathBuf)>, ImportError> {
    fn walk(dir: &Path, prefix: &str, depth: usize, out: &mut Vec<(String, PathBuf)>) -> Result<(), ImportError> {
        for path in entries(dir)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let key = if prefix.is_empty() { name.into_owned() } else { format!("{prefix}/{name}") };
            // Links are not followed: they may lead in circles.
            let kind = fs::symlink_metadata(&path).map_err(|error| named(&path, &error))?.file_type();
            if kind.is_dir() && depth < DEPTH_MAX {
                walk(&path, &key, depth + 1, out)?;
            } else if kind.is_file() {
                out.push((key, path));
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    walk(dir, "", 0, &mut files)?;
    Ok(files)
}

/// The runs of a store, an experiment or a run, with the names of their experiments.
fn runs_below(dir: &Path) -> Result<Vec<(PathBuf, String)>, ImportError> {
    let is_run = |dir: &Path| {
        dir.join("meta.yaml").is_file() && ["metrics", "params", "tags"].iter().any(|name| dir.join(name).is_dir())
    };
    let experiment = |dir: &Path| -> Result<String, ImportError> {
        let file = dir.join("meta.yaml");
        if !file.is_file() {
            return Ok(String::new());
        }
        Ok(Meta::read(&file)?.text("name"))
    };
    if is_run(dir) {
        let name = dir.parent().map_or(Ok(String::new()), experiment)?;
        return Ok(vec![(dir.to_owned(), name)]);
    }
    let mut experiments = vec![dir.to_owned()];
    if !dir.join("meta.yaml").is_file() {
        experiments = entries(dir)?;
    }
    let mut runs = Vec::new();
    for dir in experiments.iter().filter(|dir| dir.join("meta.yaml").is_file()) {
        let name = experiment(dir)?;
        runs.extend(entries(dir)?.into_iter().filter(|dir| is_run(dir)).map(|dir| (dir, name.clone())));
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("0/meta.yaml", "name: Default\n");
        write("17/meta.yaml", "name: 'exp: ä'\nlifecycle_stage: active\n");
        for (run, stage) in [("aa", "active"), ("bb", "deleted")] {
            let meta = format!(
                "run_id: {run}\nrun_name: \"n\\xE4me\"\nstatus: 4\nstart_time: 5\nend_time: 9\nlifecycle_stage: {stage}\nuser_id: me\n"
            );
            write(&format!("17/{run}/meta.yaml"), &meta);
            write(&format!("17/{run}/metrics/train/loss"), "1 0.5 0\n2 nan -1\n3 inf\nhalf a\n4 -0.0 7");
            write(&format!("17/{run}/params/lr"), "0.1");
            write(&format!("17/{run}/tags/note"), "two\nlines");
        }
        dir
    }

    fn read_all(reader: &mut MlrunsReader) -> Vec<RunEvent> {
        std::iter::from_fn(|| reader.next_event().unwrap()).collect()
    }

    #[test]
    fn a_store_is_read_and_deleted_runs_are_left_out() {
        let dir = store();
        let mut reader = MlrunsReader::open(dir.path(), false).unwrap();
        let events = read_all(&mut reader);
        let RunEvent::Run(run) = &events[0] else { panic!("{events:?}") };
        assert_eq!((&*run.experiment, &*run.run_id, &*run.run_name), ("exp: ä", "aa", "näme"));
        assert_eq!(events[1], RunEvent::Param { key: "lr".into(), value: "0.1".into() });
        assert_eq!(events[2], RunEvent::Tag { key: "note".into(), value: "two\nlines".into() });
        let points: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                RunEvent::Point { key, at, value } => Some((&**key, at.time_ms, at.step, value.to_bits())),
                _ => None,
            })
            .collect();
        let want = [(1, 0, 0.5), (2, -1, f64::NAN), (3, 0, f64::INFINITY), (4, 7, -0.0)];
        assert_eq!(points, want.map(|(time, step, value): (_, _, f64)| ("train/loss", time, step, value.to_bits())));
        assert_eq!(events[7], RunEvent::End { status: RunStatus::Failed, time_ms: Some(9) });
        assert_eq!((events.len(), reader.skipped(), reader.damages().count()), (8, 1, 1));
        assert!(reader.damages().first()[0].message.contains("half a"));
        assert_eq!(read_all(&mut MlrunsReader::open(dir.path(), true).unwrap()).len(), 16);
    }

    #[test]
    fn parts_of_a_store_are_recognised() {
        let dir = store();
        assert!(MlrunsReader::is_one(dir.path()) && MlrunsReader::is_one(&dir.path().join("17")));
        assert!(!MlrunsReader::is_one(&dir.path().join("0")) && !MlrunsReader::is_one(&dir.path().join("none")));
        let one = read_all(&mut MlrunsReader::open(&dir.path().join("17/aa"), false).unwrap());
        assert!(matches!(&one[0], RunEvent::Run(run) if run.experiment == "exp: ä"));
        assert_eq!(one.len(), 8);
    }

    #[test]
    fn broken_yaml_is_named() {
        let dir = store();
        fs::write(dir.path().join("17/aa/meta.yaml"), "run_id: [1\n").unwrap();
        let mut reader = MlrunsReader::open(dir.path(), false).unwrap();
        let message = reader.next_event().unwrap_err().to_string();
        assert!(message.contains("meta.yaml"), "{message}");
    }
}
