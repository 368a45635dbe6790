//! What options say before a model is known: for whoever runs a lane without a session.

use super::{Refusal, analysis, known, normalization, tiling};
use crate::{
    frame::FrameLimits,
    params::{Analysis, MinSpan, Normalization, Tiling},
    pool::Priority,
    proto as pb,
};

/// Options that need no model, checked as a session's are.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What is made of the cells.
    pub analysis: Analysis,
    /// How large frames are cut.
    pub tiling: Tiling,
    /// The rule and its smoothing; none: the model's own.
    pub normalization: Option<(Normalization, f64)>,
    /// None: nothing was said.
    pub priority: Option<Priority>,
}

impl Asked {
    /// `Err` names the option, its value, and what would be right.
    pub fn new(options: &pb::SessionOptions) -> Result<Self, String> {
        Self::checked(options).map_err(|refusal| refusal.to_string())
    }

    fn checked(options: &pb::SessionOptions) -> Result<Self, Refusal> {
        let policy = options.normalization.as_ref();
        let policy = policy.and_then(|normalization| normalization.policy.as_ref());
        let settled =
            |policy| normalization::settled(policy, MinSpan::Counts(0.0), &FrameLimits::default());
        Ok(Asked {
            analysis: analysis::settled(options)?,
            tiling: tiling::settled(options.tiling.as_ref())?,
            normalization: policy.map(settled).transpose()?,
            priority: match known("priority", options.priority)? {
                pb::Priority::Unspecified => None,
                pb::Priority::Background => Some(Priority::Background),
                pb::Priority::Normal => Some(Priority::Normal),
                pb::Priority::Urgent => Some(Priority::Urgent),
            },
        })
    }
}
