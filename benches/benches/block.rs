//! Writing, opening and selecting from a block of many series. The bytes of each part are printed.

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use tsq_core::bench_support::{Block, write_block};
use tsq_core::{Labels, Matcher, Samples, TimeRange};

const SAMPLES: i64 = 24;

/// `metrics` series on each of `instances` targets, in label order.
fn series(metrics: usize, instances: usize) -> impl Iterator<Item = Labels> {
    (0..metrics * instances).map(move |number| {
        let (metric, instance) = (number / instances, number % instances);
        let labels = [
            ("__name__", format!("node_metric_{metric:04}_total")),
            ("cluster", "eu-west-1".to_owned()),
            ("instance", format!("10.{:03}.{:03}.7:9100", instance / 200, instance % 200)),
            ("job", format!("job-{}", instance % 10)),
            ("zone", format!("zone-{}", instance % 3)),
        ];
        Labels::from_pairs(labels).expect("the labels are sound")
    })
}

fn blocks(c: &mut Criterion) {
    for (metrics, instances) in [(100, 100), (200, 5000)] {
        let count = metrics * instances;
        let dir = tempfile::tempdir().expect("a directory");
        let samples: Vec<Samples> = (0..instances as i64)
            .map(|i| Samples {
                times: (0..SAMPLES).map(|n| 1_700_000_000_000 + i * 3 + n * 15_000).collect(),
                values: (0..SAMPLES).map(|n| (n * (i % 7)) as f64).collect(),
                ..Samples::default()
            })
            .collect();
        let start = Instant::now();
        let numbered = series(metrics, instances).enumerate();
        let meta =
            write_block(dir.path(), numbered.map(|(n, labels)| (labels, &samples[n % instances]))).expect("a block");
        let written = start.elapsed();
        let block = Block::open(dir.path()).expect("a block");
        println!("{count} series: written in {written:?}, {} B per series", meta.file_bytes / meta.series);
        println!("  parts: {:?}", block.parts().expect("sound"));
        let start = Instant::now();
        assert_eq!(block.verify(), 0);
        println!("  verified in {:?}", start.elapsed());

        let one_metric = [Matcher::equal("__name__", "node_metric_0050_total")];
        let half_an_hour = TimeRange::new(1_700_000_000_000, 1_700_001_800_000);
        let fifty = [one_metric[0].clone(), Matcher::equal("job", "job-3"), Matcher::equal("zone", "zone-1")];
        let one_target = [Matcher::equal("instance", "10.000.042.7:9100")];
        let mut group = c.benchmark_group(format!("block of {count} series"));
        group.sample_size(20);
        group.bench_function("open", |b| b.iter(|| Block::open(dir.path()).expect("a block")));
        for (name, matchers) in [("metric", &one_metric[..]), ("metric, job, zone", &fifty), ("target", &one_target)] {
            let found = block.select(matchers, TimeRange::ALL).expect("sound");
            println!("  {name}: {} series", found.len());
            group.bench_function(format!("select {name}"), |b| {
                b.iter(|| block.select(black_box(matchers), TimeRange::ALL).expect("sound"));
            });
            group.bench_function(format!("select {name} in a range"), |b| {
                b.iter(|| block.select(black_box(matchers), half_an_hour).expect("sound"));
            });
            group.bench_function(format!("labels of {name}"), |b| b.iter(|| block.labels(&found).expect("sound")));
            let mut out = Samples::default();
            group.bench_function(format!("read {name}"), |b| b.iter(|| block.read(&found, &mut out).expect("sound")));
        }
        group.finish();
    }
}

criterion_group!(benches, blocks);
criterion_main!(benches);
