//! What breaks, and how it is mended. Faults of a host strike the stack's first one, where all pods of a round are.

use super::case::Fault;
use crate::{
    fleet::{Fleet, address_of, init_of, is_up, root},
    stand::variable,
};
use futures::future::join_all;
use pinacle_server::db::Db;
use std::{
    fs,
    io::Write,
    process::{Child, Command},
    time::{Duration, Instant},
};
use tokio::net::TcpStream;

/// The host that is struck.
pub const HOST: usize = 1;
/// Within which what was started again answers.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// Within which a paused worker's jobs are another one's: its visibility, and the time until that one looks.
const TAKEN_WITHIN: Duration = Duration::from_secs(40);
/// Within which all tries of what a silent host had are used up, also those of a wish that came meanwhile.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(240);
/// Within which a sandbox that is being booted has a process, beside a whole round of others.
const BOOTED_WITHIN: Duration = Duration::from_secs(30);

/// The installation with its workers, which are processes of their own.
pub struct Stage<'a> {
    pub fleet: &'a Fleet,
    pub db: Db,
    /// The pods of this round, also once they are deleted.
    pub names: Vec<String>,
    workers: Vec<Child>,
}

impl<'a> Stage<'a> {
    pub async fn new(fleet: &'a Fleet) -> Self {
        fleet.kill_worker().await;
        let db = fleet.database().await;
        Self { fleet, db, names: Vec::new(), workers: Vec::new() }
    }

    fn begin_worker(&mut self) {
        // As many jobs as a round holds, also of one host.
        let many = [("PINACLE_JOBS", "48"), ("PINACLE_JOBS_PER_HOST", "48"), ("PINACLE_DATABASE_CONNECTIONS", "64")];
        self.workers.push(self.fleet.worker(&many));
    }

    /// How many of them ran until then.
    fn kill_workers(&mut self) -> usize {
        let mut ran = 0;
        for worker in &mut self.workers {
            ran += usize::from(worker.try_wait().expect("its state").is_none());
            worker.kill().and_then(|()| worker.wait()).expect("killed");
        }
        self.workers.clear();
        ran
    }

    /// As many workers as the fault needs: what strikes a worker has to find all jobs with it.
    pub fn begin(&mut self, fault: Fault) {
        self.kill_workers();
        self.begin_worker();
        if !matches!(fault, Fault::WorkerKilled | Fault::WorkerPaused) {
            self.begin_worker();
        }
    }

    pub fn end(&mut self) {
        self.kill_workers();
    }

    /// Returns when there is what the fault strikes at, as far as that comes and goes: all jobs with the one worker, a connection.
    pub async fn until_there(&self, fault: Fault, pods: usize) {
        match fault {
            Fault::WorkerKilled | Fault::WorkerPaused => {
                let (worker, all) = (self.workers[0].id(), i64::try_from(pods).expect("a number"));
                until(BACK_WITHIN, "the worker has all jobs", async || self.jobs_of(worker).await >= all).await;
            }
            // One is made by whatever is asked of the host, at the latest by the next check of the hosts, and stays for minutes.
            Fault::SshCut => until(BACK_WITHIN, "there is a connection to the host", async || !connections().is_empty()).await,
            Fault::SshdRestarted | Fault::PostgresKilled | Fault::DaemonKilled | Fault::SandboxKilled | Fault::HostKilled | Fault::HostAway => {}
        }
    }

    /// Breaks it, and says for each of the pods how many processes that hit. The pods are ids, and whether their sandboxes are there for sure.
    pub async fn strike(&mut self, fault: Fault, pods: &[(&str, bool)]) -> Vec<usize> {
        let hit = match fault {
            Fault::WorkerKilled => self.kill_workers(),
            Fault::WorkerPaused => signal("STOP", &[self.workers[0].id()]),
            Fault::SshCut => signal("KILL", &connections()),
            Fault::SshdRestarted => {
                // It is the one that listens which counts; its connections and the writer of its log end with it.
                let hit = signal("KILL", &processes_of(HOST, |line| line.contains("/usr/sbin/sshd")));
                signal("KILL", &processes_of(HOST, |line| line.contains("sshd")));
                hit
            }
            Fault::PostgresKilled => {
                dev("postgres.sh", &["crash"]);
                1
            }
            Fault::DaemonKilled => signal("KILL", &processes_of(HOST, |line| line.starts_with("pinacle-host serve"))),
            Fault::SandboxKilled => return join_all(pods.iter().map(|(pod, is_there)| kill_sandbox(pod, *is_there))).await,
            Fault::HostKilled | Fault::HostAway => {
                dev("hosts.sh", &["crash", &HOST.to_string()]);
                1
            }
        };
        vec![hit; pods.len()]
    }

