//! The tsq server: remote write and the Prometheus HTTP API over one [`tsq::Db`].
//!
//! [`run`] is the whole of `tsq serve`; [`Server::start`] serves a database that the caller opened, such as a test or
//! a demo. Everything async lives here; the engine's blocking calls run on a bounded pool beside the sockets.

#![forbid(unsafe_code)]

mod api;
mod app;
mod columns;
mod config;
mod error;
mod http;
mod metrics;
mod mlflow;
mod server;
mod work;

pub use api::query_json;
pub use config::{ServerConfig, ServerLimits};
pub use error::ServeError;
pub use server::{RunningServer, Server, run};
