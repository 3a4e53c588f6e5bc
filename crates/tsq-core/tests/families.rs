//! Classic histograms as senders spread them, in any order of arrival, flushes, compactions and deletes: every series
//! reads as if it were stored alone.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tsq_core::{Db, Kind, Labels, Limits, Matcher, Options, Samples, SimDisk, Source, TimeRange, stale_nan};

const START_MS: i64 = 1_700_000_000_000;
const BOUNDS: [&str; 8] = ["0.005", "0.1", "0.5", "1", "2.5", "10", "30", "+Inf"];

/// One thing that happens to the database.
#[derive(Clone, Debug)]
enum Event {
    /// So many further scrapes; each is sent as shards of series, of which some come late.
    Scrapes(u16),
    Flush,
    Compact,
    /// One bucket of one histogram, over some of the newest scrapes or all.
    Delete(u8, u8, u16),
    Clean,
}

/// How a histogram behaves.
#[derive(Clone, Debug)]
struct Shape {
    /// Once in so many scrapes its process restarts, or one of its buckets is no count, lacks a sample, or has a sample of
    /// its own time.
    odd_every: u64,
    /// Whether all buckets are marked as stale at a restart.
    is_marked: bool,
    starts: bool,
}

type Content = BTreeMap<(Labels, i64), (u64, i64)>;

struct World {
    disk: SimDisk,
    db: Db,
    shapes: Vec<Shape>,
    want: Content,
    counts: Vec<[u64; 8]>,
    scrape: u64,
    random: u64,
    /// Samples of shards whose requests are on their way.
    delayed: Vec<(Labels, i64, f64, i64)>,
}

fn labels(histogram: usize, bucket: usize) -> Labels {
    // Some of the histograms have a label behind `le`, so that others lie between their buckets.
    let path = ["/a", "", "/b", "/c"][histogram % 4];
    let instance = if histogram < 4 { "a:80" } else { "b:80" };
    let pairs = [("__name__", "latency_bucket"), ("instance", instance), ("le", BOUNDS[bucket])];
    Labels::from_pairs(pairs.into_iter().chain([("path", path)]).filter(|(_, value)| !value.is_empty())).unwrap()
}

