//! What the server's own tests run against: a server without a door, its sessions, and a frame.

use std::sync::Arc;

use super::{Peer, Server, Shared, dialog::Dialog};
use crate::{
    backend::fake::{self, FakeBackend},
    config::{LimitSettings, Settings},
    pool::LanePool,
    proto as pb,
};

/// Finds one cell in every frame.
pub(super) fn one_cell() -> FakeBackend {
    FakeBackend::new(|frame, _, _| Ok(fake::cells(frame, 1, 4)))
}

/// One lane of `backend`.
pub(super) fn shared(backend: FakeBackend, limits: LimitSettings) -> Arc<Shared> {
    let settings = Settings {
        limits,
        ..Settings::default()
    };
    let pool = LanePool::start_with(Arc::new(backend), 1, settings.hung_after()).unwrap();
    Server::new(&settings, vec![pool]).shared
}

/// A session with the default options.
pub(super) async fn dialog(shared: &Arc<Shared>) -> Dialog {
    let options = pb::SessionOptions::default();
    let dialog = Dialog::open(Arc::clone(shared), Peer::in_process(), options).await;
    dialog.unwrap()
}

/// Black, 8 x 4 pixels.
pub(super) fn frame(id: u64) -> pb::Frame {
    pb::Frame {
        id,
        pixels: Some(pb::frame::Pixels::Raw(pb::RawPixels {
            format: pb::PixelFormat::Mono8.into(),
            width: 8,
            height: 4,
            data: vec![0; 32].into(),
            ..Default::default()
        })),
        ..Default::default()
    }
}
