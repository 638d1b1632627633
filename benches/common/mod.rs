//! What the benchmarks share: data that looks real, and what a process cost.

#![allow(dead_code, reason = "each benchmark uses its part")]

pub mod measure;
pub mod rows;
pub mod table;
pub mod trail;
