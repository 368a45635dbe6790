//! Devices that fail on order: each fault gets its answer, and nobody else suffers.
//!
//! A lane that opens executes the network once plainly and once for the pool's warm-up: with two lanes the fifth execution is a
//! client's first.

use cellsegd::proto::{
    self as pb, failed::Code, frame_reply::Outcome, stream_reply::Reply, stream_request::Request,
};
use tonic::Code as StatusCode;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{
    machine::{Machine, TRT_10},
    models,
    same_cells::{assert_same, cells, replies},
};

const PLAN: &str = "tensorrt=10.3.0\ncompute=8.9";

#[test]
fn memory_that_runs_out_at_opening_is_said() {
    // Weights, the context's, a lane's buffers; page-locked memory.
    for fault in [
        "oom@alloc:1",
        "oom@alloc:2",
        "oom@alloc:3",
        "oom@alloc:5",
        "oom@pinned:1",
        "context",
    ] {
        let Some(machine) = Machine::new(TRT_10) else {
            return;
        };
        let machine = machine.with_fault(fault);
        let engine = machine.engine(PLAN);
        let output = machine.run(&["doctor", "--model", engine.to_str().unwrap()]);
        let words = super::machine::words(&output);
        assert_eq!(output.status.code(), Some(1), "{fault}: {words}");
        let said = words.to_lowercase().replace(['_', ' '], "");
        assert!(
            said.contains("outofmemory") && said.contains("cannotbeused"),
            "{fault}: {words}"
        );
        assert!(!words.contains("panicked"), "{fault}: {words}");
        // Building it again mends no lack of memory.
        assert!(!words.contains("build it again"), "{fault}: {words}");
        machine.assert_nothing_is_left();
    }
}

/// Page-locked memory is scarce under WSL2, and a graph is a matter of speed only.
#[test]
fn what_is_only_slower_is_warned_of() {
    for (fault, word) in [
        ("oom@pinned:2", "pageable memory"),
        ("instantiate", "no CUDA graph"),
    ] {
        let Some(machine) = Machine::new(TRT_10) else {
            return;
        };
        let machine = machine.with_fault(fault);
        let engine = machine.engine(PLAN);
        let words = machine.ok(&["doctor", "--model", engine.to_str().unwrap()]);
        assert!(
            words.contains("WARN") && words.contains(word),
            "{fault}: {words}"
        );
        machine.assert_nothing_is_left();
    }
}

#[test]
fn a_small_gpu_is_told_by_its_numbers() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let engine = machine.engine("tensorrt=10.3.0\ncompute=any");
    // The second shares its memory with the CPU: the page-locked buffers are taken from it too.
    let needs = ["8.9", "8.7i"].map(|device| {
        let machine = Machine::new(TRT_10)
            .expect("it was built")
            .with("CELLSEGD_GPU__MEMORY_LIMIT_MIB", "20")
            .with("CELLSEGD_FAKE_DEVICES", device);
        let words = machine.fails(78, &["serve", "--model", engine.to_str().unwrap()]);
        assert!(words.contains("gpu.memory_limit_mib = 20"), "{words}");
        let need = words.split("lane(s) need ").nth(1).expect(&words);
        need.split(' ')
            .next()
            .unwrap()
            .parse::<u64>()
            .expect(&words)
    });
    assert!(needs[0] + 20 < needs[1], "{needs:?}");
}

#[test]
fn a_camera_that_is_smaller_than_the_network_needs_no_more_memory_than_it_asks_for() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    // 512 x 512 of 8 bits.
    let machine = machine.with("CELLSEGD_LIMITS__MAX_FRAME_BYTES", "262144");
    let engine = machine.engine(PLAN);
    machine.ok(&["doctor", "--model", engine.to_str().unwrap()]);
}

