//! One test binary; each module is a suite.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod access;
mod any_json;
mod audit;
mod audit_output;
mod backlog;
mod boundaries;
mod bounds;
mod bucket_contract;
mod cef;
mod check;
mod cli;
mod clocks;
mod codec;
mod config;
#[cfg(feature = "parquet")]
mod configuration_page;
mod control;
mod cost;
mod delivery_docs;
mod deploy;
mod disk_faults;
mod end_to_end;
mod faults;
mod file_pattern;
mod filters;
mod first_look;
mod fixtures;
mod foreign;
#[path = "../../fuzz/checks/mod.rs"]
mod fuzz_checks;
mod gone;
mod http;
mod interflow_names;
mod layouts;
mod links;
mod metrics_docs;
mod model;
mod needs;
mod operate_docs;
#[cfg(feature = "parquet")]
mod parquet;
mod pattern_docs;
mod progress;
mod quickstart;
mod real_objects;
mod rebuild;
mod recheck;
mod recipes;
mod records_docs;
mod reload;
mod restart;
mod schema;
mod shells;
mod state;
mod status_page;
mod timezone;
mod turns;
mod vpcflow;
mod waf;
mod world;
mod write_order;
