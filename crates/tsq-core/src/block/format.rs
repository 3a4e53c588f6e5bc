//! Header, footer and tail of a block file.
//!
//! ~~~text
//! header  offset  size  field
//!              0     8  magic        b"TSQBLOCK"
//!              8     2  version      u16, = 1
//!             10     2  length       u16, = 64
//!             12     4  page size    u32, = 65,536
//!             16    16  database id  u128
//!             32     8  block id     u64
//!             40     1  level        u8
//!             41    19  reserved     zero
//!             60     4  crc          CRC32 of bytes 0 to 59
//!
//! footer       0     2  version      u16, = 1
//!              2     1  level        u8
//!              3     1  reserved     zero
//!              4     4  sections     u32, number of them
//!              8    16  database id  u128
//!             24     8  block id     u64
//!             32     8  min time     i64 ms; with no sample i64::MAX
//!             40     8  max time     i64 ms; with no sample i64::MIN
//!             48     8  min LSN      u64
//!             56     8  max LSN      u64
//!             64     8  series       u64
//!             72     8  chunks       u64
//!             80     8  samples      u64
//!             88     8  file length  u64
//!             96     8  pages end    u64, where the page CRC table begins
//!            104     4  table crc    CRC32 of the page CRC table
//!            108     4  replaces     u32, number of replaced blocks
//!            112    24  each section: id u16, version u16, flags u32, offset u64, length u64
//!              *     8  each replaced block: id u64
//!
//! tail         0     4  length of the footer, u32
//!              4     4  CRC32 of the footer
//!              8     8  magic        b"TSQBTAIL"
//! ~~~

use crate::codec::varint::Cursor;
use crate::error::{Error, ErrorKind, Result};
use crate::sample::TimeRange;

const MAGIC: [u8; 8] = *b"TSQBLOCK";
pub(super) const TAIL_MAGIC: [u8; 8] = *b"TSQBTAIL";
const VERSION: u16 = 1;
/// Version of a section; of columns and chunk index in a block with start times; of a chunk index with payloads that
/// several series share.
const SECTION_VERSION: u16 = 1;
const SECTION_VERSION_STARTS: u16 = 2;
const SECTION_VERSION_SHARED: u16 = 3;
/// Flag of a section: a reader that does not know it may ignore it.
const OPTIONAL: u32 = 1;

pub(super) const HEADER_LEN: usize = 64;
pub(super) const TAIL_LEN: usize = 16;
const FOOTER_FIXED_LEN: usize = 112;
const SECTION_LEN: usize = 24;
/// A footer beyond this length is damage.
const FOOTER_LEN_MAX: usize = 1 << 20;
/// Most blocks that one may replace; keeps the footer below its bound.
pub(super) const REPLACES_MAX: usize = 100_000;

/// Pages of the file, each with its own CRC.
pub(super) const PAGE_LEN: usize = 1 << 16;

const _: () = assert!(FOOTER_FIXED_LEN + 64 * SECTION_LEN + 8 * REPLACES_MAX <= FOOTER_LEN_MAX);

/// Identity of a block within its database; never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(pub u64);

impl BlockId {
    /// Name of the block's file.
    pub fn file_name(self) -> String {
        format!("{:016x}.tsqb", self.0)
    }

    /// The block whose file has this name.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".tsqb").filter(|digits| digits.len() == 16)?;
        let id = Self(u64::from_str_radix(digits, 16).ok()?);
        (id.file_name() == name).then_some(id)
    }
}

/// What is known about a block before its content.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockSpec {
    /// The database it belongs to; also the seed of its page CRCs.
    pub db_id: u128,
    /// Its identity.
    pub id: BlockId,
    /// 0 for a flush of the head, higher after compaction.
    pub level: u8,
    /// First log position whose samples it may hold.
    pub lsn_min: u64,
    /// Last log position whose samples it may hold.
    pub lsn_max: u64,
    /// Blocks whose content it takes over.
    pub replaces: Vec<BlockId>,
}

/// Identity, ranges and counts of a finished block; all of it stands in its footer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockMeta {
    /// Identity.
    pub id: BlockId,
    /// 0 for a flush of the head, higher after compaction.
    pub level: u8,
    /// Time of the oldest sample; `i64::MAX` when there is none.
    pub min_ms: i64,
    /// Time of the newest sample; `i64::MIN` when there is none.
    pub max_ms: i64,
    /// First log position whose samples it may hold.
    pub lsn_min: u64,
    /// Last log position whose samples it may hold.
    pub lsn_max: u64,
    /// Number of label sets.
    pub series: u64,
    /// Number of chunks.
    pub chunks: u64,
    /// Number of samples.
    pub samples: u64,
    /// Length of the file.
    pub file_bytes: u64,
    /// CRC32 of the footer: with the page CRCs it identifies the content.
    pub footer_crc: u32,
    /// Blocks whose content it took over.
    pub replaces: Vec<BlockId>,
}

