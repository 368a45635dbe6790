//! From a command line to frames: files and folders, the pages of stacks, and what is known of each.

mod files;
mod flags;
mod micromanager;
mod order;
mod pages;
mod pattern;
mod refusal;
mod wake;
mod watch;

pub(super) use flags::{InputFlags, Listing};
pub(super) use order::Group;
pub(super) use pages::Reader;
pub(super) use pattern::Pattern;
pub(super) use wake::{Wake, Wakes};
pub(super) use watch::{Arrival, Arrivals};

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use self::{
    files::Found,
    micromanager::MicroManager,
    order::{Order, Role},
};
use super::UsageError;
use crate::frame::FrameMetadata;

/// One image of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plane {
    pub(super) path: PathBuf,
    /// Of the file, from 0.
    pub(super) page: u32,
    /// The file has other pages too.
    pub(super) in_stack: bool,
    /// What its results are called.
    pub(super) image_id: String,
    pub(super) metadata: FrameMetadata,
}

/// Says which planes files hold.
pub(super) struct Lister {
    listing: Listing,
    pattern: Option<Pattern>,
    micromanager: HashMap<PathBuf, Option<MicroManager>>,
    order: Order,
}

/// What a run works on.
pub(super) struct Listed {
    pub(super) groups: Vec<Group>,
    /// Names that do not match the pattern.
    pub(super) unmatched: Vec<String>,
    /// Planes of channels that were not asked for.
    pub(super) other_channels: usize,
    /// Channels found, in their order.
    pub(super) channels: Vec<String>,
}

impl Lister {
    pub(super) fn new(listing: Listing) -> Result<Lister, UsageError> {
        let pattern = listing.pattern.as_deref().map(str::parse).transpose();
        Ok(Lister {
            pattern: pattern.map_err(|why| UsageError(format!("--pattern {why}")))?,
            order: Order::new(&listing),
            micromanager: HashMap::new(),
            listing,
        })
    }

    /// Every frame of the files and folders, in the order of time. Refuses what cannot be meant as a whole: names that do not
    /// match, results that would overwrite one another, a channel that is not there.
    pub(super) fn all(mut self) -> Result<Listed, UsageError> {
        let (mut planes, mut unmatched) = (Vec::new(), Vec::new());
        let files = files::find(&self.listing.paths)?;
        self.order.check_names(&files)?;
        for file in &files {
            match self.planes(file)? {
                Some(of_file) => planes.extend(of_file),
                None => unmatched.push(file.name.clone()),
            }
        }
        if planes.is_empty() && !unmatched.is_empty() {
            return Err(UsageError(format!(
                "--pattern matches none of {} files, the first of which is {}",
                unmatched.len(),
                unmatched[0]
            )));
        }
        if !unmatched.is_empty() && !self.listing.skip_unmatched {
            let shown = unmatched[..unmatched.len().min(5)].join(", ");
            let more = match unmatched.len() {
                0..=5 => "",
                _ => ", ...",
            };
            return Err(UsageError(format!(
                "--pattern does not match {} of {} files: {shown}{more}; with --skip-unmatched they are left out",
                unmatched.len(),
                files.len()
            )));
        }
        let mut channels: Vec<String> = Vec::new();
        for plane in &planes {
            if !channels.contains(&plane.metadata.channel) {
                channels.push(plane.metadata.channel.clone());
            }
        }
        let n_planes = planes.len();
        self.order.check_channels(&planes, &channels)?;
        let groups = self.order.groups(planes)?;
        let n_taken: usize = groups.iter().map(|group| 1 + group.measured.len()).sum();
        Ok(Listed {
            groups,
            unmatched,
            other_channels: n_planes - n_taken,
            channels,
        })
    }

    /// The planes of one file, with all that is known of them but a place in a row. None: the pattern does not match.
    fn planes(&mut self, file: &Found) -> Result<Option<Vec<Plane>>, UsageError> {
        let mut named = FrameMetadata::default();
        if let Some(pattern) = &self.pattern
            && !pattern.read(&file.name, &mut named)?
        {
            return Ok(None);
        }
        let beside = self.micromanager(&file.path)?;
        let planes = pages::planes(file, beside.as_ref());
        let planes = planes.into_iter().map(|mut plane| {
            pages::overlay(&mut plane.metadata, &named);
            if let Some(um) = self.listing.pixel_size_um {
                plane.metadata.pixel_size_um = Some(um);
            }
            plane
        });
        Ok(Some(planes.collect()))
    }

    /// What Micro-Manager says of a file, read again where it has written since.
    fn micromanager(&mut self, path: &Path) -> Result<Option<FrameMetadata>, UsageError> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(None);
        };
        let known = self.micromanager.get(folder);
        let fresh = match known {
            Some(Some(known)) => !known.is_old(folder),
            Some(None) => !folder.join(micromanager::FILE_NAME).exists(),
            None => false,
        };
        if !fresh {
            let read = MicroManager::read(folder).map_err(UsageError)?;
            self.micromanager.insert(folder.to_owned(), read);
        }
        let known = self.micromanager.get(folder).and_then(Option::as_ref);
        Ok(known.and_then(|known| known.frame(&name.to_string_lossy()).cloned()))
    }
}
