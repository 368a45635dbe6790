//! A file of options: TOML whose keys are those of the contract's SessionOptions, as the Python client saves them.

mod message;

use std::{fs, path::Path};

use anyhow::{Context, Result};
use prost_reflect::DescriptorPool;

use crate::{
    cli::{
        UsageError,
        choices::{AnalysisChoices, Area, Choices, NormalizationChoice, OfFile, SessionChoices},
    },
    params::{BorderRule, Normalization},
    proto::{self, normalization::Policy},
    server::Asked,
};

/// Options that were read and checked, as far as they can be without a model.
pub(in crate::cli) struct OptionsFile {
    options: proto::SessionOptions,
    asked: Asked,
}

impl OptionsFile {
    /// Refuses keys that the contract does not have, values of another type, and what a run of files cannot do; each by name.
    pub(in crate::cli) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the options in {}", path.display()))?;
        Self::parse(&text).map_err(|why| UsageError(format!("{}, {why}", path.display())).into())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let options: proto::SessionOptions = message::read(text, "cellseg.v1.SessionOptions")?;
        if let Some(why) = cannot(&options) {
            return Err(why);
        }
        let asked = Asked::new(&options)?;
        Ok(OptionsFile { options, asked })
    }

    /// Where flags said nothing, the file is heard.
    pub(in crate::cli) fn fill(&self, choices: &mut Choices, analysis: &mut AnalysisChoices) {
        self.fill_cells(choices);
        analysis.of_file = self.asked.analysis.clone();
    }

    /// The same for what makes cells of one image.
    pub(in crate::cli) fn fill_cells(&self, choices: &mut Choices) {
        let thresholds = self.options.thresholds.clone().unwrap_or_default();
        choices.of_file = OfFile {
            class_agnostic: thresholds.class_agnostic,
            min_area_px: thresholds.min_area_px,
            min_area_um2: thresholds.min_area_um2,
            classes: thresholds.classes.clone(),
            class_confidence: thresholds.class_confidence.clone(),
            min_span: None,
        };
        let border = match thresholds.border() {
            proto::BorderRule::Unspecified => None,
            proto::BorderRule::Keep => Some(BorderRule::Keep),
            proto::BorderRule::Drop => Some(BorderRule::Drop),
            proto::BorderRule::Unbiased => Some(BorderRule::Unbiased),
        };
        choices.confidence = choices.confidence.or(thresholds.confidence);
        choices.iou = choices.iou.or(thresholds.iou);
        choices.max_cells = choices.max_cells.or(thresholds.max_cells);
        choices.max_area = choices.max_area.or(thresholds.max_area_um2.map(Area::Um2));
        choices.border = choices.border.or(border);
        choices.raw_masks |= self.options.outputs.is_some_and(|o| o.raw_masks());
        if let Some(tiling) = &self.options.tiling {
            choices.tiling = choices.tiling.or(Some(self.asked.tiling.mode));
            choices.overlap = choices.overlap.or(tiling.overlap);
            choices.target_um = choices.target_um.or(tiling.target_um_per_px);
        }
        // Its numbers belong together: a rule by flag takes nothing from the file's.
        if let (None, Some((rule, smoothing))) = (choices.normalization, self.asked.normalization) {
            choices.normalization = Some(match rule {
                Normalization::FullRange => NormalizationChoice::Full,
                Normalization::Window { low, high } => NormalizationChoice::Window { low, high },
                Normalization::Percentiles { low, high, .. } => {
                    choices.smoothing = choices.smoothing.or(Some(smoothing));
                    choices.of_file.min_span = min_span(&self.options);
                    NormalizationChoice::Percentile { low, high }
                }
            });
        }
    }

    /// What only a server's session has.
    pub(in crate::cli) fn session(&self) -> SessionChoices {
        SessionChoices {
            model: self.options.model.clone(),
            window: self.options.window,
            priority: self.asked.priority,
            name: self.options.name.clone(),
        }
    }

    /// What the file says of live sessions and a run of files does otherwise, in words.
    pub(in crate::cli) fn not_followed(&self) -> Vec<&'static str> {
        let options = &self.options;
        let outputs = options.outputs.unwrap_or_default();
        let is_plain = matches!(
            outputs.masks(),
            proto::MaskEncoding::Unspecified | proto::MaskEncoding::CocoRle
        );
        let mut said = Vec::new();
        if options.delivery() == proto::Delivery::Latest {
            said.push("delivery LATEST is for live views: here every frame is segmented");
        }
        if options.follow_reload {
            said.push("follow_reload is not followed: a run keeps its model");
        }
        if !is_plain || outputs.label_image() || outputs.label_by != 0 {
            said.push("outputs say how masks travel: here flags say which files are written");
        }
        said
    }
}

