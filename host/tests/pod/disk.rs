//! A pod's layer: set aside and taken back.

use super::{DISK, boot, exec_spec, host::Host, inventory, report, run};
use pinacle_host::protocol::{Command, HostErrorCode, SandboxState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

#[tokio::test]
async fn the_layer_of_a_pod_that_nobody_knows_is_kept_for_a_week_and_taken_back() {
    let Some(host) = Host::start(10).await else { return };
    let (pod, address, mut plane) = (Uuid::from_u128(60), host.pod_address(60), host.connect().await);
    let layer = |fence, must_exist| Command::Layer { pod, fence, disk_bytes: DISK, must_exist };
    assert_eq!(plane.refused(layer(1, true)).await, HostErrorCode::NoSuchPod, "no empty disk in place of one that is gone");
    boot(&mut plane, pod, address, 1).await;
    run(&host, pod, "echo kept >file").await;

    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    plane.done(Command::Orphan { pod, fence: 2 }).await;
    plane.done(Command::Orphan { pod, fence: 2 }).await;
    assert_eq!(plane.refused(Command::Orphan { pod, fence: 1 }).await, HostErrorCode::StaleFence);
    assert_eq!(host.traces().await, "", "nothing of it but the layer");
    host.kill().await;
    host.serve().await;
    let mut plane = host.connect().await;
    let seen = inventory(&mut plane).await;
    assert!(seen.pods.is_empty() && seen.orphans.len() == 1, "{seen:?}");
    let orphan = seen.orphans[0];
    assert!(orphan.pod == pod && orphan.set_aside >= begun && orphan.disk_bytes > 0, "{orphan:?}");
    assert_eq!(report(&mut plane, pod).await.sandbox, SandboxState::Stopped);
    assert_eq!(host.connect().await.refused(Command::Exec { pod, exec: exec_spec(&["true"]) }).await, HostErrorCode::NotRunning);

    // As the control plane starts a stopped pod.
    plane.done(Command::Network { pod, fence: 3, address }).await;
    plane.done(layer(3, true)).await;
    assert!(inventory(&mut plane).await.orphans.is_empty());
    assert!(boot(&mut plane, pod, address, 3).await.started);
    assert_eq!(run(&host, pod, "cat file").await.text(), "kept");

    // Of what has started, nothing is discarded; nor of what was taken back and has not been started again.
    plane.done(Command::Discard { pod, fence: 4 }).await;
    assert_eq!(inventory(&mut plane).await.orphans.len(), 1);
    plane.done(layer(4, true)).await;
    plane.done(Command::Discard { pod, fence: 4 }).await;
    plane.done(Command::Discard { pod, fence: 4 }).await;
    assert_eq!(inventory(&mut plane).await.orphans.len(), 1);
    let never = Uuid::from_u128(61);
    plane.done(Command::Layer { pod: never, fence: 1, disk_bytes: DISK, must_exist: false }).await;
    plane.done(Command::Discard { pod: never, fence: 1 }).await;
    assert_eq!(plane.refused(Command::Pod { pod: never }).await, HostErrorCode::NoSuchPod);
    assert_eq!(inventory(&mut plane).await.orphans.len(), 1);

    // Another week, and a daemon that has just come up.
    host.shell("touch -d '169 hours ago' $1/orphaned/$2.img", &[&host.state, &pod.to_string()]).await;
    host.kill().await;
    host.serve().await;
    let mut plane = host.connect().await;
    for _ in 0..100 {
        if inventory(&mut plane).await.orphans.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(plane.refused(Command::Pod { pod }).await, HostErrorCode::NoSuchPod);
    assert_eq!(plane.refused(layer(5, true)).await, HostErrorCode::NoSuchPod);

    boot(&mut plane, pod, address, 5).await;
    plane.done(Command::Orphan { pod, fence: 6 }).await;
    plane.done(Command::Delete { pod, fence: 7 }).await;
    assert_eq!(host.text("ls $1/orphaned", &[&host.state]).await, "");
    assert_eq!(host.traces().await, "");
    host.end().await;
}
