//! Whose credentials a sweep used, from the bucket into the state.

use super::{Mode, Sweeper};
use crate::bucket::Signer;
use crate::state::StoredIdentity;

impl Sweeper {
    /// Who signed the requests of this sweep. A preview keeps nothing, and a sweep that is to stop
    /// does not wait for STS: there what is stored stays.
    pub(super) async fn identity(&self) -> Option<StoredIdentity> {
        let known = self.record.last_sweep.as_ref().and_then(|last| last.identity.clone());
        if self.stop.is_cancelled() || !matches!(self.mode, Mode::Collect(_)) {
            return known;
        }
        self.bucket.signer(known.map(signer)).await.map(stored)
    }
}

fn signer(stored: StoredIdentity) -> Signer {
    let StoredIdentity { provider, access_key_id, arn } = stored;
    Signer { provider, access_key_id, arn }
}

fn stored(signer: Signer) -> StoredIdentity {
    let Signer { provider, access_key_id, arn } = signer;
    StoredIdentity { provider, access_key_id, arn }
}
