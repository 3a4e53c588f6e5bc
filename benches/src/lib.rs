//! Benchmarks of tsq.
