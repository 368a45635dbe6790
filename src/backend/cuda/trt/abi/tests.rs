use super::*;

/// Dimensions go into the layout of either width and come back.
#[test]
fn dimensions_survive_either_layout() {
    for narrow in [false, true] {
        for dims in [
            vec![],
            vec![-1, 3, 640, 640],
            vec![1; 8],
            vec![i64::from(i32::MAX)],
        ] {
            let raw = RawDims::new(&dims, narrow).unwrap();
            // SAFETY: It was made with the same width.
            assert_eq!(unsafe { raw.read(narrow) }, Some(dims));
        }
        assert!(RawDims::new(&[1; 9], narrow).is_none());
    }
    assert!(RawDims::new(&[1 << 40], true).is_none());
    assert!(RawDims::new(&[1 << 40], false).is_some());
}

#[test]
fn versions_without_tables_are_refused_by_name() {
    let version = |major, minor| Version {
        major,
        minor,
        patch: 0,
        build: 0,
    };
    for (flavour, major, minor, name) in [
        (Flavour::Full, 8, 5, "TensorRT 8"),
        (Flavour::Full, 8, 6, "TensorRT 8"),
        (Flavour::Full, 10, 3, "TensorRT 10"),
        (Flavour::Full, 11, 4, "TensorRT 11"),
        (Flavour::Rtx, 1, 4, "TensorRT-RTX 1.3"),
        (Flavour::Rtx, 1, 7, "TensorRT-RTX 1.5"),
    ] {
        assert_eq!(Abi::of(flavour, version(major, minor)).unwrap().name, name);
    }
    for (flavour, major, minor, words) in [
        (Flavour::Full, 7, 2, "TensorRT 7.2.0 is not known"),
        (Flavour::Full, 8, 4, "TensorRT 8.4.0 is not known"),
        (Flavour::Full, 9, 0, "TensorRT 9.0.0 is not known"),
        (Flavour::Full, 12, 0, "TensorRT 12.0.0 is not known"),
        (Flavour::Rtx, 1, 2, "TensorRT-RTX 1.2.0 is not known"),
        (Flavour::Rtx, 1, 8, "TensorRT-RTX 1.8.0 is not known"),
        (Flavour::Rtx, 2, 0, "TensorRT-RTX 2.0.0 is not known"),
    ] {
        let error = Abi::of(flavour, version(major, minor))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(words), "{error}");
    }
}

#[test]
fn no_slot_holds_two_methods_of_a_class() {
    for abi in [&V8, &V10, &V11, &RTX_1_3, &RTX_1_5] {
        let mut seen = std::collections::BTreeMap::new();
        for (method, place) in abi.slots.listing() {
            let Some(place) = place else { continue };
            let class = method.split("::").next().unwrap();
            let other = seen.insert((class, place), method);
            assert_eq!(other, None, "{}: {method} in slot {place}", abi.name);
        }
    }
}
