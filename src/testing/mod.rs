//! Fakes for tests, examples and benchmarks; release builds leave them out.
//!
//! [`MemoryBucket`] counts its requests, [`FaultyBucket`] fails scripted calls of another
//! bucket, [`S3Server`] speaks S3 over HTTP on a loopback port, [`VirtualBucket`] computes millions
//! of keys.

mod faulty;
mod memory;
mod server;
mod virtual_bucket;

pub use faulty::{CallMatcher, Fault, FaultyBucket, When};
pub use memory::{Call, MemoryBucket, StoredObject};
pub use server::{Asked, Hook, S3Server, ServerFault};
pub use virtual_bucket::{VirtualBucket, VirtualShape};