impl BlockMeta {
    /// Times of its samples; overlaps nothing when there is none.
    pub fn time_range(&self) -> TimeRange {
        TimeRange::new(self.min_ms, self.max_ms)
    }
}

/// A part of the file. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum SectionId {
    /// Encoded columns of chunks.
    Chunks = 1,
    /// Where the time and step columns lie.
    Columns = 2,
    /// Where the chunks of each series lie.
    ChunkIndex = 3,
    /// Reserved for aggregates of each chunk.
    #[expect(dead_code, reason = "this version writes none")]
    Aggregates = 4,
    /// Label sets and numbers of chunks.
    Series = 5,
    /// Label names.
    Names = 6,
    /// Label values of each name.
    Values = 7,
    /// Series of each label value.
    Postings = 8,
    /// Type, unit and help of metrics.
    Metadata = 9,
    /// Exemplars.
    Exemplars = 10,
}

impl SectionId {
    /// All sections that this version writes and reads, with their names in reports.
    pub(super) const KNOWN: [(Self, &'static str); 9] = [
        (Self::Chunks, "chunks"),
        (Self::Columns, "columns"),
        (Self::ChunkIndex, "chunk index"),
        (Self::Series, "series"),
        (Self::Names, "label names"),
        (Self::Values, "label values"),
        (Self::Postings, "postings"),
        (Self::Metadata, "metadata"),
        (Self::Exemplars, "exemplars"),
    ];

    /// Its version in a block with these features.
    fn version(self, features: Features) -> u16 {
        match self {
            Self::ChunkIndex if features.shared => SECTION_VERSION_SHARED,
            Self::Columns | Self::ChunkIndex if features.starts => SECTION_VERSION_STARTS,
            _ => SECTION_VERSION,
        }
    }

    /// What a block may have in which it has this version; `None` for an unknown version.
    fn features(self, version: u16) -> Option<Features> {
        let shared = version == SECTION_VERSION_SHARED;
        let features = Features { starts: version == SECTION_VERSION_STARTS, shared };
        (self.version(features) == version).then_some(features)
    }
}

/// What some blocks have and others do not: the versions of their sections say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Features {
    /// Chunks with start times.
    pub(super) starts: bool,
    /// Payloads that several series share.
    pub(super) shared: bool,
}

/// Place of a section in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    pub offset: u64,
    pub len: u64,
}

/// The places of all known sections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sections([Section; SectionId::KNOWN.len()]);

impl Sections {
    fn index(id: SectionId) -> usize {
        SectionId::KNOWN.iter().position(|(known, _)| *known == id).expect("only known sections are asked for")
    }

    pub(super) fn get(&self, id: SectionId) -> Section {
        self.0[Self::index(id)]
    }

    pub(super) fn set(&mut self, id: SectionId, section: Section) {
        self.0[Self::index(id)] = section;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SectionId, &'static str, Section)> {
        SectionId::KNOWN.into_iter().zip(self.0).map(|((id, name), section)| (id, name, section))
    }
}

/// What the footer holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) db_id: u128,
    pub(super) meta: BlockMeta,
    pub(super) pages_end: u64,
    pub(super) table_crc: u32,
    pub(super) sections: Sections,
    pub(super) features: Features,
}

