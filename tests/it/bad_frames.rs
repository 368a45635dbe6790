//! A bad frame fails alone, with words that help; the stream goes on.

use std::io::Write;

use cellsegd::proto::{
    self as pb, failed::Code, frame::Pixels, frame_reply::Outcome, stream_request::Request,
};

use crate::{
    client::{Session, frame, outcome, raw},
    daemon::Daemon,
};

fn mono8(width: u32, height: u32, bytes: usize) -> pb::RawPixels {
    pb::RawPixels {
        format: pb::PixelFormat::Mono8.into(),
        width,
        height,
        data: vec![0; bytes].into(),
        ..Default::default()
    }
}

fn encoded(data: Vec<u8>) -> pb::Frame {
    let image = pb::EncodedImage {
        data: data.into(),
        page: 0,
    };
    pb::Frame {
        pixels: Some(Pixels::Encoded(image)),
        ..Default::default()
    }
}

fn with_metadata(metadata: pb::FrameMetadata) -> pb::Frame {
    pb::Frame {
        metadata: Some(metadata),
        ..frame(0)
    }
}

fn with_thresholds(thresholds: pb::Thresholds) -> pb::Frame {
    pb::Frame {
        thresholds: Some(thresholds),
        ..frame(0)
    }
}

/// So many zeros.
fn zlib(n_bytes: usize) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&vec![0; n_bytes]).unwrap();
    encoder.finish().unwrap()
}

/// A small PNG that says it is 60,000 x 60,000.
fn png_bomb() -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        png.extend((data.len() as u32).to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(data);
        png.extend([kind.as_slice(), data].concat());
        png.extend(crc.sum().to_be_bytes());
    };
    let side = 60_000u32.to_be_bytes();
    chunk(b"IHDR", &[&side[..], &side[..], &[8, 0, 0, 0, 0]].concat());
    chunk(b"IDAT", &[0x78, 0x01, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01]);
    chunk(b"IEND", &[]);
    png
}

fn truncated_png() -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_fn(64, 64, |x, y| image::Luma([(x * y) as u8]))
        .write_to(&mut file, image::ImageFormat::Png)
        .unwrap();
    let mut file = file.into_inner();
    file.truncate(file.len() / 2);
    file
}

