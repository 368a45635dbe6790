//! Against files that other programs wrote: `tests/data/make_images.py`.

use std::{fs, path::PathBuf};

use proptest::prelude::*;

use super::*;

fn read(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/images");
    fs::read(path.join(name)).unwrap()
}

fn message(file: &[u8]) -> String {
    decode_image(file, 0, &FrameLimits::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn files_of_other_programs_come_out_as_they_were_written() {
    use PixelFormat::*;
    let cases = [
        ("mono8.png", 0, Mono8),
        ("mono16.png", 0, Mono16),
        ("rgb8.png", 0, Rgb8),
        ("rgba8.png", 0, Rgba8),
        ("rgb16.png", 0, Rgb16),
        ("rgba16.png", 0, Rgb16),
        ("grey_alpha.png", 0, Mono8),
        ("bits1.png", 0, Mono8),
        ("palette.png", 0, Rgb8),
        ("grey.jpg", 0, Mono8),
        ("colour.jpg", 0, Rgb8),
        ("mono16_strips.tif", 0, Mono16),
        ("mono16_big_endian.tif", 0, Mono16),
        ("mono16_lzw.tif", 0, Mono16),
        ("mono16_lzw_predictor.tif", 0, Mono16),
        ("mono16_deflate.tif", 0, Mono16),
        ("mono16_tiles.tif", 0, Mono16),
        ("mono16_bigtiff.tif", 0, Mono16),
        ("mono16_ome.ome.tif", 1, Mono16),
        ("mono16_imagej.tif", 0, Mono16),
        ("mono8.tif", 0, Mono8),
        ("rgb8.tif", 0, Rgb8),
        ("rgba8.tif", 0, Rgba8),
        ("rgb16.tif", 0, Rgb16),
        ("white_is_zero.tif", 0, Mono16),
    ];
    for (name, page, format) in cases {
        let (layout, pixels) = decode_image(&read(name), page, &FrameLimits::default())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let size = if name.ends_with("jpg") {
            (24, 16)
        } else {
            (23, 19)
        };
        assert_eq!((layout.width, layout.height), size, "{name}");
        assert_eq!(layout.format, format, "{name}");
        assert!(
            pixels == read(&format!("{name}.raw")),
            "{name}: other pixels"
        );
    }
}

#[test]
fn what_is_not_understood_is_named() {
    let cases = [
        ("float32.tif", "IEEEFP"),
        ("int16.tif", "Int"),
        ("uint32.tif", "Gray(32)"),
        ("planar_rgb.tif", "3 plane(s)"),
        ("bits1.tif", "Gray(1)"),
    ];
    for (name, found) in cases {
        let error = decode_image(&read(name), 0, &FrameLimits::default()).unwrap_err();
        assert!(
            matches!(error, FrameError::Unsupported(_)),
            "{name}: {error:?}"
        );
        assert!(error.to_string().contains(found), "{name}: {error}");
    }
}

#[test]
fn truncated_files_are_invalid() {
    for name in [
        "mono16.png",
        "grey.jpg",
        "mono16_strips.tif",
        "mono16_deflate.tif",
        "mono16_lzw.tif",
    ] {
        let file = read(name);
        for keep in [5, file.len() / 2, file.len() - 20] {
            let error = decode_image(&file[..keep], 0, &FrameLimits::default()).unwrap_err();
            assert!(
                matches!(error, FrameError::Invalid(_)),
                "{name} to {keep}: {error:?}"
            );
        }
    }
}

#[test]
fn other_files_are_told_by_their_first_bytes() {
    assert_eq!(
        message(b""),
        "0 bytes that begin with []: not a PNG, TIFF or JPEG file"
    );
    assert_eq!(
        message(b"GIF89a"),
        "6 bytes that begin with [47, 49, 46, 38]: not a PNG, TIFF or JPEG file"
    );
}

#[test]
fn the_pages_of_a_file_are_counted() {
    for (name, pages) in [
        ("mono8.png", 1),
        ("grey.jpg", 1),
        ("mono16_big_endian.tif", 1),
        ("mono16_bigtiff.tif", 1),
        ("mono16_ome.ome.tif", 2),
    ] {
        assert_eq!(n_pages(&read(name)), pages, "{name}");
    }
    assert_eq!(n_pages(b"II*\0"), 0);
    // A ring of directories: one whose next is itself.
    let mut ring = b"II*\0\x08\0\0\0\0\0".to_vec();
    ring.extend(8_u32.to_le_bytes());
    assert!(n_pages(&ring) <= MOST_PAGES_COUNTED);
}

#[test]
fn a_missing_page_is_named() {
    for (name, page, text) in [
        (
            "mono16_ome.ome.tif",
            2,
            "page 2: the TIFF file has fewer pages; pages count from 0",
        ),
        ("mono8.png", 1, "page 1: a PNG file has one page, page 0"),
    ] {
        let error = decode_image(&read(name), page, &FrameLimits::default()).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_bomb_is_refused_by_its_header() {
    let mut png = read("mono16.png");
    png[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let header = png[12..29].to_vec();
    png[29..33].copy_from_slice(&crc32(&header).to_be_bytes());
    assert_eq!(
        message(&png),
        "65536x65536 pixels: a side may be at most 8192 pixels"
    );

    let small = FrameLimits {
        max_frame_bytes: 600,
        max_side: 8192,
    };
    for name in ["mono16.png", "mono16_strips.tif", "mono16_tiles.tif"] {
        let error = decode_image(&read(name), 0, &small).unwrap_err();
        assert!(
            matches!(error, FrameError::TooLarge(_)),
            "{name}: {error:?}"
        );
    }
}

#[test]
fn directories_that_share_their_bytes_do_not_keep_the_decoder_busy() {
    // A good page, then 16,000 directories of 5,461 entries, each four bytes after the last one and mostly inside it.
    let (n_directories, n_entries) = (16_000, 5_461_u16);
    let mut file = read("mono16_strips.tif");
    let first = u32_at(&file, 4) as usize;
    let first_next =
        first + 2 + 12 * usize::from(u16::from_le_bytes([file[first], file[first + 1]]));
    let start = file.len();
    let next = 2 + 12 * usize::from(n_entries);
    file[first_next..first_next + 4].copy_from_slice(&(start as u32).to_le_bytes());
    file.resize(start + 4 * n_directories + next, 0);
    for place in (start..start + 4 * n_directories).step_by(4) {
        file[place..place + 2].copy_from_slice(&n_entries.to_le_bytes());
        file[place + next..place + next + 4].copy_from_slice(&(place as u32 + 4).to_le_bytes());
    }
    let error = decode_image(&file, u32::MAX, &FrameLimits::default()).unwrap_err();
    assert!(error.to_string().contains("again and again"), "{error}");
}

fn u32_at(file: &[u8], place: usize) -> u32 {
    u32::from_le_bytes(file[place..place + 4].try_into().unwrap())
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

#[test]
fn a_palette_with_half_a_colour_is_refused() {
    let mut file = read("palette.png");
    let chunk = file.windows(4).position(|kind| kind == b"PLTE").unwrap();
    let length = u32::from_be_bytes(file[chunk - 4..chunk].try_into().unwrap());
    file[chunk - 1] += 1;
    let error = decode_image(&file, 0, &FrameLimits::default()).unwrap_err();
    let named = format!("a palette of {} bytes", length + 1);
    assert!(error.to_string().contains(&named), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_panic(
        name in prop::sample::select(vec![
            "mono16.png", "palette.png", "grey_alpha.png", "grey.jpg", "colour.jpg", "mono16_strips.tif", "mono16_tiles.tif",
            "mono16_lzw_predictor.tif", "mono16_deflate.tif", "mono16_bigtiff.tif", "rgba8.tif", "mono16_ome.ome.tif",
        ]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        keep in any::<prop::sample::Index>(),
        cut in prop::bool::weighted(0.2),
    ) {
        let mut file = read(name);
        for (place, value) in changes {
            // Half of the changes fall where the structure is.
            let among = if value % 2 == 0 { file.len() } else { file.len().min(300) };
            let place = place.index(among);
            file[place] = value;
        }
        if cut {
            file.truncate(keep.index(file.len()));
        }
        let limits = FrameLimits { max_frame_bytes: 1 << 20, max_side: 1024 };
        if let Ok((layout, pixels)) = decode_image(&file, 0, &limits) {
            let need = layout.height as usize * layout.format.row_bytes(layout.width);
            prop_assert_eq!(pixels.len(), need);
        }
    }
}
