//! Files of training runs: the first byte chooses the format; records of W&B's log also get past its checksums.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsq_ingest::runs::json::Value;
use tsq_ingest::runs::tensorboard::EventReader;
use tsq_ingest::runs::wandb::RecordReader;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, file)) = input.split_first() else { return };
    match choice % 4 {
        0 => {
            let mut reader = EventReader::new(file);
            while let Ok(Some(_)) = reader.next_event() {}
        }
        1 => records(file),
        2 => {
            let file = &file[..file.len().min(32_000)];
            let crc = crc32fast::hash(&[&[1], file].concat()).to_le_bytes();
            let len = (file.len() as u16).to_le_bytes();
            records(&[b":W&B\xe1\xbe\0", &crc[..], &len, &[1], file].concat());
        }
        _ => {
            let Ok(text) = std::str::from_utf8(file) else { return };
            if let Ok(value) = Value::parse(text) {
                Value::parse(&value.to_string()).expect("what is written reads back");
            }
        }
    }
});

fn records(file: &[u8]) {
    let Ok(mut reader) = RecordReader::new(file) else { return };
    while let Ok(Some(_)) = reader.next_record() {}
}
