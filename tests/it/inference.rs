//! The Open Inference Protocol's door: single requests, sequences, streams, what clients are told, what is given up.

use std::time::Duration;

use cellsegd::{
    backend::fake::{self, FakeBackend},
    config::{LimitSettings, Settings},
    inference::{
        self as oip,
        grpc_inference_service_client::GrpcInferenceServiceClient,
        infer_parameter::ParameterChoice as Choice,
        model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
    },
    proto::{self as pb, admin_client::AdminClient},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Request, transport::Channel};

use crate::{
    daemon::{Daemon, Gate, PATIENCE},
    operations::get,
};

pub(crate) type Client = GrpcInferenceServiceClient<Channel>;

pub(crate) async fn connect(daemon: &Daemon) -> Client {
    let client = GrpcInferenceServiceClient::connect(daemon.address.clone()).await;
    client.unwrap().max_decoding_message_size(usize::MAX)
}

/// A grey frame of 32x24 pixels.
pub(crate) fn request() -> oip::ModelInferRequest {
    oip::ModelInferRequest {
        model_name: "fake".to_owned(),
        inputs: vec![InferInputTensor {
            name: "FRAME".to_owned(),
            datatype: "UINT8".to_owned(),
            shape: vec![24, 32],
            ..Default::default()
        }],
        raw_input_contents: vec![vec![100; 24 * 32].into()],
        ..Default::default()
    }
}

fn with(
    mut request: oip::ModelInferRequest,
    parameters: &[(&str, Choice)],
) -> oip::ModelInferRequest {
    for (name, choice) in parameters {
        let parameter = oip::InferParameter {
            parameter_choice: Some(choice.clone()),
        };
        request.parameters.insert((*name).to_owned(), parameter);
    }
    request
}

pub(crate) fn asking(outputs: &[&str]) -> oip::ModelInferRequest {
    let named = outputs.iter().map(|name| InferRequestedOutputTensor {
        name: (*name).to_owned(),
        ..Default::default()
    });
    oip::ModelInferRequest {
        outputs: named.collect(),
        ..request()
    }
}

/// A request of sequence 5.
pub(crate) fn in_sequence(start: bool, end: bool) -> oip::ModelInferRequest {
    with(
        asking(&["TRACKS"]),
        &[
            ("sequence_id", Choice::Int64Param(5)),
            ("sequence_start", Choice::BoolParam(start)),
            ("sequence_end", Choice::BoolParam(end)),
            ("track", Choice::BoolParam(true)),
        ],
    )
}

pub(crate) async fn infer(
    client: &Client,
    request: oip::ModelInferRequest,
) -> Result<oip::ModelInferResponse, (Code, String)> {
    let mut client = client.clone();
    let answer = timeout(PATIENCE, client.model_infer(request))
        .await
        .expect("an answer in time");
    answer
        .map(tonic::Response::into_inner)
        .map_err(|status| (status.code(), status.message().to_owned()))
}

fn raw<'a>(response: &'a oip::ModelInferResponse, name: &str) -> &'a [u8] {
    let place = response
        .outputs
        .iter()
        .position(|output| output.name == name);
    &response.raw_output_contents[place.unwrap_or_else(|| panic!("no output {name}"))]
}

async fn n_sessions(daemon: &Daemon) -> usize {
    let mut admin = AdminClient::connect(daemon.address.clone()).await.unwrap();
    let status = admin.status(pb::StatusRequest {}).await.unwrap();
    status.into_inner().sessions.len()
}

