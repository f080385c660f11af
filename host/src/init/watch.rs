//! Tells what runs and listens in the pod: at once, when it changes, and every few seconds for the meters.

use super::{Pod, outbox::Gone, ports, serve::Connection};
use crate::protocol::{PodReport, Reply, SandboxState, StreamOutput, Usage};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Listening ports are looked at this often, and only while somebody watches.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const METERS_EVERY: Duration = Duration::from_secs(5);

/// What PID 1 knows; CPU, memory and the boot's generation are the daemon's to add.
pub fn report(pod: &Pod) -> PodReport {
    report_with(pod, &ports::listening())
}

fn report_with(pod: &Pod, listening: &std::collections::BTreeMap<u16, u64>) -> PodReport {
    let (by_port, by_session) = pod.processes.owners();
    PodReport {
        sandbox: SandboxState::Running,
        generation: 0,
        ended: None,
        usage: Usage { disk_bytes: disk_bytes(), ..Usage::default() },
        processes: pod.processes.reports(),
        ports: ports::named(listening, &by_port, &by_session),
    }
}

/// Used bytes of the pod's layer; 0 when the kernel does not say.
fn disk_bytes() -> u64 {
    nix::sys::statvfs::statvfs("/").map_or(0, |s| (s.blocks() - s.blocks_free()) * s.fragment_size())
}

pub async fn watch(pod: &Pod, connection: Connection) -> Result<(), Gone> {
    let Connection { mut input, output } = connection;
    output.json(&Reply::Streaming).await?;
    let mut processes = pod.processes.changes();
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = None;
    let mut told = Instant::now();
    loop {
        let changed = tokio::select! {
            _ = look.tick() => false,
            changed = processes.changed() => { changed.map_err(|_| Gone)?; true }
            () = output.closed() => return Err(Gone),
            frame = input.next() => match frame {
                Ok(Some(_)) => false,
                Ok(None) | Err(_) => return Err(Gone),
            },
        };
        let listening = ports::listening();
        if changed || seen.as_ref() != Some(&listening) || told.elapsed() >= METERS_EVERY {
            output.json(&StreamOutput::Report(Box::new(report_with(pod, &listening)))).await?;
            seen = Some(listening);
            told = Instant::now();
        }
    }
}
