//! Right checksums for damaged blocks, so that fuzz targets reach what checksums guard.

use super::BlockId;
use super::format::{HEADER_LEN, PAGE_LEN, TAIL_LEN};
use super::pages::page_crc;

/// Where the footer says how long the file is up to the table of page CRCs, and the CRC of that table.
const PAGES_END_AT: usize = 96;
const TABLE_CRC_AT: usize = 104;

/// Makes the checksums of a block right again, as far as the bytes still are one.
pub(crate) fn seal(file: &mut [u8]) {
    // What is too short for a checksum needs none.
    let _ = try_seal(file);
}

fn try_seal(file: &mut [u8]) -> Option<()> {
    let header_crc = crc32fast::hash(file.get(..HEADER_LEN - 4)?);
    file.get_mut(HEADER_LEN - 4..HEADER_LEN)?.copy_from_slice(&header_crc.to_le_bytes());
    let db_id = u128::from_le_bytes(file.get(16..32)?.try_into().ok()?);
    let id = BlockId(u64::from_le_bytes(file.get(32..40)?.try_into().ok()?));
    let tail_at = file.len().checked_sub(TAIL_LEN)?;
    let footer_len = u32::from_le_bytes(file.get(tail_at..tail_at + 4)?.try_into().ok()?) as usize;
    let footer_at = tail_at.checked_sub(footer_len)?;
    let at = footer_at + PAGES_END_AT;
    let pages_end = usize::try_from(u64::from_le_bytes(file.get(at..at + 8)?.try_into().ok()?)).ok()?;
    let crcs = file.get(..pages_end)?.chunks(PAGE_LEN).zip(0..).map(|(page, number)| page_crc(db_id, id, number, page));
    let table: Vec<u8> = crcs.flat_map(u32::to_le_bytes).collect();
    file.get_mut(pages_end..pages_end.checked_add(table.len())?)?.copy_from_slice(&table);
    let at = footer_at + TABLE_CRC_AT;
    file.get_mut(at..at + 4)?.copy_from_slice(&crc32fast::hash(&table).to_le_bytes());
    let footer_crc = crc32fast::hash(file.get(footer_at..tail_at)?);
    file.get_mut(tail_at + 4..tail_at + 8)?.copy_from_slice(&footer_crc.to_le_bytes());
    Some(())
}
