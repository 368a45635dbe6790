//! Against stacks that other programs wrote: `tests/data/make_stacks.py`, where every pixel says which plane its page is.

use std::{fs, io::Cursor};

use proptest::prelude::*;

use super::*;
use crate::frame::{Frame, FrameMetadata, PixelFormat};

type InMemory = ImageFile<Cursor<Vec<u8>>>;

fn bytes(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/stacks");
    fs::read(format!("{folder}/{name}")).unwrap()
}

fn open(bytes: Vec<u8>) -> Result<InMemory, FrameError> {
    ImageFile::open(Cursor::new(bytes), &FrameLimits::default())
}

/// What the pixels of a page say: 1000 p + 100 t + 10 z + c.
fn plane(file: &mut InMemory, page: usize) -> u16 {
    let (layout, data) = file.read(page as u32).unwrap();
    assert_eq!((layout.width, layout.height), (9, 7));
    assert_eq!(layout.format, PixelFormat::Mono16);
    let frame = Frame::new(
        layout,
        data,
        FrameMetadata::default(),
        &FrameLimits::default(),
    );
    let frame = frame.unwrap();
    let mut samples = Vec::new();
    let first = frame.samples(0, &mut samples)[0];
    for y in 0..frame.height() {
        assert!(
            frame
                .samples(y, &mut samples)
                .iter()
                .all(|&sample| sample == first)
        );
    }
    first
}

#[test]
fn every_page_is_the_plane_that_its_pixels_say() {
    for (name, n_pages) in [
        ("tifffile.ome.tif", 12),
        ("order_zct.ome.tif", 12),
        ("one_by_one.ome.tif", 12),
        ("half.ome.tif", 6),
        ("imagej.tif", 12),
        ("imagej_one_directory.tif", 12),
        ("micro_manager.tif", 8),
        ("centimetres.tif", 3),
        ("nikon.tif", 1),
    ] {
        let mut file = open(bytes(name)).unwrap();
        assert_eq!(file.pages().len(), n_pages, "{name}");
        // Backwards: no page needs the one before it.
        for page in (0..n_pages).rev() {
            let index = file.pages()[page].index.clone();
            let of = |axis: &str| u16::try_from(index.get(axis).copied().unwrap_or(0)).unwrap();
            let said = 1000 * of("p") + 100 * of("t") + 10 * of("z") + of("c");
            assert_eq!(
                plane(&mut file, page),
                said,
                "{name}, page {page}: {index:?}"
            );
        }
    }
}

#[test]
fn pixels_are_as_large_as_the_file_says() {
    let size = |um, source| Some(PixelSize { um, source });
    for (name, expected) in [
        ("tifffile.ome.tif", size(0.65, "OME-XML")),
        ("order_zct.ome.tif", size(0.325, "OME-XML")),
        ("imagej.tif", size(0.25, "ImageJ")),
        ("imagej_one_directory.tif", size(0.25, "ImageJ")),
        ("micro_manager.tif", size(0.5, "Micro-Manager")),
        ("nikon.tif", size(0.8707951277094507, "Nikon tags")),
        ("centimetres.tif", size(0.5, "TIFF resolution")),
        ("printer.tif", None),
        ("oblong.tif", None),
    ] {
        let got = open(bytes(name)).unwrap().pixel_size();
        assert_eq!(
            got.map(|size| size.source),
            expected.map(|size| size.source),
            "{name}"
        );
        if let (Some(got), Some(expected)) = (got, expected) {
            assert!(
                (got.um / expected.um - 1.0).abs() < 1e-12,
                "{name}: {got:?}"
            );
        }
    }
}

#[test]
fn names_times_and_places_are_read() {
    let page = |name: &str, page: usize| open(bytes(name)).unwrap().pages()[page].clone();
    let ome = page("tifffile.ome.tif", 7);
    assert_eq!(
        (ome.channel.as_str(), ome.elapsed_ms),
        ("DAPI", Some(120_000.0))
    );
    assert_eq!((ome.exposure_ms, ome.x_um), (Some(20.0), Some(12.5)));

    let named = page("one_by_one.ome.tif", 11);
    assert_eq!(named.channel, "ch <1>");
    assert_eq!((named.elapsed_ms, named.z_um), (Some(1500.0), Some(3000.0)));
    assert_eq!(page("one_by_one.ome.tif", 10).elapsed_ms, None);

    assert_eq!(page("imagej.tif", 6).elapsed_ms, Some(30_000.0));

    let page_of_manager = page("micro_manager.tif", 7);
    assert_eq!(page_of_manager.channel, "GFP");
    assert_eq!(page_of_manager.position, "Pos1");
    assert_eq!(page_of_manager.elapsed_ms, Some(1000.5));
    assert_eq!(
        (page_of_manager.exposure_ms, page_of_manager.x_um),
        (Some(10.0), Some(-5.25))
    );

    let nikon = page("nikon.tif", 0);
    assert_eq!(nikon.elapsed_ms, Some(14197.888));
    assert_eq!(
        (nikon.x_um, nikon.y_um, nikon.z_um),
        (Some(10355.3), Some(-23906.6), Some(8075.15))
    );
}

