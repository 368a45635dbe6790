//! How sessions end that requests share.

use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

use super::*;
use crate::{
    backend::fake::{self, FakeBackend},
    config::LimitSettings,
    inference::{
        infer_parameter::ParameterChoice as Choice, model_infer_request::InferInputTensor,
    },
    server::rig,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Of a sequence, 8 x 4 pixels.
fn request(parameters: &[(&str, bool)]) -> oip::ModelInferRequest {
    let flags = parameters
        .iter()
        .map(|&(name, flag)| (name, Choice::BoolParam(flag)));
    let parameters = flags
        .chain([("sequence_id", Choice::Int64Param(5))])
        .map(|(name, choice)| {
            let parameter = oip::InferParameter {
                parameter_choice: Some(choice),
            };
            (name.to_owned(), parameter)
        });
    oip::ModelInferRequest {
        model_name: "fake".to_owned(),
        parameters: parameters.collect(),
        inputs: vec![InferInputTensor {
            name: "FRAME".to_owned(),
            datatype: "UINT8".to_owned(),
            shape: vec![4, 8],
            ..Default::default()
        }],
        raw_input_contents: vec![vec![0; 32].into()],
        ..Default::default()
    }
}

#[tokio::test]
async fn a_sequence_ends_with_requests_behind_its_last_and_unread_answers() {
    let limits = LimitSettings {
        unread_answers_bytes: 1,
        window: 1,
        ..LimitSettings::default()
    };
    let (open_gate, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let backend = FakeBackend::new(move |frame, _, _| {
        // Shut until its other end is dropped; not for the lane's own first run.
        if frame.width() == 8 {
            let _ = gate.lock().unwrap().recv();
        }
        Ok(fake::cells(frame, 1, 4))
    });
    let shared = rig::shared(backend, limits);
    let asking = || Asking::once(Arc::clone(&shared), Peer::in_process());

    let first = asking().put(request(&[("sequence_start", true)])).await;
    let mut calls = vec![tokio::spawn(first.answer())];
    // Each has found its sequence before the one that ends it is sent: those behind it wait for room in the session.
    for flags in [&[][..], &[("sequence_end", true)], &[], &[]] {
        let mut asking = asking();
        let put = async move { asking.put(request(flags)).await.answer().await };
        calls.push(tokio::spawn(put));
    }
    tokio::task::yield_now().await;
    drop(open_gate);
    for (n, call) in calls.into_iter().enumerate() {
        let answer = tokio::time::timeout(PATIENCE, call).await;
        let answer = answer.unwrap_or_else(|_| panic!("request {n} is not answered"));
        assert!(answer.unwrap().is_ok(), "request {n}");
    }
    assert_eq!(shared.status().sessions.len(), 0);
}
