//! Remote write, both versions, plain and compressed: decoding and the labels of every series.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsq_core::{Batch, LabelSource, LabelsBuilder};
use tsq_ingest::remote_write::{V1Labels, decode_v1, decode_v2, decompress};

fuzz_target!(|body: &[u8]| {
    let mut plain = Vec::new();
    let _ = decompress(body, 1 << 20, &mut plain);
    let mut builder = LabelsBuilder::default();
    let _ = V1Labels.labels(body, &mut builder);
    for body in [body, &plain] {
        let mut batch = Batch::default();
        if decode_v1(body, &mut batch).is_err() {
            assert!(batch.is_empty());
        }
        batch.clear();
        match decode_v2(body, &mut batch) {
            Ok((_, labels)) => {
                builder.clear();
                let _ = labels.labels(body, &mut builder).and_then(|()| builder.build());
            }
            Err(_) => assert!(batch.is_empty()),
        }
    }
});
