//! Remote read: requests, both forms of answers, and chunks, plain and compressed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsq_core::Samples;
use tsq_ingest::remote_read::{
    Chunk, Encoding, decode_frames, decode_request, decode_samples, encode_chunks, encode_request,
};

fuzz_target!(|body: &[u8]| {
    if let Ok(request) = decode_request(body, 1 << 20) {
        let again = decode_request(&encode_request(&request), 2 << 20).expect("what was encoded is decoded");
        assert_eq!(request, again);
    }
    let _ = decode_samples(body, 1 << 20);
    if let Ok(all) = decode_frames(body) {
        for chunk in all.iter().flat_map(|series| &series.chunks) {
            decode_chunk(chunk);
        }
    }
    for encoding in [Encoding::Xor, Encoding::Histogram, Encoding::FloatHistogram] {
        decode_chunk(&Chunk { min_ms: 0, max_ms: 0, encoding, data: body.to_vec() });
    }
});

/// Floats that could be decoded are encoded and decoded again to the same bits.
fn decode_chunk(chunk: &Chunk) {
    let mut samples = Samples::default();
    let decoded = chunk.decode(&mut samples);
    if decoded.is_err() || chunk.encoding != Encoding::Xor || !samples.times.is_sorted_by(|left, right| left < right) {
        return;
    }
    let mut again = Samples::default();
    encode_chunks(&samples, &Samples::default(), |chunk| chunk.decode(&mut again)).expect("an encoded chunk");
    let bits = |samples: &Samples| samples.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert!(samples.times == again.times && bits(&samples) == bits(&again));
}
