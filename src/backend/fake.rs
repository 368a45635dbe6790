//! Deterministic lanes for tests and benches: answer at once, wait, fail or panic on order.
