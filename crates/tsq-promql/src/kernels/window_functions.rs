//! The functions over a range, by name.

use super::{WindowKernel, extended, over_time, rate, trend};

/// A function over a range and its variants for extended ranges.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowFunction {
    /// Its name in PromQL.
    pub name: &'static str,
    /// For ordinary ranges.
    pub kernel: WindowKernel,
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
    plain("avg_over_time", over_time::avg),
    WindowFunction { anchored: Some(extended::anchored_changes), ..plain("changes", rate::changes) },
    plain("count_over_time", over_time::count),
    WindowFunction {
        anchored: Some(extended::anchored_delta),
        smoothed: Some(extended::smoothed_delta),
        ..plain("delta", rate::delta)
    },
    plain("deriv", trend::deriv),
    plain("double_exponential_smoothing", trend::double_exponential_smoothing),
    WindowFunction { keeps_name: true, ..plain("first_over_time", over_time::first) },
    plain("idelta", rate::idelta),
    WindowFunction {
        anchored: Some(extended::anchored_increase),
        smoothed: Some(extended::smoothed_increase),
        ..plain("increase", rate::increase)
    },
    plain("irate", rate::irate),
    WindowFunction { keeps_name: true, ..plain("last_over_time", over_time::last) },
    plain("mad_over_time", over_time::mad),
    plain("max_over_time", over_time::max),
    plain("min_over_time", over_time::min),
    plain("predict_linear", trend::predict_linear),
    plain("present_over_time", over_time::present),
    plain("quantile_over_time", over_time::quantile),
    WindowFunction {
        anchored: Some(extended::anchored_rate),
        smoothed: Some(extended::smoothed_rate),
        ..plain("rate", rate::rate)
    },
    WindowFunction { anchored: Some(extended::anchored_resets), ..plain("resets", rate::resets) },
    plain("stddev_over_time", over_time::stddev),
    plain("stdvar_over_time", over_time::stdvar),
    plain("sum_over_time", over_time::sum),
    plain("ts_of_first_over_time", over_time::ts_of_first),
    plain("ts_of_last_over_time", over_time::ts_of_last),
    plain("ts_of_max_over_time", over_time::ts_of_max),
    plain("ts_of_min_over_time", over_time::ts_of_min),
];

const fn plain(name: &'static str, kernel: WindowKernel) -> WindowFunction {
    WindowFunction { name, kernel, anchored: None, smoothed: None, keeps_name: false }
}
