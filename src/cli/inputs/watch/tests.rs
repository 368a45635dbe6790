use image::{GrayImage, ImageFormat};

use super::*;

const SETTLE: Duration = Duration::from_secs(1);

fn png() -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    let image = GrayImage::from_fn(64, 64, |x, y| image::Luma([(x * 3 + y) as u8]));
    image.write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

fn arrivals(folder: &Path, listing: Listing) -> Arrivals {
    Arrivals::new(folder, listing, SETTLE).unwrap()
}

fn ids(arrivals: Vec<Arrival>) -> Vec<String> {
    let id = |arrival| match arrival {
        Arrival::Group(group) => {
            let ids: Vec<String> = group.planes().map(|plane| plane.image_id.clone()).collect();
            ids.join("+")
        }
        Arrival::LeftOut(why) => why,
    };
    arrivals.into_iter().map(id).collect()
}

#[test]
fn a_file_is_taken_once_it_stands_still_and_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut arrivals = arrivals(folder.path(), Listing::default());
    let (start, file) = (Instant::now(), folder.path().join("t01.png"));
    fs::write(&file, &png()[..200]).unwrap();
    for seconds in 0..5 {
        let looked = arrivals.look(start + seconds * SETTLE);
        assert_eq!(ids(looked), [""; 0], "half a file is not taken");
    }
    fs::write(&file, png()).unwrap();
    assert_eq!(ids(arrivals.look(start + 5 * SETTLE)), [""; 0]);
    assert_eq!(ids(arrivals.look(start + 6 * SETTLE)), ["t01"]);
    assert_eq!(ids(arrivals.look(start + 9 * SETTLE)), [""; 0]);
}

#[test]
fn a_file_that_pauses_is_said_once_and_taken_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut arrivals = arrivals(folder.path(), Listing::default());
    let (start, file) = (Instant::now(), folder.path().join("t01.png"));
    fs::write(&file, &png()[..200]).unwrap();
    arrivals.look(start);
    let said = ids(arrivals.look(start + HOPELESS));
    assert!(said.len() == 1 && said[0].contains("t01.png: "), "{said:?}");
    assert_eq!(ids(arrivals.look(start + 2 * HOPELESS)), [""; 0]);
    fs::write(&file, png()).unwrap();
    arrivals.look(start + 3 * HOPELESS);
    assert_eq!(ids(arrivals.look(start + 4 * HOPELESS)), ["t01"]);
    assert!(arrivals.rest().is_empty());
}

#[test]
fn a_file_that_stays_broken_is_handed_on_to_fail_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut arrivals = arrivals(folder.path(), Listing::default());
    let start = Instant::now();
    fs::write(folder.path().join("t01.png"), &png()[..200]).unwrap();
    arrivals.look(start);
    arrivals.look(start + HOPELESS);
    let rest = arrivals.rest();
    let [Group { main, .. }] = rest.as_slice() else {
        panic!("{rest:?}");
    };
    assert_eq!(main.image_id, "t01");
    assert!(arrivals.rest().is_empty(), "handed on once");
}

#[test]
fn a_frame_waits_for_its_channels_until_a_later_one_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let listing = Listing {
        pattern: Some("(?P<c>[a-z]+)_(?P<t>[0-9]+)".to_owned()),
        segment: Some("phase".to_owned()),
        measure_on: vec!["gfp".to_owned()],
        ..Listing::default()
    };
    let mut arrivals = arrivals(folder.path(), listing);
    let start = Instant::now();
    let mut seconds = 0;
    let mut come = |files: &[&str]| {
        for file in files {
            fs::write(folder.path().join(file), png()).unwrap();
        }
        seconds += 10;
        arrivals.look(start + seconds * SETTLE);
        ids(arrivals.look(start + (seconds + 1) * SETTLE))
    };
    assert_eq!(come(&["phase_1.png"]), [""; 0]);
    assert_eq!(come(&["gfp_1.png", "dapi_1.png"]), ["phase_1+gfp_1"]);
    assert_eq!(come(&["phase_2.png"]), [""; 0]);
    assert_eq!(come(&["gfp_3.png"]), [""; 0]);
    assert_eq!(come(&["phase_3.png"]), ["phase_2", "phase_3+gfp_3"]);
}

#[test]
fn what_is_left_out_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut arrivals = arrivals(folder.path(), Listing::default());
    let start = Instant::now();
    fs::write(folder.path().join("a.nd2"), "x").unwrap();
    arrivals.look(start);
    let said = ids(arrivals.look(start + SETTLE));
    assert!(said.len() == 1 && said[0].contains("Nikon"), "{said:?}");
    assert_eq!(ids(arrivals.look(start + 2 * SETTLE)), [""; 0]);
}

#[test]
fn a_restart_goes_on_after_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let listing = Listing {
        numbered: true,
        ..Listing::default()
    };
    let mut arrivals = arrivals(folder.path(), listing);
    let done = folder.path().join("t01.png");
    for name in ["t01.png", "t02.png"] {
        fs::write(folder.path().join(name), png()).unwrap();
    }
    let metadata = FrameMetadata {
        index: [("t".to_owned(), 7)].into(),
        ..FrameMetadata::default()
    };
    arrivals.is_done("t01", &done, &metadata);
    let start = Instant::now();
    arrivals.look(start);
    let looked = arrivals.look(start + SETTLE);
    let [Arrival::Group(group)] = looked.as_slice() else {
        panic!("{looked:?}");
    };
    assert_eq!(group.main.image_id, "t02");
    assert_eq!(group.main.metadata.index["t"], 8);
}
