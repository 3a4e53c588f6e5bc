//! Immutable block files, format version 1. Byte-exact in docs/format.md, "Block file".
//!
//! ~~~text
//! header       64 bytes        format.rs
//! sections     in any order    chunk payloads, integer columns, chunk index, series, names, values, postings,
//!                              metadata, exemplars
//! page CRCs    u32 a page      the bytes before this table, cut in pages of 64 KiB
//! footer                       identity, ranges, counts, replaced blocks, where the sections lie
//! tail         16 bytes        length and CRC of the footer, magic
//! ~~~
//! Written once from front to back under a temporary name, synced, renamed, then only read, mapped where that helps.

mod cache;
mod chunks;
mod family;
mod format;
mod groups;
mod pages;
mod reader;
mod reads;
mod seal;
mod series;
mod stats;
#[cfg(test)]
mod tests;
mod times;
mod verify;
mod writer;

pub use cache::ReadCache;
pub use format::{BlockId, BlockMeta};

pub(crate) use chunks::ChunkMeta;
pub(crate) use format::{BlockSpec, Section};
pub(crate) use groups::GroupStats;
pub(crate) use pages::{PageReader, PageWriter, Slice};
pub(crate) use reader::BlockReader;
pub(crate) use reads::Reads;
pub(crate) use seal::seal;
pub(crate) use series::SeriesReader;
pub(crate) use stats::CodecStats;
pub(crate) use writer::{BlockWriter, WrittenChunk};
