//! What senders and workers do, and what befalls them, in random orders.

use super::{KEYS, QUEUES};
use proptest::prelude::*;

#[derive(Clone, Debug)]
pub struct Send {
    pub queue: usize,
    pub key: Option<usize>,
    pub priority: i16,
    pub delay: u32,
    pub anew: bool,
}

/// What a worker does with a lease it has, or had.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Keep(u32),
    Archive,
    ArchiveDead,
    Fail(u32),
    Release(u32),
}

/// What befalls a worker at the n-th time that it waits for Postgres.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Killed(u32),
    /// Its connection is cut, and it lives to hear of it.
    Cut(u32),
}

#[derive(Clone, Debug)]
pub enum Step {
    Send(Send),
    SendBatch(usize, Vec<Send>),
    /// A transaction that sends and is dropped.
    SendAndCrash(Send),
    /// A transaction with a batch for each queue.
    SendBatchesAndCrash(Vec<Send>, Fault),
    Read {
        queue: usize,
        limit: i64,
        visibility: u32,
    },
    /// Several workers at once; something may befall the first of them.
    ReadTogether {
        readers: usize,
        limit: i64,
        fault: Option<Fault>,
    },
    /// By the number of the lease, of all that were ever given: many are stale.
    Act(usize, Act),
    ArchiveBatch(Vec<usize>),
    ArchiveBatchAndCrash(Vec<usize>, Fault),
    ActAndCrash(usize, Act, Fault),
    ReadAndCrash {
        queue: usize,
        limit: i64,
        visibility: u32,
        fault: Fault,
    },
    /// A worker says that it waits, and for how long.
    Wait {
        queue: usize,
        patience: u32,
    },
    WaitNoMore,
    /// The connection that listens is cut, and this is sent before there is another.
    CutEars(Send),
    TimePasses(u32),
}

fn send() -> impl Strategy<Value = Send> {
    (0..QUEUES.len(), prop::option::weighted(0.7, 0..KEYS.len()), -1_i16..3, prop_oneof![3 => Just(0_u32), 1 => 1..4_u32], prop::bool::weighted(0.3))
        .prop_map(|(queue, key, priority, delay, anew)| Send { queue, key, priority, delay, anew })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..4_u32).prop_map(Act::Keep),
        Just(Act::Archive),
        Just(Act::ArchiveDead),
        (0..3_u32).prop_map(Act::Fail),
        (0..3_u32).prop_map(Act::Release),
    ]
}

/// At one of the first `most` times.
fn fault(most: u32) -> impl Strategy<Value = Fault> {
    (1..=most, prop::bool::ANY).prop_map(|(time, is_killed)| if is_killed { Fault::Killed(time) } else { Fault::Cut(time) })
}

pub fn step() -> impl Strategy<Value = Step> {
    // Of all leases, the latest are the likeliest to be good.
    let lease = || prop_oneof![3 => 0..4_usize, 1 => 0..40_usize];
    prop_oneof![
        6 => send().prop_map(Step::Send),
        2 => (0..QUEUES.len(), prop::collection::vec(send(), 0..6)).prop_map(|(queue, batch)| Step::SendBatch(queue, batch)),
        1 => send().prop_map(Step::SendAndCrash),
        2 => (prop::collection::vec(send(), 1..6), fault(9)).prop_map(|(batch, fault)| Step::SendBatchesAndCrash(batch, fault)),
        6 => (0..QUEUES.len(), 1..4_i64, 0..4_u32).prop_map(|(queue, limit, visibility)| Step::Read { queue, limit, visibility }),
        3 => (2..5_usize, 1..4_i64, prop::option::weighted(0.5, fault(4)))
            .prop_map(|(readers, limit, fault)| Step::ReadTogether { readers, limit, fault }),
        7 => (lease(), act()).prop_map(|(lease, act)| Step::Act(lease, act)),
        2 => prop::collection::vec(lease(), 0..5).prop_map(Step::ArchiveBatch),
        2 => (prop::collection::vec(lease(), 0..5), fault(4)).prop_map(|(leases, fault)| Step::ArchiveBatchAndCrash(leases, fault)),
        2 => (lease(), act(), fault(11)).prop_map(|(lease, act, fault)| Step::ActAndCrash(lease, act, fault)),
        2 => (0..QUEUES.len(), 1..4_i64, 0..3_u32, fault(4))
            .prop_map(|(queue, limit, visibility, fault)| Step::ReadAndCrash { queue, limit, visibility, fault }),
        3 => (0..QUEUES.len(), 0..4_u32).prop_map(|(queue, patience)| Step::Wait { queue, patience }),
        1 => Just(Step::WaitNoMore),
        1 => send().prop_map(Step::CutEars),
        3 => (1..4_u32).prop_map(Step::TimePasses),
    ]
}
