//! What strangers may send to cellsegd: one function a kind of input. None may panic, hang or allocate past its bound, and what
//! is accepted must keep the promises of its type.
//!
//! `tests/replay.rs` runs each on `corpus/` and on changed copies of it, the same ones every time; `src/main.rs` runs one under
//! libFuzzer, which follows coverage. `regressions/` holds inputs that once failed.

mod frames;
mod masks;
mod models;
mod script;
mod session;
mod settings;
mod stream;

/// Takes any bytes; panics where they find a fault.
pub type Target = fn(&[u8]);

/// Every target by the name of its folder in `corpus/`.
pub const TARGETS: [(&str, Target); 12] = [
    ("frame", frames::frame),
    ("image", frames::image),
    ("compressed", frames::compressed),
    ("stack", frames::stack),
    ("engine", models::engine),
    ("onnx", models::onnx),
    ("manifest", models::manifest),
    ("rle", masks::rle),
    ("rings", masks::rings),
    ("session", session::session),
    ("messages", stream::messages),
    ("settings", settings::settings),
];

/// The target of this name.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.map(|&(_, run)| run)
}
