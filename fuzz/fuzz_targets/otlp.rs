//! OpenTelemetry metrics as protobuf and as JSON: decoding, the labels of every series, and sums of delta points.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsq_core::{Batch, LabelSource, LabelsBuilder};
use tsq_ingest::otlp::{
    Deltas, ExplicitHistograms, Form, OtlpOptions, Promoted, Translation, decode, json_to_protobuf,
};

fuzz_target!(|body: &[u8]| {
    let mut protobuf = Vec::new();
    let _ = json_to_protobuf(body, 1 << 20, &mut protobuf);
    let other = OtlpOptions {
        translation: Translation::NoUtf8EscapingWithSuffixes,
        explicit_histograms: ExplicitHistograms::Native,
        promoted: Promoted::AllBut(Vec::new()),
        keep_identifying: true,
        scope_labels: true,
        ..OtlpOptions::default()
    };
    let mut builder = LabelsBuilder::default();
    for options in [OtlpOptions::default(), other] {
        let deltas = Deltas::new(1 << 16);
        for body in [body, &protobuf, body] {
            let mut batch = Batch::default();
            match decode(body, &options, &deltas, &mut batch) {
                Ok(decoded) => {
                    let _ = decoded.labels.labels(body, &mut builder);
                    builder.clear();
                    let _ = Form::Protobuf.response(&decoded.report);
                    deltas.take_back(decoded.changes);
                }
                Err(_) => assert!(batch.is_empty()),
            }
        }
    }
});
