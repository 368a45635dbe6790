//! What answers hold that nobody reads, behind doors that make their own of them.

use cellsegd::{
    backend::fake::{self, FakeBackend},
    config::{LimitSettings, Settings},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use crate::{
    daemon::{Daemon, PATIENCE},
    inference,
    security::wait_until_refused,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_the_inference_protocol_that_is_not_read_holds_so_much_and_no_more() {
    const SIDE: usize = 1024;
    const FRAMES: usize = 12;
    let limits = LimitSettings {
        unread_answers_bytes: 256 << 10,
        ..Default::default()
    };
    let settings = Settings {
        limits,
        ..Default::default()
    };
    // One cell of a million pixels: 125 kB of mask, beside next to nothing as the contract tells it.
    let backend = FakeBackend::new(|frame, _, _| Ok(fake::cells(frame, 1, 1000)));
    let daemon = Daemon::start(settings, backend, 1);
    let mut client = inference::connect(&daemon).await;
    let mut request = inference::asking(&["LABELS"]);
    request.inputs[0].shape = vec![SIDE as i64, SIDE as i64];
    request.raw_input_contents = vec![vec![100; SIDE * SIDE].into()];
    let (sender, requests) = mpsc::channel(FRAMES);
    let answers = client.model_stream_infer(ReceiverStream::new(requests));
    let answers = timeout(PATIENCE, answers).await.unwrap().unwrap();
    for _ in 0..FRAMES {
        sender.send(request.clone()).await.unwrap();
    }
    drop(sender);
    wait_until_refused(&daemon, "unread_answers_bytes", 1).await;
    // Nothing is lost, and it goes on as it is read.
    let mut answers = answers.into_inner();
    for n in 0..FRAMES {
        let answer = timeout(PATIENCE, answers.next()).await;
        let answer = answer.expect("an answer in time").unwrap().unwrap();
        assert_eq!(answer.error_message, "", "{n}");
        let tensor = &answer.infer_response.unwrap().raw_output_contents[0];
        assert_eq!(tensor.len(), SIDE * SIDE * 2);
    }
    let end = timeout(PATIENCE, answers.next()).await;
    assert!(end.expect("the stream ends").is_none());
}
