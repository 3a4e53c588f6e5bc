//! CSV with a header row.
//!
//! Long form, a sample a row:
//!
//! ~~~text
//! timestamp_ms,value,step,__name__,run_id
//! 1700000000000,0.5,100,loss,a1
//! ~~~
//!
//! Wide form, a column a metric ([`CsvOptions::wide`]); an empty field is no sample:
//!
//! ~~~text
//! time,step,loss,accuracy
//! 2023-11-14T22:13:20Z,100,0.5,0.81
//! ~~~
//!
//! | column | meaning |
//! |---|---|
//! | `timestamp_ms`, `time_ms`, `ts_ms` | milliseconds |
//! | `timestamp`, `time`, `ts`, `date`, `datetime` | see [`TimeUnit::Auto`] |
//! | `value` | the value, long form |
//! | `step` | the training step; a row without one is an ordinary float sample |
//! | `__name__`, or `metric` when there is no `__name__` | metric name, long form |
//! | `label:x` | label `x`, whatever `x` is |
//! | any other | a label in the long form, a metric in the wide one |
//!
//! A value is a decimal, `NaN`, `+Inf`, `-Inf`, or a NaN by its bits (`NaN:7ff0000000000002` is a staleness marker). An
//! empty label field means that the series has no such label. The first column that can be the time is the time.

mod header;
mod read;
mod time;
mod write;

pub use header::CsvOptions;
pub use read::CsvImporter;
pub use time::TimeUnit;
pub use write::CsvExporter;
