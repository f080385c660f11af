//! What goes wrong by itself: the daemon is killed, a sandbox runs out of memory.

use super::{DISK, boot, host::Host, report, run, sandbox};
use pinacle_host::{
    frame::write_json,
    protocol::{Command, PROTOCOL, Reply, Request, SandboxState},
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
