//! The functions over a range, by name.

use super::sweep::{self, SweepKernel};
use super::{WindowKernel, extended, over_time, rate, trend};

/// A function over a range and its variants for extended ranges.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowFunction {
    /// Its name in PromQL.
    pub name: &'static str,
    /// For ordinary ranges.
    pub kernel: WindowKernel,
    /// For all ordinary ranges of a series of floats at once.
    pub sweep: Option<SweepKernel>,
    /// For `anchored` ranges, if it can be used with them.
    pub anchored: Option<WindowKernel>,
    /// For `smoothed` ranges, if it can be used with them.
    pub smoothed: Option<WindowKernel>,
    /// Whether the result keeps the metric name.
    pub keeps_name: bool,
}

/// The functions over a range, by name. Arguments but the range are passed in the order they are written.
pub(crate) static WINDOW_FUNCTIONS: &[WindowFunction] = &[
    plain("absent_over_time", over_time::present),
    swept("avg_over_time", over_time::avg, sweep::avg),
    WindowFunction { anchored: Some(extended::anchored_changes), ..swept("changes", rate::changes, sweep::changes) },
    swept("count_over_time", over_time::count, sweep::count),
    WindowFunction {
        anchored: Some(extended::anchored_delta),
        smoothed: Some(extended::smoothed_delta),
        ..swept("delta", rate::delta, sweep::delta)
    },
    plain("deriv", trend::deriv),
    plain("double_exponential_smoothing", trend::double_exponential_smoothing),
    WindowFunction { keeps_name: true, ..swept("first_over_time", over_time::first, sweep::first) },
    swept("idelta", rate::idelta, sweep::idelta),
    WindowFunction {
        anchored: Some(extended::anchored_increase),
        smoothed: Some(extended::smoothed_increase),
        ..swept("increase", rate::increase, sweep::increase)
    },
    swept("irate", rate::irate, sweep::irate),
    WindowFunction { keeps_name: true, ..swept("last_over_time", over_time::last, sweep::last) },
    swept("mad_over_time", over_time::mad, sweep::mad),
    swept("max_over_time", over_time::max, sweep::max),
    swept("min_over_time", over_time::min, sweep::min),
    plain("predict_linear", trend::predict_linear),
    swept("present_over_time", over_time::present, sweep::present),
    swept("quantile_over_time", over_time::quantile, sweep::quantile),
    WindowFunction {
        anchored: Some(extended::anchored_rate),
        smoothed: Some(extended::smoothed_rate),
        ..swept("rate", rate::rate, sweep::rate)
    },
    WindowFunction { anchored: Some(extended::anchored_resets), ..swept("resets", rate::resets, sweep::resets) },
    swept("stddev_over_time", over_time::stddev, sweep::stddev),
    swept("stdvar_over_time", over_time::stdvar, sweep::stdvar),
    swept("sum_over_time", over_time::sum, sweep::sum),
    swept("ts_of_first_over_time", over_time::ts_of_first, sweep::ts_of_first),
    swept("ts_of_last_over_time", over_time::ts_of_last, sweep::ts_of_last),
    swept("ts_of_max_over_time", over_time::ts_of_max, sweep::ts_of_max),
    swept("ts_of_min_over_time", over_time::ts_of_min, sweep::ts_of_min),
];

const fn plain(name: &'static str, kernel: WindowKernel) -> WindowFunction {
    WindowFunction { name, kernel, sweep: None, anchored: None, smoothed: None, keeps_name: false }
}

const fn swept(name: &'static str, kernel: WindowKernel, sweep: SweepKernel) -> WindowFunction {
    WindowFunction { sweep: Some(sweep), ..plain(name, kernel) }
}
