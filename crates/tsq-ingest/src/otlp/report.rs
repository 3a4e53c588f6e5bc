//! What a request held, and what became of it.

use tsq_core::{Appended, RejectReason, Rejection};

/// Stands for "of no data point" among the points of series.
const NO_POINT: u32 = u32::MAX;

/// What a request held and what of it was refused; with [`Report::appended`] also what the engine refused.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Data points put into the batch.
    pub points: u64,
    /// Data points refused.
    pub rejected: u64,
    /// The first refusals, at most [`Report::MAX_REJECTIONS`]; `samples` counts data points.
    pub rejections: Vec<Rejection>,
    /// Exemplars left out because their labels are unusable: no reason to refuse the points beside them.
    pub dropped_exemplars: u64,
    /// The point that each series of the batch belongs to.
    points_of_series: Vec<u32>,
}

impl Report {
    /// How many refusals are described.
    pub const MAX_REJECTIONS: usize = 16;

    /// Counts a refusal; `message` is only called while there is room for it.
    #[cold]
    pub(super) fn reject(&mut self, reason: RejectReason, points: u64, message: impl FnOnce() -> String) {
        self.rejected += points;
        if self.rejections.len() < Self::MAX_REJECTIONS {
            self.rejections.push(Rejection { reason, message: message(), samples: points });
        }
    }

    /// A series of the next point was put into the batch.
    #[inline]
    pub(super) fn series_of_point(&mut self) {
        // A batch of as many points is larger than any bound.
        self.points_of_series.push(u32::try_from(self.points).unwrap_or(NO_POINT));
    }

    /// A series that belongs to no point was put into the batch.
    pub(super) fn series_of_resource(&mut self) {
        self.points_of_series.push(NO_POINT);
    }

    /// Adds what the engine refused. A point of which one sample was refused counts as refused.
    pub fn appended(&mut self, appended: &Appended) {
        let points = appended.rejected_series.iter().filter_map(|&series| self.points_of_series.get(series).copied());
        let mut points: Vec<u32> = points.filter(|point| *point != NO_POINT).collect();
        points.sort_unstable();
        points.dedup();
        self.rejected += points.len() as u64;
        self.points -= (points.len() as u64).min(self.points);
        let room = Self::MAX_REJECTIONS - self.rejections.len();
        self.rejections.extend(appended.rejections.iter().take(room).cloned());
    }

    /// What the sender is told: nothing when everything was stored.
    pub fn message(&self) -> Option<String> {
        if self.rejected == 0 && self.rejections.is_empty() {
            return None;
        }
        let listed: Vec<_> = self.rejections.iter().map(|rejection| rejection.message.as_str()).collect();
        Some(format!("{} data points refused, {} stored: {}", self.rejected, self.points, listed.join("; ")))
    }
}
