//! The operating system's file system.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use parking_lot::Mutex;
use rustix::fs::{Advice, FallocateFlags};

use super::{Disk, DiskFile, DiskRead, LockGuard, LockOutcome, Map, Space};

/// Files of the operating system. New files are readable by their owner only; symbolic links are not followed.
#[derive(Debug, Default)]
pub struct RealDisk;

const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

fn no_follow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()
}

fn open_read(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(no_follow()).open(path)
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).custom_flags(no_follow()).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn read_at(&self, path: &Path, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        open_read(path)?.read_exact_at(buf, offset)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        open_read(path)?.read_to_end(&mut data)?;
        Ok(data)
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskRead>> {
        let file = open_read(path)?;
        let len = file.metadata()?.len();
        // Only a hint: opening reads both ends, later reads ask for what they need; what lies around it is wasted.
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::Random);
        Ok(Box::new(RealRead { file, len }))
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::symlink_metadata(path)?.len())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::hard_link(from, to) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            Err(_) => copy_synced(from, to),
        }
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .custom_flags(no_follow())
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(LockOutcome::Taken(Box::new(RealLock(Mutex::new(file))))),
            Err(TryLockError::WouldBlock) => {
                let mut note = String::new();
                file.read_to_string(&mut note)?;
                Ok(LockOutcome::Held(note))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn free_space(&self, dir: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(Space {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }
}

fn copy_synced(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = open_read(from)?;
    let mut target = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(to)?;
    io::copy(&mut source, &mut target)?;
    target.sync_data()
}

#[derive(Debug)]
struct RealRead {
    file: File,
    len: u64,
}

/// Numbers of `statfs` for file systems whose files come from elsewhere: NFS, SMB (three), FUSE, Ceph, 9P, AFS (two),
/// Lustre, GPFS.
const REMOTE: [u32; 11] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x6573_5546,
    0x00c3_6400,
    0x0102_1997,
    0x5346_414f,
    0x6b41_4653,
    0x0bd0_0bd0,
    0x4750_4653,
];

impl DiskRead for RealRead {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn expect_all(&self) {
        // Only a hint.
        let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::Sequential);
    }

    fn is_remote(&self) -> bool {
        // The type of the field differs between machines; the numbers have 32 bits.
        rustix::fs::fstatfs(&self.file).is_ok_and(|stat| REMOTE.contains(&(stat.f_type as u32)))
    }

    fn map(&self) -> io::Result<Map> {
        Map::of(&self.file)
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            // Some file systems cannot reserve: the length alone keeps appends from changing metadata.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => self.0.set_len(len),
            Err(error) => Err(error.into()),
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

/// The lock is tied to the open file description, so it ends with the process, however that ends.
#[derive(Debug)]
struct RealLock(Mutex<File>);

impl LockGuard for RealLock {
    fn annotate(&self, note: &str) -> io::Result<()> {
        let mut file = self.0.lock();
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(note.as_bytes())
    }
}
