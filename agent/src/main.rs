//! whyslow.
fn main() {}
