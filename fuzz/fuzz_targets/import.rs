//! Every file format: the first byte chooses it, the rest is the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsq_core::Batch;
use tsq_ingest::{FORMATS, ImportOptions};

fuzz_target!(|input: &[u8]| {
    let Some((&choice, file)) = input.split_first() else { return };
    let mut options = ImportOptions::default();
    options.default_time_ms = (choice & 0x80 != 0).then_some(0);
    options.csv.wide = choice & 0x40 != 0;
    let format = &FORMATS[usize::from(choice & 0x3f) % FORMATS.len()];
    let file = Box::new(std::io::Cursor::new(file.to_vec()));
    let Ok(mut importer) = (format.importer)(file, &options) else { return };
    let mut batch = Batch::default();
    while let Ok(true) = importer.read(&mut batch, 100) {
        batch.clear();
    }
});
