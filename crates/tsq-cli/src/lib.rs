//! The tsq command line.
