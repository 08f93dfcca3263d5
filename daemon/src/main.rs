//! driftd
fn main() {}
