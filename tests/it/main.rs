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
mod http;
mod inference;
mod layers;
mod operations;
mod packaged_settings;
mod page;
mod reload;
mod rest;
mod security;
mod settings_of_a_session;
mod shared_memory;
mod tree;
mod trouble;
mod unread;
