//! One client's stream as a pure state machine.
