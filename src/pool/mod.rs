//! Lanes: one OS thread each, shared fairly by sessions.
