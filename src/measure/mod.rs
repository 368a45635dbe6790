//! What a biologist needs of each cell: morphology and intensity, equal to scikit-image's regionprops (0.26).
//!
//! Everything is made from packed bits, runs and integers: sums are exact, and nothing depends on the order of cells. Pixels only;
//! micrometres follow from the frame's pixel size where something is written out. Only what is asked for is computed.

mod bits;
mod hull;
mod intensity;
mod moments;
mod neighbours;
mod shape;
mod surround;

use crate::{
    frame::Frame,
    mask::Mask,
    params::{Distance, Measurements},
    segmentation::{Instance, Intensity, Measures, Neighbourhood},
};

/// Measures every instance by the groups of `wishes`: all of a frame's, before any is hidden. They are disjoint, have at least one
/// pixel and lie in `frame`, without which there are no intensities; `pixel_size_um` is the frame's, without which a radius in
/// micrometres counts nobody. Gives the frame's means over all of them; none: no neighbours were asked for.
pub fn measure(
    frame: Option<&Frame>,
    instances: &mut [Instance],
    wishes: &Measurements,
    pixel_size_um: Option<f64>,
) -> Option<Neighbourhood> {
    if !wishes.any() {
        return None;
    }
    let mut padded = bits::Padded::default();
    let mut outline = hull::Outline::default();
    let mut measured: Vec<Measures> = instances
        .iter()
        .map(|cell| {
            let moments = moments::Moments::of(&cell.mask);
            let shape = wishes.shape.then(|| {
                padded.take(&cell.mask);
                shape::shape(&moments, &padded, &cell.mask)
            });
            Measures {
                centroid_px: moments.centroid(),
                shape,
                hull: wishes.hull.then(|| outline.hull(&cell.mask)),
                intensity: Vec::new(),
                neighbours: None,
            }
        })
        .collect();
    if wishes.needs_pixels()
        && let Some(frame) = frame
    {
        let masks: Vec<&Mask> = instances.iter().map(|cell| &cell.mask).collect();
        let counts = intensities(frame, &masks, wishes.background);
        for (measures, intensity) in measured.iter_mut().zip(counts) {
            measures.intensity = intensity;
        }
    }
    let mut neighbourhood = None;
    if wishes.neighbours {
        let radius_px = match (wishes.neighbour_radius, pixel_size_um) {
            (Some(Distance::Px(px)), _) => Some(px),
            (Some(Distance::Um(um)), Some(um_per_px)) => Some(um / um_per_px),
            (Some(Distance::Um(_)), None) | (None, _) => None,
        };
        let centroids: Vec<_> = measured.iter().map(|cell| cell.centroid_px).collect();
        let found = neighbours::neighbours(&centroids, radius_px);
        neighbourhood = Some(neighbours::means(&found));
        for (measures, neighbours) in measured.iter_mut().zip(found) {
            measures.neighbours = Some(neighbours);
        }
    }
    for (cell, measures) in instances.iter_mut().zip(measured) {
        cell.measures = Some(Box::new(measures));
    }
    neighbourhood
}

/// The counts of `frame` in each of `masks`, which are disjoint, have at least one pixel and lie in the frame; one a colour
/// channel. With `background`, the median around each, the pixels of all masks excluded.
pub fn intensities(frame: &Frame, masks: &[&Mask], background: bool) -> Vec<Vec<Intensity>> {
    intensity::intensities(frame, masks, background)
}

#[cfg(test)]
mod tests;
