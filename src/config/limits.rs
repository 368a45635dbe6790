//! `[limits]`: bounds on what clients may send and hold.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check::{SettingsError, in_range, wrong};
use crate::frame::FrameLimits;

/// HTTP/2 windows end at 2^31 - 1, and a stream's window holds two frames.
const MAX_FRAME_BYTES: u64 = (1 << 30) - 1;

/// Bounds on what clients may send and hold.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Bytes of a frame's pixels, as sent and as decoded.
    pub max_frame_bytes: u64,
    /// Pixels, width and height of a frame.
    pub max_side: u32,
    /// Most that a client may ask for as `max_cells`.
    pub max_cells: u32,
    /// Sessions at the same time.
    pub sessions: usize,
    /// Connections at the same time, on all addresses together.
    pub connections: usize,
    /// Connections of one peer: an IPv4 address, an IPv6 network (/64), or a user of a unix socket.
    pub connections_per_peer: usize,
    /// Streams of one connection.
    pub streams_per_connection: u32,
    /// Most frames in flight of one session.
    pub window: u32,
    /// Bytes of all frames admitted and not yet segmented.
    pub frames_in_flight_bytes: u64,
    /// Bytes of answers that a session's client has not read; past it no more frames of that session are taken.
    pub unread_answers_bytes: u64,
    /// Segmented frames of a session whose cells are kept: those in which a later frame may be measured.
    pub frames_kept: u32,
    /// Calls a second of one peer, openings of streams included; as many at once.
    pub requests_per_s: u32,
    /// Seconds that a client may take from its connection to HTTP's first words, TLS included; again, from another machine, to a
    /// first call that its role allows; and again to a stream's first message.
    pub first_message_s: u64,
    /// Seconds without a request after which a session of REST, or a sequence of the Open Inference Protocol, is closed; before its
    /// first frame 60 at most.
    pub session_idle_s: u64,
    /// Seconds between HTTP/2 pings to a silent client; one that does not answer in 20 s is gone.
    pub keepalive_s: u64,
}

impl Default for LimitSettings {
    fn default() -> Self {
        let frame = FrameLimits::default();
        LimitSettings {
            max_frame_bytes: frame.max_frame_bytes,
            max_side: frame.max_side,
            max_cells: 20_000,
            sessions: 64,
            connections: 512,
            connections_per_peer: 128,
            streams_per_connection: 4,
            window: 16,
            frames_in_flight_bytes: 1 << 30,
            unread_answers_bytes: 64 << 20,
            frames_kept: 8,
            requests_per_s: 1000,
            first_message_s: 30,
            session_idle_s: 1800,
            keepalive_s: 30,
        }
    }
}

impl LimitSettings {
    /// What a single frame is held to.
    pub fn frame(&self) -> FrameLimits {
        FrameLimits {
            max_frame_bytes: self.max_frame_bytes,
            max_side: self.max_side,
        }
    }

    /// How long a client may take for its first words.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.first_message_s)
    }

    /// How long a session that is asked by single requests may go without one.
    pub fn session_idle(&self) -> Duration {
        Duration::from_secs(self.session_idle_s)
    }

    /// How often a silent client is asked for a sign of life.
    pub fn keepalive(&self) -> Duration {
        Duration::from_secs(self.keepalive_s)
    }
}

impl LimitSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        in_range(
            "limits.max_frame_bytes",
            self.max_frame_bytes,
            1..=MAX_FRAME_BYTES,
        )?;
        in_range("limits.max_side", self.max_side, 1..=65_535)?;
        in_range("limits.max_cells", self.max_cells, 1..=1_000_000)?;
        in_range("limits.sessions", self.sessions, 1..=65_535)?;
        in_range(
            "limits.streams_per_connection",
            self.streams_per_connection,
            1..=1024,
        )?;
        in_range("limits.connections", self.connections, 1..=65_535)?;
        in_range(
            "limits.connections_per_peer",
            self.connections_per_peer,
            1..=65_535,
        )?;
        in_range(
            "limits.unread_answers_bytes",
            self.unread_answers_bytes,
            1..=1 << 40,
        )?;
        in_range("limits.frames_kept", self.frames_kept, 0..=1024)?;
        in_range("limits.requests_per_s", self.requests_per_s, 1..=1_000_000)?;
        in_range("limits.window", self.window, 1..=1024)?;
        in_range("limits.first_message_s", self.first_message_s, 1..=86_400)?;
        in_range("limits.session_idle_s", self.session_idle_s, 1..=86_400)?;
        in_range("limits.keepalive_s", self.keepalive_s, 1..=86_400)?;
        if self.frames_in_flight_bytes < self.max_frame_bytes {
            return Err(wrong(
                "limits.frames_in_flight_bytes",
                self.frames_in_flight_bytes,
                format!(
                    "must hold one frame: at least limits.max_frame_bytes, {}",
                    self.max_frame_bytes
                ),
            ));
        }
        Ok(())
    }
}
