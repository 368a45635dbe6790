//! Frames on their way through a segmenter, and what they become.

use std::{collections::VecDeque, mem, process::ExitCode};

use anyhow::Result;

use super::tally::Tally;
use crate::{
    cli::{
        inputs::{Group, Plane, Reader},
        output::{self, Products},
        progress::Progress,
        record::{Fate, Folder, FrameRecord, Summary},
        segmenter::{Answer, Job, Outcome, Segmenter},
    },
    export::{self, FrameCells},
    frame::Frame,
};

/// A run: what it reads, asks and writes.
pub(super) struct Run {
    folder: Folder,
    products: Products,
    segmenter: Segmenter,
    provenance: export::Provenance,
    reader: Reader,
    next_id: u64,
    /// Sent and not answered.
    in_flight: VecDeque<InFlight>,
    /// Segmented; its other channels are not measured yet.
    open: Option<Open>,
    progress: Progress,
    tally: Tally,
    /// Said of every frame.
    notice: Option<String>,
}

struct InFlight {
    plane: Plane,
    /// To be segmented; none: to be measured.
    main: Option<Main>,
}

struct Main {
    frame: Frame,
    /// Other channels that were sent after it.
    n_measured: usize,
}

struct Open {
    plane: Plane,
    frame: Frame,
    answer: Box<Answer>,
    /// Not answered yet.
    left: usize,
    measured: Vec<FrameRecord>,
}

impl Run {
    pub(super) fn new(
        folder: Folder,
        products: Products,
        segmenter: Segmenter,
        progress: Progress,
    ) -> Run {
        Run {
            // The list of cells is what exports, --missing and a restart are made from.
            products: Products {
                json: true,
                ..products.or_all()
            },
            provenance: output::provenance(segmenter.provenance(), folder.started_at()),
            folder,
            reader: Reader::new(segmenter.limits()),
            segmenter,
            next_id: 1,
            in_flight: VecDeque::new(),
            open: None,
            progress,
            tally: Tally::default(),
            notice: None,
        }
    }

    /// Adds `notice` to every frame from now on.
    pub(super) fn note_on_all(&mut self, notice: String) {
        self.notice = Some(notice);
    }

    /// Everything, to the end of the run. An error ends it early; what a frame alone suffers is in its record.
    pub(super) fn all(mut self, groups: Vec<Group>) -> Result<ExitCode> {
        let mut left = VecDeque::from(groups);
        let mut ended = Ok(());
        while let Some(group) = left.pop_front() {
            ended = self.group(group.clone());
            if ended.is_err() {
                left.push_front(group);
                break;
            }
        }
        if ended.is_ok() {
            ended = self.settle();
        }
        self.end(ended, left)
    }

    /// Sends one group; waits for earlier answers where too many are out.
    pub(super) fn group(&mut self, group: Group) -> Result<()> {
        let frame = match self.reader.read(&group.main) {
            Ok(frame) => frame,
            Err(error) => {
                self.note(&group.main, Fate::Failed(format!("{error:#}")))?;
                for plane in &group.measured {
                    let why = format!("not measured: {} cannot be read", group.main.image_id);
                    self.note(plane, Fate::Failed(why))?;
                }
                return Ok(());
            }
        };
        let mut measured = Vec::new();
        for plane in group.measured {
            match self.reader.read(&plane) {
                Ok(frame) => measured.push((plane, frame)),
                Err(error) => self.note(&plane, Fate::Failed(format!("{error:#}")))?,
            }
        }
        let main = Main {
            frame: frame.clone(),
            n_measured: measured.len(),
        };
        let on = self.send(group.main, Some(main), frame, None)?;
        for (plane, frame) in measured {
            self.send(plane, None, frame, Some(on))?;
        }
        Ok(())
    }

    /// Waits for every answer.
    pub(super) fn settle(&mut self) -> Result<()> {
        while !self.in_flight.is_empty() {
            self.finish_oldest()?;
        }
        Ok(())
    }

