//! Codec 3, `linear`: integers with one constant difference, such as times on a regular grid.
//!
//! ~~~text
//! first       zigzag varint     absent for no rows
//! difference  zigzag varint     absent for fewer than two rows; sums wrap
//! ~~~

use super::varint::{Cursor, put_i64};
use super::{Codec, Column, ColumnMut, ColumnType, cut_short};
use crate::error::Result;

#[derive(Debug)]
pub(super) struct Linear;

impl Codec for Linear {
    fn id(&self) -> u8 {
        3
    }

    fn name(&self) -> &'static str {
        "linear"
    }

    fn column_type(&self) -> ColumnType {
        ColumnType::Integers
    }

    fn accepts(&self, column: Column<'_>) -> bool {
        let Column::Integers(rows) = column else { return false };
        rows.windows(3).all(|w| w[1].wrapping_sub(w[0]) == w[2].wrapping_sub(w[1]))
    }

    fn encode(&self, column: Column<'_>, out: &mut Vec<u8>) {
        let Column::Integers(rows) = column else { unreachable!("the column is of the codec's type") };
        if let Some(first) = rows.first() {
            put_i64(out, *first);
        }
        if let [first, second, ..] = rows {
            put_i64(out, second.wrapping_sub(*first));
        }
    }

    fn decode(&self, data: &[u8], rows: usize, out: ColumnMut<'_>) -> Result<()> {
        let ColumnMut::Integers(out) = out else { unreachable!("the column is of the codec's type") };
        let mut cursor = Cursor::new(data);
        let mut number = |wanted: bool| if wanted { cursor.i64() } else { Some(0) };
        let (Some(first), Some(difference)) = (number(rows > 0), number(rows > 1)) else {
            return Err(cut_short("linear"));
        };
        let mut next = first;
        out.extend((0..rows).map(|_| {
            let row = next;
            next = next.wrapping_add(difference);
            row
        }));
        Ok(())
    }
}
