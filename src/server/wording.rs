//! What several doors say of a reply, in the same words.

use crate::proto as pb;

/// The stages of a frame's way and their times, microseconds, in their order.
pub(super) fn stages(timing: &pb::Timing) -> [(&'static str, u32); 10] {
    [
        ("unpack", timing.unpack),
        ("queued", timing.queued),
        ("copy_up", timing.copy_up),
        ("preprocess", timing.preprocess),
        ("infer", timing.infer),
        ("decode", timing.decode),
        ("copy_down", timing.copy_down),
        ("measure", timing.measure),
        ("track", timing.track),
        ("encode", timing.encode),
    ]
}

/// A notice as a line: the contract's word for its kind, and what it says.
pub(super) fn notice(notice: &pb::Notice) -> String {
    let kind = notice.code().as_str_name();
    let kind = kind.strip_prefix("CODE_").unwrap_or(kind);
    format!("{kind}: {}", notice.message)
}
