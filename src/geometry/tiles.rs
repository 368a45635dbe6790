//! A frame in tiles: where each lies.

/// A rectangle of a frame's pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Left.
    pub x: u32,
    /// Top.
    pub y: u32,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// More tiles than a frame may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tiles of {}x{} px: {n} of them would cover {}x{} px, at most {most} may: ask for larger tiles or less overlap", .side.0, .side.1, .frame.0, .frame.1)]
pub struct TooManyTiles {
    frame: (u32, u32),
    side: (u32, u32),
    n: u64,
    most: u64,
}

/// Over the 256 tiles of 640 pixels on 8192 x 8192: enough to look at twice the camera's scale.
const MOST: u64 = 1024;

/// Tiles start at a multiple of it: where two or four pixels share bytes, a tile begins with a byte.
const ALIGN: u32 = 4;

/// Row by row, tiles of at most `side` that cover the frame evenly; neighbours share at least `shared` pixels of each side, which
/// is at most half of it. The last ones end with the frame. A frame that is no larger than a tile is one tile.
pub fn tiles(
    frame: (u32, u32),
    side: (u32, u32),
    shared: (u32, u32),
) -> Result<Vec<Tile>, TooManyTiles> {
    let columns = Axis::new(frame.0, side.0, shared.0, ALIGN);
    let rows = Axis::new(frame.1, side.1, shared.1, 1);
    let n = (u64::from(columns.steps) + 1) * (u64::from(rows.steps) + 1);
    if n > MOST {
        return Err(TooManyTiles {
            frame,
            side,
            n,
            most: MOST,
        });
    }
    let tile = |(y, height), (x, width)| Tile {
        x,
        y,
        width,
        height,
    };
    Ok(rows
        .spans()
        .flat_map(|row| columns.spans().map(move |column| tile(row, column)))
        .collect())
}

/// The tiles along one side of a frame.
struct Axis {
    frame: u32,
    tile: u32,
    /// Where the last one starts.
    last: u32,
    /// One less than there are tiles.
    steps: u32,
    align: u32,
}

impl Axis {
    fn new(frame: u32, tile: u32, shared: u32, align: u32) -> Axis {
        // The last tile is a little narrower where its start is moved to a multiple.
        let last = frame.saturating_sub(tile).next_multiple_of(align);
        // A start that is moved leaves its neighbour further away by less than `align`.
        let step = tile.saturating_sub(shared + align - 1).max(align);
        Axis {
            frame,
            tile,
            last,
            steps: last.div_ceil(step),
            align,
        }
    }

    /// Start and length of each.
    fn spans(&self) -> impl Iterator<Item = (u32, u32)> + use<> {
        let &Axis {
            frame,
            tile,
            last,
            steps,
            align,
        } = self;
        (0..=steps).map(move |i| {
            let even = u64::from(last) * u64::from(i) / u64::from(steps.max(1));
            let start = even as u32 / align * align;
            (start, tile.min(frame - start))
        })
    }
}

impl Tile {
    /// The pixels that both have; none of a side where they have none.
    pub fn shared(&self, other: &Tile) -> Tile {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let right = (self.x + self.width).min(other.x + other.width);
        let bottom = (self.y + self.height).min(other.y + other.height);
        Tile {
            x,
            y,
            width: right.saturating_sub(x),
            height: bottom.saturating_sub(y),
        }
    }

    /// Whether it holds all of `inner`.
    pub fn contains(&self, inner: &Tile) -> bool {
        self.shared(inner) == *inner
    }

    /// How far `inner`, which it holds, stays away from those of its edges that lie inside the frame; `u32::MAX` where none does.
    pub fn clearance(&self, inner: &Tile, frame: (u32, u32)) -> u32 {
        let left = (self.x > 0).then(|| inner.x - self.x);
        let top = (self.y > 0).then(|| inner.y - self.y);
        let (end_x, end_y) = (self.x + self.width, self.y + self.height);
        let right = (end_x < frame.0).then(|| end_x - (inner.x + inner.width));
        let bottom = (end_y < frame.1).then(|| end_y - (inner.y + inner.height));
        let edges = [left, top, right, bottom].into_iter().flatten();
        edges.min().unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ALIGN, MOST, Tile, tiles};

    #[test]
    fn frames_are_covered_evenly() {
        // Worked by hand: (side - tile) in equal steps of at most tile - shared - 3.
        for (frame, expected) in [
            ((640, 640), vec![(0, 640)]),
            ((641, 640), vec![(0, 640), (4, 637)]),
            ((1024, 640), vec![(0, 640), (384, 640)]),
            (
                (2048, 640),
                vec![(0, 640), (468, 640), (936, 640), (1408, 640)],
            ),
            ((100, 640), vec![(0, 100)]),
        ] {
            let all = tiles(frame, (640, 640), (128, 128)).unwrap();
            let found: Vec<_> = all.iter().map(|tile| (tile.x, tile.width)).collect();
            assert_eq!(found, expected, "{frame:?}");
        }
    }

    #[test]
    fn more_tiles_than_a_frame_may_cost_are_refused_with_their_number() {
        let error = tiles((8192, 8192), (213, 213), (43, 43)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "tiles of 213x213 px: 2352 of them would cover 8192x8192 px, at most 1024 may: ask for larger tiles or less overlap"
        );
    }

    #[test]
    fn only_edges_inside_the_frame_cut() {
        let tile = Tile {
            x: 0,
            y: 50,
            width: 100,
            height: 50,
        };
        let cell = |x, y| Tile {
            x,
            y,
            width: 10,
            height: 5,
        };
        assert_eq!(tile.clearance(&cell(0, 95), (200, 100)), 45);
        assert_eq!(tile.clearance(&cell(87, 70), (200, 100)), 3);
        assert_eq!(tile.clearance(&cell(90, 95), (100, 100)), 45);
        assert_eq!(
            Tile { y: 0, ..tile }.clearance(&cell(0, 0), (100, 50)),
            u32::MAX
        );
    }

    proptest! {
        #[test]
        fn tiles_cover_the_frame_and_share_what_was_asked_for(
            frame in (1u32..3000, 1u32..3000),
            side in 32u32..700,
            half in 0u32..=100,
        ) {
            let shared = side / 2 * half / 100;
            let Ok(all) = tiles(frame, (side, side), (shared, shared)) else { return Ok(()) };
            prop_assert!(all.len() as u64 <= MOST);
            prop_assert!(all.iter().all(|tile| tile.x % ALIGN == 0));
            prop_assert!(all.iter().all(|tile| 0 < tile.width && tile.width <= side && 0 < tile.height && tile.height <= side));
            let (last, first) = (all.last().unwrap(), all[0]);
            prop_assert_eq!((first.x, first.y), (0, 0));
            prop_assert_eq!((last.x + last.width, last.y + last.height), frame);
            for pair in all.windows(2).filter(|pair| pair[0].y == pair[1].y) {
                prop_assert!(pair[0].x < pair[1].x && pair[1].x + shared <= pair[0].x + pair[0].width);
            }
            let columns = all.iter().filter(|tile| tile.y == 0).count();
            for rows in all.chunks(columns).collect::<Vec<_>>().windows(2) {
                prop_assert!(rows[0][0].y < rows[1][0].y && rows[1][0].y + shared <= rows[0][0].y + rows[0][0].height);
            }
        }
    }
}
