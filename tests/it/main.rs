//! What a user sees, and what keeps the project as it means to be: one binary, a module for each subject.

mod layers;
mod tree;
