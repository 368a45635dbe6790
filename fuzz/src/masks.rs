//! Run lengths and rings.

use cellsegd::mask::{self, LabelImage, Mask, Ring, decode_coco, encode_coco, label_image};

use crate::script::Script;

/// Any bytes as run lengths: refused, or a mask within the frame whose own run lengths say the same.
pub(crate) fn rle(input: &[u8]) {
    let mut script = Script::new(input);
    let (width, height) = (script.number() % 2048, script.number() % 2048);
    let Ok(mask) = decode_coco(script.rest(), width, height) else {
        return;
    };
    assert!(mask.x() + mask.width() <= width && mask.y() + mask.height() <= height);
    let back =
        decode_coco(&encode_coco(&mask, width, height), width, height).expect("just encoded");
    assert_eq!(back, mask);
}

/// Any pixels: run lengths, rings and the label image hold exactly these.
pub(crate) fn rings(input: &[u8]) {
    let (mask, width, height) = drawn(input);
    let back =
        decode_coco(&encode_coco(&mask, width, height), width, height).expect("just encoded");
    assert_eq!(back.area(), mask.area());
    let LabelImage::U16(labels) = label_image([&mask].into_iter(), width, height) else {
        panic!("one label fits 16 bits");
    };
    let inside = filled(&mask::rings(&mask), width, height);
    for y in 0..height {
        for x in 0..width {
            let at = (y * width + x) as usize;
            let expected = is_set(&mask, x, y);
            assert_eq!(is_set(&back, x, y), expected, "run lengths at {x}, {y}");
            assert_eq!(inside[at], expected, "rings at {x}, {y}");
            assert_eq!(labels[at] == 1, expected, "label image at {x}, {y}");
        }
    }
}

/// A mask, and a frame around it.
fn drawn(input: &[u8]) -> (Mask, u32, u32) {
    let mut script = Script::new(input);
    let (left, top) = (script.below(5) as u32, script.below(5) as u32);
    let (width, height) = (1 + script.below(70) as u32, 1 + script.below(40) as u32);
    let bits = script.rest();
    let mut mask = Mask::empty(left, top, width, height);
    for y in 0..height {
        for x in 0..width {
            let at = (y * width + x) as usize;
            if bits
                .get(at / 8)
                .is_some_and(|byte| byte >> (at % 8) & 1 == 1)
            {
                mask.set(x, y);
            }
        }
    }
    (mask, left + width + 3, top + height + 2)
}

fn is_set(mask: &Mask, x: u32, y: u32) -> bool {
    let inside = |at: u32, start: u32, length: u32| start <= at && at - start < length;
    inside(x, mask.x(), mask.width())
        && inside(y, mask.y(), mask.height())
        && mask.get(x - mask.x(), y - mask.y())
}

/// The pixels inside closed lines along pixel edges, by the parity of the vertical edges to their left.
fn filled(rings: &[Ring], width: u32, height: u32) -> Vec<bool> {
    let mut inside = vec![false; (width * height) as usize];
    for ring in rings {
        let next = ring.corners.iter().cycle().skip(1);
        for (&(x, y), &(to_x, to_y)) in ring.corners.iter().zip(next) {
            assert!((x == to_x) != (y == to_y), "an edge runs along one axis");
            for row in y.min(to_y)..y.max(to_y) {
                for pixel in &mut inside
                    [(row * width as i32 + x) as usize..((row + 1) * width as i32) as usize]
                {
                    *pixel = !*pixel;
                }
            }
        }
    }
    inside
}
