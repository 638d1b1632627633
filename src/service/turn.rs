//! Whose turn it is with a source: its sweeps take turns with what an operator asks for.
//!
//! A sweep stores what it knew when it began, so that nothing else may change the source's state
//! meanwhile. Whoever holds the turn waits for the sweep under way, which is asked to end early:
//! what is in flight is finished or noted, as at a stop. A sweep is due once the turn is given back.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

use super::Source;

/// The turns of one source; a clone is the same.
#[derive(Clone, Default)]
pub(super) struct Turn {
    /// Fair: whoever waits longest is next.
    busy: Arc<tokio::sync::Mutex<()>>,
    asked: Arc<Mutex<Asked>>,
    call: Arc<Notify>,
}

#[derive(Default)]
struct Asked {
    /// Ends the sweep under way.
    sweep: CancellationToken,
    /// How many hold the turn or wait for it.
    holders: usize,
}

/// Holds a turn until it is dropped; then a sweep is due.
pub(super) struct Held {
    turn: Option<OwnedMutexGuard<()>>,
    asked: Arc<Mutex<Asked>>,
    call: Arc<Notify>,
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.turn.take());
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).holders -= 1;
        self.call.notify_one();
    }
}

impl Turn {
    /// Waits for the turn of a sweep. The token ends it, with `stop` or for somebody else's turn.
    pub async fn sweep(&self, stop: &CancellationToken) -> (OwnedMutexGuard<()>, CancellationToken) {
        let turn = self.busy.clone().lock_owned().await;
        let token = stop.child_token();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.holders > 0 {
            token.cancel();
        }
        asked.sweep = token.clone();
        (turn, token)
    }

    /// Ends the sweep under way, and keeps others from beginning until the answer is dropped.
    pub async fn hold(&self) -> Held {
        let mut held = {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.holders += 1;
            asked.sweep.cancel();
            Held { turn: None, asked: self.asked.clone(), call: self.call.clone() }
        };
        held.turn = Some(self.busy.clone().lock_owned().await);
        held
    }

    /// Whether anybody else has it, or holds a turn of it.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.asked) > 1
    }

    /// Asks for a sweep at once.
    pub fn call(&self) {
        self.call.notify_one();
    }

    /// Waits until a sweep was asked for since the last time.
    pub async fn called(&self) {
        self.call.notified().await;
    }
}

/// The turns that one asker holds until it goes.
#[derive(Default)]
pub struct Holding(Vec<(String, Held)>);

impl Holding {
    /// Waits for the turn of a source, unless it is held already.
    pub(super) async fn hold(&mut self, source: &Source) {
        let name = &source.config.name;
        if !self.0.iter().any(|(held, _)| held == name) {
            self.0.push((name.clone(), source.turn.hold().await));
        }
    }

    /// Gives the turns of all but these sources back.
    pub(super) fn release_others(&mut self, sources: &[String]) {
        self.0.retain(|(held, _)| sources.contains(held));
    }

    /// Gives the turn of a source back.
    pub(super) fn release(&mut self, source: &Source) {
        self.0.retain(|(held, _)| *held != source.config.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sweep_ends_for_a_holder_and_is_due_after_it() {
        let (turn, stop) = (Turn::default(), CancellationToken::new());
        let (sweeping, token) = turn.sweep(&stop).await;
        let mut holding = std::pin::pin!(turn.hold());
        assert!(futures_util::poll!(&mut holding).is_pending());
        assert!(token.is_cancelled() && !stop.is_cancelled(), "this sweep alone is asked to end");
        drop(sweeping);
        let held = holding.await;
        assert!(futures_util::poll!(std::pin::pin!(turn.sweep(&stop))).is_pending(), "held");
        drop(held);
        turn.called().await;
        let (_turn, token) = turn.sweep(&stop).await;
        assert!(!token.is_cancelled());
    }

    #[tokio::test]
    async fn a_sweep_that_begins_before_a_waiting_holder_ends_at_once() {
        let (turn, stop) = (Turn::default(), CancellationToken::new());
        let (first, _) = turn.sweep(&stop).await;
        let mut second = std::pin::pin!(turn.sweep(&stop));
        assert!(futures_util::poll!(&mut second).is_pending());
        let mut holding = std::pin::pin!(turn.hold());
        assert!(futures_util::poll!(&mut holding).is_pending());
        drop(first);
        let (sweeping, token) = second.await;
        assert!(token.is_cancelled());
        drop(sweeping);
        drop(holding.await);
    }
}
