//! HTTP below the APIs.

pub(crate) mod idle;