    /// Returns when everything is there again.
    pub async fn mend(&mut self, fault: Fault) {
        match fault {
            Fault::WorkerKilled => self.begin_worker(),
            Fault::WorkerPaused => {
                self.begin_worker();
                let paused = self.workers[0].id();
                until(TAKEN_WITHIN, "another worker has its jobs", async || self.jobs_of(paused).await == 0).await;
                signal("CONT", &[paused]);
            }
            Fault::SshCut | Fault::SandboxKilled => {}
            Fault::SshdRestarted => {
                until(BACK_WITHIN, "sshd is back", async || TcpStream::connect((address_of(HOST), 22)).await.is_ok()).await;
            }
            Fault::PostgresKilled => {
                // Its processes end one after another, and it doesn't begin before the last one's memory is gone.
                until(BACK_WITHIN, "Postgres is back", async || tried("postgres.sh", &["up", "off"])).await;
            }
            Fault::DaemonKilled => until(BACK_WITHIN, "the daemon is back", async || is_up(HOST).await).await,
            Fault::HostKilled | Fault::HostAway => {
                if fault == Fault::HostAway {
                    let work = "SELECT count(*) FROM queue.message WHERE queue = 'pod'";
                    let left = async || sqlx::query_scalar::<_, i64>(work).fetch_one(&self.db).await.expect("counted");
                    until(GIVEN_UP_WITHIN, "its pods are given up or elsewhere", async || left().await == 0).await;
                }
                dev("hosts.sh", &["boot", &HOST.to_string()]);
                until(BACK_WITHIN, "the host is back", async || is_up(HOST).await).await;
            }
        }
    }

    /// Pods that this worker process has.
    async fn jobs_of(&self, worker: u32) -> i64 {
        let held = "SELECT count(*) FROM queue.message WHERE lease IS NOT NULL AND queue = 'pod' AND worker LIKE 'pod-' || $1 || '-%'";
        sqlx::query_scalar(held).bind(worker.to_string()).fetch_one(&self.db).await.expect("counted")
    }
}

/// sshd's processes for connections, by the names that its versions give them.
fn connections() -> Vec<u32> {
    processes_of(HOST, |line| line.starts_with("sshd: pinacle") || line.starts_with("sshd-session:"))
}

/// Every process of a sandbox at once, as soon as there is one, and how many that hit. Where it may be gone, one look says so.
async fn kill_sandbox(pod: &str, is_there: bool) -> usize {
    let group = format!("{}/{}", host_name(HOST), pod.replace('-', ""));
    let files = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].map(|tree| format!("{tree}/{group}/cgroup.procs"));
    let begun = Instant::now();
    loop {
        let processes: Vec<u32> = files
            .iter()
            .filter_map(|file| fs::read_to_string(file).ok())
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter_map(|line| line.parse().ok())
            .collect();
        let hit = signal("KILL", &processes);
        if hit > 0 || !is_there || begun.elapsed() > BOOTED_WITHIN {
            return hit;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// As its namespace and its control groups are called.
fn host_name(host: usize) -> String {
    format!("pinacle-{}-h{host}", variable("PINACLE_TEST_STACK"))
}

/// Processes of a host, by the words that they were started with.
fn processes_of(host: usize, is_one: impl Fn(&str) -> bool) -> Vec<u32> {
    let space = |process: &str| fs::read_link(format!("/proc/{process}/ns/pid")).ok();
    let own = space(&init_of(host)).expect("the host's processes");
    let all = fs::read_dir("/proc").expect("processes").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    all.filter(|process| process.parse::<u32>().is_ok() && space(process).as_ref() == Some(&own))
        .filter(|process| {
            let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            is_one(String::from_utf8_lossy(&words).replace('\0', " ").trim())
        })
        .filter_map(|process| process.parse().ok())
        .collect()
}

/// How many of them it hit: one that has ended meanwhile is struck by nothing.
fn signal(name: &str, processes: &[u32]) -> usize {
    if processes.is_empty() {
        return 0;
    }
    let numbers = processes.iter().map(u32::to_string);
    let output = Command::new("kill").arg(format!("-{name}")).args(numbers).output().expect("kill runs");
    std::io::stderr().write_all(&output.stderr).expect("written");
    // It says so in a line for each that it did not find.
    processes.len().saturating_sub(String::from_utf8_lossy(&output.stderr).lines().count())
}

/// A script of the stack that is tested, and of no other.
fn dev(script: &str, arguments: &[&str]) {
    assert!(tried(script, arguments), "{script} {arguments:?}");
}

fn tried(script: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(root().join("dev").join(script));
    command.args(arguments).env("STACK", variable("PINACLE_TEST_STACK"));
    let output = command.output().expect("the script runs");
    if !output.status.success() {
        std::io::stderr().write_all(&output.stderr).expect("written");
    }
    output.status.success()
}

pub async fn until(within: Duration, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
