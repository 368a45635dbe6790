//! Masks as polygons along pixel edges.

use super::Mask;

/// A closed line along pixel edges: corners only, the first not repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Frame coordinates, pixel edges.
    pub corners: Vec<(i32, i32)>,
    /// Outer rings run clockwise on screen, holes the other way.
    pub hole: bool,
}

/// The rings of `mask`: each outer ring followed by its holes; 4-connected foreground; a valid multipolygon.
pub fn rings(mask: &Mask) -> Vec<Ring> {
    let _ = mask;
    todo!()
}
