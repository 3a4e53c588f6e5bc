//! The `tsq` binary.

fn main() {}
