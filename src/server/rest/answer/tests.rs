//! What answers hold while they are made and until they have left.

use std::{
    future::Future,
    pin::pin,
    sync::mpsc,
    task::{Context, Waker},
    time::Duration,
};

use super::*;
use crate::{
    config::LimitSettings,
    server::{
        dialog::Dialog,
        rig::{dialog, frame, one_cell, shared},
    },
};

const PATIENCE: Duration = Duration::from_secs(20);

async fn answered(dialog: &Dialog, id: u64) -> FrameAnswer {
    let answer = tokio::time::timeout(PATIENCE, dialog.frame(frame(id))).await;
    answer.expect("an answer in time").unwrap()
}

fn told(answer: FrameAnswer, form: Form, shared: &Arc<Shared>) -> Told {
    let shown = (form == Form::Overlay).then(|| Shown {
        frame: frame(1),
        shared: Arc::clone(shared),
        peer: Peer::in_process(),
    });
    Told {
        answer,
        form,
        file: "a.png".to_owned(),
        shown,
        has_opened: false,
    }
}

/// Until frames were held back so often by answers that were not read.
async fn held_back(shared: &Shared, times: u32) {
    let line = format!("cellsegd_refused_total{{bound=\"unread_answers_bytes\"}} {times}\n");
    let waiting = async {
        while !shared.metrics.text().contains(&line) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "in vain until {line}");
}

fn is_ready(future: impl Future) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    pin!(future).poll(&mut context).is_ready()
}

#[test]
fn any_text_is_a_header() {
    assert_eq!(header("NO_TIME: 5 µm\n"), "NO_TIME: 5 %C2%B5m%0A");
    assert_eq!(header("100%"), "100%25");
}

#[tokio::test]
async fn a_session_whose_client_does_not_read_is_held_back_until_its_answer_has_left() {
    let limits = LimitSettings {
        unread_answers_bytes: 1,
        ..LimitSettings::default()
    };
    let shared = shared(one_cell(), limits);
    let dialog = Arc::new(dialog(&shared).await);
    for (times, form) in [(1, Form::Json), (2, Form::Labels)] {
        let answer = answered(&dialog, 1).await;
        let unsent = told(answer, form, &shared).respond().await;
        assert_eq!(unsent.status(), StatusCode::OK);
        let its = Arc::clone(&dialog);
        let next = tokio::spawn(async move { its.frame(frame(2)).await });
        held_back(&shared, times).await;
        assert!(!next.is_finished(), "{form:?}: its answer is not read");
        drop(unsent);
        let next = tokio::time::timeout(PATIENCE, next).await;
        assert!(next.expect("an answer in time").unwrap().is_ok());
    }
}

#[tokio::test]
async fn overlays_wait_for_one_another_and_no_frame_waits_for_them() {
    // Room for one frame, and for no picture.
    let limits = LimitSettings {
        frames_in_flight_bytes: 1024,
        ..LimitSettings::default()
    };
    let shared = shared(one_cell(), limits);
    let dialog = dialog(&shared).await;
    let answer = answered(&dialog, 1).await;
    let places = (shared.drawing.begin().await, shared.drawing.begin().await);
    let mut third = pin!(told(answer, Form::Overlay, &shared).respond());
    assert!(!is_ready(&mut third));
    let other = answered(&dialog, 2).await;
    assert!(other.cells.is_some());
    drop(places);
    let drawn = tokio::time::timeout(PATIENCE, third).await;
    assert_eq!(drawn.expect("it is drawn").status(), StatusCode::OK);
}

#[tokio::test]
async fn an_overlay_whose_client_has_gone_keeps_its_place_until_it_is_drawn() {
    let shared = shared(one_cell(), LimitSettings::default());
    let answer = answered(&dialog(&shared).await, 1).await;
    let _other = shared.drawing.begin().await;
    // The work pool does something else for as long as this test says.
    let (busy, until) = mpsc::channel::<()>();
    let until = Arc::new(std::sync::Mutex::new(until));
    for _ in 0..rayon::current_num_threads() {
        let until = Arc::clone(&until);
        rayon::spawn(move || {
            let _ = until.lock().unwrap().recv();
        });
    }
    assert!(!is_ready(told(answer, Form::Overlay, &shared).respond()));
    assert!(
        !is_ready(shared.drawing.begin()),
        "nobody waits for it, and it is not drawn"
    );
    drop(busy);
    let place = tokio::time::timeout(PATIENCE, shared.drawing.begin()).await;
    assert!(place.is_ok(), "it is drawn");
}
