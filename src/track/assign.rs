//! Who belongs to whom at the least cost in all: a sparse linear assignment.
//!
//! Rows take columns or stay alone at a fixed cost. Solved exactly by shortest augmenting paths on reduced costs (Jonker and
//! Volgenant, Computing 38, 1987, 325-340), each search ending at the first place that is free. Only pairs that may be are
//! stored, so that five thousand cells cost what their neighbours cost and not what a square of them would. Costs are integers:
//! the answer does not depend on rounding.

use std::{cmp::Reverse, collections::BinaryHeap};

/// A column that a row may take, and its cost; 0 or more.
pub(super) type Choice = (usize, i64);

/// The column of each row, at the least cost in all, where a row that takes none costs `alone`. A choice that costs `alone` or
/// more is never better.
pub(super) fn assign(rows: &[Vec<Choice>], n_columns: usize, alone: i64) -> Vec<Option<usize>> {
    let mut assignment = Assignment {
        rows,
        alone,
        row_price: vec![0; rows.len()],
        column_price: vec![0; n_columns],
        column_of: vec![None; rows.len()],
        row_of: vec![None; n_columns],
        way: vec![None; n_columns],
    };
    (0..rows.len()).for_each(|row| assignment.place(row));
    assignment.column_of
}

struct Assignment<'a> {
    rows: &'a [Vec<Choice>],
    alone: i64,
    /// **Invariant:** no choice costs less than the prices of its row and column; those that are taken cost just that.
    row_price: Vec<i64>,
    /// 0 for columns that nobody took, below 0 for others.
    column_price: Vec<i64>,
    column_of: Vec<Option<usize>>,
    row_of: Vec<Option<usize>>,
    /// Of the present search: the cheapest way to each column and the row that it comes from.
    way: Vec<Option<(i64, usize)>>,
}

/// A place to which a search came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Column(usize),
    /// The row stays alone.
    Alone(usize),
}

impl Assignment<'_> {
    /// Finds a place for `row`, moving others where that is cheaper in all.
    fn place(&mut self, row: usize) {
        let mut heap = BinaryHeap::new();
        let mut reached_rows = Vec::new();
        let mut reached_columns = Vec::new();
        let mut touched = Vec::new();
        let (mut row, mut length) = (row, 0);
        let (length, end) = loop {
            reached_rows.push((row, length));
            let so_far = length - self.row_price[row];
            heap.push(Reverse((so_far + self.alone, Place::Alone(row))));
            for &(column, cost) in &self.rows[row] {
                let length = so_far + cost - self.column_price[column];
                if self.way[column].is_none_or(|(best, _)| length < best) {
                    self.way[column] = Some((length, row));
                    touched.push(column);
                    heap.push(Reverse((length, Place::Column(column))));
                }
            }
            let (at, place) = self.nearest(&mut heap);
            let owner = match place {
                Place::Column(column) => self.row_of[column].map(|owner| (column, owner)),
                Place::Alone(_) => None,
            };
            let Some((column, owner)) = owner else {
                break (at, place);
            };
            reached_columns.push((column, at));
            (row, length) = (owner, at);
        };
        for (row, at) in reached_rows {
            self.row_price[row] += length - at;
        }
        for (column, at) in reached_columns {
            self.column_price[column] -= length - at;
        }
        self.hand_over(end);
        for column in touched {
            self.way[column] = None;
        }
    }

    /// The cheapest place that the search has not come to yet, and the cost up to there.
    fn nearest(&self, heap: &mut BinaryHeap<Reverse<(i64, Place)>>) -> (i64, Place) {
        loop {
            let Some(Reverse((length, place))) = heap.pop() else {
                unreachable!("staying alone is always possible, and ends the search");
            };
            // A column is reached by its cheapest way first; what else the heap holds of it is stale.
            match place {
                Place::Column(column)
                    if self.way[column].is_some_and(|(best, _)| best < length) => {}
                _ => return (length, place),
            }
        }
    }

    /// Every row on the way to `end` takes the place after it.
    fn hand_over(&mut self, end: Place) {
        let mut free = match end {
            Place::Column(column) => Some(column),
            Place::Alone(row) => self.column_of[row].take(),
        };
        while let Some(column) = free
            && let Some((_, row)) = self.way[column]
        {
            self.row_of[column] = Some(row);
            free = self.column_of[row].replace(column);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Choice, assign};

    const ALONE: i64 = 50;

    #[test]
    fn a_row_gives_way_where_that_is_cheaper_in_all() {
        let rows = [vec![(0, 1), (1, 2)], vec![(0, 1)]];
        assert_eq!(assign(&rows, 2, ALONE), [Some(1), Some(0)]);
        // Nobody gives way to a pair that costs more than staying alone.
        let rows = [vec![(0, 1), (1, 60)], vec![(0, 2)]];
        assert_eq!(assign(&rows, 2, ALONE), [Some(0), None]);
    }

    #[test]
    fn nobody_is_placed_where_there_is_no_place() {
        assert_eq!(assign(&[], 3, ALONE), []);
        assert_eq!(assign(&[vec![], vec![]], 0, ALONE), [None, None]);
    }

    /// What an answer costs; none if it is not one.
    fn cost(rows: &[Vec<Choice>], answer: &[Option<usize>]) -> Option<i64> {
        let mut taken = std::collections::HashSet::new();
        let costs = rows
            .iter()
            .zip(answer)
            .map(|(choices, answer)| match answer {
                None => Some(ALONE),
                Some(column) if taken.insert(*column) => choices
                    .iter()
                    .find(|choice| choice.0 == *column)
                    .map(|choice| choice.1),
                Some(_) => None,
            });
        costs.sum()
    }

    /// The least cost, by trying everything.
    fn least(rows: &[Vec<Choice>], taken: u32) -> i64 {
        let Some((choices, rest)) = rows.split_first() else {
            return 0;
        };
        let alone = ALONE + least(rest, taken);
        let placed = choices.iter().filter(|choice| taken >> choice.0 & 1 == 0);
        placed
            .map(|choice| choice.1 + least(rest, taken | 1 << choice.0))
            .fold(alone, i64::min)
    }

    fn choices() -> impl Strategy<Value = Vec<Choice>> {
        prop::collection::btree_map(0usize..6, 0i64..80, 0..5)
            .prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn no_other_assignment_costs_less(rows in prop::collection::vec(choices(), 0..7)) {
            prop_assert_eq!(cost(&rows, &assign(&rows, 6, ALONE)), Some(least(&rows, 0)));
        }
    }
}
