//! The tables of slots against what others say: the compiler on NVIDIA's headers, and the list that was read from more of them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::*;

/// Written from the headers of seventeen versions, by others than who wrote our tables.
const LIST: &str = include_str!("../../../../../tests/fake_gpu/trt/slots.txt");

/// The columns of [`LIST`] that a table of ours is for, and the minor version of each.
fn columns(abi: &Abi) -> &'static [(&'static str, u32)] {
    match abi.name {
        "TensorRT 8" => &[("v8.5.2", 5), ("v8.5.3", 5), ("v8.6.1", 6)],
        "TensorRT 10" => &[
            ("v10.0.0", 0),
            ("v10.3.0", 3),
            ("v10.7.0", 7),
            ("v10.9.0", 9),
            ("v10.13.0", 13),
            ("v10.13.3", 13),
            ("v10.16", 16),
        ],
        "TensorRT 11" => &[("v11.0", 0), ("v11.1", 1), ("v11.4", 4)],
        "TensorRT-RTX 1.3" => &[("rtx1.3", 3), ("rtx1.4", 4)],
        "TensorRT-RTX 1.5" => &[("rtx1.5", 5), ("rtx1.7", 7)],
        other => panic!("{other} has no columns here"),
    }
}

const ALL: [&Abi; 5] = [&V8, &V10, &V11, &RTX_1_3, &RTX_1_5];

#[test]
fn the_tables_equal_the_list_that_others_made() {
    let mut lines = LIST.lines().skip_while(|line| !line.starts_with("method"));
    let header: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let rows: Vec<Vec<&str>> = lines
        .map(|line| line.split_whitespace().collect())
        .collect();
    let mut differences = Vec::new();
    let mut n_compared = 0;
    for abi in ALL {
        for &(column, minor) in columns(abi) {
            let at = header.iter().position(|name| *name == column).unwrap();
            for (method, place) in abi.slots.listing_of(minor) {
                let Some(row) = rows.iter().find(|row| row[0] == method) else {
                    continue;
                };
                // "3/4": two functions of one name; ours is the first.
                let theirs = row[at].split('/').next().unwrap().parse().ok();
                // What we do not call in a version needs no place there.
                if place.is_none() {
                    continue;
                }
                n_compared += 1;
                if place != theirs {
                    differences.push(format!(
                        "{column} {method}: ours {place:?}, theirs {theirs:?}"
                    ));
                }
            }
        }
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
    assert!(
        500 < n_compared,
        "only {n_compared} slots are in the list under our names"
    );
}

/// 11.4 and RTX have no public archive of their own here: their headers come inside a crate, and the compiler knows every slot.
#[test]
fn the_tables_equal_what_the_compiler_says() {
    let headers = match headers() {
        Ok(headers) => headers,
        Err(why) => return skipped(&why),
    };
    if Command::new("g++").arg("--version").output().is_err() {
        return skipped("no g++");
    }
    let mut differences = Vec::new();
    for (folder, abi, minor) in [
        ("TRT-Enterprise-11.4", &V11, 4),
        ("TRT-RTX-1.3", &RTX_1_3, 3),
        ("TRT-RTX-1.4", &RTX_1_3, 4),
        ("TRT-RTX-1.5", &RTX_1_5, 5),
        ("TRT-RTX-1.6", &RTX_1_5, 6),
        ("TRT-RTX-1.7", &RTX_1_5, 7),
    ] {
        let ours: Vec<_> = abi
            .slots
            .listing_of(minor)
            .into_iter()
            .filter_map(|(method, place)| Some((method, place?)))
            .collect();
        let theirs = ask_the_compiler(&headers, folder, &ours);
        assert_eq!(theirs.len(), ours.len());
        for (&(method, place), theirs) in ours.iter().zip(theirs) {
            if place != theirs {
                differences.push(format!("{folder} {method}: ours {place}, theirs {theirs}"));
            }
        }
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

/// The slot of each method, by the headers in `folder`.
fn ask_the_compiler(headers: &Path, folder: &str, methods: &[(&str, u16)]) -> Vec<u16> {
    let questions: String = methods
        .iter()
        .map(|(method, _)| question(method) + "\n")
        .collect();
    let program = format!(
        r#"#include "NvInfer.h"
        #include "NvOnnxParser.h"
        #include <cstdio>
        #include <cstring>
        using namespace nvinfer1;
        using namespace nvinfer1::apiv;
        using namespace nvonnxparser;
        // A pointer to a virtual method tells its slot; on Arm the flag "virtual" lies in the second word.
        template <typename Method> long slot(Method method) {{
            long raw[2];
            static_assert(sizeof raw == sizeof method, "Itanium C++ ABI");
            std::memcpy(raw, &method, sizeof raw);
        #ifdef __aarch64__
            return raw[0] / 8;
        #else
            return (raw[0] - 1) / 8;
        #endif
        }}
        int main() {{ {questions} }}"#
    );
    let work = tempfile::tempdir().unwrap();
    let (source, binary) = (work.path().join("slots.cpp"), work.path().join("slots"));
    fs::write(&source, program).unwrap();
    let built = Command::new("g++")
        .args(["-std=c++17", "-O0", "-w", "-isystem"])
        .arg(headers.join(folder))
        .arg("-isystem")
        .arg(headers)
        .args([&source, Path::new("-o"), &binary])
        .output()
        .unwrap();
    assert!(built.status.success(), "{folder}: {}", words(&built));
    let asked = Command::new(&binary).output().unwrap();
    let answers = String::from_utf8(asked.stdout).unwrap();
    answers.lines().map(|line| line.parse().unwrap()).collect()
}

/// One line of C++ that prints a slot.
fn question(method: &str) -> String {
    let pointer = match method {
        // Overloaded until RTX 1.4: the one that takes the plan's bytes.
        "VRuntime::deserializeCudaEngine" => {
            "static_cast<ICudaEngine* (VRuntime::*)(void const*, std::size_t) noexcept>(&VRuntime::deserializeCudaEngine)"
        }
        // The deleting destructor, which has no address: the slot before the next method.
        "IParser::destroy" => {
            return r#"printf("%ld\n", slot(&IParser::getUsedVCPluginLibraries) - 1);"#.to_owned();
        }
        method => return format!(r#"printf("%ld\n", slot(&{method}));"#),
    };
    format!(r#"printf("%ld\n", slot({pointer}));"#)
}

/// Where the crate with NVIDIA's headers lies.
fn headers() -> Result<PathBuf, String> {
    let find = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_gpu/headers/find");
    let found = Command::new("bash")
        .arg(&find)
        .output()
        .map_err(|error| format!("bash: {error}"))?;
    match found.status.success() {
        true => Ok(PathBuf::from(
            String::from_utf8_lossy(&found.stdout).trim().to_owned(),
        )),
        false => Err(format!(
            "the crate trtx-sys cannot be fetched: {}",
            words(&found)
        )),
    }
}

fn words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().take(20).collect::<Vec<_>>().join("\n")
}

/// Says why a test cannot run here, and fails where it was meant to.
#[expect(
    clippy::print_stderr,
    reason = "a skip that nobody reads about is a test that does not exist"
)]
fn skipped(why: &str) {
    let required = env::var("CELLSEGD_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(!required, "CELLSEGD_REQUIRE_ALL=1, but: {why}");
    eprintln!("skipped: {why}");
}
