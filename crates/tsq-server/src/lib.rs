//! The tsq server: remote write and the Prometheus HTTP API.
