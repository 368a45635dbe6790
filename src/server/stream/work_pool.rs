//! Computing where it does not hold up anybody's bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

/// Runs milliseconds of computing on the work pool. None: it panicked.
pub(in crate::server) async fn on_work_pool<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (send, receive) = oneshot::channel();
    rayon::spawn(move || {
        // The work pool ends the process if its work panics.
        if let Ok(done) = catch_unwind(AssertUnwindSafe(work)) {
            // The receiver is gone if the client is.
            let _ = send.send(done);
        }
    });
    receive.await.ok()
}