#[test]
fn a_stack_that_is_cut_off_gives_the_pages_that_are_whole() {
    // Micro-Manager's order: each page's directory lies beside its pixels.
    let whole = bytes("micro_manager.tif");
    let keep = 5 * whole.len() / 8;
    let mut file = open(whole[..keep].to_vec()).unwrap();
    let n_pages = file.pages().len();
    assert!(3 < n_pages && n_pages < 8, "{n_pages}");
    let (mut whole_pages, mut errors) = (0, Vec::new());
    for page in 0..n_pages as u32 {
        match file.read(page) {
            Ok(_) => {
                assert!(errors.is_empty(), "page {page} is whole after a broken one");
                whole_pages += 1;
            }
            Err(error) => errors.push((page, error.to_string())),
        }
    }
    assert!(whole_pages > 2 && !errors.is_empty(), "{errors:?}");
    for (page, error) in &errors {
        assert!(error.starts_with(&format!("page {page}: ")), "{error}");
    }

    let one_directory = bytes("imagej_one_directory.tif");
    let mut file = open(one_directory[..one_directory.len() - 100].to_vec()).unwrap();
    assert_eq!(plane(&mut file, 10), 120);
    let error = file.read(11).unwrap_err().to_string();
    assert!(
        error.starts_with("page 11: its pixels, bytes ") && error.contains("cut off"),
        "{error}"
    );
}

#[test]
fn a_page_that_is_not_there_is_named() {
    let error = open(bytes("imagej.tif")).unwrap().read(12).unwrap_err();
    assert_eq!(
        error.to_string(),
        "page 12: the TIFF file has 12 pages; pages count from 0"
    );
}

#[test]
fn directories_in_a_ring_end() {
    let mut file = bytes("centimetres.tif");
    // The last directory's pointer to the next, made one to the first.
    let u32_at =
        |file: &[u8], at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let first = u32_at(&file, 4);
    let mut next = 4;
    while u32_at(&file, next) != 0 {
        let directory = u32_at(&file, next);
        next = directory
            + 2
            + 12 * usize::from(u16::from_le_bytes([file[directory], file[directory + 1]]));
    }
    file[next..next + 4].copy_from_slice(&(first as u32).to_le_bytes());
    let mut file = open(file).unwrap();
    assert_eq!(file.pages().len(), 4);
    assert_eq!(plane(&mut file, 1), 100);
    assert_eq!(
        file.read(3).unwrap_err().to_string(),
        "page 3: its directories form a ring"
    );
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let mut growing = b"II*\0".to_vec();
    growing.extend([40, 0, 0, 0]);
    growing.extend(54_773_648_u32.to_le_bytes());
    growing.extend([0; 64]);
    let error = open(growing).unwrap_err();
    assert!(error.to_string().contains("still being written"), "{error}");
    for (start, name) in [
        (b"ZISRAWFILE".as_slice(), ".czi"),
        (&[0xda, 0xce, 0xbe, 0x0a], ".nd2"),
    ] {
        let error = open([start, &[0; 50]].concat()).unwrap_err();
        assert!(matches!(error, FrameError::Unsupported(_)), "{error:?}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let error = open(b"text".to_vec()).unwrap_err();
    assert!(
        error.to_string().contains("not a PNG, TIFF or JPEG file"),
        "{error}"
    );
}

#[test]
fn a_png_is_a_file_of_one_page() {
    let png = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/images/mono16.png");
    let mut file = open(fs::read(png).unwrap()).unwrap();
    assert_eq!(
        (file.pages(), file.pixel_size()),
        (&[Page::default()][..], None)
    );
    assert_eq!(file.read(0).unwrap().0.width, 23);
    assert!(file.read(1).is_err());
}

#[test]
fn what_ome_xml_says_wrongly_is_left_out() {
    let pixels = |inside: &str| {
        format!(
            "<OME><Image><Pixels DimensionOrder='XYZCT' SizeC='2' SizeZ='4294967295' SizeT='4294967295' \
             PhysicalSizeX='-3'>{inside}</Pixels></Image></OME>"
        )
    };
    for text in [
        "<OME".to_owned(),
        "<OME><TiffData/><Plane/><Channel/><Pixels/></OME>".to_owned(),
        pixels("<TiffData IFD='4294967295' PlaneCount='4294967295'/>"),
        pixels("<TiffData FirstT='4294967295' FirstC='4294967295' FirstZ='4294967295'/>"),
        pixels("<Channel SamplesPerPixel='4294967295'/><TiffData/>"),
        pixels("<TiffData IFD='0'><UUID>&unknown;</UUID></TiffData>").replace("</OME>", ""),
        "<!DOCTYPE a [<!ENTITY b 'bbbb'><!ENTITY c '&b;&b;'>]><OME><Image Name='&c;'/></OME>"
            .to_owned(),
    ] {
        let ome = ome::read(&text, 3).unwrap();
        let mut pages = vec![Page::default(); 3];
        ome.describe(&mut pages);
        assert_eq!(ome.pixel_size, None, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn damaged_stacks_never_panic(
        name in prop::sample::select(vec![
            "tifffile.ome.tif", "one_by_one.ome.tif", "half.ome.tif", "imagej.tif", "imagej_one_directory.tif",
            "micro_manager.tif", "nikon.tif", "centimetres.tif",
        ]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        keep in any::<prop::sample::Index>(),
        cut in prop::bool::weighted(0.2),
    ) {
        let mut file = bytes(name);
        for (place, value) in changes {
            let place = place.index(file.len());
            file[place] = value;
        }
        if cut {
            file.truncate(keep.index(file.len()));
        }
        let limits = FrameLimits { max_frame_bytes: 1 << 20, max_side: 1024 };
        if let Ok(mut file) = ImageFile::open(Cursor::new(file), &limits) {
            for page in 0..file.pages().len().min(20) as u32 {
                if let Ok((layout, data)) = file.read(page) {
                    let frame = Frame::new(layout, data, FrameMetadata::default(), &limits);
                    prop_assert!(frame.is_ok(), "{:?}", frame.err());
                }
            }
        }
    }
}
