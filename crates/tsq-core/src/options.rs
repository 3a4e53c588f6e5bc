//! Settings of a database, with their defaults and reasons.

use std::time::Duration;

use crate::query::Matcher;

/// When a write is acknowledged. See docs/durability.md.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// After fdatasync: nothing acknowledged is lost in a power cut. Group commit makes it cheap.
    #[default]
    Always,
    /// After the write call; fdatasync at least this often. A power cut may lose the newest batches.
    Interval(Duration),
    /// After the write call; the operating system decides. A power cut may lose the newest batches.
    Os,
}

/// How the files of blocks are read. Both ways check the same, and give the same answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadMode {
    /// As `Map`, but as `Pread` where the files are on a server or come from another process (NFS, SMB, FUSE, Ceph).
    #[default]
    Auto,
    /// Through memory maps, in the page cache of the operating system. A block file that is cut short while it is mapped
    /// ends the process, unless [`survive_lost_maps`](crate::survive_lost_maps) was called.
    Map,
    /// By system calls, into a cache of [`Options::read_cache_bytes`]. Keeps the file of each block open.
    Pread,
}

/// Bounds on what is stored. What exceeds them is refused, counted and named.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Labels of a series. Default 64.
    pub labels_per_series: usize,
    /// Bytes of a label name. Default 256.
    pub label_name_bytes: usize,
    /// Bytes of a label value. Default 4 KiB.
    pub label_value_bytes: usize,
    /// Buckets of a native histogram, both signs together. Default 10,000.
    pub histogram_buckets: usize,
    /// How far in the future a sample without a step may lie. Default 10 min; `None`: any time. Samples of runs may lie
    /// anywhere: their clients choose the times.
    pub future: Option<Duration>,
    /// Series in the head. Default 10 million; existing series are written on, new ones refused.
    pub head_series: usize,
    /// Samples, exemplars and label bytes of one batch, encoded. Default 64 MiB.
    pub batch_bytes: usize,
    /// Exemplars kept in memory, oldest dropped first. Default 100,000.
    pub exemplars: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            labels_per_series: 64,
            label_name_bytes: 256,
            label_value_bytes: 4096,
            histogram_buckets: 10_000,
            future: Some(Duration::from_secs(600)),
            head_series: 10_000_000,
            batch_bytes: 64 << 20,
            exemplars: 100_000,
        }
    }
}

/// How long the samples of some series are kept.
#[derive(Clone, Debug)]
pub struct RetentionRule {
    /// The series: those that pass all of them.
    pub matchers: Vec<Matcher>,
    /// Samples older than this are dropped; `None` keeps them whatever their age.
    pub keep: Option<Duration>,
}

/// Settings of a database. Plain data: change the fields you care about.
#[derive(Clone, Debug)]
pub struct Options {
    /// When a write is acknowledged. Default [`Durability::Always`].
    pub durability: Durability,
    /// Size of a log segment. Default 64 MiB.
    pub segment_bytes: u64,
    /// Flush the head when its part of the log holds this many bytes. Default 128 MiB: bounds replay after a crash
    /// and the memory of the head.
    pub flush_bytes: u64,
    /// Flush a head that has held samples this long. Default 30 min.
    pub flush_interval: Duration,
    /// Writers wait for a running flush when the log holds this many bytes. Default 1 GiB.
    pub log_bytes_max: u64,
    /// Drop samples older than this, of series that none of `retention_rules` matches. Default `None`: keep everything.
    ///
    /// Readers do not see older samples, writers refuse them, and compaction frees their space: blocks whose samples all
    /// have expired are dropped, others are written anew once half of a block, or all that one rule covers in it, has.
    pub retention: Option<Duration>,
    /// How long the samples of some series are kept, instead of `retention`. The first rule that matches a series
    /// counts. Default: none. Cost: selections that reach beyond the shortest of all periods match labels with them.
    pub retention_rules: Vec<RetentionRule>,
    /// Drop the oldest blocks while all blocks together are larger than this. Default `None`: no bound.
    pub retention_bytes: Option<u64>,
    /// Bytes that background compaction writes in a second at most; compactions that a caller waits for are not held
    /// back. Default 64 MiB; `None`: as fast as it can.
    pub compaction_bytes_per_s: Option<u64>,
    /// Refuse writes when the file system has fewer free bytes than this. Default `None`: the larger of 1 % of the
    /// file system and twice `flush_bytes`.
    pub low_space_bytes: Option<u64>,
    /// Compact in the background, on a thread of the database. Default true; tests call [`Db::compact`](crate::Db::compact).
    pub background: bool,
    /// How blocks are read. Default [`ReadMode::Auto`].
    pub read_mode: ReadMode,
    /// Pages of blocks kept in memory where they are not mapped. Default 64 MiB.
    pub read_cache_bytes: u64,
    /// Number of head shards, a power of two. Default 16.
    pub shards: usize,
    /// Bounds on what is stored.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            segment_bytes: 64 << 20,
            flush_bytes: 128 << 20,
            flush_interval: Duration::from_secs(30 * 60),
            log_bytes_max: 1 << 30,
            retention: None,
            retention_rules: Vec::new(),
            retention_bytes: None,
            compaction_bytes_per_s: Some(64 << 20),
            low_space_bytes: None,
            background: true,
            read_mode: ReadMode::default(),
            read_cache_bytes: 64 << 20,
            shards: 16,
            limits: Limits::default(),
        }
    }
}
