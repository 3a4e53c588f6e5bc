//! Every chunk encoding: the first byte chooses it, two more the rows, the rest is the column. Encoding 0 stands for the
//! open chunk of the head.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsq_core::fuzz_support::{decode_column, decode_open_chunk};

fuzz_target!(|input: &[u8]| {
    let Some((&[id, low, high], data)) = input.split_first_chunk() else { return };
    let rows = usize::from(u16::from_le_bytes([low, high])) % 1025;
    match id % 16 {
        0 => decode_open_chunk(high & 0x80 != 0, high & 0x40 != 0, rows, data),
        id => decode_column(id, rows, data),
    }
});