async fn wait_for_no_session(daemon: &Daemon) {
    let gone = async {
        while n_sessions(daemon).await != 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("the session ends");
}

/// Until so many frames wait for a lane.
async fn wait_for_queue(daemon: &Daemon, frames: usize) {
    let line = format!("\ncellsegd_frames_waiting{{model=\"fake\"}} {frames}.0\n");
    let so_many = async {
        while !get(daemon, "/metrics").await.body.contains(&line) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = timeout(PATIENCE, so_many).await;
    waited.unwrap_or_else(|_| panic!("{frames} frames wait for a lane"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_answered_with_what_was_asked_for() {
    let daemon = Daemon::instant();
    let client = connect(&daemon).await;
    let usual = infer(&client, request()).await.unwrap();
    let names: Vec<&str> = usual
        .outputs
        .iter()
        .map(|output| output.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "BOXES",
            "SCORES",
            "CLASSES",
            "RLE",
            "TRACKS",
            "COUNT",
            "CONFLUENCE"
        ]
    );
    assert_eq!(usual.raw_output_contents.len(), names.len());
    assert_eq!(raw(&usual, "COUNT"), 9_u32.to_le_bytes());
    assert_eq!(raw(&usual, "TRACKS"), [0; 9 * 8]);
    assert_eq!(raw(&usual, "BOXES").len(), 9 * 16);
    assert_eq!(
        (usual.model_name.as_str(), usual.model_version.as_str()),
        ("fake", "1")
    );
    for name in ["total_us", "session", "revision"] {
        assert!(usual.parameters.contains_key(name), "{name}");
    }

    let some = infer(&client, asking(&["SCORES", "LABELS"])).await.unwrap();
    let shapes: Vec<_> = some
        .outputs
        .iter()
        .map(|output| {
            (
                output.name.as_str(),
                output.datatype.as_str(),
                output.shape.clone(),
            )
        })
        .collect();
    assert_eq!(
        shapes,
        [
            ("LABELS", "UINT16", vec![24, 32]),
            ("SCORES", "FP32", vec![9])
        ]
    );
    let labels: Vec<u16> = raw(&some, "LABELS")
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    assert_eq!((labels.len(), labels.iter().max()), (24 * 32, Some(&9)));

    let few = infer(
        &client,
        with(request(), &[("max_cells", Choice::Int64Param(0))]),
    )
    .await;
    assert_eq!(few.unwrap_err().0, Code::InvalidArgument);
    wait_for_no_session(&daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn colour_and_typed_contents_are_the_same_frame() {
    let backend = FakeBackend::new(|frame, _, _| {
        // Warm-up aside, as many cells as the red of its first pixel.
        let n = frame.data()[0] % 16;
        Ok(fake::cells(frame, n.into(), 2))
    });
    let daemon = Daemon::start(Settings::default(), backend, 1);
    let client = connect(&daemon).await;
    let mut colour = request();
    colour.inputs[0].shape = vec![24, 32, 3];
    colour.raw_input_contents = vec![vec![7; 24 * 32 * 3].into()];
    assert_eq!(
        raw(&infer(&client, colour).await.unwrap(), "COUNT"),
        7_u32.to_le_bytes()
    );
    let mut typed = request();
    typed.raw_input_contents.clear();
    typed.inputs[0].datatype = "UINT16".to_owned();
    typed.inputs[0].contents = Some(oip::InferTensorContents {
        uint_contents: vec![5; 24 * 32],
        ..Default::default()
    });
    assert_eq!(
        raw(&infer(&client, typed.clone()).await.unwrap(), "COUNT"),
        5_u32.to_le_bytes()
    );
    typed.inputs[0].contents.as_mut().unwrap().uint_contents[3] = 65_536;
    let (code, text) = infer(&client, typed).await.unwrap_err();
    assert_eq!(code, Code::InvalidArgument);
    assert!(
        text.contains("is UINT16, and has the value 65536"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_is_a_session() {
    let daemon = Daemon::instant();
    let client = connect(&daemon).await;
    let (code, text) = infer(&client, in_sequence(false, false)).await.unwrap_err();
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.contains("must specify the START flag"), "{text}");
    assert_eq!(n_sessions(&daemon).await, 0);

    let first = infer(&client, in_sequence(true, false)).await.unwrap();
    let second = infer(&client, in_sequence(false, false)).await.unwrap();
    assert_eq!(n_sessions(&daemon).await, 1);
    assert_eq!(first.parameters["session"], second.parameters["session"]);
    assert_eq!(
        raw(&first, "TRACKS"),
        raw(&second, "TRACKS"),
        "the same cells"
    );
    assert_ne!(raw(&first, "TRACKS"), [0; 9 * 8]);

    let other = with(
        in_sequence(false, false),
        &[("max_gap", Choice::Int64Param(7))],
    );
    let (code, text) = infer(&client, other).await.unwrap_err();
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.contains("was opened with other parameters"), "{text}");

    // Started again: another session in its place.
    let again = infer(&client, in_sequence(true, false)).await.unwrap();
    assert_ne!(again.parameters["session"], first.parameters["session"]);
    infer(&client, in_sequence(false, true)).await.unwrap();
    wait_for_no_session(&daemon).await;
    assert!(infer(&client, in_sequence(false, false)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_nobody_asks_for_is_closed() {
    let limits = LimitSettings {
        session_idle_s: 1,
        ..Default::default()
    };
    let daemon = Daemon::limited(limits);
    let client = connect(&daemon).await;
    infer(&client, in_sequence(true, false)).await.unwrap();
    wait_for_no_session(&daemon).await;
    let (_, text) = infer(&client, in_sequence(false, false)).await.unwrap_err();
    assert!(
        text.contains("one without requests for 1 s is closed"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_wait_any_more_gives_its_frame_up() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(Settings::default(), backend, 1);
    let client = connect(&daemon).await;
    // A client's own deadline, which ends a single request's session.
    let mut late = Request::new(request());
    late.set_timeout(Duration::from_millis(200));
    let status = client.clone().model_infer(late).await.unwrap_err();
    assert!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{status}"
    );
    let started = gate.started().await;
    wait_for_no_session(&daemon).await;
    assert!(started.ticket.is_cancelled());
    started.answer(0);

    // A frame of a sequence that waits for a lane is never segmented; the sequence goes on.
    let holding = tokio::spawn({
        let client = client.clone();
        async move { infer(&client, in_sequence(true, false)).await }
    });
    let held = gate.started().await;
    let given_up = tokio::spawn({
        let client = client.clone();
        async move { infer(&client, in_sequence(false, false)).await }
    });
    wait_for_queue(&daemon, 1).await;
    given_up.abort();
    wait_for_queue(&daemon, 0).await;
    held.answer(1);
    holding.await.unwrap().unwrap();
    let last = tokio::spawn(async move { infer(&client, in_sequence(false, true)).await });
    gate.started().await.answer(1);
    last.await.unwrap().unwrap();
    assert!(!gate.has_started_another());
    wait_for_no_session(&daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_is_a_frames_deadline() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::start(Settings::default(), backend, 1);
    let client = connect(&daemon).await;
    let holding = tokio::spawn({
        let client = client.clone();
        async move { infer(&client, request()).await }
    });
    let held = gate.started().await;
    let hurried = with(request(), &[("timeout", Choice::Int64Param(50_000))]);
    let (code, text) = infer(&client, hurried).await.unwrap_err();
    assert_eq!(code, Code::Unavailable);
    assert!(text.contains("Request timeout expired"), "{text}");
    held.answer(2);
    assert_eq!(
        raw(&holding.await.unwrap().unwrap(), "COUNT"),
        2_u32.to_le_bytes()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_answers_in_order_and_survives_what_is_wrong() {
    let daemon = Daemon::instant();
    let mut client = connect(&daemon).await;
    let numbered = |id: &str, request: oip::ModelInferRequest| oip::ModelInferRequest {
        id: id.to_owned(),
        ..request
    };
    let mut unknown = request();
    unknown.inputs[0].name = "IMAGE".to_owned();
    let requests = [
        numbered("a", request()),
        numbered("b", unknown),
        numbered("c", asking(&["COUNT"])),
    ];
    let answers = client.model_stream_infer(tokio_stream::iter(requests.clone()));
    let mut answers = timeout(PATIENCE, answers)
        .await
        .unwrap()
        .unwrap()
        .into_inner();
    let mut heard = Vec::new();
    while let Some(answer) = timeout(PATIENCE, answers.next()).await.unwrap() {
        let answer = answer.unwrap();
        let response = answer.infer_response.unwrap();
        heard.push((response.id, response.outputs.len(), answer.error_message));
    }
    let told = "[request id: b] unexpected inference input 'IMAGE' for model 'fake': 'FRAME' is its only one";
    assert_eq!(
        heard,
        [
            ("a".to_owned(), 7, String::new()),
            ("b".to_owned(), 0, told.to_owned()),
            ("c".to_owned(), 1, String::new()),
        ]
    );
    wait_for_no_session(&daemon).await;

    let mut strict = Request::new(tokio_stream::iter(requests));
    strict
        .metadata_mut()
        .insert("triton_grpc_error", "true".parse().unwrap());
    let mut answers = client
        .model_stream_infer(strict)
        .await
        .unwrap()
        .into_inner();
    assert!(
        timeout(PATIENCE, answers.next())
            .await
            .unwrap()
            .unwrap()
            .is_ok()
    );
    let status = timeout(PATIENCE, answers.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, told)
    );
    wait_for_no_session(&daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_a_daemon_that_stops_end() {
    let mut daemon = Daemon::instant();
    let mut client = connect(&daemon).await;
    let (requests, receiver) = mpsc::channel(1);
    let answers = client
        .model_stream_infer(ReceiverStream::new(receiver))
        .await;
    let mut answers = answers.unwrap().into_inner();
    requests.send(request()).await.unwrap();
    timeout(PATIENCE, answers.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    daemon.stop();
    let end = timeout(PATIENCE, answers.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert_eq!(end.code(), Code::Unavailable);
    daemon.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_offered_says_what_is() {
    let daemon = Daemon::instant();
    let mut client = connect(&daemon).await;
    let status = client
        .cuda_shared_memory_register(oip::CudaSharedMemoryRegisterRequest::default())
        .await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(
        status.message().contains("system shared memory"),
        "{status}"
    );
    // There is none, which is no error for who asks for all or gives one up.
    let all = oip::CudaSharedMemoryStatusRequest::default();
    let listed = client.cuda_shared_memory_status(all).await.unwrap();
    assert!(listed.into_inner().regions.is_empty());
    let one = oip::CudaSharedMemoryStatusRequest { name: "r".into() };
    let status = client.cuda_shared_memory_status(one).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    for name in ["", "r"] {
        let name = name.to_owned();
        let asked = oip::CudaSharedMemoryUnregisterRequest { name };
        client.cuda_shared_memory_unregister(asked).await.unwrap();
    }
    let status = client
        .repository_model_load(oip::RepositoryModelLoadRequest::default())
        .await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("Admin/Reload"), "{status}");
    // Shared memory that the settings do not allow.
    let region = oip::SystemSharedMemoryRegisterRequest {
        name: "r".to_owned(),
        key: "/cellsegd-r".to_owned(),
        byte_size: 64,
        ..Default::default()
    };
    let status = client
        .system_shared_memory_register(region)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_count_what_was_asked() {
    let daemon = Daemon::instant();
    let mut client = connect(&daemon).await;
    for _ in 0..3 {
        infer(&client, request()).await.unwrap();
    }
    let mut bad = request();
    bad.raw_input_contents = vec![vec![1].into()];
    infer(&client, bad).await.unwrap_err();
    let asked = oip::ModelStatisticsRequest::default();
    let told = client.model_statistics(asked).await.unwrap().into_inner();
    assert_eq!(told.model_stats.len(), 1);
    let model = &told.model_stats[0];
    let times = model.inference_stats.unwrap();
    assert_eq!((model.inference_count, model.execution_count), (3, 3));
    let count = |duration: Option<oip::StatisticDuration>| duration.unwrap().count;
    assert_eq!(
        (count(times.success), count(times.fail), count(times.queue)),
        (3, 1, 3)
    );
    assert!(0 < times.success.unwrap().ns && 0 < model.last_inference);
}