/// What a run of files cannot do, and what to do instead.
fn cannot(options: &proto::SessionOptions) -> Option<String> {
    let policy = options.normalization.as_ref();
    let policy = policy.and_then(|normalization| normalization.policy.as_ref());
    let resume = options.tracking.as_ref();
    let resume = resume.and_then(|tracking| tracking.resume.as_ref());
    if options.flat_field.is_some() {
        return Some("flat_field: a run's record names its images, so that the run can be filled in later: use --flat and --dark".to_owned());
    }
    if let Some(Policy::Reference(_)) = policy {
        return Some("normalization.reference: not from a file of options: write the window that it gave, which SessionOpened says, as normalization.window".to_owned());
    }
    if resume.is_some() {
        return Some(
            "tracking.resume: is of one live session; a run of files goes on with --watch"
                .to_owned(),
        );
    }
    None
}

fn min_span(options: &proto::SessionOptions) -> Option<f64> {
    match options.normalization.as_ref()?.policy.as_ref()? {
        Policy::Percentiles(percentiles) => percentiles.min_span,
        _ => None,
    }
}

/// The contract, to be asked for its fields.
fn contract() -> Result<DescriptorPool, String> {
    DescriptorPool::decode(proto::DESCRIPTORS).map_err(|error| format!("the contract: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        OptionsFile::parse(text).map(|_| ()).unwrap_err()
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = OptionsFile::parse(
            "name = \"scope\"\nwindow = 3\npriority = \"URGENT\"\n\
             [thresholds]\nconfidence = 0.3\niou = 1\nborder = \"BORDER_RULE_DROP\"\nclasses = [0]\n\
             [thresholds.class_confidence]\n0 = 0.5\n\
             [normalization.percentiles]\nlow = 1\nhigh = 99.5\nsmoothing = 0.5\nmin_span = 40\n\
             [tiling]\nmode = \"off\"\n[tracking]\nmax_gap = 5\n[measurements]\nshape = true\n",
        )
        .unwrap();
        let mut choices = Choices {
            confidence: Some(0.9),
            ..Choices::default()
        };
        let mut analysis = AnalysisChoices::default();
        file.fill(&mut choices, &mut analysis);
        assert_eq!((choices.confidence, choices.iou), (Some(0.9), Some(1.0)));
        assert_eq!(choices.border, Some(BorderRule::Drop));
        assert_eq!(choices.of_file.classes, [0]);
        assert_eq!(choices.of_file.class_confidence[&0], 0.5);
        let (low, high) = (1.0, 99.5);
        let percentiles = NormalizationChoice::Percentile { low, high };
        assert_eq!(choices.normalization, Some(percentiles));
        assert_eq!(choices.of_file.min_span, Some(40.0));
        assert_eq!(choices.smoothing, Some(0.5));
        let settled = analysis.settle(false);
        assert_eq!(settled.tracking.unwrap().max_gap, 5);
        assert!(settled.measurements.shape && !settled.measurements.hull);
        assert_eq!(
            (file.session().window, file.session().name.as_str()),
            (3, "scope")
        );

        let full = Some(NormalizationChoice::Full);
        let mut choices = Choices {
            normalization: full,
            ..Choices::default()
        };
        file.fill(&mut choices, &mut analysis);
        assert_eq!((choices.normalization, choices.smoothing), (full, None));
    }

    #[test]
    fn what_a_run_does_otherwise_is_said_and_what_it_cannot_do_is_refused() {
        let text = "delivery = \"LATEST\"\nfollow_reload = true\n[outputs]\nlabel_image = true\n";
        assert_eq!(OptionsFile::parse(text).unwrap().not_followed().len(), 3);
        let text = "delivery = \"LOSSLESS\"\n[outputs]\nraw_masks = true\n";
        assert!(OptionsFile::parse(text).unwrap().not_followed().is_empty());
        for (text, words) in [
            ("[flat_field.flat_encoded]\ndata = \"AAAA\"\n", "--flat"),
            (
                "[normalization.reference]\nlow = 1.0\nhigh = 2.0\n",
                "normalization.window",
            ),
            ("[[tracking.resume.series]]\nnext_id = 4\n", "--watch"),
            ("[tracking]\nmax_gap = 51\n", "tracking.max_gap 51"),
            ("[tiling]\noverlap = 0.6\n", "tiling.overlap 0.6"),
        ] {
            assert!(refused(text).contains(words), "{text}: {}", refused(text));
        }
    }
}