pub(super) fn encode_header(spec: &BlockSpec) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_le_bytes());
    header[10..12].copy_from_slice(&(HEADER_LEN as u16).to_le_bytes());
    header[12..16].copy_from_slice(&(PAGE_LEN as u32).to_le_bytes());
    header[16..32].copy_from_slice(&spec.db_id.to_le_bytes());
    header[32..40].copy_from_slice(&spec.id.0.to_le_bytes());
    header[40] = spec.level;
    let crc = crc32fast::hash(&header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Checks a header; returns database, block and level.
pub(super) fn decode_header(header: &[u8; HEADER_LEN]) -> Result<(u128, BlockId, u8)> {
    if header[..8] != MAGIC {
        return Err(Error::corrupt("not a block file: its first bytes are others"));
    }
    let (fields, crc) = header.split_at(60);
    if crc32fast::hash(fields).to_le_bytes() != *crc {
        return Err(Error::corrupt("block header does not match its CRC"));
    }
    let mut cursor = Cursor::new(&fields[8..]);
    let mut header = || {
        let version = u16::from_le_bytes(cursor.fixed()?);
        let sizes = (u16::from_le_bytes(cursor.fixed()?), u32::from_le_bytes(cursor.fixed()?));
        let id = (u128::from_le_bytes(cursor.fixed()?), BlockId(u64::from_le_bytes(cursor.fixed()?)), cursor.u8()?);
        Some((version, sizes, id))
    };
    let (version, sizes, id) = header().expect("the header has 64 bytes");
    check_version(version, "block file")?;
    if sizes != (HEADER_LEN as u16, PAGE_LEN as u32) || cursor.rest().iter().any(|byte| *byte != 0) {
        return Err(Error::corrupt("block header with other sizes than its version has"));
    }
    Ok(id)
}

fn check_version(version: u16, what: &str) -> Result<()> {
    match version {
        VERSION => Ok(()),
        0 => Err(Error::corrupt(format!("{what} of version 0"))),
        _ => {
            let message = format!("{what} of version {version}; this tsq reads up to {VERSION}");
            Err(Error::new(ErrorKind::UnsupportedFormat, message))
        }
    }
}

/// The footer and the tail behind it. `footer.meta.file_bytes` must be set; the CRC is filled in.
pub(super) fn encode_footer(footer: &mut Footer) -> Vec<u8> {
    let meta = &footer.meta;
    let mut out = Vec::with_capacity(footer_len(meta.replaces.len()) + TAIL_LEN);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[meta.level, 0]);
    out.extend_from_slice(&(SectionId::KNOWN.len() as u32).to_le_bytes());
    out.extend_from_slice(&footer.db_id.to_le_bytes());
    out.extend_from_slice(&meta.id.0.to_le_bytes());
    out.extend_from_slice(&meta.min_ms.to_le_bytes());
    out.extend_from_slice(&meta.max_ms.to_le_bytes());
    let numbers =
        [meta.lsn_min, meta.lsn_max, meta.series, meta.chunks, meta.samples, meta.file_bytes, footer.pages_end];
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    out.extend_from_slice(&footer.table_crc.to_le_bytes());
    out.extend_from_slice(&(meta.replaces.len() as u32).to_le_bytes());
    for (id, _, section) in footer.sections.iter() {
        out.extend_from_slice(&(id as u16).to_le_bytes());
        out.extend_from_slice(&id.version(footer.features).to_le_bytes());
        out.extend_from_slice(&0_u32.to_le_bytes());
        out.extend_from_slice(&section.offset.to_le_bytes());
        out.extend_from_slice(&section.len.to_le_bytes());
    }
    meta.replaces.iter().for_each(|id| out.extend_from_slice(&id.0.to_le_bytes()));
    debug_assert_eq!(out.len(), footer_len(meta.replaces.len()));
    footer.meta.footer_crc = crc32fast::hash(&out);
    let len = out.len() as u32;
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&footer.meta.footer_crc.to_le_bytes());
    out.extend_from_slice(&TAIL_MAGIC);
    out
}

/// Bytes of a footer without its tail.
pub(super) fn footer_len(replaces: usize) -> usize {
    FOOTER_FIXED_LEN + SectionId::KNOWN.len() * SECTION_LEN + replaces * 8
}

/// How many bytes of a file its footer and tail take, by its last bytes.
pub(super) fn footer_span(end: &[u8], file_len: u64) -> Result<usize> {
    let tail = end.last_chunk::<TAIL_LEN>().ok_or_else(too_short)?;
    if tail[8..] != TAIL_MAGIC {
        return Err(Error::corrupt("block file does not end as one: it was cut or overwritten"));
    }
    let len = u32::from_le_bytes(tail[..4].try_into().expect("4 bytes")) as usize;
    if !(FOOTER_FIXED_LEN..=FOOTER_LEN_MAX).contains(&len) || (len + HEADER_LEN + TAIL_LEN) as u64 > file_len {
        return Err(Error::corrupt(format!("block footer of {len} bytes in a file of {file_len}")));
    }
    Ok(len + TAIL_LEN)
}

