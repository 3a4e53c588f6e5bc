//! What was decoded for one series and serves the next ones as well.

use std::sync::Arc;

use super::chunks::ChunkMeta;
use super::reader::BlockReader;
use super::times::TimeColumns;
use crate::codec::matrix::Matrix;
use crate::error::Result;

/// Bytes that decoded matrices may take together, unless a single one takes more: it takes at most 8 MiB.
const MATRIX_BYTES_MAX: usize = 4 << 20;

/// Matrices that are kept.
const MATRICES_MAX: usize = 64;

/// Keeps time columns and histogram matrices decoded last, while the samples of many series are read one after another:
/// series of one scrape share their times, the buckets of one classic histogram their values. At most some 5 MiB, and
/// whatever keeps the blocks mapped that they are from.
#[derive(Debug, Default)]
pub struct ReadCache {
    pub(super) times: TimeColumns,
    pub(super) matrices: Matrices,
}

impl ReadCache {
    /// Bytes that it holds.
    pub fn memory(&self) -> usize {
        self.times.memory() + self.matrices.bytes
    }
}

/// Matrices, and which of them is needed least.
#[derive(Debug, Default)]
pub(super) struct Matrices {
    kept: Vec<Kept>,
    /// Sum of what all take.
    bytes: usize,
    uses: u64,
}

#[derive(Debug)]
struct Kept {
    /// Where it is from: a block, which it keeps alive so that no other one takes its address, and the payload.
    block: Arc<BlockReader>,
    offset: u64,
    matrix: Matrix,
    bytes: usize,
    used: u64,
}

impl Matrices {
    /// The values of a chunk, which is a column of a matrix, and how many encoded bytes had to be decoded for them.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) for damaged bytes.
    pub(super) fn column(&mut self, block: &Arc<BlockReader>, chunk: &ChunkMeta, column: u32) -> Result<(&[f64], u64)> {
        self.uses += 1;
        let offset = chunk.entry.offset;
        let is_wanted = |kept: &Kept| kept.offset == offset && Arc::ptr_eq(&kept.block, block);
        let (data, _) = block.payload(offset, chunk.entry.len)?;
        let (mut kept, before) = match self.kept.iter().position(is_wanted) {
            Some(at) => {
                let kept = self.kept.swap_remove(at);
                let before = kept.matrix.decoded_bytes();
                (kept, before)
            }
            None => (Kept { block: Arc::clone(block), offset, matrix: Matrix::open(&data)?, bytes: 0, used: 0 }, 0),
        };
        // Until it is put back it is not kept, so that a damaged one is gone.
        self.bytes -= kept.bytes;
        kept.matrix.column(&data, column as usize)?;
        let decoded = kept.matrix.decoded_bytes() - before;
        (kept.bytes, kept.used) = (kept.matrix.memory(), self.uses);
        self.make_room(kept.bytes);
        self.bytes += kept.bytes;
        self.kept.push(kept);
        let kept = self.kept.last_mut().expect("it was pushed");
        Ok((kept.matrix.column(&data, column as usize)?, decoded as u64))
    }

    fn make_room(&mut self, bytes: usize) {
        while !self.kept.is_empty() && (self.bytes + bytes > MATRIX_BYTES_MAX || self.kept.len() >= MATRICES_MAX) {
            let oldest = (0..self.kept.len()).min_by_key(|at| self.kept[*at].used).expect("there is one");
            self.bytes -= self.kept.swap_remove(oldest).bytes;
        }
    }
}
