//! The emulation itself: what is undefined on a real driver must not pass here by luck.

use super::machine::{Machine, TRT_10, words};

#[test]
fn misuse_of_the_driver_ends_the_program_with_a_word() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let mut passed = Vec::new();
    for (case, word) in [
        ("copy past the end", "1001 bytes at"),
        ("copy into freed memory", "no memory that is allocated"),
        (
            "registered copy past the end",
            "500 bytes are left of pinned memory",
        ),
        (
            "unregistered while it is copied",
            "1 copies from it are under way",
        ),
        ("free twice", "no device memory that is allocated"),
        (
            "kernel past the end",
            "access at 1024 bytes into device memory of 1000",
        ),
        (
            "kernel just past the end",
            "0 bytes past the end of device memory of 1000",
        ),
        ("kernel on freed memory", "which was freed"),
        ("destroyed stream", "was destroyed or never made"),
        ("null stream", "NULL stream"),
        ("allocation in a capture", "while this thread captures"),
        ("waiting in a capture", "while this thread captures"),
        (
            "event of a graph destroyed",
            "an event of the graph was destroyed",
        ),
        ("destroyed graph", "was destroyed or never made"),
    ] {
        let output = machine
            .beside_the_driver("misuse")
            .arg(case)
            .output()
            .unwrap();
        let said = words(&output);
        // Ended by a signal.
        if output.status.code().is_some()
            || !said.contains("fake_gpu: illegal")
            || !said.contains(word)
        {
            passed.push(format!("{case}: {}: {said}", output.status));
        }
    }
    assert!(passed.is_empty(), "\n{}", passed.join("\n"));
    let output = machine
        .beside_the_driver("misuse")
        .arg("nothing")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", words(&output));
}
