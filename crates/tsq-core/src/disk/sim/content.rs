//! Bytes of a simulated file, in shared pages: a copy costs pointers, a write copies the pages it touches.

use std::sync::Arc;

const PAGE: usize = 4096;

type Page = [u8; PAGE];

/// The bytes of a file. Pages past the end of `pages` read as zeros, so reserving space costs nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pages: Vec<Arc<Page>>,
    len: u64,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Writes `data` at `offset`; a gap before it reads as zeros.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let mut at = offset as usize;
        let mut rest = data;
        while !rest.is_empty() {
            let within = at % PAGE;
            let (now, later) = rest.split_at(rest.len().min(PAGE - within));
            self.page_mut(at / PAGE)[within..within + now.len()].copy_from_slice(now);
            at += now.len();
            rest = later;
        }
        self.len = self.len.max(at as u64);
    }

    fn page_mut(&mut self, index: usize) -> &mut Page {
        while self.pages.len() <= index {
            self.pages.push(Arc::new([0; PAGE]));
        }
        Arc::make_mut(&mut self.pages[index])
    }

    /// Cuts or extends (with zeros) to `len` bytes.
    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let keep = len as usize;
            self.pages.truncate(keep.div_ceil(PAGE));
            if !keep.is_multiple_of(PAGE) && keep / PAGE < self.pages.len() {
                self.page_mut(keep / PAGE)[keep % PAGE..].fill(0);
            }
        }
        self.len = len;
    }

    /// Fills `buf` from `offset`; false when the file ends before.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> bool {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.len) {
            return false;
        }
        let mut at = offset as usize;
        let mut rest = buf;
        while !rest.is_empty() {
            let within = at % PAGE;
            let count = rest.len().min(PAGE - within);
            let (now, later) = rest.split_at_mut(count);
            match self.pages.get(at / PAGE) {
                Some(page) => now.copy_from_slice(&page[within..within + count]),
                None => now.fill(0),
            }
            at += count;
            rest = later;
        }
        true
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut all = vec![0; self.len as usize];
        let whole = self.read(0, &mut all);
        debug_assert!(whole, "the buffer has the length of the file");
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_cuts_and_holes_read_back() {
        let mut content = Content::default();
        content.write(4090, b"0123456789");
        assert_eq!(content.len(), 4100);
        let copy = content.clone();
        content.set_len(4093);
        content.set_len(10_000);
        let mut buf = [9; 8];
        assert!(content.read(4089, &mut buf));
        assert_eq!(&buf, b"\x00012\0\0\0\0");
        assert!(!content.read(9_999, &mut buf));
        assert_eq!(&copy.to_vec()[4090..], b"0123456789");
    }
}
