//! Wire and file formats of tsq: bytes in, batches out.