impl World {
    fn new(shapes: Vec<Shape>, seed: u64) -> Self {
        let limits = Limits { future: None, ..Limits::default() };
        let options = Options { background: false, low_space_bytes: Some(0), limits, ..Options::default() };
        let disk = SimDisk::new();
        let db = Db::builder().disk(disk.clone()).open("/db", options).unwrap();
        let counts = vec![[0; 8]; shapes.len()];
        Self { disk, db, shapes, want: Content::new(), counts, scrape: 0, random: seed | 1, delayed: Vec::new() }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn scrape(&mut self) {
        self.scrape += 1;
        let mut samples = Vec::new();
        for histogram in 0..self.shapes.len() {
            self.observe(histogram, &mut samples);
        }
        // Two connections, each with some of the series; one is a scrape or two behind now and then.
        let (now, later): (Vec<_>, Vec<_>) = samples
            .into_iter()
            .partition(|(labels, ..)| labels.as_bytes().iter().map(|b| u32::from(*b)).sum::<u32>() % 3 > 0);
        let delayed = std::mem::take(&mut self.delayed);
        self.send(&now);
        if self.random(3) > 0 {
            self.send(&delayed);
            self.send(&later);
        } else {
            self.delayed = delayed.into_iter().chain(later).collect();
        }
    }

    fn observe(&mut self, histogram: usize, samples: &mut Vec<(Labels, i64, f64, i64)>) {
        let Shape { odd_every, is_marked, starts } = self.shapes[histogram].clone();
        for _ in 0..self.random(6) {
            let bucket = self.random(8) as usize;
            self.counts[histogram][bucket] += 1 + self.random(3);
        }
        let odd = if self.random(odd_every) == 0 { 1 + self.random(5) } else { 0 };
        if odd == 1 {
            self.counts[histogram] = [0; 8];
        }
        let odd_bucket = self.random(8) as usize;
        let time_ms = START_MS + self.scrape as i64 * 15_000 + self.random(2) as i64;
        let start_ms = if starts { START_MS + self.scrape as i64 / 50 } else { 0 };
        let mut sum = 0;
        for bucket in 0..8 {
            sum += self.counts[histogram][bucket];
            let is_odd = bucket == odd_bucket;
            let (time_ms, value) = match odd {
                1 if is_marked => (time_ms, stale_nan()),
                2 if is_odd => (time_ms, sum as f64 + 0.5),
                3 if is_odd => continue,
                4 if is_odd => (time_ms + 1, sum as f64),
                5 if is_odd => (time_ms, [-0.0, f64::NAN, 1e300, stale_nan()][bucket % 4]),
                _ => (time_ms, sum as f64),
            };
            samples.push((labels(histogram, bucket), time_ms, value, start_ms));
        }
    }

    fn send(&mut self, samples: &[(Labels, i64, f64, i64)]) {
        for request in samples.chunks(13) {
            let mut batch = self.db.batch();
            for (labels, time_ms, value, start_ms) in request {
                batch.series(Kind::Float, labels);
                batch.float(*time_ms, *value);
                batch.start(*start_ms);
                self.want.insert((labels.clone(), *time_ms), (value.to_bits(), *start_ms));
            }
            assert_eq!(self.db.append(&batch).unwrap().rejected, 0);
        }
    }

    fn run(&mut self, event: &Event) {
        match event {
            Event::Scrapes(count) => (0..*count).for_each(|_| self.scrape()),
            Event::Flush => self.db.flush().unwrap(),
            Event::Compact => self.db.compact().unwrap(),
            Event::Clean => drop(self.db.clean_tombstones().unwrap()),
            Event::Delete(histogram, bucket, newest) => {
                let labels = labels(usize::from(*histogram) % self.shapes.len(), usize::from(*bucket) % 8);
                let start_ms = START_MS + (self.scrape as i64 - i64::from(*newest)) * 15_000;
                let range = TimeRange::new(if *newest > 300 { i64::MIN } else { start_ms }, start_ms + 3_000_000);
                let matchers: Vec<_> = labels.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
                self.db.delete(&matchers, range).unwrap();
                let is_it = |of: &Labels| matchers.iter().all(|m| m.matches(of.get(&m.name).unwrap_or("")));
                self.want.retain(|(of, time), _| !(is_it(of) && range.contains(*time)));
            }
        }
    }

    /// What a selection reads of a range, with one cache for all series and with none.
    fn check(&self, matchers: &[Matcher], range: TimeRange) {
        let snapshot = self.db.snapshot().unwrap();
        let (mut found, mut cache) = (Content::new(), tsq_core::ReadCache::default());
        let (mut samples, mut alone) = (Samples::default(), Samples::default());
        for series in snapshot.select(matchers, range).unwrap().next_batch(usize::MAX).unwrap() {
            series.read_with(Kind::Float, range, &mut cache, &mut samples).unwrap();
            series.read(Kind::Float, range, &mut alone).unwrap();
            assert_eq!(bits(&samples), bits(&alone));
            found.extend(bits(&samples).into_iter().map(|(time, bits)| ((series.labels().clone(), time), bits)));
        }
        let wanted = |(labels, time): &(Labels, i64)| range.contains(*time) && tsq_core::all_match(matchers, labels);
        let want = self.want.iter().filter(|(key, _)| wanted(key));
        let want: Content = want.map(|(key, value)| (key.clone(), *value)).collect();
        assert_eq!(found.len(), want.len());
        let wrong = found.iter().zip(&want).find(|(found, want)| found != want);
        assert!(wrong.is_none(), "{wrong:?}");
    }

    fn check_all(&mut self) {
        self.check(&[], TimeRange::ALL);
        let middle_ms = START_MS + self.random(self.scrape + 1) as i64 * 15_000;
        self.check(&[], TimeRange::new(middle_ms - 700_000, middle_ms));
        self.check(&[Matcher::equal("le", "0.5")], TimeRange::new(middle_ms, i64::MAX));
        self.check(&[Matcher::equal("le", "+Inf"), Matcher::equal("instance", "a:80")], TimeRange::ALL);
    }
}

fn bits(samples: &Samples) -> Vec<(i64, (u64, i64))> {
    let row = |at: usize| (samples.times[at], (samples.values[at].to_bits(), samples.start(at)));
    (0..samples.len()).map(row).collect()
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => (1_u16..40).prop_map(Event::Scrapes),
        1 => (300_u16..700).prop_map(Event::Scrapes),
        4 => Just(Event::Flush),
        2 => Just(Event::Compact),
        1 => (any::<u8>(), any::<u8>(), 0_u16..400).prop_map(|(h, b, n)| Event::Delete(h, b, n)),
        1 => Just(Event::Clean),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let odd_every = prop_oneof![Just(u64::from(u32::MAX)), Just(200), Just(10)];
    (odd_every, any::<bool>(), prop::bool::weighted(0.2)).prop_map(|(odd_every, is_marked, starts)| Shape {
        odd_every,
        is_marked,
        starts,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn every_bucket_reads_as_if_it_were_alone(
        shapes in prop::collection::vec(shape(), 1..7),
        events in prop::collection::vec(event(), 1..24),
        seed: u64,
    ) {
        let mut world = World::new(shapes, seed);
        for event in &events {
            world.run(event);
            if !matches!(event, Event::Scrapes(_)) {
                world.check_all();
            }
        }
        world.check_all();
        world.db.close().unwrap();
        let findings = Db::builder().disk(world.disk).verify("/db").unwrap().findings;
        prop_assert!(findings.is_empty(), "{:?}", findings);
    }
}

/// A sender as Prometheus is one: requests of some of the series, on several connections. Buckets that lag behind at a
/// flush cost nothing but that: the block has matrices, and after a merge they are whole.
#[test]
fn spread_buckets_become_matrices_and_full_ones_are_copied() {
    let shape = Shape { odd_every: u64::from(u32::MAX), is_marked: false, starts: false };
    let mut world = World::new(vec![shape; 6], 5);
    let matrices = |world: &World| {
        let inspection = world.db.inspect().unwrap();
        let floats = |codec: &str| !["linear", "patched"].contains(&codec);
        let codecs = inspection.blocks.iter().flat_map(|block| block.codecs.clone());
        codecs.filter(|(codec, _)| floats(codec)).fold(BTreeMap::new(), |mut all, (codec, used)| {
            *all.entry(codec).or_insert(0) += used.rows;
            all
        })
    };
    for _ in 0..6 {
        for _ in 0..5 {
            world.run(&Event::Scrapes(60));
            world.run(&Event::Flush);
        }
        let codecs = matrices(&world);
        assert_eq!(codecs.keys().collect::<Vec<_>>(), ["matrix"], "{codecs:?}");
        world.run(&Event::Compact);
        world.check_all();
    }
    world.run(&Event::Compact);
    let rows = world.want.len() as u64;
    assert_eq!(matrices(&world), BTreeMap::from([("matrix".to_owned(), rows)]));
    let inspection = world.db.inspect().unwrap();
    let used = inspection.blocks.iter().map(|block| block.codecs["matrix"].bytes).sum::<u64>();
    assert!((used as f64) < 0.35 * rows as f64, "{used} bytes for {rows} samples");
    // One bucket goes: the others stay together.
    world.run(&Event::Delete(1, 3, 400));
    world.run(&Event::Clean);
    world.check_all();
    assert_eq!(matrices(&world), BTreeMap::from([("matrix".to_owned(), world.want.len() as u64)]));
}
