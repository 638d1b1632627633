#![no_main]

#[path = "../checks/mod.rs"]
#[allow(dead_code, reason = "each target has its own check")]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::parquet::check(data));
