//! The most that clients can make the daemon hold: for `serve --check`.

use crate::{
    analysis::{KEPT_BYTES, MOST_BYTES},
    config::Settings,
    server::{SHOWN_BYTES, SMALL_MESSAGE, drawing_bytes},
};

/// Lines for a person, beside the models and the engine's own buffers.
pub(super) fn worst_case(settings: &Settings) -> String {
    let limits = &settings.limits;
    let sessions = limits.sessions as u64;
    let streams = limits.connections as u64 * u64::from(limits.streams_per_connection);
    let parts = [
        (
            // A stream's window is two frames; a third is being taken out of it.
            format!("receiving: {sessions} sessions x 3 frames"),
            sessions * 3 * limits.max_frame_bytes,
        ),
        (
            format!("receiving: {sessions} frames without a session x 3"),
            sessions * 3 * limits.max_frame_bytes,
        ),
        (
            format!(
                "receiving: {streams} small calls of {} connections",
                limits.connections
            ),
            streams * SMALL_MESSAGE as u64,
        ),
        (
            "frames admitted and not yet segmented".to_owned(),
            limits.frames_in_flight_bytes,
        ),
        (
            "overlays drawn for REST: frames decoded again, pictures".to_owned(),
            drawing_bytes(limits),
        ),
        (
            format!("kept between frames: {sessions} sessions, cells and names"),
            // Identities, growth, and the names of smoothed series.
            sessions.saturating_mul(KEPT_BYTES + 3 * MOST_BYTES as u64),
        ),
        (
            // Two images in 16 bits, of as many samples as a frame may have in 8.
            format!("flat fields: {sessions} sessions x 4 frames"),
            sessions.saturating_mul(4 * limits.max_frame_bytes),
        ),
        (
            // Four masks of a bit a pixel.
            format!("regions: {sessions} sessions x half a frame"),
            sessions.saturating_mul(limits.max_frame_bytes / 2),
        ),
        ("shown on pages: pictures and lines".to_owned(), SHOWN_BYTES),
        (
            format!("curves: {sessions} sessions x 1 MiB"),
            sessions << 20,
        ),
        (
            format!("answers not read: {sessions} sessions"),
            sessions.saturating_mul(limits.unread_answers_bytes),
        ),
    ];
    let all = parts
        .iter()
        .fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes));
    let line = |what: &str, bytes: u64| format!("# {what:<60}{:>9} MiB\n", bytes.div_ceil(1 << 20));
    let mut text =
        "# Worst case, every client sending its largest frames and reading nothing:\n".to_owned();
    for (what, bytes) in &parts {
        text += &line(what, *bytes);
    }
    text += &line("in all, beside models and engine", all);
    // As large as their cells, which nothing tells before.
    let window = limits.window;
    text + &format!(
        "# Beside that: once a session's unread answers reach their limit, those of its frames in flight, {window} at most.\n"
    )
}
