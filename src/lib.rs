//! s3sweep: a scheduled collector of AWS log files from S3.
//!
//! The promise: every object that appears under a configured prefix pattern before its prefix's
//! last recheck reaches the sink, exactly once where the sink allows it, and a marker never
//! passes an object whose records are not durable.
//!
//! The flow:
//!
//! ```text
//! schedule → sweep: discover → plan → list ⋈ ledger → collect: get → inflate → decode → filter → encode
//!                       ↑                                                                  ↓
//!                     state ←──────────────────── committer ←─────────────────── sink (write, commit)
//! ```

pub mod cli;
pub mod config;
pub mod service;

pub mod schedule;

pub mod layout;
pub mod pattern;

pub mod aws;
pub mod bucket;

pub mod check;
pub mod policy;

pub mod collect;
pub mod sweep;

pub mod marker;

pub mod decode;
pub mod encode;
pub mod filter;
pub mod record;

pub mod commit;
pub mod sink;
pub mod state;

pub mod allocator;
pub mod buffers;
pub mod clock;
pub mod failpoint;
pub mod failure;
mod hex;
pub mod metrics;
pub mod prices;
pub mod retry;
pub mod threads;
pub mod throttle;

#[cfg(feature = "testing")]
pub mod testing;
