//! One test binary; each module is a suite.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod boundaries;
mod bucket_contract;
mod cli;
mod codec;
mod config;
mod cost;
mod delivery_docs;
mod disk_faults;
mod end_to_end;
mod faults;
mod fixtures;
#[path = "../../fuzz/checks/mod.rs"]
mod fuzz_checks;
mod model;
#[cfg(feature = "parquet")]
mod parquet;
mod pattern_docs;
mod quickstart;
mod rebuild;
mod recheck;
mod restart;
mod state;
mod vpcflow;
mod world;
mod write_order;
