//! The services beside the stream: one frame, models, health, reflection; TCP and unix sockets.

use std::sync::Arc;

use cellsegd::{
    backend::{
        OnGpu,
        fake::{self, FakeBackend},
    },
    config::{Listen, Settings},
    pool::LanePool,
    proto::{self as pb, admin_client::AdminClient, segmenter_client::SegmenterClient},
    server::{self, Ended, Server},
};
use tokio_stream::StreamExt;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::{
    client::{connect, frame, outcome, raw},
    daemon::Daemon,
};

async fn channel(daemon: &Daemon) -> Channel {
    Channel::from_shared(daemon.address.clone())
        .unwrap()
        .connect()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_frame_without_a_stream() {
    let daemon = Daemon::instant();
    let mut client = connect(&daemon).await;
    let request = pb::SegmentRequest {
        options: None,
        frame: Some(frame(4)),
    };
    let reply = client.segment(request).await.unwrap().into_inner();
    assert_eq!(reply.opened.unwrap().model.unwrap().name, "fake");
    let reply = reply.frame.unwrap();
    assert_eq!((reply.id, outcome(&reply).as_str()), (4, "9 cells"));

    let bad = pb::SegmentRequest {
        options: None,
        frame: Some(raw(1, Default::default())),
    };
    let reply = client.segment(bad).await.unwrap().into_inner();
    assert_eq!(outcome(&reply.frame.unwrap()), "InvalidFrame");

    let options = pb::SessionOptions {
        model: "nobody".to_owned(),
        ..Default::default()
    };
    let unknown = pb::SegmentRequest {
        options: Some(options),
        frame: Some(frame(1)),
    };
    assert_eq!(
        client.segment(unknown).await.unwrap_err().code(),
        Code::NotFound
    );
    let nothing = client
        .segment(pb::SegmentRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        (nothing.code(), nothing.message()),
        (Code::InvalidArgument, "a request without a frame")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_and_loopback_alone_is_no_admin() {
    let daemon = Daemon::instant();
    let models = connect(&daemon)
        .await
        .list_models(pb::ListModelsRequest {})
        .await
        .unwrap()
        .into_inner()
        .models;
    assert_eq!(models.len(), 1);
    assert_eq!(
        (models[0].name.as_str(), models[0].head.as_str()),
        ("fake", "yolo-seg")
    );
    assert_eq!((models[0].input_width, models[0].classes.len()), (64, 2));
    let mut admin = AdminClient::connect(daemon.address.clone()).await.unwrap();
    let refused = admin.reload(pb::ReloadRequest {}).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (
            Code::PermissionDenied,
            "/cellseg.v1.Admin/Reload needs the role admin; 127.0.0.1 has the role infer"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_whether_a_model_that_was_meant_for_a_gpu_is_on_one() {
    for (gpu, wanted) in [
        (OnGpu::NotMeant, Err(Code::NotFound)),
        (OnGpu::Yes, Ok(ServingStatus::Serving)),
        (OnGpu::No, Ok(ServingStatus::NotServing)),
    ] {
        let backend =
            FakeBackend::new(|frame, _, _| Ok(fake::cells(frame, 1, 4))).meant_for_a_gpu(gpu);
        let mut daemon = Daemon::start(Settings::default(), backend, 1);
        let client = HealthClient::new(channel(&daemon).await);
        let status = async |service: &str| {
            let request = HealthCheckRequest {
                service: service.to_owned(),
            };
            let checked = client.clone().check(request).await;
            checked
                .map(|health| health.into_inner().status())
                .map_err(|status| status.code())
        };
        assert_eq!(status("fake/gpu").await, wanted, "{gpu:?}");
        // The model is served all the same.
        assert_eq!(status("fake").await, Ok(ServingStatus::Serving), "{gpu:?}");
        daemon.stop();
        assert_eq!(daemon.ended().await, Ended::Drained);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_for_the_daemon_the_service_and_each_model() {
    let mut daemon = Daemon::instant();
    let mut client = HealthClient::new(channel(&daemon).await);
    for service in ["", "cellseg.v1.Segmenter", "fake"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let health = client.check(request).await.unwrap().into_inner();
        assert_eq!(health.status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = client
        .check(HealthCheckRequest {
            service: "nobody".to_owned(),
        })
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let mut watch = client
        .watch(HealthCheckRequest {
            service: "fake".to_owned(),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        watch.next().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    daemon.stop();
    assert_eq!(
        watch.next().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    assert_eq!(
        daemon.ended().await,
        Ended::Drained,
        "a client that watches does not hold up the end"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_the_services() {
    let daemon = Daemon::instant();
    let mut client = ServerReflectionClient::new(channel(&daemon).await);
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request,
    };
    let mut replies = client
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    match replies.next().await.unwrap().unwrap().message_response {
        Some(MessageResponse::ListServicesResponse(list)) => {
            let names: Vec<_> = list
                .service
                .into_iter()
                .map(|service| service.name)
                .collect();
            for service in [
                "cellseg.v1.Segmenter",
                "cellseg.v1.Admin",
                "grpc.health.v1.Health",
            ] {
                assert!(
                    names.iter().any(|name| name == service),
                    "{service} in {names:?}"
                );
            }
        }
        other => panic!("not a list: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_and_a_unix_socket_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cellsegd.sock");
    let listen = vec![
        Listen::Tcp(([127, 0, 0, 1], 0).into()),
        Listen::Unix(path.clone()),
    ];
    // A socket left behind by a daemon that died.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listeners = server::bind(&listen).unwrap();
    let addresses: Vec<String> = listeners
        .iter()
        .map(|listener| listener.address())
        .collect();
    assert_eq!(addresses[1], format!("unix://{}", path.display()));
    assert!(
        server::bind(&listen[1..]).is_err(),
        "somebody listens there"
    );

    let backend = FakeBackend::new(|frame, _, _| Ok(fake::cells(frame, 3, 4)));
    let pool = LanePool::start(Arc::new(backend), 1).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = Server::new(&Settings::default(), vec![pool]);
    let running = tokio::spawn(async move {
        server
            .run(listeners, async { stopped.await.unwrap_or_default() })
            .await
            .unwrap()
    });
    for address in [
        addresses[0].replace("tcp://", "http://"),
        addresses[1].clone(),
    ] {
        let mut client = SegmenterClient::connect(address).await.unwrap();
        let request = pb::SegmentRequest {
            options: None,
            frame: Some(frame(1)),
        };
        let reply = client.segment(request).await.unwrap().into_inner();
        assert_eq!(outcome(&reply.frame.unwrap()), "3 cells");
    }
    stop.send(()).unwrap();
    assert_eq!(running.await.unwrap(), Ended::Drained);
    assert!(!path.exists(), "the socket is removed");
}
