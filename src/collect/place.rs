//! Where the decoder stands, beside where an earlier run stopped.

use super::{Interrupt, content};
use crate::state::Progress;

/// Where the decoder stands in the inflated stream.
#[derive(Default)]
pub(super) struct Place {
    pub(super) ordinal: u64,
    pub(super) offset: u64,
    /// A record ended where the earlier run stopped.
    met: bool,
}

impl Place {
    /// Passes one record; `false` when an earlier run delivered it. The offset decides, not the
    /// ordinal: a later decoder may count differently, the bytes are the same.
    pub(super) fn pass(&mut self, consumed: usize, resume: &Progress) -> Result<bool, Interrupt> {
        self.offset += consumed as u64;
        if self.offset <= resume.offset {
            self.met |= self.offset == resume.offset;
            return Ok(false);
        }
        if !self.met && resume.offset > 0 {
            return Err(content(not_a_boundary(resume)));
        }
        self.ordinal = self.ordinal.max(resume.ordinal) + 1;
        Ok(true)
    }

    /// Ends the object: an earlier run must have stopped within it.
    pub(super) fn end(&self, resume: &Progress) -> Result<(), Interrupt> {
        match resume.offset > 0 && !self.met {
            true => Err(content(not_a_boundary(resume))),
            false => Ok(()),
        }
    }
}

fn not_a_boundary(resume: &Progress) -> String {
    format!(
        "the place where an earlier run stopped (record {}, byte {}) is no end of a record any more",
        resume.ordinal, resume.offset
    )
}
