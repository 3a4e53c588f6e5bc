//! A small file system of its own.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

/// A mounted tmpfs, unmounted when dropped.
pub(crate) struct Volume {
    dir: TempDir,
}

impl Volume {
    /// Mounts a tmpfs of this size; `None`, said aloud, where that is not permitted.
    pub(crate) fn mount(bytes: u64) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let options = std::ffi::CString::new(format!("size={bytes}")).expect("no zero byte");
        match mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), options.as_c_str()) {
            Ok(()) => Some(Self { dir }),
            Err(error) => {
                tsq_tests::not_run(&format!("full_disk: cannot mount a tmpfs ({error}): root can"));
                None
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    fn free_bytes(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.path()).expect("the volume is mounted");
        stat.f_bavail * stat.f_frsize
    }

    /// Takes space until this much is left.
    pub(crate) fn leave(&self, bytes: u64) {
        let ballast = vec![7; self.free_bytes().saturating_sub(bytes) as usize];
        fs::write(self.ballast(), ballast).expect("there is space for the ballast");
    }

    /// Takes all space.
    pub(crate) fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.ballast()).expect("the ballast opens");
        while file.write_all(&[7; 4096]).is_ok() {}
        assert!(self.free_bytes() < 4096, "{} bytes are left", self.free_bytes());
    }

    /// Gives all of it back.
    pub(crate) fn free(&self) {
        fs::remove_file(self.ballast()).expect("the ballast is there");
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // A server that still uses it holds it until it ends; nothing else can be done here.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}
