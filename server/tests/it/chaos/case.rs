//! Which cases there are: every step of every operation × every fault × what is wished
//! meanwhile × the moment within the step. Generated, not picked.

use pinacle_app::pods::timeline::JobStep;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::fmt;

/// What is under way when the fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Provision,
    Start,
    Stop,
    Cleanup,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    WorkerKilled,
    /// Past its visibility, and woken again while another one works.
    WorkerPaused,
    SshCut,
    SshdRestarted,
    PostgresKilled,
    DaemonKilled,
    SandboxKilled,
    /// And booted again at once.
    HostKilled,
    /// And booted again only after everybody has given it up.
    HostAway,
}

/// What its user wishes while things are broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newer {
    Nothing,
    Stop,
    Delete,
}

/// Where in a step it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The step before has ended, this one's beginning is not written yet.
    Before,
    /// Its work is under way.
    Within,
    /// Its work is done, which is not written yet.
    After,
}

impl Fault {
    pub const ALL: [Self; 9] = [
        Self::WorkerKilled,
        Self::WorkerPaused,
        Self::SshCut,
        Self::SshdRestarted,
        Self::PostgresKilled,
        Self::DaemonKilled,
        Self::SandboxKilled,
        Self::HostKilled,
        Self::HostAway,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::WorkerKilled => "worker-killed",
            Self::WorkerPaused => "worker-paused",
            Self::SshCut => "ssh-cut",
            Self::SshdRestarted => "sshd-restarted",
            Self::PostgresKilled => "postgres-killed",
            Self::DaemonKilled => "daemon-killed",
            Self::SandboxKilled => "sandbox-killed",
            Self::HostKilled => "host-killed",
            Self::HostAway => "host-away",
        }
    }
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Cleanup => "cleanup",
        }
    }

    /// In which operations a step is taken. One that is new has to be given its place here before this compiles.
    fn of(step: JobStep) -> &'static [Self] {
        match step {
            JobStep::Reserve | JobStep::Address | JobStep::Layer | JobStep::Sandbox | JobStep::Keys | JobStep::Processes | JobStep::Health => {
                &[Self::Provision, Self::Start]
            }
            // Done once: a start finds it done.
            JobStep::Clone | JobStep::Install => &[Self::Provision],
            JobStep::Stop => &[Self::Stop],
            JobStep::Delete => &[Self::Cleanup],
        }
    }
}

impl Newer {
    const ALL: [Self; 3] = [Self::Nothing, Self::Stop, Self::Delete];

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Stop => "stop",
            Self::Delete => "delete",
        }
    }
}

impl Moment {
    const ALL: [Self; 3] = [Self::Before, Self::Within, Self::After];

    fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Within => "within",
            Self::After => "after",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    pub operation: Operation,
    pub step: JobStep,
    pub fault: Fault,
    pub newer: Newer,
    pub moment: Moment,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, step, fault, newer, moment } = self;
        write!(f, "{}/{}/{}/{}/{}", operation.name(), step.key(), fault.name(), newer.name(), moment.name())
    }
}

impl Case {
    /// Whether its step belongs to the set-up of a repository, not to the machine.
    pub fn needs_repository(&self) -> bool {
        matches!(self.step, JobStep::Clone | JobStep::Install | JobStep::Processes | JobStep::Health)
    }

    /// Whether there is what the fault strikes at: a sandbox, only while one is booted, runs or is ended.
    fn is_possible(&self) -> bool {
        if self.fault != Fault::SandboxKilled {
            return true;
        }
        match self.step {
            JobStep::Reserve | JobStep::Address | JobStep::Layer => false,
            JobStep::Sandbox => self.moment != Moment::Before,
            JobStep::Stop | JobStep::Delete => self.moment != Moment::After,
            _ => true,
        }
    }

    /// Whether the fault is sure to find what it strikes at: a sandbox that is being ended may be gone by then.
    pub fn must_hit(&self) -> bool {
        let is_ending = self.moment == Moment::Within && matches!(self.step, JobStep::Stop | JobStep::Delete);
        !(self.fault == Fault::SandboxKilled && is_ending)
    }
}

pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for fault in Fault::ALL {
        for newer in Newer::ALL {
            for moment in Moment::ALL {
                for &step in JobStep::ALL {
                    for &operation in Operation::of(step) {
                        cases.push(Case { operation, step, fault, newer, moment });
                    }
                }
            }
        }
    }
    cases.retain(Case::is_possible);
    cases
}

/// So many of each fault, chosen by the seed.
pub fn sample(seed: u64, of_each: usize) -> Vec<Case> {
    let (mut random, all) = (StdRng::seed_from_u64(seed), all());
    let mut chosen = Vec::new();
    for fault in Fault::ALL {
        let mut of_this: Vec<Case> = all.iter().copied().filter(|case| case.fault == fault).collect();
        for _ in 0..of_each.min(of_this.len()) {
            chosen.push(of_this.swap_remove(random.random_range(0..of_this.len())));
        }
    }
    chosen
}

/// The case of this name, as it is printed.
pub fn named(name: &str) -> Case {
    all().into_iter().find(|case| case.to_string() == name).unwrap_or_else(|| panic!("no case {name}; there is {}", all()[0]))
}

#[test]
fn every_step_is_struck_by_every_fault_under_every_wish() {
    let all = all();
    for &step in JobStep::ALL {
        for fault in Fault::ALL {
            let none_there = fault == Fault::SandboxKilled && matches!(step, JobStep::Reserve | JobStep::Address | JobStep::Layer);
            for newer in Newer::ALL {
                let here = all.iter().filter(|case| (case.step, case.fault, case.newer) == (step, fault, newer)).count();
                assert!((here == 0) == none_there, "{step:?}, {fault:?}, {newer:?}: {here}");
            }
        }
    }
    assert_eq!(all.iter().map(|case| named(&case.to_string())).collect::<Vec<_>>(), all);
}