fn cases() -> Vec<(pb::Frame, Code, &'static str)> {
    use Code::{InvalidFrame, TooLarge};
    let format = |format: i32| {
        raw(
            0,
            pb::RawPixels {
                format,
                ..mono8(8, 8, 64)
            },
        )
    };
    vec![
        (
            raw(0, mono8(8, 8, 63)),
            InvalidFrame,
            "8x8 Mono8 with row_stride 8 needs 64 bytes, got 63",
        ),
        (
            raw(0, mono8(8, 8, 65)),
            InvalidFrame,
            "needs 64 bytes, got 65",
        ),
        (
            raw(
                0,
                pb::RawPixels {
                    row_stride: 7,
                    ..mono8(8, 8, 64)
                },
            ),
            InvalidFrame,
            "row_stride 7: a row of 8 Mono8 pixels has 8 bytes",
        ),
        (
            raw(
                0,
                pb::RawPixels {
                    row_stride: u32::MAX,
                    ..mono8(8, 8, 64)
                },
            ),
            InvalidFrame,
            "got 64",
        ),
        (
            raw(
                0,
                pb::RawPixels {
                    significant_bits: 9,
                    ..mono8(8, 8, 64)
                },
            ),
            InvalidFrame,
            "significant_bits 9: Mono8 has 8",
        ),
        (
            raw(0, mono8(0, 0, 0)),
            InvalidFrame,
            "0x0 pixels: both sides must be at least 1",
        ),
        (
            raw(0, mono8(65_536, 65_536, 8)),
            TooLarge,
            "65536x65536 pixels: a side may be at most 8192 pixels",
        ),
        (
            raw(
                0,
                pb::RawPixels {
                    format: pb::PixelFormat::Rgba8.into(),
                    ..mono8(8192, 8192, 8)
                },
            ),
            TooLarge,
            "need 268435456 bytes: a frame may have at most 67108864",
        ),
        (
            format(0),
            InvalidFrame,
            "unknown pixel format 0; understood are Mono8,",
        ),
        (format(99), InvalidFrame, "unknown pixel format 99"),
        (
            raw(
                0,
                pb::RawPixels {
                    format: pb::PixelFormat::Mono12p.into(),
                    ..mono8(7, 3, 31)
                },
            ),
            InvalidFrame,
            "7x3 Mono12p with row_stride 11 needs 33 bytes, got 31",
        ),
        (
            raw(
                0,
                pb::RawPixels {
                    format: pb::PixelFormat::Mono10packed.into(),
                    row_stride: 10,
                    ..mono8(7, 3, 31)
                },
            ),
            InvalidFrame,
            "row_stride 10: a row of 7 Mono10Packed pixels has 11 bytes",
        ),
        (
            raw(
                0,
                pb::RawPixels {
                    big_endian: true,
                    ..mono8(8, 8, 64)
                },
            ),
            InvalidFrame,
            "big_endian: Mono8 has no samples of two bytes; leave it out",
        ),
        (
            raw(
                0,
                pb::RawPixels {
                    compression: 9,
                    ..mono8(8, 8, 64)
                },
            ),
            InvalidFrame,
            "compression 9: no such value",
        ),
        (
            raw(
                0,
                pb::RawPixels {
                    compression: pb::Compression::Lz4.into(),
                    ..mono8(8, 8, 64)
                },
            ),
            InvalidFrame,
            "LZ4: damaged: ",
        ),
        (
            raw(
                0,
                pb::RawPixels {
                    compression: pb::Compression::Zlib.into(),
                    data: zlib(64 << 20).into(),
                    ..mono8(8, 8, 64)
                },
            ),
            InvalidFrame,
            "zlib: unpacks to more than 64 bytes: 8x8 Mono8 with row_stride 8 needs 64",
        ),
        (
            raw(
                0,
                pb::RawPixels {
                    compression: pb::Compression::Zlib.into(),
                    data: zlib(63).into(),
                    ..mono8(8, 8, 64)
                },
            ),
            InvalidFrame,
            "8x8 Mono8 with row_stride 8 needs 64 bytes, got 63",
        ),
        (
            pb::Frame {
                pixels: Some(Pixels::Shared(Default::default())),
                ..Default::default()
            },
            InvalidFrame,
            "shared without a layout",
        ),
        (
            pb::Frame {
                measure_on: Some(3),
                ..frame(0)
            },
            InvalidFrame,
            "measure_on 3: no such frame among the last 8",
        ),
        (
            pb::Frame {
                pixels: None,
                ..Default::default()
            },
            InvalidFrame,
            "a frame without pixels",
        ),
        (encoded(truncated_png()), InvalidFrame, "PNG"),
        (encoded(png_bomb()), TooLarge, "60000x60000"),
        (
            encoded(b"not an image".to_vec()),
            InvalidFrame,
            "PNG, TIFF or JPEG",
        ),
        (encoded(Vec::new()), InvalidFrame, "PNG, TIFF or JPEG"),
        (
            with_thresholds(pb::Thresholds {
                confidence: Some(f32::NAN),
                ..Default::default()
            }),
            InvalidFrame,
            "thresholds.confidence NaN: must be 0 to 1",
        ),
        (
            with_thresholds(pb::Thresholds {
                border: 9,
                ..Default::default()
            }),
            InvalidFrame,
            "thresholds.border 9: no such value",
        ),
        (
            with_metadata(pb::FrameMetadata {
                channel: "x".repeat(70_000),
                ..Default::default()
            }),
            InvalidFrame,
            "metadata has 70004 bytes: at most 65536",
        ),
        (
            with_metadata(pb::FrameMetadata {
                pixel_to_stage: vec![1.0; 5],
                ..Default::default()
            }),
            InvalidFrame,
            "pixel_to_stage has 5 numbers: an affine has 6",
        ),
        (
            with_metadata(pb::FrameMetadata {
                pixel_size_um: Some(0.0),
                ..Default::default()
            }),
            InvalidFrame,
            "pixel_size_um 0: must be 0.000001 to 1000000",
        ),
        (
            with_metadata(pb::FrameMetadata {
                pixel_size_um: Some(1e-200),
                ..Default::default()
            }),
            InvalidFrame,
            "must be 0.000001 to 1000000; leave it out if it is not known",
        ),
        (
            pb::Frame {
                deadline: Some(prost_types::Duration {
                    seconds: -1,
                    nanos: 0,
                }),
                ..frame(0)
            },
            InvalidFrame,
            "deadline -1s",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fails_alone_and_says_why() {
    let daemon = Daemon::instant();
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    let cases = cases();
    let count = cases.len() as u64;
    let mut wrong = Vec::new();
    for (id, (bad, code, text)) in cases.into_iter().enumerate() {
        let id = id as u64 * 2;
        session.send(Request::Frame(pb::Frame { id, ..bad })).await;
        session.send(Request::Frame(frame(id + 1))).await;
        let reply = session.frame_reply().await;
        assert_eq!(reply.id, id);
        match reply.outcome {
            Some(Outcome::Failed(failed))
                if failed.code() == code && failed.message.contains(text) =>
            {
                assert!(!failed.retryable, "{}", failed.message);
            }
            other => wrong.push(format!("should say {code:?} {text:?}: {other:?}")),
        }
        let good = session.frame_reply().await;
        assert_eq!((good.id, outcome(&good).as_str()), (id + 1, "9 cells"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let closed = session.close().await;
    assert_eq!((closed.segmented, closed.failed), (count, count));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_still_in_flight_is_refused() {
    let (gate, backend) = crate::daemon::Gate::new();
    let daemon = Daemon::start(Default::default(), backend, 1);
    let (mut session, _) = Session::open(&daemon, Default::default()).await;
    session.send(Request::Frame(frame(5))).await;
    let running = gate.started().await;
    session.send(Request::Frame(frame(5))).await;
    crate::daemon::let_it_be_read().await;
    running.answer(1);
    assert_eq!(outcome(&session.frame_reply().await), "1 cells");
    match session.frame_reply().await.outcome {
        Some(Outcome::Failed(failed)) => {
            assert_eq!(failed.code(), Code::InvalidFrame);
            assert!(failed.message.starts_with("id 5:"), "{}", failed.message);
        }
        other => panic!("not failed: {other:?}"),
    }
}
