//! What a user sees, in one binary.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod clock;
mod daemon;

mod analysis;
mod bad_frames;
mod delivery;
mod doors;
mod ends;
mod gpu;
mod layers;
mod operations;
mod packaged_settings;
mod reload;
mod security;
mod settings_of_a_session;
mod tree;
mod trouble;
