//! What the queue promises, as plain values in memory.

use super::steps::{Act, Send};
use std::collections::{BTreeMap, BTreeSet};

/// When a message is due: the model's clock, then which statement said so (those of one moment are told apart by it).
pub type Due = (i64, u64);

#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub queue: usize,
    pub key: Option<usize>,
    pub priority: i16,
    pub due: Due,
    pub tries: i32,
    pub lease: Option<i64>,
    /// Which send its headers are of.
    pub headers: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub now: i64,
    pub statements: u64,
    pub sends: u64,
    pub held: BTreeMap<i64, Held>,
    pub archive: BTreeMap<i64, bool>,
    /// Ever given, latest last: message and lease.
    pub leases: Vec<(i64, i64)>,
    /// The queue that a worker waits on, and until when.
    pub waits: Option<(usize, i64)>,
    /// Queues whose worker is told of work, in this order, and has not listened yet.
    pub told: Vec<usize>,
}

impl Model {
    fn due_in(&self, steps: u32) -> Due {
        (self.now + i64::from(steps), self.statements)
    }

    /// None: a new message, whose number Postgres will say.
    fn send(&mut self, new: &Send) -> Option<Held> {
        let due = self.due_in(new.delay);
        let headers = self.sends;
        let twin = self.held.values_mut().find(|held| held.lease.is_none() && held.queue == new.queue && held.key.is_some() && held.key == new.key);
        let Some(twin) = twin else {
            return Some(Held { queue: new.queue, key: new.key, priority: new.priority, due, tries: 0, lease: None, headers });
        };
        twin.due = twin.due.min(due);
        twin.priority = twin.priority.max(new.priority);
        twin.headers = headers;
        if new.anew {
            twin.tries = 0;
        }
        None
    }

    /// As if sent one after another. What is new is answered.
    pub fn send_all(&mut self, batch: &[Send]) -> Vec<Held> {
        let mut made = Vec::<Held>::new();
        for new in batch {
            self.sends += 1;
            let due = self.due_in(new.delay);
            match made.iter_mut().find(|held| held.queue == new.queue && held.key.is_some() && held.key == new.key) {
                Some(twin) => {
                    twin.due = twin.due.min(due);
                    twin.priority = twin.priority.max(new.priority);
                    twin.headers = self.sends;
                }
                None => made.extend(self.send(new)),
            }
        }
        made
    }

    /// There is work on this queue, which is told where somebody waits.
    pub fn tell(&mut self, queue: usize) {
        if self.waits.is_some_and(|(on, until)| on == queue && until > self.now) {
            self.told.push(queue);
        }
    }

    /// What may be read, in order.
    pub fn readable(&self, queue: usize) -> Vec<i64> {
        let mut readable: Vec<(i16, Due, i64)> = self
            .held
            .iter()
            .filter(|(id, held)| {
                let blocked = |(other, o): (&i64, &Held)| other != *id && held.key.is_some() && o.key == held.key && o.lease.is_some();
                held.queue == queue && held.due.0 <= self.now && !self.held.iter().any(blocked)
            })
            .map(|(id, held)| (-held.priority, held.due, *id))
            .collect();
        readable.sort();
        readable.into_iter().map(|(_, _, id)| id).collect()
    }

    pub fn begin(&mut self, id: i64, lease: i64, visibility: u32) {
        let due = self.due_in(visibility);
        let held = self.held.get_mut(&id).expect("a message that is there");
        held.tries += 1;
        held.due = due;
        held.lease = Some(lease);
        self.leases.push((id, lease));
    }

    pub fn lease(&self, number: usize) -> (i64, i64) {
        self.leases.iter().rev().nth(number).copied().unwrap_or((-1, -1))
    }

    fn holds(&self, (id, lease): (i64, i64)) -> bool {
        self.held.get(&id).is_some_and(|held| held.lease == Some(lease))
    }

    /// False: the lease is stale, and nothing changes.
    pub fn act(&mut self, lease: (i64, i64), act: Act) -> bool {
        if !self.holds(lease) {
            return false;
        }
        let id = lease.0;
        match act {
            Act::Keep(steps) => self.held.get_mut(&id).expect("held").due = self.due_in(steps),
            Act::Archive | Act::ArchiveDead => {
                self.held.remove(&id);
                self.archive.insert(id, matches!(act, Act::ArchiveDead));
            }
            Act::Fail(steps) | Act::Release(steps) => {
                let due = self.due_in(steps);
                let mut held = self.held.remove(&id).expect("held");
                self.tell(held.queue);
                let twin = self.held.values().any(|o| o.lease.is_none() && o.queue == held.queue && o.key.is_some() && o.key == held.key);
                if !twin {
                    held.due = due;
                    held.lease = None;
                    held.tries -= i32::from(matches!(act, Act::Release(_)));
                    self.held.insert(id, held);
                }
            }
        }
        true
    }

    /// What must hold of the model itself: it is what the queue promises.
    pub fn check(&self) {
        let (mut running, mut waiting) = (BTreeSet::new(), BTreeSet::new());
        for held in self.held.values() {
            if let Some(key) = held.key {
                let alone = if held.lease.is_some() { running.insert(key) } else { waiting.insert((held.queue, key)) };
                assert!(alone, "two of one key");
            }
            assert!(held.tries >= 0);
        }
    }
}
