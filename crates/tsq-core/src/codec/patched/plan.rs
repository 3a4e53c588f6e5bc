//! How a miniblock is packed: the base and the width that take the fewest bytes, with the numbers that are far off as
//! exceptions.

use super::{MINIBLOCK, distance, packed_len};
use crate::codec::processor::per_processor;

/// At most one in so many rows of a miniblock is an exception.
const EXCEPTION_SHARE: usize = 4;

/// Rows that the middle of a miniblock is chosen from.
const MIDDLES: usize = 7;

/// How a miniblock is packed. What does not fit in `width` bits above the base is an exception.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) base: i64,
    pub(super) width: u32,
    /// Bytes of all but tag and base; with exceptions, about.
    pub(super) bytes: usize,
}

per_processor! {
    /// Finds a good plan for at most [`MINIBLOCK`] rows: they are counted by how many bits they lie below or above one
    /// in their middle, and all ways to leave out the farthest classes on both sides are compared.
    pub(super) fn plan(block: &[i64]) -> Plan = plan_any;
}

/// Rows on one side of the middle, by bits of their distance.
struct Side {
    counts: [u8; 65],
    farthest: [u64; 65],
}

/// What is left out on one side.
#[derive(Clone, Copy, Default)]
struct Cut {
    exceptions: usize,
    /// Bytes of those, about.
    patches: usize,
    /// Greatest distance that is kept.
    reach: u64,
}

#[inline(always)]
fn plan_any<const WIDE: bool>(block: &[i64]) -> Plan {
    let (least, most) = block.iter().fold((i64::MAX, i64::MIN), |(a, b), row| (a.min(*row), b.max(*row)));
    let (least, most) = if block.is_empty() { (0, 0) } else { (least, most) };
    let width = bits(distance(most, least));
    let mut best = Plan { base: least, width, bytes: packed_len(block.len(), width) };
    if width == 0 {
        return best;
    }
    let middle = middle(block);
    let mut sides = [const { Side { counts: [0; 65], farthest: [0; 65] } }; 2];
    for row in block {
        let is_below = *row < middle;
        let away = if is_below { distance(middle, *row) } else { distance(*row, middle) };
        let (side, class) = (&mut sides[usize::from(is_below)], bits(away) as usize);
        side.counts[class] += 1;
        side.farthest[class] = side.farthest[class].max(away);
    }
    let most_exceptions = block.len() / EXCEPTION_SHARE;
    let (mut above, mut below) = ([Cut::default(); 66], [Cut::default(); 66]);
    let above = sides[0].cuts(most_exceptions, &mut above);
    let below = sides[1].cuts(most_exceptions, &mut below);
    for low in below {
        for high in above {
            let exceptions = low.exceptions + high.exceptions;
            if exceptions > most_exceptions {
                break;
            }
            let width = bits(low.reach + high.reach);
            let patches = if exceptions > 0 { 1 + low.patches + high.patches } else { 0 };
            let bytes = packed_len(block.len(), width) + patches;
            if bytes < best.bytes {
                best = Plan { base: middle.wrapping_sub_unsigned(low.reach), width, bytes };
            }
        }
    }
    best
}

/// The median of a few evenly spread rows.
#[inline(always)]
fn middle(block: &[i64]) -> i64 {
    let mut some = [0; MIDDLES];
    for (at, slot) in some.iter_mut().enumerate() {
        *slot = block[(2 * at + 1) * block.len() / (2 * MIDDLES)];
    }
    some.sort_unstable();
    some[MIDDLES / 2]
}

impl Side {
    /// The ways to leave out the farthest classes, from none on, with few enough exceptions.
    #[inline(always)]
    fn cuts<'a>(&self, most_exceptions: usize, cuts: &'a mut [Cut; 66]) -> &'a [Cut] {
        let (mut next, mut count) = (Cut::default(), 0);
        for class in (0..self.counts.len()).rev().filter(|class| self.counts[*class] > 0) {
            cuts[count] = Cut { reach: self.farthest[class], ..next };
            count += 1;
            let rows = usize::from(self.counts[class]);
            next.exceptions += rows;
            next.patches += rows * (1 + (class + 1).div_ceil(7));
            if next.exceptions > most_exceptions {
                return &cuts[..count];
            }
        }
        cuts[count] = next;
        &cuts[..=count]
    }
}

/// Bits of a number.
#[inline(always)]
pub(super) fn bits(number: u64) -> u32 {
    64 - number.leading_zeros()
}

const _: () = assert!(MINIBLOCK <= u8::MAX as usize);
