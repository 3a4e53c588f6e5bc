//! OpenTelemetry metrics: `opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest`, protobuf or JSON, as
//! series the way Prometheus 3 translates them.
//!
//! | data | becomes |
//! |---|---|
//! | gauge, sum that is not monotonic | a float series |
//! | monotonic sum | a float series with start times, `_total` |
//! | histogram with explicit bounds | `_bucket{le}`, `_sum`, `_count`; or a native histogram with custom buckets |
//! | exponential histogram | a native histogram; scales above 8 are merged to 8 |
//! | summary | `{quantile}`, `_sum`, `_count` |
//! | delta points | cumulative ones, see [`Deltas`] |
//! | points with the flag "no recorded value" | staleness markers |
//! | exemplars | exemplars with `trace_id`, `span_id` and filtered attributes up to 128 characters |
//! | description, unit, type | metadata |
//! | `service.name`, `service.namespace`, `service.instance.id` | labels `job` and `instance` |
//! | other resource attributes | labels of `target_info`, or of every series |
//! | attributes | labels |
//! | unknown fields | skipped |
//!
//! Refused, one point at a time, while the rest is stored: points without time or value, histograms whose buckets do
//! not fit, delta points older than the newest, labels that are no valid set. Refused as a whole: bytes that are no
//! such request, and bodies over a bound.
//!
//! Nothing here knows sockets or clocks: a body goes through [`json_to_protobuf`] if it is JSON, then through
//! [`decode()`], which fills a batch; [`Form`] writes the answers.
//!
//! Known series cost no allocation: a series is looked up by a hash of what names it and of the raw bytes of its
//! attributes, and its labels are put together only when the engine does not know that hash.

mod answer;
mod buckets;
mod context;
mod decode;
mod delta;
mod exemplar;
mod json;
mod labels;
mod metric;
mod names;
mod options;
mod points;
mod report;
mod value;

pub use answer::{Form, StatusCode};
pub use decode::{Decoded, decode};
pub use delta::{DeltaChanges, Deltas};
pub use json::json_to_protobuf;
pub use labels::OtlpLabels;
pub use options::{ExplicitHistograms, OtlpOptions, Promoted, Translation};
pub use report::Report;
