//! `--watch`: files as they come into a folder.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use super::{
    Lister, Listing, Plane, Role,
    files::{self, Found},
    micromanager, order,
    order::Group,
    pages, refusal,
};
use crate::{
    cli::UsageError,
    frame::{FrameLimits, FrameMetadata},
};

/// A file that stands still for so long and still cannot be read is left out, until it changes.
const HOPELESS: Duration = Duration::from_secs(30);
/// Micro-Manager writes a frame's metadata after the frame.
const METADATA_PATIENCE: Duration = Duration::from_secs(5);

/// What came into a folder.
pub(in crate::cli) struct Arrivals {
    folder: PathBuf,
    /// A file is taken when it has not changed for so long.
    settle: Duration,
    lister: Lister,
    files: BTreeMap<PathBuf, State>,
    /// By image_id: whose results they are.
    taken: BTreeMap<String, PathBuf>,
    /// Planes that wait for the other channels of their moment, in the order in which they came.
    waiting: Vec<Plane>,
}

/// Something to do or to say.
#[derive(Debug, PartialEq)]
pub(in crate::cli) enum Arrival {
    Group(Box<Group>),
    /// A file that is not taken, and why; said once.
    LeftOut(String),
}

enum State {
    /// Not taken yet: as it was when it last changed.
    Coming {
        size: u64,
        modified: Option<SystemTime>,
        since: Instant,
        /// Why it is not taken has been said: nothing to do until it changes.
        said: bool,
    },
    Done,
}

impl Arrivals {
    /// `listing.watch` is the folder.
    pub(in crate::cli) fn new(
        folder: &Path,
        listing: Listing,
        settle: Duration,
    ) -> Result<Arrivals, UsageError> {
        if !folder.is_dir() {
            return Err(UsageError(format!(
                "--watch {}: there is no such folder",
                folder.display()
            )));
        }
        Ok(Arrivals {
            folder: folder.to_owned(),
            settle,
            lister: Lister::new(listing)?,
            files: BTreeMap::new(),
            taken: BTreeMap::new(),
            waiting: Vec::new(),
        })
    }

    /// A frame that an earlier run has done already.
    pub(in crate::cli) fn is_done(
        &mut self,
        image_id: &str,
        file: &Path,
        metadata: &FrameMetadata,
    ) {
        self.taken.insert(image_id.to_owned(), file.to_owned());
        self.lister.order.after(metadata);
    }

