//! Tests of tsq across crate boundaries.
