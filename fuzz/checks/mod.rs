//! What must hold for any bytes, one function per target.
//!
//! The fuzz targets call these under libFuzzer; `cargo test` of the main package calls the same
//! functions over the seeds and the fixtures. They say what is wrong by panicking.

pub mod config;
pub mod flow;
pub mod gzip;
pub mod json_lines;
#[cfg(feature = "parquet")]
pub mod parquet;
pub mod pattern;
pub mod splitter;
pub mod state;

#[cfg(test)]
mod smoke;

/// Numbers that depend on nothing but the input, for chunk sizes and the like (SplitMix64): so an
/// input alone repeats a finding, and a seed is a file as it would lie in a bucket.
pub struct Numbers(u64);

impl Numbers {
    /// The numbers that belong to `data`.
    pub fn of(data: &[u8]) -> Self {
        Numbers(u64::from(crc32fast::hash(data)))
    }

    /// The next number, below `limit`, which is at least 1.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % limit
    }
}
