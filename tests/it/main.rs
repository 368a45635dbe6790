//! What a user sees, in one binary.

mod client;
mod daemon;

mod bad_frames;
mod delivery;
mod doors;
mod ends;
mod settings_of_a_session;
mod trouble;
