//! HTTP below the APIs: parameters, times, JSON, bodies, answers, timeouts.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod encoding;
pub(crate) mod error;
pub(crate) mod idle;
pub(crate) mod json;
pub(crate) mod names;
pub(crate) mod params;
pub(crate) mod targets;
pub(crate) mod time;