    /// Looks into the folder. Earlier time points come first.
    pub(in crate::cli) fn look(&mut self, now: Instant) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        let mut planes = Vec::new();
        for file in files::below(&self.folder) {
            if !self.stands_still(&file.path, now) {
                continue;
            }
            match self.take(&file, now) {
                Taken::Planes(of_file) => planes.extend(of_file),
                Taken::NotYet => {}
                Taken::Never(why) => {
                    self.files.insert(file.path, State::Done);
                    arrivals.push(Arrival::LeftOut(why));
                }
                Taken::Perhaps(why) => {
                    if let Some(State::Coming { said, .. }) = self.files.get_mut(&file.path)
                        && !std::mem::replace(said, true)
                    {
                        arrivals.push(Arrival::LeftOut(why));
                    }
                }
            }
        }
        planes.sort_by_key(|plane| plane.metadata.index.get("t").copied());
        for mut plane in planes {
            self.lister.order.place(&mut plane);
            self.waiting.push(plane);
        }
        arrivals.extend(
            self.complete()
                .into_iter()
                .map(|group| Arrival::Group(Box::new(group))),
        );
        arrivals
    }

    /// What still waits for other channels, as far as it can be segmented without them; and files that could not be read, which
    /// will fail in their turn.
    pub(in crate::cli) fn rest(&mut self) -> Vec<Group> {
        for file in files::below(&self.folder) {
            let said = matches!(
                self.files.get(&file.path),
                Some(State::Coming { said: true, .. })
            );
            if !said || refusal::refuse(&file.path).is_err() {
                continue;
            }
            if let Taken::Planes(planes) = self.planes(&file, HOPELESS) {
                for mut plane in planes {
                    self.lister.order.place(&mut plane);
                    self.waiting.push(plane);
                }
            }
        }
        let mut groups: Vec<Group> = Vec::new();
        let (main, measured): (Vec<Plane>, Vec<Plane>) = self
            .waiting
            .drain(..)
            .partition(|plane| self.lister.order.role(&plane.metadata) == Role::Segmented);
        groups.extend(main.into_iter().map(Group::alone));
        for plane in measured {
            let at = order::moment(&plane.metadata);
            let of = |group: &&mut Group| order::moment(&group.main.metadata) == at;
            if let Some(group) = groups.iter_mut().find(of) {
                group.measured.push(plane);
            }
        }
        groups
    }

    /// Whether a file is on its way: it will be worth looking again soon.
    pub(in crate::cli) fn is_expecting(&self) -> bool {
        let coming = |state: &State| matches!(state, State::Coming { said: false, .. });
        self.files.values().any(coming)
    }

    fn stands_still(&mut self, path: &Path, now: Instant) -> bool {
        if matches!(self.files.get(path), Some(State::Done)) {
            return false;
        }
        let Ok(found) = fs::metadata(path) else {
            return false;
        };
        let (size_now, modified_now) = (found.len(), found.modified().ok());
        let coming = State::Coming {
            size: size_now,
            modified: modified_now,
            since: now,
            said: false,
        };
        match self.files.get(path) {
            Some(State::Coming {
                size,
                modified,
                since,
                said,
            }) if (*size, *modified) == (size_now, modified_now) => {
                !said && size_now > 0 && now.duration_since(*since) >= self.settle
            }
            _ => {
                self.files.insert(path.to_owned(), coming);
                false
            }
        }
    }

    /// Since when a file has not changed.
    fn rests_for(&self, path: &Path, now: Instant) -> Duration {
        match self.files.get(path) {
            Some(State::Coming { since, .. }) => now.duration_since(*since),
            _ => Duration::ZERO,
        }
    }

    fn take(&mut self, file: &Found, now: Instant) -> Taken {
        let rests_for = self.rests_for(&file.path, now);
        if let Err(why) = refusal::refuse(&file.path) {
            // A stack that is still being written will be taken at its end.
            return Taken::Perhaps(why.to_string());
        }
        let whole = pages::open(&file.path, &FrameLimits::default()).and_then(|mut image| {
            let last = image.pages().len().saturating_sub(1);
            Ok(image.read(last as u32).map(|_| ())?)
        });
        if let Err(error) = whole {
            // A writer may pause: it is looked at again when it changes.
            return match rests_for < HOPELESS {
                true => Taken::NotYet,
                false => Taken::Perhaps(format!(
                    "{}: {error:#}; it is taken when it has changed and can be read",
                    file.path.display()
                )),
            };
        }
        self.planes(file, rests_for)
    }

    fn planes(&mut self, file: &Found, rests_for: Duration) -> Taken {
        let planes = match self.lister.planes(file) {
            Ok(Some(planes)) => planes,
            Ok(None) => {
                return Taken::Never(format!("{}: does not match --pattern", file.path.display()));
            }
            Err(why) => return Taken::Never(why.to_string()),
        };
        let folder = file.path.parent().unwrap_or(&self.folder);
        let said = planes.iter().all(|plane| !plane.metadata.index.is_empty());
        if folder.join(micromanager::FILE_NAME).exists() && !said && rests_for < METADATA_PATIENCE {
            return Taken::NotYet;
        }
        let mut fresh = Vec::new();
        for plane in planes {
            match self.taken.get(&plane.image_id) {
                Some(other) if *other == plane.path => continue,
                Some(other) => {
                    return Taken::Never(format!(
                        "{}: its results would overwrite those of {}",
                        plane.path.display(),
                        other.display()
                    ));
                }
                None => {}
            }
            if self.lister.order.role(&plane.metadata) != Role::LeftOut {
                fresh.push(plane);
            }
        }
        self.files.insert(file.path.clone(), State::Done);
        for plane in &fresh {
            self.taken
                .insert(plane.image_id.clone(), plane.path.clone());
        }
        Taken::Planes(fresh)
    }

    /// Groups whose channels are all there, and those that a later moment of their place has overtaken.
    fn complete(&mut self) -> Vec<Group> {
        let wanted = self.lister.listing.measure_on.len();
        if wanted == 0 {
            return self.waiting.drain(..).map(Group::alone).collect();
        }
        let mut by_moment: Vec<(_, Vec<Plane>)> = Vec::new();
        for plane in self.waiting.drain(..) {
            let at = order::moment(&plane.metadata);
            match by_moment.iter_mut().find(|(moment, _)| *moment == at) {
                Some((_, planes)) => planes.push(plane),
                None => by_moment.push((at, vec![plane])),
            }
        }
        let is_whole = |planes: &[Plane]| planes.len() > wanted;
        let mut groups = Vec::new();
        for i in 0..by_moment.len() {
            let ((place, well, t), planes) = &by_moment[i];
            let overtaken = by_moment
                .iter()
                .any(|((other, other_well, later), planes)| {
                    (other, other_well) == (place, well) && later > t && is_whole(planes)
                });
            let main = planes
                .iter()
                .position(|plane| self.lister.order.role(&plane.metadata) == Role::Segmented);
            match main {
                Some(main) if overtaken || is_whole(planes) => {
                    let mut measured = planes.clone();
                    let main = measured.remove(main);
                    groups.push(Group { main, measured });
                }
                _ => self.waiting.extend(planes.iter().cloned()),
            }
        }
        groups
    }
}

enum Taken {
    Planes(Vec<Plane>),
    NotYet,
    /// Not now, but it may change.
    Perhaps(String),
    Never(String),
}

#[cfg(test)]
mod tests;
