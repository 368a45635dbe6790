//! Bounds that a client can run into.

/// A bound that something of a client's was refused by, or waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// `limits.connections`.
    Connections,
    /// `limits.connections_per_peer`.
    ConnectionsPerPeer,
    /// A TLS handshake that failed.
    TlsHandshake,
    /// `limits.first_message_s`, of a connection or of a stream.
    FirstMessage,
    /// `limits.requests_per_s`.
    Requests,
    /// `limits.sessions`.
    Sessions,
    /// `auth.infer.sessions`, `auth.admin.sessions`.
    SessionsPerPeer,
    /// `limits.session_idle_s`: a session of HTTP, or a sequence, that nobody asked for was closed.
    SessionIdle,
    /// `limits.max_frame_bytes` and a little more, of a message as a whole.
    MessageBytes,
    /// `limits.frames_in_flight_bytes`: a frame waits.
    FramesInFlightBytes,
    /// `limits.unread_answers_bytes`: a session is not read.
    UnreadAnswersBytes,
    /// Nobody knows who calls.
    Unauthenticated,
    /// The caller's role is not enough.
    PermissionDenied,
}

impl Bound {
    /// Every one of them.
    pub const ALL: [Bound; 13] = [
        Bound::Connections,
        Bound::ConnectionsPerPeer,
        Bound::TlsHandshake,
        Bound::FirstMessage,
        Bound::Requests,
        Bound::Sessions,
        Bound::SessionsPerPeer,
        Bound::SessionIdle,
        Bound::MessageBytes,
        Bound::FramesInFlightBytes,
        Bound::UnreadAnswersBytes,
        Bound::Unauthenticated,
        Bound::PermissionDenied,
    ];

    /// As a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Bound::Connections => "connections",
            Bound::ConnectionsPerPeer => "connections_per_peer",
            Bound::TlsHandshake => "tls_handshake",
            Bound::FirstMessage => "first_message",
            Bound::Requests => "requests_per_s",
            Bound::Sessions => "sessions",
            Bound::SessionsPerPeer => "sessions_per_peer",
            Bound::SessionIdle => "session_idle",
            Bound::MessageBytes => "message_bytes",
            Bound::FramesInFlightBytes => "frames_in_flight_bytes",
            Bound::UnreadAnswersBytes => "unread_answers_bytes",
            Bound::Unauthenticated => "unauthenticated",
            Bound::PermissionDenied => "permission_denied",
        }
    }
}