#[test]
fn a_device_that_is_lost_at_opening_is_worth_another_start() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let machine = machine.with_fault("sticky@frame:1");
    let engine = machine.engine(PLAN);
    let words = machine.fails(75, &["serve", "--model", engine.to_str().unwrap()]);
    assert!(words.contains("device lost"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_that_fails_fails_one_frame_and_its_lane_is_opened_again() {
    for (fault, n_opening) in [
        // Refused when the graph is launched.
        ("launch@frame:6", 1),
        // Without a graph TensorRT itself is asked for each frame: once plainly, in the capture, plainly again, warm-up.
        ("capture,enqueue@call:10", 1),
    ] {
        let Some(machine) = Machine::new(TRT_10) else {
            return;
        };
        let healthy = Machine::new(TRT_10).expect("it was built");
        let machine = machine.with_fault(fault);
        let engine = machine.engine(PLAN);
        let served = machine
            .serve(&["--model", engine.to_str().unwrap(), "--lanes", "2"])
            .await;
        let frames = models::frames();
        let mut found = Vec::new();
        let mut failed = Vec::new();
        for (i, reply) in replies(&served, &frames).await.into_iter().enumerate() {
            match reply.outcome {
                Some(Outcome::Segmentation(segmentation)) => found.push((i, segmentation)),
                Some(Outcome::Failed(why)) => failed.push(why),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(
            failed.len(),
            n_opening,
            "{fault}: {failed:?}\n{}",
            served.log()
        );
        assert_eq!(failed[0].code(), Code::LaneLost, "{fault}: {failed:?}");
        assert!(failed[0].retryable);
        // The lane is back: all is as before.
        let again = cells(&served, &frames).await;
        let (status, log) = served.stop();
        assert!(status.success(), "{log}");
        assert!(log.contains("ERROR") && log.contains("lane lost"), "{log}");
        assert!(log.contains("lane opened again"), "{log}");
        machine.assert_nothing_is_left();
        let cpu = healthy.serve_on_cpu().await;
        let expected = cells(&cpu, &frames).await;
        assert_same(&again, &expected);
        for (i, segmentation) in found {
            assert!(segmentation == expected[i], "{fault}: frame {i}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_device_fails_what_is_in_flight_and_ends_the_daemon_with_75() {
    // Illegal address, unspecified launch failure, ECC.
    for fault in ["sticky@frame:6", "sticky@frame:6=719", "sticky@frame:6=214"] {
        let Some(machine) = Machine::new(TRT_10) else {
            return;
        };
        let machine = machine.with_fault(fault);
        let engine = machine.engine(PLAN);
        let mut served = machine
            .serve(&["--model", engine.to_str().unwrap(), "--lanes", "2"])
            .await;
        let channel = served.channel().await.unwrap();
        let mut health = HealthClient::new(channel)
            .watch(HealthCheckRequest {
                service: String::new(),
            })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(health.message().await.unwrap().unwrap().status, 1);

        let (mut session, _) = served.open(Default::default()).await;
        for (i, frame) in models::frames()[..3].iter().enumerate() {
            let message = models::message(i as u64 + 1, frame);
            session.send(Request::Frame(message)).await;
        }
        let mut n_lost = 0;
        let ended = loop {
            match session.next().await {
                Ok(Some(Reply::Frame(pb::FrameReply {
                    outcome: Some(Outcome::Failed(failed)),
                    ..
                }))) => {
                    assert_eq!(failed.code(), Code::DeviceLost, "{fault}");
                    n_lost += 1;
                }
                Ok(Some(_)) => {}
                Ok(None) => panic!("{fault}: the stream ended well"),
                Err(status) => break status,
            }
        };
        assert!(1 <= n_lost, "{fault}: {}", served.log());
        assert_eq!(ended.code(), StatusCode::Unavailable, "{fault}: {ended}");
        let unhealthy = health.message().await;
        // The connection may have ended before the news came.
        if let Ok(Some(unhealthy)) = unhealthy {
            assert_eq!(unhealthy.status, 2, "{fault}");
        }
        let (status, log) = served.ended();
        assert_eq!(status.code(), Some(75), "{fault}:\n{log}");
        assert!(log.contains("device lost"), "{fault}:\n{log}");
        assert!(!log.contains("panicked"), "{fault}:\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_hangs_fails_what_is_in_flight_and_ends_the_daemon_with_75() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    // A healthy execution takes a fraction of the patience, also where everything is slow.
    let machine = machine
        .with_fault("hang@frame:4")
        .with("CELLSEGD_HUNG_AFTER_S", "5");
    let engine = machine.engine(PLAN);
    let mut served = machine.serve(&["--model", engine.to_str().unwrap()]).await;
    let (mut session, _) = served.open(Default::default()).await;
    for (i, frame) in models::frames()[..3].iter().enumerate() {
        let message = models::message(i as u64 + 1, frame);
        session.send(Request::Frame(message)).await;
    }
    let mut outcomes = Vec::new();
    let ended = loop {
        match session.next().await {
            Ok(Some(Reply::Frame(reply))) => match reply.outcome {
                Some(Outcome::Failed(failed)) => {
                    let why = "lane 0 gave no sign of life for 5 s";
                    assert!(failed.message.contains(why), "{}", failed.message);
                    outcomes.push(Some(failed.code()));
                }
                _ => outcomes.push(None),
            },
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended well"),
            Err(status) => break status,
        }
    };
    let lost = Some(Code::DeviceLost);
    assert_eq!(outcomes, [None, lost, lost], "{}", served.log());
    assert_eq!(ended.code(), StatusCode::Unavailable, "{ended}");
    let (status, log) = served.ended();
    assert_eq!(status.code(), Some(75), "{log}");
    assert!(log.contains("gave no sign of life"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_gives_no_numbers_finds_no_cells() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let machine = machine.with_fault("nan");
    let engine = machine.engine(PLAN);
    let served = machine.serve(&["--model", engine.to_str().unwrap()]).await;
    for answer in cells(&served, &models::frames()[..2]).await {
        assert_eq!(answer.instances.len(), 0);
    }
    let (status, log) = served.stop();
    assert!(status.success(), "{log}");
}
