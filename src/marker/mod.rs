//! Markers moved by hand: forgotten, set, written to a file and read from it.
//!
//! What comes in is the state and what is wanted of it; what goes out are changes for the
//! committer. No sweep of the source may be under way meanwhile: it would store what it knew
//! before. A change that is cut off may be asked for again.

mod change;
pub mod export;
pub mod import;
pub mod line;
mod plan;

pub use change::{Configured, change, try_change};
pub use plan::{MarkerChange, MarkerError};
