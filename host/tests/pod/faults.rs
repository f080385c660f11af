//! What goes wrong by itself: the daemon is killed, a sandbox runs out of memory.

use super::{DISK, boot, host::Host, inventory, report, run, sandbox};
use pinacle_host::{
    frame::write_json,
    protocol::{Command, HostErrorCode, PROTOCOL, Reply, Request, SandboxState},
};
use std::time::Duration;
use uuid::Uuid;

#[tokio::test]
async fn a_daemon_killed_at_any_time_goes_on_with_what_runs_and_finishes_what_was_half_done() {
    let Some(host) = Host::start(8).await else { return };
    let (pod, other, mut plane) = (Uuid::from_u128(40), Uuid::from_u128(41), host.connect().await);
    boot(&mut plane, pod, host.pod_address(40), 1).await;
    run(&host, pod, "nohup sleep 654 >/dev/null 2>&1 & echo kept >file").await;
    host.kill().await;
    host.serve().await;
    let mut plane = host.connect().await;
    assert_eq!(report(&mut plane, pod).await.sandbox, SandboxState::Running);
    assert_eq!(run(&host, pod, "cat file; pgrep -fc 'sleep 65[4]'").await.text(), "kept\n1", "the sandbox is the one it was");

    // Killed at several points of a create: the next daemon leaves nothing but the layer, and the command can be repeated. As
    // many while gVisor has its control socket and no state yet as there are places for that socket, and one more.
    for (round, delay) in [0_u64, 15, 20, 25, 30, 35, 40, 60, 80, 150, 300].into_iter().enumerate() {
        let fence = 1 + round as i64;
        plane.done(Command::Layer { pod: other, fence, disk_bytes: DISK, must_exist: false }).await;
        plane.done(Command::Network { pod: other, fence, address: host.pod_address(41) }).await;
        let request = Request { protocol: PROTOCOL, installation: Some(host.installation), command: sandbox(other, fence, 100 + fence) };
        write_json(&mut plane.output, &request).await.unwrap();
        tokio::time::sleep(Duration::from_millis(delay)).await;
        host.kill().await;
        host.serve().await;
        plane = host.connect().await;
        let reply = plane.ask(sandbox(other, fence, 100 + fence)).await;
        assert!(matches!(reply, Reply::Booted(_)), "killed after {delay} ms: {reply:?}");
        assert_eq!(run(&host, other, "echo works").await.text(), "works");
        plane.done(Command::Stop { pod: other, fence }).await;
    }
    for pod in [pod, other] {
        plane.done(Command::Delete { pod, fence: 50 }).await;
    }
    assert_eq!(host.traces().await, "");
    assert_eq!(host.text("ls /run /tmp | grep -- $1", &[&other.simple().to_string()]).await, "", "gVisor's control sockets");
    host.end().await;
}

#[tokio::test]
async fn a_sandbox_that_runs_out_of_memory_says_so_and_starts_again() {
    let Some(host) = Host::start(9).await else { return };
    let (pod, mut plane) = (Uuid::from_u128(50), host.connect().await);
    boot(&mut plane, pod, host.pod_address(50), 1).await;
    let mut watch = host.connect().await;
    watch.open(Command::Watch { pod }).await;
    let mut eater = host.connect().await;
    eater.open(Command::Exec { pod, exec: super::exec_spec(&["python3", "-c", "x = b'x' * (2 << 30); input()"]) }).await;
    eater.rest().await;
    let mut seen = report(&mut plane, pod).await;
    for _ in 0..100 {
        if seen.sandbox == SandboxState::Stopped {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        seen = report(&mut plane, pod).await;
    }
    assert_eq!((seen.sandbox, seen.ended.as_deref()), (SandboxState::Stopped, Some("out_of_memory")));
    watch.rest().await;
    assert!(boot(&mut plane, pod, host.pod_address(50), 2).await.started);
    assert_eq!(report(&mut plane, pod).await.ended, None);
    plane.done(Command::Delete { pod, fence: 3 }).await;
    assert_eq!(host.traces().await, "");
    host.end().await;
}

#[tokio::test]
async fn one_bad_pod_is_told_of_and_keeps_no_other_from_going_on() {
    let Some(host) = Host::start(11).await else { return };
    let (good, stuck, garbled, mut plane) = (Uuid::from_u128(70), Uuid::from_u128(71), Uuid::from_u128(72), host.connect().await);
    boot(&mut plane, good, host.pod_address(70), 1).await;
    plane.done(Command::Layer { pod: stuck, fence: 1, disk_bytes: DISK, must_exist: false }).await;
    plane.done(Command::Layer { pod: garbled, fence: 1, disk_bytes: DISK, must_exist: false }).await;
    host.kill().await;
    // A folder that cannot be removed; a record and a fence that say nothing.
    host.shell("mkdir -p $1/pods/$2/x && mount -t tmpfs none $1/pods/$2/x", &[&host.run, &stuck.to_string()]).await;
    host.shell("echo '{' >$1/pods/$2/pod.json && echo none >$1/fences/$2", &[&host.state, &garbled.to_string()]).await;
    host.serve().await;

    let mut plane = host.connect().await;
    assert_eq!(run(&host, good, "echo works").await.text(), "works");
    let seen = inventory(&mut plane).await;
    let fault = |pod| seen.pods.iter().find(|seen| seen.pod == pod).unwrap().fault.as_deref();
    assert_eq!(fault(good), None);
    assert!(fault(stuck).unwrap().contains("the sandbox's folder"), "{:?}", fault(stuck));
    assert!(fault(garbled).unwrap().contains("cannot be read"), "{:?}", fault(garbled));
    // What nobody can read of one doesn't refuse an address to another.
    let new = Uuid::from_u128(73);
    assert!(boot(&mut plane, new, host.pod_address(73), 1).await.started);

    assert_eq!(plane.refused(Command::Network { pod: garbled, fence: 2, address: host.pod_address(72) }).await, HostErrorCode::Failed);
    host.shell("umount $1/pods/$2/x", &[&host.run, &stuck.to_string()]).await;
    for pod in [stuck, garbled] {
        plane.done(Command::Stop { pod, fence: 3 }).await;
    }
    assert!(inventory(&mut plane).await.pods.iter().all(|pod| pod.fault.is_none()));
    assert!(boot(&mut plane, garbled, host.pod_address(72), 4).await.started);
    for pod in [good, stuck, garbled, new] {
        plane.done(Command::Delete { pod, fence: 5 }).await;
    }
    assert_eq!(host.traces().await, "");
    host.end().await;
}
