//! What the program asks a server that runs: for systemd, for signals.

use std::sync::Arc;

use super::{Reload, Shared, reload};

/// A handle on a running server.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Control { shared }
    }

    /// A lane whose frame has given no sign of life for `hung_after_s`, in words. Nothing more will come of this process.
    pub fn hung(&self) -> Option<String> {
        let models = self.shared.models.living();
        models.iter().find_map(|served| served.pool().hung())
    }

    /// Reads the settings and the models again. Ends when it is done; given up by whoever waits for it, it is done all the same.
    pub async fn reload(&self) -> Reload {
        reload::reload(&self.shared).await
    }

    /// One line for a person: what is served, how it is, what became of the frames.
    pub fn status_line(&self) -> String {
        self.shared.status_line()
    }
}
