//! JSON lines: what VictoriaMetrics imports and exports, and more, so that every kind of sample comes back exactly.
//!
//! One object a line:
//!
//! ~~~text
//! {"metric":{"__name__":"loss","run_id":"a1"},"values":[0.5,"NaN"],"timestamps":[1700000000000,1700000000500]}
//! {"metric":{...},"kind":"run","values":[...],"steps":[0,1],"timestamps":[...]}
//! {"metric":{...},"kind":"histogram","histograms":[{...}],"timestamps":[...]}
//! {"metric":{...},"values":[...],"timestamps":[...],"exemplars":[{"labels":{...},"value":1.5,"timestamp":...}]}
//! {"metadata":{"metric":"loss","type":"gauge","unit":"","help":"Training loss"}}
//! ~~~
//!
//! * `timestamps` are integer milliseconds; `values`, `steps` and `histograms` are as long as they.
//! * `starts`, if there, says since when each sample has counted, in milliseconds, 0 for unknown.
//! * `kind` is `float`, `histogram`, `run` or `run_histogram`; without it the lists that are there decide.
//! * A value is a number, or one of the strings `"NaN"`, `"+Inf"`, `"-Inf"`, or a NaN by its bits:
//!   `"NaN:7ff0000000000002"` is a staleness marker. `null` and `"Infinity"`, which others write, are read too.
//! * A histogram has the fields `schema`, `reset` (`unknown`, `reset`, `not_reset` or `gauge`), `integer`,
//!   `zero_threshold`, `zero_count`, `count`, `sum`, `positive_spans` and `negative_spans` (lists of `[offset, length]`),
//!   `positive` and `negative` (a count each bucket, not cumulative), and `custom_values`. What is absent is zero,
//!   empty, `false` or `unknown`.

mod model;
mod read;
mod write;

pub(crate) use model::LabelPairs;
pub use read::JsonlImporter;
pub use write::JsonlExporter;
pub(crate) use write::write_labels;
