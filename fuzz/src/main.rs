//! One target under libFuzzer: `FUZZ_TARGET=NAME fuzz FOLDER... -max_total_time=600`. Built by `tools/soak fuzz`, with
//! the compiler's coverage; an ordinary build has no fuzzer in it and only says so.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
mod under_libfuzzer {
    use std::sync::OnceLock;

    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

    libfuzzer_sys::fuzz_target!(
        init: {
            let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
            let names = cellsegd_fuzz::TARGETS.map(|(name, _)| name).join(", ");
            let target = cellsegd_fuzz::target(&name);
            TARGET.get_or_init(|| target.unwrap_or_else(|| {
                panic!("FUZZ_TARGET={name}: must be one of {names}")
            }));
        },
        |input: &[u8]| {
            if let Some(target) = TARGET.get() {
                target(input);
            }
        }
    );
}

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    eprintln!(
        "built without libFuzzer: use tools/soak fuzz, or cargo nextest run -p cellsegd-fuzz"
    );
    std::process::ExitCode::FAILURE
}
