//! Opening and reading a block. The input is the whole file when its first byte is even; else a list of changes to a good
//! block, five bytes each: offset, and what the byte there is exchanged with. Checksums are made right again.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tsq_core::fuzz_support::{read_block, sample_block, seal_block};

static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(sample_block);

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else { return };
    let mut file = if choice % 2 == 0 { rest.to_vec() } else { BLOCK.clone() };
    if choice % 2 == 1 {
        for &[a, b, c, d, byte] in rest.as_chunks().0 {
            let at = u32::from_le_bytes([a, b, c, d]) as usize % file.len();
            file[at] ^= byte;
        }
    }
    seal_block(&mut file);
    read_block(&file);
});
