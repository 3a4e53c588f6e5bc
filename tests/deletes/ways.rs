//! Any order of what one can do with a database.

use proptest::prelude::*;
use tsq_core::{Db, Kind, MatchOp, Matcher, Samples, SimDisk, Snapshot, TimeRange};

use crate::model::{Model, Write};
use crate::{DIR, open, options};

#[derive(Clone, Debug)]
enum Op {
    Write(Vec<Write>),
    /// The same straight into a block.
    Import(Vec<Write>),
    /// The batch of the last write once more.
    Again,
    Delete(Vec<(&'static str, String, bool)>, i64, i64),
    Flush,
    Compact,
    Clean,
    /// A snapshot that is looked at again at the end.
    Hold,
    CloseAndOpen,
    /// The process ends without closing.
    KillAndOpen,
    Backup,
}

fn write() -> impl Strategy<Value = Write> {
    let kind = prop_oneof![6 => Just(Kind::Float), 1 => Just(Kind::Histogram), 2 => Just(Kind::Run), 1 => Just(Kind::RunHistogram)];
    (0_u8..6, kind, 0_i64..40, 0_i64..3, 0_u64..3, prop::bool::weighted(0.2)).prop_map(
        |(series, kind, time_ms, step, value, exemplar)| Write { series, kind, time_ms, step, value, exemplar },
    )
}

fn selector() -> impl Strategy<Value = Vec<(&'static str, String, bool)>> {
    prop_oneof![
        (0_u8..6).prop_map(|series| vec![("shard", format!("shard_{series}"), true)]),
        (0_u8..3).prop_map(|metric| vec![("__name__", format!("metric_{metric}"), true)]),
        (0_u8..3)
            .prop_map(|metric| vec![("__name__", format!("metric_{metric}"), true), ("group", "odd".into(), false)]),
        Just(vec![("group", "even".to_owned(), true)]),
        Just(vec![]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let range = prop_oneof![
        2 => Just((i64::MIN, i64::MAX)),
        6 => (0_i64..40, 0_i64..25).prop_map(|(from, len)| (from, from + len)),
        1 => (0_i64..40).prop_map(|to| (i64::MIN, to)),
    ];
    prop_oneof![
        12 => prop::collection::vec(write(), 1..8).prop_map(Op::Write),
        2 => prop::collection::vec(write(), 1..12).prop_map(Op::Import),
        2 => Just(Op::Again),
        5 => (selector(), range).prop_map(|(matchers, (from, to))| Op::Delete(matchers, from, to)),
        3 => Just(Op::Flush),
        2 => Just(Op::Compact),
        1 => Just(Op::Clean),
        1 => Just(Op::Hold),
        1 => Just(Op::CloseAndOpen),
        1 => Just(Op::KillAndOpen),
        1 => Just(Op::Backup),
    ]
}

struct World {
    disk: SimDisk,
    db: Db,
    model: Model,
    last: Vec<Write>,
    held: Vec<(Snapshot, Model)>,
    backups: usize,
}

impl World {
    fn new() -> Self {
        let disk = SimDisk::new();
        let db = open(&disk);
        Self { disk, db, model: Model::default(), last: Vec::new(), held: Vec::new(), backups: 0 }
    }

    /// Writes one by one: what contradicts the newest sample is refused, and then not expected; its exemplar is taken.
    fn write(&mut self, writes: &[Write]) {
        for write in writes {
            let mut batch = self.db.batch();
            write.add_to(&mut batch);
            let appended = self.db.append(&batch).expect("the batch is taken");
            if appended.rejected == 0 {
                self.model.write(write);
            }
            self.model.write_exemplar(write);
        }
    }

    fn import(&mut self, writes: &[Write]) {
        let mut importer = self.db.importer().expect("the database takes imports");
        for write in writes {
            let mut batch = self.db.batch();
            write.add_to(&mut batch);
            importer.batch(&batch).expect("the import takes it");
            self.model.write(write);
            self.model.write_exemplar(write);
        }
        importer.finish().expect("the import ends well");
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Write(writes) => {
                self.write(writes);
                self.last.clone_from(writes);
            }
            Op::Again => self.write(&self.last.clone()),
            Op::Import(writes) => self.import(writes),
            Op::Delete(matchers, from, to) => {
                let op = |value: &String, equal| {
                    if equal { MatchOp::Equal(value.clone()) } else { MatchOp::NotEqual(value.clone()) }
                };
                let matcher = |(name, value, equal): &(&str, String, bool)| Matcher {
                    name: (*name).into(),
                    op: op(value, *equal),
                };
                let matchers: Vec<Matcher> = matchers.iter().map(matcher).collect();
                let range = TimeRange::new(*from, *to);
                let deleted = self.db.delete(&matchers, range).expect("the delete succeeds");
                self.model.delete(&matchers, range, deleted);
                assert_eq!(self.db.delete(&matchers, range).expect("again").samples, 0, "nothing is left to delete");
            }
            Op::Flush => self.db.flush().expect("the flush succeeds"),
            Op::Compact => self.db.compact().expect("the compaction succeeds"),
            Op::Clean => {
                let before = self.db.stats().deleted_samples;
                let cleaned = self.db.clean_tombstones().expect("the cleaning succeeds");
                assert_eq!(cleaned.samples, before);
                let stats = self.db.stats();
                assert_eq!((stats.deleted_samples, stats.tombstone_blocks), (0, 0));
            }
            Op::Hold => self.held.push((self.db.snapshot().expect("the database is open"), self.model.clone())),
            Op::CloseAndOpen => {
                self.held.clear();
                self.db.close().expect("the database closes");
                self.db = open(&self.disk);
            }
            Op::KillAndOpen => {
                std::mem::forget(std::mem::take(&mut self.held));
                std::mem::forget(self.db.clone());
                self.disk.end_process();
                self.db = open(&self.disk);
            }
            Op::Backup => {
                self.backups += 1;
                let target = format!("/backup-{}", self.backups);
                self.db.backup(&target).expect("the backup succeeds");
                let copy = Db::builder().disk(self.disk.clone()).open_read_only(&target, options()).expect("it opens");
                assert!(copy.damage().is_empty());
                self.model.check(&copy.snapshot().expect("it is open"));
            }
        }
    }

    fn check(&self) {
        self.model.check(&self.db.snapshot().expect("the database is open"));
        let reader = Db::builder().disk(self.disk.clone()).open_read_only(DIR, options()).expect("a reader opens it");
        self.model.check(&reader.snapshot().expect("it is open"));
    }

    fn finish(&self) {
        for (snapshot, model) in &self.held {
            model.check_held(snapshot);
        }
        let report = Db::builder().disk(self.disk.clone()).verify(DIR).expect("there is a database");
        assert!(report.findings.is_empty(), "{:?}", report.findings);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is done in whatever order: the database shows what a plain model holds, and says the right thing about
    /// what it deletes; a snapshot goes on to show what it showed.
    #[test]
    fn the_database_is_its_model(ops in prop::collection::vec(op(), 1..40)) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
            world.check();
        }
        world.finish();
    }
}

/// The newest sample is known beyond a flush, to refuse contradictions and drop repetitions. A deleted one once was, too:
/// sending it again was acknowledged, and it was not there.
#[test]
fn a_deleted_newest_sample_can_be_written_again() {
    let mut world = World::new();
    let write = Write { series: 1, kind: Kind::Float, time_ms: 10, step: 0, value: 1, exemplar: false };
    world.run(&Op::Write(vec![write.clone()]));
    world.run(&Op::Delete(vec![("shard", "shard_1".into(), true)], 0, 20));
    world.run(&Op::Again);
    world.check();
    world.run(&Op::Delete(vec![("shard", "shard_1".into(), true)], 0, 20));
    world.run(&Op::Write(vec![Write { value: 2, ..write }]));
    world.check();
    let mut samples = Samples::default();
    let snapshot = world.db.snapshot().expect("the database is open");
    let mut stream = tsq_core::Source::select(&snapshot, &[], TimeRange::ALL).expect("nothing is damaged");
    stream.next_batch(1).expect("nothing is damaged")[0]
        .read(Kind::Float, TimeRange::ALL, &mut samples)
        .expect("it reads");
    assert_eq!(samples.values, [2.25]);
}
