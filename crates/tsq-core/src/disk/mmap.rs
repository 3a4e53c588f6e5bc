//! Memory maps of published files: the only `unsafe` about files.

use std::fs::File;
use std::io;

use bytes::Bytes;

/// Maps a published block file. Slices of the result share the mapping and keep it alive.
pub(super) fn map(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: sound while nobody shortens or rewrites the file. Block files are complete and synced before they are
    // renamed into place, no code of ours opens a published one for writing, and the directory lock keeps other tsq
    // writers out. A person editing one by hand breaks this rule; docs/format.md says so.
    let map = unsafe { memmap2::Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}
