//! The pages of a file, and their pixels.

use std::{
    collections::BTreeMap,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{Plane, files::Found};
use crate::frame::{Frame, FrameLimits, FrameMetadata, ImageFile};

/// Stacks of many positions are read in turns.
const OPEN_FILES: usize = 64;

/// Reads planes; keeps the files of stacks open.
pub(in crate::cli) struct Reader {
    limits: FrameLimits,
    open: BTreeMap<PathBuf, ImageFile<BufReader<File>>>,
}

impl Reader {
    /// Of frames within `limits`.
    pub(in crate::cli) fn new(limits: FrameLimits) -> Self {
        Reader {
            limits,
            open: BTreeMap::new(),
        }
    }

    /// A plane as a frame.
    pub(in crate::cli) fn read(&mut self, plane: &Plane) -> Result<Frame> {
        if !self.open.contains_key(&plane.path) {
            if self.open.len() >= OPEN_FILES {
                self.open.clear();
            }
            let file = open(&plane.path, &self.limits)?;
            self.open.insert(plane.path.clone(), file);
        }
        let file = self.open.get_mut(&plane.path).expect("just opened");
        let read = file.read(plane.page);
        if file.pages().len() == 1 {
            self.open.remove(&plane.path);
        }
        let (layout, pixels) = read?;
        Ok(Frame::new(
            layout,
            pixels,
            plane.metadata.clone(),
            &self.limits,
        )?)
    }
}

/// Reads what the file says of its pages.
pub(super) fn open(path: &Path, limits: &FrameLimits) -> Result<ImageFile<BufReader<File>>> {
    let file = File::open(path).context("cannot be read")?;
    Ok(ImageFile::open(BufReader::new(file), limits)?)
}

/// What the file says of its pages, and over that what is said `beside` it. A file that cannot be read is one page, which will
/// fail when its turn comes.
pub(super) fn planes(file: &Found, beside: Option<&FrameMetadata>) -> Vec<Plane> {
    let stem = file.stem();
    let plane = |page: u32, in_stack: bool, image_id: String, metadata: FrameMetadata| {
        let mut plane = Plane {
            path: file.path.clone(),
            page,
            in_stack,
            image_id,
            metadata,
        };
        if let Some(beside) = beside {
            overlay(&mut plane.metadata, beside);
        }
        plane
    };
    let folder = FrameMetadata {
        position: file.folder().to_owned(),
        ..FrameMetadata::default()
    };
    let Ok(image) = open(&file.path, &FrameLimits::default()) else {
        return vec![plane(0, false, stem, folder)];
    };
    let pixel_size_um = image.pixel_size().map(|size| size.um);
    let pages = image.pages();
    let single = pages.len() == 1;
    let of_page = |(number, page): (u32, &crate::frame::Page)| {
        let mut index = page.index.clone();
        if single {
            // A file of its own for each time point: each calls itself the first.
            index.retain(|axis, &mut at| axis != "t" || at != 0);
        } else if index.is_empty() {
            index.insert("t".to_owned(), number);
        }
        let metadata = FrameMetadata {
            index,
            channel: page.channel.clone(),
            position: match single {
                _ if !page.position.is_empty() => page.position.clone(),
                true => folder.position.clone(),
                false => stem.clone(),
            },
            pixel_size_um,
            elapsed_ms: page.elapsed_ms,
            exposure_ms: page.exposure_ms,
            x_um: page.x_um,
            y_um: page.y_um,
            z_um: page.z_um,
            ..FrameMetadata::default()
        };
        let image_id = match single {
            true => stem.clone(),
            false => format!("{stem}_{number:04}"),
        };
        plane(number, !single, image_id, metadata)
    };
    (0..).zip(pages).map(of_page).collect()
}

/// What `over` says replaces what was said before.
pub(super) fn overlay(metadata: &mut FrameMetadata, over: &FrameMetadata) {
    let over = over.clone();
    metadata.index.extend(over.index);
    metadata.properties.extend(over.properties);
    for (text, over) in [
        (&mut metadata.channel, over.channel),
        (&mut metadata.position, over.position),
        (&mut metadata.camera, over.camera),
        (&mut metadata.plate, over.plate),
        (&mut metadata.well, over.well),
    ] {
        if !over.is_empty() {
            *text = over;
        }
    }
    for (number, over) in [
        (&mut metadata.exposure_ms, over.exposure_ms),
        (&mut metadata.x_um, over.x_um),
        (&mut metadata.y_um, over.y_um),
        (&mut metadata.z_um, over.z_um),
        (&mut metadata.pixel_size_um, over.pixel_size_um),
        (&mut metadata.elapsed_ms, over.elapsed_ms),
    ] {
        *number = over.or(*number);
    }
    metadata.field = over.field.or(metadata.field);
    metadata.binning = over.binning.or(metadata.binning);
    metadata.roi_x = over.roi_x.or(metadata.roi_x);
    metadata.roi_y = over.roi_y.or(metadata.roi_y);
    metadata.pixel_to_stage = over.pixel_to_stage.or(metadata.pixel_to_stage);
    metadata.captured_at = over.captured_at.or(metadata.captured_at);
}
