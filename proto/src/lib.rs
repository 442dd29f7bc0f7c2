//! The wire types of package `whyslow.v1`, its gRPC client and server, and proto3 JSON.
//!
//! The documents are the `.proto` files in `whyslow/v1`: one per noun.

mod holder;
mod operation;
mod timestamp;

pub use timestamp::Timestamp;

/// Package `whyslow.v1`.
#[allow(
    missing_docs,
    unused_qualifications,
    unreachable_pub,
    clippy::pedantic,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code; its documentation is in the .proto files"
)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/whyslow.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/whyslow.v1.serde.rs"));
}

/// The encoded `FileDescriptorSet`, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/whyslow.descriptors"));
