//! The pod host's root daemon: does what the control plane asks, and knows nothing of why.
//! Killed at any time it starts anew, adopts the sandboxes that run, and removes what was half done.

pub mod admin;
mod adopt;
mod chores;
mod client;
mod door;
mod https;
mod life;
mod questions;
mod report;
mod session;
mod store;
mod stream;
mod watcher;

use crate::{
    inventory::Facts,
    pod::{
        Place,
        cgroup::Cgroups,
        network::Network,
        orphan::Orphans,
        runsc::{Platform, Runsc},
        sandbox::Ground,
        sandbox::Running,
        short,
    },
    protocol::HostError,
};
use questions::Questions;
use std::{
    collections::HashMap,
    fs,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Instant,
};
use store::{Joined, Store};
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

/// Options of `pinacle-host serve`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What outlives a reboot: layers, fences, what the host was told when it joined.
    #[arg(long, default_value = "/var/lib/pinacle")]
    pub state_dir: PathBuf,
    /// What ends with a reboot: the socket, the sandboxes' bundles. On a tmpfs.
    #[arg(long, default_value = "/run/pinacle")]
    pub run_dir: PathBuf,
    /// Begins every name that the kernel knows: namespaces and control groups.
    #[arg(long, default_value = "pinacle", value_parser = parse_prefix)]
    pub prefix: String,
    /// gVisor.
    #[arg(long, default_value = "/usr/local/bin/runsc")]
    pub runsc: PathBuf,
    /// How gVisor intercepts system calls.
    #[arg(long, value_enum, default_value_t = Platform::Auto)]
    pub platform: Platform,
    /// The pods' base image, unpacked.
    #[arg(long, default_value = "/var/lib/pinacle-image")]
    pub image: PathBuf,
    /// The pods' PID 1, a static program.
    #[arg(long, default_value = "/usr/local/bin/pinacle-init")]
    pub init: PathBuf,
    #[command(flatten)]
    pub https: Option<Https>,
}

/// The second way in, beside the Unix socket.
#[derive(Clone, Debug, clap::Args)]
#[group(requires_all = ["https_listen", "https_cert", "https_key", "api_key_file"])]
pub struct Https {
    /// Address and port to listen on for HTTPS.
    #[arg(long, required = false)]
    pub https_listen: SocketAddr,
    /// Certificate chain, PEM.
    #[arg(long, required = false)]
    pub https_cert: PathBuf,
    /// Its private key, PEM.
    #[arg(long, required = false)]
    pub https_key: PathBuf,
    /// File with the key that `x-api-key` or `Authorization: Bearer` must carry; at least 32 characters.
    #[arg(long, required = false)]
    pub api_key_file: PathBuf,
}

fn parse_prefix(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if plain && (1..=64).contains(&text.len()) && !text.starts_with('-') { Ok(text.to_owned()) } else { Err("1–64 of a-z, 0-9 and -".to_owned()) }
}

/// The daemon's one state.
pub struct Daemon {
    options: Options,
    ground: Ground,
    network: Network,
    store: Store,
    orphans: Orphans,
    facts: Facts,
    joined: RwLock<Option<Joined>>,
    pods: Mutex<HashMap<Uuid, Arc<Pod>>>,
    questions: Questions,
}

/// One pod that this host has heard of.
struct Pod {
    place: Place,
    /// Held by the one command that changes the pod, from its fence to its end: that is its purpose.
    commands: Arc<tokio::sync::Mutex<()>>,
    running: tokio::sync::watch::Sender<Option<Arc<Running>>>,
    cpu_seen: Mutex<Option<CpuSeen>>,
    /// Why what is left of its sandbox could not be cleared away when the daemon started; None when it was, or has been since.
    fault: Mutex<Option<String>>,
}

/// A reading of a sandbox's CPU meter.
#[derive(Clone, Copy)]
struct CpuSeen {
    at: Instant,
    /// Used since boot.
    nanoseconds: u64,
    /// Thousandths of a core, between this reading and the one before.
    milli: u32,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Daemon {
    fn place(&self, id: Uuid) -> Place {
        let short = short(id);
        Place {
            id,
            state: self.store.pod_folder(id),
            run: self.options.run_dir.join("pods").join(id.to_string()),
            netns: self.network.netns(&short),
            link: self.network.link(&short),
        }
    }

    /// The pod, whether or not there is anything of it yet.
    fn pod(&self, id: Uuid) -> Arc<Pod> {
        let make = || {
            Arc::new(Pod {
                place: self.place(id),
                commands: Arc::default(),
                running: tokio::sync::watch::Sender::new(None),
                cpu_seen: Mutex::default(),
                fault: Mutex::default(),
            })
        };
        locked(&self.pods).entry(id).or_insert_with(make).clone()
    }

    /// The pod, if anything of it is here.
    fn known(&self, id: Uuid) -> Option<Arc<Pod>> {
        locked(&self.pods).get(&id).cloned()
    }

    fn joined(&self) -> Option<Joined> {
        self.joined.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves until SIGTERM or SIGINT. Sandboxes run on.
pub async fn serve(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    // Sandboxes lose their parent when they are booted: here they find the next, which reaps them at once.
    nix::sys::prctl::set_child_subreaper(true)?;
    fs::create_dir_all(options.run_dir.join("pods"))?;
    let _lock = only_one(&options.run_dir)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let runsc = Runsc::detect(&options.runsc, options.platform, &options.run_dir).await.map_err(describe)?;
    let cgroups = Cgroups::detect(&options.prefix)?;
    let facts = Facts::gather(&options, &runsc, &cgroups)?;
    let store = Store::open(&options.state_dir)?;
    let orphans = Orphans::open(&options.state_dir)?;
    let joined = store.joined()?;
    let network = Network::new(&options.prefix);
    let ground = Ground { image: options.image.clone(), init: options.init.clone(), runsc, cgroups, program: std::env::current_exe()? };
    let (joined, pods, questions) = (RwLock::new(joined), Mutex::default(), Questions::default());
    let daemon = Arc::new(Daemon { options, ground, network, store, orphans, facts, joined, pods, questions });
    adopt::adopt(&daemon).await.map_err(describe)?;

    let unix = door::listen(&daemon)?;
    let https = https::listen(&daemon).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), runsc = daemon.ground.runsc.version, platform = daemon.ground.runsc.platform, "serving");
    tokio::select! {
        () = chores::chores(daemon.clone()) => {}
        ended = door::serve(daemon.clone(), unix) => ended?,
        ended = https::serve(daemon.clone(), https) => ended?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending; sandboxes run on");
    Ok(())
}

/// Two daemons on one folder would fight over every pod.
fn only_one(run_dir: &Path) -> io::Result<nix::fcntl::Flock<fs::File>> {
    let file = fs::File::options().create(true).truncate(false).write(true).open(run_dir.join("lock"))?;
    let lock = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock)
        .map_err(|(_, error)| io::Error::new(io::Error::from(error).kind(), format!("another pinacle-host serves {}", run_dir.display())))?;
    lock.set_len(0)?;
    // Who holds it, for whoever wonders.
    writeln!(&*lock, "{}", std::process::id())?;
    Ok(lock)
}

/// In one text, what failed and what that said.
fn describe(error: HostError) -> String {
    if error.output.is_empty() { error.message } else { format!("{}: {}", error.message, error.output) }
}