    /// Says how the run went. `left`: what it never came to.
    pub(super) fn end(
        mut self,
        ended: Result<()>,
        left: impl IntoIterator<Item = Group>,
    ) -> Result<ExitCode> {
        let ended = match ended {
            Ok(()) => self.segmenter.close(),
            Err(error) => Err(error),
        };
        if let Err(error) = &ended {
            let unanswered = mem::take(&mut self.in_flight).into_iter();
            let unanswered = unanswered.map(|sent| sent.plane);
            let open = self.open.take().map(|open| open.plane);
            let left = left.into_iter();
            let left = left.flat_map(|group| group.planes().cloned().collect::<Vec<_>>());
            for plane in open.into_iter().chain(unanswered).chain(left) {
                if self.folder.frame(&plane.image_id).is_none() {
                    let why = Fate::Failed(format!("{error:#}"));
                    self.folder.add(record(&plane, why))?;
                }
            }
        }
        let engine = self.folder.engine();
        let totals = self.folder.end()?;
        for line in self.tally.lines() {
            self.progress.say(&line);
        }
        let mut summary = format!(
            "{} of {} frames segmented, {} cells",
            totals.segmented,
            totals.frames - totals.measured,
            totals.cells
        );
        if totals.measured > 0 {
            summary += &format!(", {} frames measured", totals.measured);
        }
        self.progress.finish(&format!(
            "{summary}, by {engine}; results are in {}",
            self.folder.dir().display()
        ));
        ended?;
        Ok(match totals.all_well() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    fn send(
        &mut self,
        plane: Plane,
        main: Option<Main>,
        frame: Frame,
        measure_on: Option<u64>,
    ) -> Result<u64> {
        while self.in_flight.len() >= self.segmenter.window() {
            self.finish_oldest()?;
        }
        let id = self.next_id;
        self.next_id += 1;
        // First noted: an error ends the run, and this one with it.
        self.in_flight.push_back(InFlight { plane, main });
        self.segmenter.send(Job {
            id,
            frame,
            measure_on,
        })?;
        Ok(id)
    }

    fn finish_oldest(&mut self) -> Result<()> {
        let outcome = self.segmenter.receive()?;
        let sent = self.in_flight.pop_front();
        let InFlight { plane, main } = sent.expect("an answer belongs to a frame sent");
        match (main, outcome) {
            (Some(main), Outcome::Segmented(answer)) => {
                self.open = Some(Open {
                    plane,
                    frame: main.frame,
                    answer,
                    left: main.n_measured,
                    measured: Vec::new(),
                });
            }
            (None, Outcome::Measured(cells)) => {
                let Some(open) = &mut self.open else {
                    let why = "not measured: its cells are not known".to_owned();
                    return self.note(&plane, Fate::Failed(why));
                };
                open.left -= 1;
                let instances = open.answer.segmentation.instances.iter_mut();
                for (instance, intensity) in instances.zip(cells) {
                    let measures = instance.measures.get_or_insert_default();
                    measures.intensity.extend(intensity);
                }
                let on = open.plane.image_id.clone();
                open.measured.push(record(&plane, Fate::Measured { on }));
            }
            (main, outcome) => {
                let fate = match outcome {
                    Outcome::Dropped(why) => Fate::Dropped(why),
                    Outcome::Failed(why) => Fate::Failed(why),
                    Outcome::Segmented(_) | Outcome::Measured(_) => {
                        Fate::Failed("answered as another kind of frame".to_owned())
                    }
                };
                if let (None, Some(open)) = (main, &mut self.open) {
                    open.left -= 1;
                }
                self.note(&plane, fate)?;
            }
        }
        match self.open.take_if(|open| open.left == 0) {
            Some(open) => self.write(open),
            None => Ok(()),
        }
    }

    fn write(&mut self, open: Open) -> Result<()> {
        let Open {
            plane,
            frame,
            mut answer,
            measured,
            ..
        } = open;
        answer.notices.extend(self.notice.clone());
        let cells = FrameCells {
            image_id: &plane.image_id,
            file: &plane.path.display().to_string(),
            stack: plane.in_stack,
            metadata: &plane.metadata,
            segmentation: &answer.segmentation,
        };
        let (dir, raw) = (self.folder.dir(), answer.raw.as_deref());
        let written = self
            .products
            .write(dir, &frame, &cells, raw, &self.provenance);
        match written {
            Ok(()) => {
                self.tally.add(&plane.metadata, &answer.segmentation);
                let summary = Summary::new(&answer);
                self.note(&plane, Fate::Segmented(Box::new(summary)))?;
                for record in measured {
                    self.progress.frame(&record);
                    self.folder.add(record)?;
                }
                Ok(())
            }
            Err(error) => self.note(&plane, Fate::Failed(format!("{error:#}"))),
        }
    }

    fn note(&mut self, plane: &Plane, fate: Fate) -> Result<()> {
        let record = record(plane, fate);
        self.progress.frame(&record);
        self.folder.add(record)
    }
}

fn record(plane: &Plane, fate: Fate) -> FrameRecord {
    FrameRecord {
        image_id: plane.image_id.clone(),
        file: plane.path.display().to_string(),
        page: plane.page,
        metadata: plane.metadata.clone(),
        fate,
    }
}
