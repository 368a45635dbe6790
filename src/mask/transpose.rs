//! Rows of bits to columns of bits, 32 x 32 at a time.

use super::Mask;

/// Columns `group * 32 ..` of `mask`, `column_words` words each, into `columns`.
pub(super) fn transpose_group(mask: &Mask, group: usize, columns: &mut [u32], column_words: usize) {
    let n = mask.row_words();
    for (i, rows) in mask.words.chunks(32 * n).enumerate() {
        let mut block = [0; 32];
        for (word, row) in block.iter_mut().zip(rows.chunks_exact(n)) {
            *word = row[group];
        }
        transpose(&mut block);
        for (column, word) in columns[i..].iter_mut().step_by(column_words).zip(block) {
            *column = word;
        }
    }
}

/// Bit j of word i becomes bit i of word j: the off-diagonal quarters change places, then those of each quarter, down to bits.
fn transpose(block: &mut [u32; 32]) {
    for (size, low) in [
        (16, 0x0000_ffff),
        (8, 0x00ff_00ff),
        (4, 0x0f0f_0f0f),
        (2, 0x3333_3333),
        (1, 0x5555_5555),
    ] {
        for pair in block.chunks_exact_mut(2 * size) {
            let (upper, lower) = pair.split_at_mut(size);
            for (a, b) in upper.iter_mut().zip(lower) {
                let differing = (*a >> size ^ *b) & low;
                *a ^= differing << size;
                *b ^= differing;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::transpose;

    #[test]
    fn every_bit_changes_its_row_for_its_column() {
        for (row, column) in (0..32).flat_map(|row| (0..32).map(move |column| (row, column))) {
            let (mut block, mut expected) = ([0; 32], [0; 32]);
            block[row] = 1 << column;
            expected[column] = 1 << row;
            transpose(&mut block);
            assert_eq!(block, expected, "({row}, {column})");
        }
    }
}
