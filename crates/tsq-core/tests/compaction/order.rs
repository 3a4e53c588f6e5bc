//! Any permutation of a set of samples, conflicting ones among them, over any schedule of flushes, merges, imports and
//! openings, gives the same answers.

use std::sync::Arc;

use proptest::prelude::*;
use tsq_core::{Db, ManualClock, SimDisk, TimeRange};

use crate::content::{Row, Write, answers, write};
use crate::{open, options};

/// What happens between two writes.
#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    Flush,
    Compact,
    Open,
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![6 => Just(Then::Nothing), 3 => Just(Then::Flush), 2 => Just(Then::Compact), 1 => Just(Then::Open)]
}

/// Where each write goes: the log and head, or straight into a block.
type Schedule = Vec<(bool, Then)>;

/// Writes one by one. What the head refuses as contradicting its newest sample is imported instead: nothing is lost,
/// whatever the order.
fn fill(writes: &[Write], schedule: &Schedule) -> Db {
    let (disk, clock) = (SimDisk::new(), Arc::new(ManualClock::new(1_000)));
    let mut db = open(&disk, &clock, options());
    for (write, (import, then)) in writes.iter().zip(schedule.iter().cycle()) {
        let mut batch = db.batch();
        write.add_to(&mut batch);
        if *import || db.append(&batch).expect("the batch is taken").rejected > 0 {
            let mut importer = db.importer().expect("the database takes imports");
            importer.batch(&batch).expect("the import takes it");
            importer.finish().expect("the import ends well");
        }
        match then {
            Then::Nothing => {}
            Then::Flush => db.flush().expect("the flush succeeds"),
            Then::Compact => db.compact().expect("the compaction succeeds"),
            Then::Open => {
                db.close().expect("the database closes");
                db = open(&disk, &clock, options());
            }
        }
    }
    db
}

fn all(db: &Db) -> Vec<std::collections::BTreeMap<(tsq_core::Labels, tsq_core::Kind), Vec<Row>>> {
    answers(db, &[TimeRange::ALL, TimeRange::new(3, 9), TimeRange::new(10, 10)])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]
    #[test]
    fn the_order_of_arrival_does_not_matter(
        (writes, shuffled) in prop::collection::vec(write(0..16), 1..40)
            .prop_flat_map(|writes| (Just(writes.clone()), Just(writes).prop_shuffle())),
        first in prop::collection::vec((prop::bool::weighted(0.2), then()), 1..20),
        second in prop::collection::vec((prop::bool::weighted(0.2), then()), 1..20),
    ) {
        let (one, other) = (fill(&writes, &first), fill(&shuffled, &second));
        prop_assert_eq!(all(&one), all(&other));
        one.compact().unwrap();
        prop_assert_eq!(all(&one), all(&other), "after everything is merged");
    }
}
