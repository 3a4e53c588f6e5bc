use std::sync::Arc;

use proptest::prelude::*;

use super::super::{Notes, Out, WINDOW_FUNCTIONS, Window};
use super::{Frame, Sweep};

/// A series and windows over it.
#[derive(Clone, Debug)]
struct Case {
    times: Vec<i64>,
    values: Vec<f64>,
    range_ms: i64,
    step_ms: i64,
    steps: usize,
    arg: f64,
}

fn cases(value: impl Strategy<Value = f64>) -> impl Strategy<Value = Case> {
    let samples = prop::collection::vec((1_i64..40, value), 0..200);
    (samples, 1_i64..1500, 1_i64..200, 1_usize..60, -0.2..1.2_f64).prop_map(
        |(samples, range_ms, step_ms, steps, arg)| {
            let mut time = 0;
            let times = samples.iter().map(|(gap, _)| {
                time += gap;
                time
            });
            Case {
                times: times.collect(),
                values: samples.iter().map(|s| s.1).collect(),
                range_ms,
                step_ms,
                steps,
                arg,
            }
        },
    )
}

fn any_value() -> impl Strategy<Value = f64> {
    let special = prop::sample::select(vec![0.0, -0.0, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, 2.0]);
    prop_oneof![3 => special, 1 => any::<f64>(), 4 => -100.0..100.0_f64]
}

fn window<'a>(case: &'a Case, frame: &Frame) -> Window<'a> {
    Window {
        times: &case.times[frame.first..frame.end],
        values: &case.values[frame.first..frame.end],
        histogram_times: &[],
        histograms: &[] as &[Arc<tsq_core::Histogram>],
        starts: &[],
        histogram_starts: &[],
        start_ms: frame.start_ms,
        end_ms: frame.end_ms,
        time_ms: frame.end_ms,
    }
}

fn frames(case: &Case) -> Vec<Frame> {
    let frame = |step: usize| {
        let end_ms = step as i64 * case.step_ms;
        let start_ms = end_ms - case.range_ms;
        let below = |limit_ms: i64| case.times.partition_point(|&time| time <= limit_ms);
        Frame { first: below(start_ms), end: below(end_ms), start_ms, end_ms }
    };
    (0..case.steps).map(frame).collect()
}

const ABSENT: f64 = -12345.678;

/// The results of a function window by window, and those of its sweep.
fn both(name: &str, case: &Case) -> (Vec<f64>, Vec<f64>) {
    let function = WINDOW_FUNCTIONS.iter().find(|function| function.name == name).expect("it is a window function");
    let frames = frames(case);
    let (mut plain_notes, mut notes) = (Notes::default(), Notes::default());
    let plain =
        frames.iter().map(|frame| match (function.kernel)(&window(case, frame), &[case.arg], &mut plain_notes) {
            Out::Float(value) => value,
            _ => ABSENT,
        });
    let plain = plain.collect();
    let mut out = vec![ABSENT; case.steps];
    let (times, values) = (&case.times, &case.values);
    let sweep = Sweep { times, values, frames: &frames, arg: &|_| case.arg, is_stopped: &|| false };
    (function.sweep.expect("it has a sweep"))(&sweep, &mut notes, &mut out);
    assert_eq!(plain_notes.iter().count(), notes.iter().count(), "{name}");
    (plain, out)
}

/// Names of all functions that have a sweep.
fn swept() -> impl Iterator<Item = &'static str> {
    WINDOW_FUNCTIONS.iter().filter(|function| function.sweep.is_some()).map(|function| function.name)
}

fn is_summed(name: &str) -> bool {
    ["sum_over_time", "avg_over_time", "stddev_over_time", "stdvar_over_time"].contains(&name)
}

fn is_close(a: f64, b: f64, scale: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= 1e-12 * scale.max(a.abs())
}

proptest! {
    #[test]
    fn sweeps_give_what_kernels_give(case in cases(any_value())) {
        for name in swept() {
            let (plain, swept) = both(name, &case);
            for (step, (&plain, &swept)) in plain.iter().zip(&swept).enumerate() {
                let same = plain == swept || (plain.is_nan() && swept.is_nan());
                // Between numbers of very different sizes the compensated sums of two orders may round apart.
                prop_assert!(same || is_summed(name), "{name} at step {step}: {plain} and {swept}");
            }
        }
    }

    #[test]
    fn sums_of_two_orders_differ_in_the_last_digit_at_most(case in cases(prop_oneof![-1e6..1e6_f64, 1e9..2e9_f64])) {
        for name in swept().filter(|name| is_summed(name)) {
            let (plain, swept) = both(name, &case);
            for (step, (&plain, &swept)) in plain.iter().zip(&swept).enumerate() {
                prop_assert!(is_close(plain, swept, 0.0), "{name} at step {step}: {plain} and {swept}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_spoils_its_own_windows_only(case in cases(prop_oneof![
        prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
        Just(1.0), Just(2.0), Just(3.0), Just(1e300)
    ])) {
        for name in swept().filter(|name| is_summed(name)) {
            let (plain, swept) = both(name, &case);
            for (step, (&plain, &swept)) in plain.iter().zip(&swept).enumerate() {
                prop_assert!(is_close(plain, swept, 1.0), "{name} at step {step}: {plain} and {swept}");
            }
        }
    }
}

#[test]
fn long_windows_of_a_drifting_series_stay_exact() {
    let samples = 20_000;
    let case = Case {
        times: (0..samples).map(|at| at * 10).collect(),
        values: (0..samples).map(|at| if at % 5_000 == 0 { 1e15 } else { 1e3 + (at % 97) as f64 / 7.0 }).collect(),
        range_ms: 30_000,
        step_ms: 1_000,
        steps: 200,
        arg: 0.9,
    };
    for name in swept() {
        let (plain, swept) = both(name, &case);
        for (step, (&plain, &swept)) in plain.iter().zip(&swept).enumerate() {
            assert!(is_close(plain, swept, 0.0), "{name} at step {step}: {plain} and {swept}");
        }
    }
}