/// Checks the footer in the last bytes of a file, as many as [`footer_span`] says.
pub(super) fn decode_footer(span: &[u8], file_len: u64) -> Result<Footer> {
    let (body, tail) = span.split_last_chunk::<TAIL_LEN>().ok_or_else(too_short)?;
    let crc = u32::from_le_bytes(tail[4..8].try_into().expect("4 bytes"));
    if crc32fast::hash(body) != crc {
        return Err(Error::corrupt("block footer does not match its CRC"));
    }
    let version = u16::from_le_bytes(body[..2].try_into().expect("2 bytes"));
    check_version(version, "block footer")?;
    let mut footer = parse_footer(body)?;
    footer.meta.footer_crc = crc;
    check_footer(&footer, file_len, file_len - span.len() as u64)?;
    Ok(footer)
}

fn too_short() -> Error {
    Error::corrupt("block file ends inside its header or footer")
}

fn parse_footer(body: &[u8]) -> Result<Footer> {
    let mut cursor = Cursor::new(&body[2..]);
    let mut footer = Footer::default();
    let fixed = |cursor: &mut Cursor<'_>, footer: &mut Footer| {
        footer.meta.level = cursor.u8()?;
        let reserved = cursor.u8()?;
        let sections = u32::from_le_bytes(cursor.fixed()?);
        footer.db_id = u128::from_le_bytes(cursor.fixed()?);
        let mut number = || cursor.fixed().map(u64::from_le_bytes);
        footer.meta.id = BlockId(number()?);
        (footer.meta.min_ms, footer.meta.max_ms) = (number()?.cast_signed(), number()?.cast_signed());
        (footer.meta.lsn_min, footer.meta.lsn_max) = (number()?, number()?);
        (footer.meta.series, footer.meta.chunks, footer.meta.samples) = (number()?, number()?, number()?);
        (footer.meta.file_bytes, footer.pages_end) = (number()?, number()?);
        footer.table_crc = u32::from_le_bytes(cursor.fixed()?);
        let replaces = u32::from_le_bytes(cursor.fixed()?);
        Some((reserved, sections as usize, replaces as usize))
    };
    let (reserved, sections, replaces) = fixed(&mut cursor, &mut footer).ok_or_else(too_short)?;
    if reserved != 0 || body.len() != FOOTER_FIXED_LEN + sections * SECTION_LEN + replaces * 8 {
        return Err(Error::corrupt("block footer whose length does not fit its counts"));
    }
    for _ in 0..sections {
        parse_section(&mut cursor, &mut footer)?;
    }
    let ids = cursor.rest().chunks_exact(8);
    footer.meta.replaces = ids.map(|id| BlockId(u64::from_le_bytes(id.try_into().expect("8 bytes")))).collect();
    Ok(footer)
}

fn parse_section(cursor: &mut Cursor<'_>, footer: &mut Footer) -> Result<()> {
    let mut fields = || {
        let (id, version) = (u16::from_le_bytes(cursor.fixed()?), u16::from_le_bytes(cursor.fixed()?));
        let flags = u32::from_le_bytes(cursor.fixed()?);
        let place = (u64::from_le_bytes(cursor.fixed()?), u64::from_le_bytes(cursor.fixed()?));
        Some((id, version, flags, Section { offset: place.0, len: place.1 }))
    };
    let (number, version, flags, section) = fields().ok_or_else(too_short)?;
    let known = SectionId::KNOWN.iter().find(|(id, _)| *id as u16 == number).map(|(id, _)| (*id, id.features(version)));
    match known {
        Some((id, Some(features))) => {
            footer.sections.set(id, section);
            footer.features.starts |= features.starts;
            footer.features.shared |= features.shared;
            Ok(())
        }
        None if flags & OPTIONAL != 0 => Ok(()),
        _ => {
            let message = format!("block section {number} of version {version} is not known to this version of tsq");
            Err(Error::new(ErrorKind::UnsupportedFormat, message))
        }
    }
}

fn check_footer(footer: &Footer, file_len: u64, footer_at: u64) -> Result<()> {
    if footer.meta.file_bytes != file_len {
        let want = footer.meta.file_bytes;
        return Err(Error::corrupt(format!("block file of {file_len} bytes should have {want}")));
    }
    let pages = footer.pages_end.div_ceil(PAGE_LEN as u64);
    if footer.pages_end < HEADER_LEN as u64 || footer.pages_end.checked_add(pages * 4) != Some(footer_at) {
        return Err(Error::corrupt("block file whose page CRC table does not fit before its footer"));
    }
    for (_, name, section) in footer.sections.iter() {
        if section.offset.checked_add(section.len).is_none_or(|end| end > footer.pages_end) {
            return Err(Error::corrupt(format!("section {name} runs past the pages of its block")));
        }
    }
    if u32::try_from(footer.meta.series).is_err() {
        return Err(Error::corrupt("block with more series than 32 bits count"));
    }
    Ok(())
}
