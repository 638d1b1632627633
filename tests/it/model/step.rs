//! What may happen in a case, and what a case is about.

use proptest::prelude::*;

use super::layout::Layout;
use crate::world::{Power, SinkFault};

/// The places of the program at which the power may go.
pub const PLACES: [&str; 14] = [
    "after-list-page",
    "before-get",
    "mid-body",
    "after-decode",
    "before-sink-write",
    "after-write-before-fsync",
    "after-fsync-before-state",
    "between-batch-and-sync",
    "before-sidecar",
    "before-rotation-rename",
    "after-rotation-rename",
    "between-history-and-closing",
    "mid-ledger-cleanup",
    "at-generation-change",
];

/// Those that a closing passes.
const CLOSING: [&str; 3] = ["between-history-and-closing", "mid-ledger-cleanup", "before-sidecar"];

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Step {
    /// A file of this minute appears after a delay.
    File { account: u8, ago: i64, delay: i64, suffix: u64 },
    /// Time passes, in minutes.
    Pass(i64),
    /// Our clock is off by so many minutes from now on; the bucket's is right.
    Clock(i64),
    /// A sweep; the LIST and the GET with these numbers fail, the sink is down for a while, the
    /// power goes.
    Sweep { list: Option<u64>, get: Option<u64>, class: usize, down: Option<Down>, power: Option<Power> },
    /// One of the objects is overwritten.
    Overwrite(usize),
    /// One of the objects is deleted.
    Delete(usize),
    /// One of the objects is deleted between its LIST and its GET.
    DeleteBeforeGet(usize),
    /// A new file is cut off after its first record; something happens to it before the next GET
    /// that is answered, in the same sweep or after it.
    Interrupt { account: u8, ago: i64, suffix: u64, change: Change, at_once: bool, power: Option<Power> },
    /// A directory's file is swept while it is written, `cut` of 100 parts of it, and complete so
    /// many minutes later.
    Grow { account: u8, suffix: u64, cut: usize, minutes: i64, power: Option<Power> },
}

/// What happens to an object in flight.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    Nothing,
    Overwrite,
    Delete,
}

/// The sink is down from its `first`-th call on, for so many.
#[derive(Clone, Copy, Debug)]
pub struct Down {
    pub first: u64,
    pub calls: u64,
    pub fault: SinkFault,
}

/// What a case is about.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub layout: Layout,
    pub rechecks: bool,
    /// `on_overwrite = "collect"`.
    pub collect: bool,
    /// Objects may still be written, as in a directory; nothing is overwritten there.
    pub grows: bool,
    /// `max_objects_per_sweep`.
    pub bound: Option<u64>,
    /// The pattern was another one before, under which nothing lay; the power goes at this hit of
    /// the change's place.
    pub had_another: Option<u64>,
    /// Where the power goes when the first prefixes close in the end.
    pub closing: Option<Power>,
}

fn power() -> impl Strategy<Value = Option<Power>> {
    let operation = (1..25_u64, any::<bool>()).prop_map(|(number, after)| Power::Operation { number, after });
    let place = (proptest::sample::select(&PLACES[..]), prop_oneof![2 => Just(1), 1 => 2..6_u64])
        .prop_map(|(name, number)| Power::Place { name, number });
    proptest::option::weighted(0.4, prop_oneof![operation, place])
}

fn down() -> impl Strategy<Value = Option<Down>> {
    let fault = prop_oneof![Just(SinkFault::Refused), Just(SinkFault::Torn), Just(SinkFault::Unsure)];
    let down = (1..6_u64, 1..5_u64, fault).prop_map(|(first, calls, fault)| Down { first, calls, fault });
    proptest::option::weighted(0.25, down)
}

fn sweep() -> impl Strategy<Value = Step> {
    (
        proptest::option::weighted(0.2, 1..8_u64),
        proptest::option::weighted(0.2, 1..6_u64),
        0..3_usize,
        down(),
        power(),
    )
        .prop_map(|(list, get, class, down, power)| Step::Sweep { list, get, class, down, power })
}

pub fn step() -> impl Strategy<Value = Step> {
    // On time, within the lateness of an hour, and beyond it.
    let delay = prop_oneof![6 => 0..10_i64, 3 => 20..59_i64, 2 => 61..2500_i64];
    let change = prop_oneof![Just(Change::Nothing), Just(Change::Overwrite), Just(Change::Delete)];
    prop_oneof![
        8 => (0..3_u8, 0..240_i64, delay, any::<u16>())
            .prop_map(|(account, ago, delay, suffix)| Step::File { account, ago, delay, suffix: suffix.into() }),
        3 => prop_oneof![3 => 1..30_i64, 2 => 30..300_i64, 1 => 300..3000_i64].prop_map(Step::Pass),
        1 => prop_oneof![2 => Just(0), 1 => -200..200_i64, 1 => -3000..3000_i64].prop_map(Step::Clock),
        6 => sweep(),
        1 => any::<usize>().prop_map(Step::Overwrite),
        1 => any::<usize>().prop_map(Step::Delete),
        1 => any::<usize>().prop_map(Step::DeleteBeforeGet),
        1 => (0..3_u8, 0..240_i64, any::<u16>(), change, any::<bool>(), power())
            .prop_map(|(account, ago, suffix, change, at_once, power)| {
                Step::Interrupt { account, ago, suffix: suffix.into(), change, at_once, power }
            }),
        1 => (0..3_u8, any::<u16>(), 1..100_usize, 0..30_i64, power())
            .prop_map(|(account, suffix, cut, minutes, power)| {
                Step::Grow { account, suffix: suffix.into(), cut, minutes, power }
            }),
    ]
}

pub fn rules() -> impl Strategy<Value = Rules> {
    let layout = prop_oneof![
        5 => Just(Layout::Trail),
        2 => Just(Layout::Unpadded),
        2 => Just(Layout::Wildcards),
        1 => Just(Layout::OpenEnded { ordered: false }),
        1 => Just(Layout::OpenEnded { ordered: true }),
    ];
    let closing = (proptest::sample::select(&CLOSING[..]), 1..4_u64)
        .prop_map(|(name, number)| Power::Place { name, number });
    let had_another = proptest::option::weighted(0.2, 1..4_u64);
    (
        layout,
        any::<bool>(),
        any::<bool>(),
        proptest::bool::weighted(0.25),
        proptest::option::weighted(0.3, 1..6_u64),
        had_another,
        proptest::option::weighted(0.3, closing),
    )
        .prop_map(|(layout, rechecks, collect, grows, bound, had_another, closing)| Rules {
            layout,
            rechecks,
            collect,
            grows,
            bound,
            had_another,
            closing,
        })
}
