//! What pods ask, by way of their hosts: each process that has a worker holds a stream to each host, and answers what comes on it. A host
//! asks any one of those that listen.

use super::{
    HostTarget,
    link::{self, Received},
    store,
};
use crate::{control::ControlPlane, pods::git_token, ssh::Class};
use pinacle_app::ids::{HostId, PodId};
use pinacle_host::protocol::{Command, StreamInput, StreamOutput};
use std::{collections::HashMap, time::Duration};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// Between looks at which hosts are not listened to; each of them is tried once a look.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Where a stream has ended, as with its daemon: that is soon there again.
const LOOK_SOON: Duration = Duration::from_secs(1);
/// Questions of one host that are answered at the same time. Others wait on their way.
const AT_ONCE: usize = 16;
/// For a host to take an answer.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// Listens until `stop`. What is not answered by then, hosts ask another process.
pub async fn listen(control: ControlPlane, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = keep(&control) => {}
    }
}

/// Never ends by itself.
async fn keep(control: &ControlPlane) {
    let (mut streams, mut held) = (JoinSet::new(), HashMap::<HostId, (HostTarget, AbortHandle)>::new());
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = control.host_back.notified() => {}
            Some(ended) = streams.join_next() => {
                match ended {
                    Ok(true) => look.reset_after(LOOK_SOON),
                    Ok(false) => {}
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => tracing::error!(%error, "listening to a host ended by a fault"),
                }
                continue;
            }
        }
        let hosts = match store::targets(&control.db).await {
            Ok(hosts) => hosts,
            Err(error) => {
                tracing::warn!(%error, "which hosts are to be listened to could not be read");
                continue;
            }
        };
        held.retain(|_, (held, stream)| {
            // Under another address or key it is opened anew.
            let is_as_before = hosts.contains(held);
            if !is_as_before {
                stream.abort();
            }
            is_as_before && !stream.is_finished()
        });
        for host in hosts {
            held.entry(host.id).or_insert_with(|| (host.clone(), streams.spawn(hold(control.clone(), host))));
        }
    }
}

/// Whether there was a stream, once it has ended.
async fn hold(control: ControlPlane, host: HostTarget) -> bool {
    let (mut reader, mut writer) = match link::stream(&control, &host, Class::Control, Command::Questions).await {
        Ok(open) => open,
        Err(error) => {
            // Looking at hosts is another's matter (`jobs/check_hosts.rs`), and saying that they are silent.
            tracing::debug!(host = host.name, %error, "a host can't be listened to");
            return false;
        }
    };
    tracing::debug!(host = host.name, "listening to what its pods ask");
    let mut answers = JoinSet::new();
    loop {
        tokio::select! {
            received = reader.next(), if answers.len() < AT_ONCE => match received {
                Ok(Received::Message(StreamOutput::Question { id, pod })) => {
                    let (control, host) = (control.clone(), host.id);
                    answers.spawn(async move { (id, git_token::answer(&control, host, PodId(pod)).await) });
                }
                Ok(other) => {
                    tracing::warn!(host = host.name, ?other, "a host asks something that is no question");
                    return true;
                }
                Err(error) => {
                    tracing::debug!(host = host.name, %error, "a host asks nothing more");
                    return true;
                }
            },
            Some(answered) = answers.join_next() => {
                let (id, answer) = match answered {
                    Ok(answered) => answered,
                    Err(error) => {
                        tracing::error!(%error, "a question of a pod's was not answered: a fault");
                        continue;
                    }
                };
                let told = timeout(WRITE_DEADLINE, writer.message(&StreamInput::Answer { id, answer })).await;
                if !matches!(told, Ok(Ok(()))) {
                    tracing::debug!(host = host.name, "a host takes no answer");
                    return true;
                }
            }
        }
    }
}
