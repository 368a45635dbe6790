//! The program: see [`cellsegd::cli`].

fn main() {}
