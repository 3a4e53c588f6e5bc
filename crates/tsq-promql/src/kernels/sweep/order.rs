//! Quantiles of windows: ranks of all samples once, then a tree of the ranks that are in the window.

use super::super::Note;
use super::super::aggregate::{self, nan_first};
use super::super::over_time::median_distance;
use super::{Notes, Sweep};

/// Windows that overlap less are looked at one by one.
const OVERLAP_MIN: usize = 8;

/// `quantile_over_time`
pub(crate) fn quantile(sweep: &Sweep<'_>, notes: &mut Notes, out: &mut [f64]) {
    let invalid = sweep.filled().map(|(step, _)| (sweep.arg)(step)).filter(|phi| !(0.0..=1.0).contains(phi));
    invalid.for_each(|phi| notes.add(Note::InvalidQuantile(phi)));
    if sweep.overlaps(OVERLAP_MIN) {
        let mut window = Ranked::new(sweep.values);
        for (step, frame) in sweep.filled() {
            window.slide(frame.first, frame.end);
            out[step] = window.quantile((sweep.arg)(step));
        }
        return;
    }
    let mut copy = Vec::new();
    sweep.one_by_one(|step, _, values| {
        copy.clear();
        copy.extend_from_slice(values);
        out[step] = aggregate::quantile((sweep.arg)(step), &mut copy);
    });
}

/// `mad_over_time`
pub(crate) fn mad(sweep: &Sweep<'_>, _: &mut Notes, out: &mut [f64]) {
    // The distance between two infinities is no number, which only the plain way puts where it belongs.
    if !sweep.overlaps(OVERLAP_MIN) || sweep.values.iter().any(|value| value.is_infinite()) {
        sweep.one_by_one(|step, _, values| out[step] = median_distance(values));
        return;
    }
    let mut window = Ranked::new(sweep.values);
    let mut nans = (0..sweep.values.len()).filter(|&at| sweep.values[at].is_nan()).peekable();
    for (step, frame) in sweep.filled() {
        while nans.next_if(|&at| at < frame.first).is_some() {}
        window.slide(frame.first, frame.end);
        let has_nan = nans.peek().is_some_and(|&at| at < frame.end);
        out[step] = if has_nan { f64::NAN } else { window.median_distance() };
    }
}

/// A window whose samples can be asked for by their place in the order of values.
struct Ranked {
    /// All samples of the series in order.
    ordered: Vec<f64>,
    /// Place of each sample in `ordered`.
    ranks: Vec<u32>,
    /// A Fenwick tree that counts the samples in the window by rank.
    tree: Vec<u32>,
    first: usize,
    end: usize,
}

impl Ranked {
    fn new(values: &[f64]) -> Self {
        let mut order: Vec<u32> = (0..values.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| nan_first(&values[a as usize], &values[b as usize]));
        let mut ranks = vec![0; values.len()];
        for (rank, &at) in order.iter().enumerate() {
            ranks[at as usize] = rank as u32;
        }
        let ordered = order.iter().map(|&at| values[at as usize]).collect();
        Self { ordered, ranks, tree: vec![0; values.len() + 1], first: 0, end: 0 }
    }

    /// Moves the window; neither end may fall.
    fn slide(&mut self, first: usize, end: usize) {
        for at in self.first..first.min(self.end) {
            self.count(at, u32::MAX);
        }
        for at in self.end.max(first)..end {
            self.count(at, 1);
        }
        (self.first, self.end) = (first, end.max(self.end));
    }

    fn len(&self) -> usize {
        self.end - self.first
    }

    /// Adds a number (modulo 2^32) to the count at the rank of a sample.
    fn count(&mut self, at: usize, by: u32) {
        let mut node = self.ranks[at] as usize + 1;
        while let Some(count) = self.tree.get_mut(node) {
            *count = count.wrapping_add(by);
            node += node & node.wrapping_neg();
        }
    }

    /// The sample of the window with `below` samples below it. O(log samples).
    fn nth(&self, below: usize) -> f64 {
        let mut rest = below as u32;
        let mut node = 0;
        let mut width = self.ordered.len().next_power_of_two();
        while width > 0 {
            if let Some(&count) = self.tree.get(node + width).filter(|count| **count <= rest) {
                rest -= count;
                node += width;
            }
            width /= 2;
        }
        self.ordered[node]
    }

    /// As [`aggregate::quantile`] of the window.
    fn quantile(&self, phi: f64) -> f64 {
        aggregate::quantile_of(phi, self.len(), |lower| {
            let high = if lower + 1 < self.len() { self.nth(lower + 1) } else { f64::NAN };
            (self.nth(lower), high)
        })
    }

    /// The median of the distances to the median.
    fn median_distance(&self) -> f64 {
        let median = self.quantile(0.5);
        let below = self.below(median);
        aggregate::quantile_of(0.5, self.len(), |lower| {
            let high = if lower + 1 < self.len() { self.nth_distance(median, below, lower + 1) } else { f64::NAN };
            (self.nth_distance(median, below, lower), high)
        })
    }

    /// How many samples of the window are below a value.
    fn below(&self, value: f64) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.nth(middle) < value {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The distance from `center` that `nth` distances are not above. `below` samples are below the center: distances
    /// grow from there to both sides, so some of the nearest come from the left and the others from the right.
    fn nth_distance(&self, center: f64, below: usize, nth: usize) -> f64 {
        let left = |index: usize| (self.nth(below - 1 - index) - center).abs();
        let right = |index: usize| (self.nth(below + index) - center).abs();
        let (taken, above) = (nth + 1, self.len() - below);
        let (mut low, mut high) = (taken.saturating_sub(above), taken.min(below));
        while low < high {
            let middle = usize::midpoint(low, high);
            if middle == taken || left(middle) >= right(taken - middle - 1) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let from_left = if low > 0 { left(low - 1) } else { 0.0 };
        let from_right = if taken > low { right(taken - low - 1) } else { 0.0 };
        from_left.max(from_right)
    }
}
