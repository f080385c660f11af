//! Pods on a real host: namespaces, nftables, ext4, gVisor. Needs the test stack (`make test` brings it up); says so and passes
//! where the stack has no pod hosts.

mod credential;
mod disk;
mod faults;
mod fence;
mod host;
mod https;
mod inside;

use host::{Connection, Ended, Host};
use pinacle_host::protocol::{
    Booted, Command, ExecSpec, HostErrorCode, Installation, Inventory, PodConfig, PodReport, Reply, SandboxState, StreamInput, StreamOutput,
};
use std::net::Ipv4Addr;
use tokio::io::{AsyncRead, AsyncWrite};
use uuid::Uuid;

const DISK: u64 = 1 << 30;
const MEMORY: u64 = 512 << 20;

fn sandbox(pod: Uuid, fence: i64, generation: i64) -> Command {
    Command::Sandbox { pod, fence, generation, boot_after: generation, hostname: "web".into(), cpu_milli: 1000, memory_bytes: MEMORY }
}

fn exec_spec(argv: &[&str]) -> ExecSpec {
    ExecSpec {
        argv: argv.iter().map(|&a| a.into()).collect(),
        env: Default::default(),
        cwd: None,
        timeout_seconds: 50,
        kill_group_on_exit: false,
        pty: None,
        window: false,
    }
}

/// Layer, network, sandbox, as the control plane would ask for them.
async fn boot<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(plane: &mut Connection<R, W>, pod: Uuid, address: Ipv4Addr, fence: i64) -> Booted {
    boot_sized(plane, pod, address, fence, DISK).await
}

/// The same, with a disk of this size.
async fn boot_sized<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    plane: &mut Connection<R, W>,
    pod: Uuid,
    address: Ipv4Addr,
    fence: i64,
    disk_bytes: u64,
) -> Booted {
    plane.done(Command::Layer { pod, fence, disk_bytes, must_exist: false }).await;
    plane.done(Command::Network { pod, fence, address }).await;
    match plane.ask(sandbox(pod, fence, fence)).await {
        Reply::Booted(booted) => booted,
        other => panic!("{other:?}"),
    }
}

/// Runs a shell script as `dev` over a connection of its own.
async fn run(host: &Host, pod: Uuid, script: &str) -> Ended {
    run_over(host.connect().await, pod, script).await
}

async fn run_over<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(mut connection: Connection<R, W>, pod: Uuid, script: &str) -> Ended {
    connection.open(Command::Exec { pod, exec: exec_spec(&["bash", "-c", script]) }).await;
    connection.rest().await
}

async fn report<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(plane: &mut Connection<R, W>, pod: Uuid) -> PodReport {
    match plane.ask(Command::Pod { pod }).await {
        Reply::Pod(report) => *report,
        other => panic!("{other:?}"),
    }
}

async fn inventory<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(plane: &mut Connection<R, W>) -> Inventory {
    match plane.ask(Command::Inventory).await {
        Reply::Inventory(inventory) => *inventory,
        other => panic!("{other:?}"),
    }
}

/// Every step twice, as a job that runs twice would take it; each connection through the door that `connect` knocks at.
async fn whole_life<R, W>(host: &Host, connect: impl AsyncFn() -> Connection<R, W>)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let plane = &mut connect().await;
    let (pod, address) = (Uuid::from_u128(0x1111_0000_0000_4000_8000_0000_0000_0001), host.pod_address(7));
    let run = async |script: &str| run_over(connect().await, pod, script).await;
    assert!(boot(plane, pod, address, 1).await.started);
    assert_eq!(boot(plane, pod, address, 1).await, Booted { generation: 1, started: false });

    let config = PodConfig {
        env: [("GREETING".to_owned(), "hello 'you'".to_owned())].into(),
        git_name: "A \"B\"".into(),
        git_email: "a@b.test".into(),
        ..PodConfig::default()
    };
    plane.done(Command::Configure { pod, fence: 1, config: config.clone() }).await;
    plane.done(Command::Configure { pod, fence: 1, config }).await;

    let seen = run("id -u; hostname; echo $GREETING; pwd; git config user.name; bash -lc 'echo $GREETING'; stat -c %a:%U /run/pinacle/env").await;
    assert_eq!(seen.text(), "1000\nweb\nhello 'you'\n/home/dev\nA \"B\"\nhello 'you'\n400:dev");
    assert_eq!(seen.code(), Some(0));
    assert_eq!(run("echo kept >file; exit 3").await.code(), Some(3));
    assert_eq!(run("sudo -n id -u").await.text(), "0");
    assert_eq!(run("cat /.pinacle/boot/boot.json").await.text(), "", "the token is root's alone");
    let megabytes: u64 = run("df --output=size -m / | tail -1").await.text().parse().unwrap();
    assert!((900..=1024).contains(&megabytes), "{megabytes}");
    assert_eq!(run("free -b | awk '/^Mem/ {print $2}'").await.text(), MEMORY.to_string(), "the tier's memory");

    // memory and swap together in version 1, swap alone in version 2; nothing where the kernel keeps no account of it.
    let swap = host
        .text(
            "cat $(find /sys/fs/cgroup -path \"*/$1/$2/memory.memsw.limit_in_bytes\" -o -path \"*/$1/$2/memory.swap.max\")",
            &[&host.prefix, &pod.simple().to_string()],
        )
        .await;
    assert!(["0", "", &MEMORY.to_string()].contains(&swap.trim()), "a pod may swap: {swap}");

    let running = report(plane, pod).await;
    assert_eq!((running.sandbox, running.generation), (SandboxState::Running, 1));
    assert!(running.usage.memory_bytes > 0 && running.usage.disk_bytes > 0, "{:?}", running.usage);

    let mut watch = streams(pod, &connect).await;
    plane.done(Command::Stop { pod, fence: 2 }).await;
    plane.done(Command::Stop { pod, fence: 2 }).await;
    assert_eq!(watch.rest().await.code(), Some(0), "a watch is told of the end");
    let stopped = report(plane, pod).await;
    assert_eq!((stopped.sandbox, stopped.ended), (SandboxState::Stopped, None));
    let mut late = connect().await;
    assert_eq!(late.refused(Command::Exec { pod, exec: exec_spec(&["true"]) }).await, HostErrorCode::NotRunning);

    // A larger tier: the layer grows, and keeps what is in it; also when a daemon was killed once the file had its new length.
    host.shell("truncate -s $3 $1/pods/$2/layer.img", &[&host.state, &pod.to_string(), &(2 * DISK).to_string()]).await;
    plane.done(Command::Layer { pod, fence: 3, disk_bytes: 2 * DISK, must_exist: false }).await;
    assert!(boot(plane, pod, address, 3).await.started);
    assert_eq!(run("cat file").await.text(), "kept");
    let megabytes: u64 = run("df --output=size -m / | tail -1").await.text().parse().unwrap();
    assert!((1900..=2048).contains(&megabytes), "{megabytes}");
    // A restart: booted again for a later wish, with the disk of a tier that is larger once more.
    assert!(boot_sized(plane, pod, address, 4, 3 * DISK).await.started);
    assert_eq!(run("cat file").await.text(), "kept");
    let megabytes: u64 = run("df --output=size -m / | tail -1").await.text().parse().unwrap();
    assert!((2850..=3072).contains(&megabytes), "{megabytes}");

    let traces = host.traces().await;
    assert!(traces.contains("layer.img") && traces.contains("/sys/fs/cgroup"), "the search for traces finds none of a running pod: {traces}");
    plane.done(Command::Delete { pod, fence: 5 }).await;
    plane.done(Command::Delete { pod, fence: 5 }).await;
    assert_eq!(host.traces().await, "");
    assert_eq!(plane.refused(Command::Pod { pod }).await, HostErrorCode::NoSuchPod);
    assert_eq!(plane.refused(Command::Layer { pod, fence: 4, disk_bytes: DISK, must_exist: false }).await, HostErrorCode::StaleFence);
}

/// A terminal with its size, input and output; a file there and back in many pieces; a watch, which goes on.
async fn streams<R, W>(pod: Uuid, connect: impl AsyncFn() -> Connection<R, W>) -> Connection<R, W>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut terminal = connect().await;
    terminal.open(Command::Terminal { pod, name: "main".into(), cols: 80, rows: 24, client: None }).await;
    terminal.send(b"trap 'echo has-$((5*5))-changed' WINCH; stty size\n").await;
    terminal.until("24 80").await;
    terminal.say(StreamInput::Resize { cols: 100, rows: 30 }).await;
    terminal.until("has-25-changed").await;
    terminal.send(b"stty size; exit\n").await;
    terminal.until("30 100").await;
    assert_eq!(terminal.rest().await.code(), Some(0));

    let content: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut write = connect().await;
    write.open(Command::WriteFile { pod, path: "data.bin".into(), bytes: content.len() as u64 }).await;
    for piece in content.chunks(32 << 10) {
        write.send(piece).await;
    }
    write.say(StreamInput::Eof).await;
    assert_eq!(write.rest().await.code(), Some(0));
    let mut read = connect().await;
    read.open(Command::ReadFile { pod, path: "data.bin".into() }).await;
    assert!(read.rest().await.out == content);

    let mut watch = connect().await;
    watch.open(Command::Watch { pod }).await;
    assert!(matches!(watch.frame().await.unwrap().parse().unwrap(), StreamOutput::Report(report) if report.sandbox == SandboxState::Running));
    watch
}

#[tokio::test]
async fn a_pod_lives_its_whole_life_and_leaves_nothing() {
    let Some(host) = Host::start(1).await else { return };
    whole_life(&host, || host.connect()).await;
    host.end().await;
}

#[tokio::test]
async fn commands_that_are_not_for_this_host_are_refused() {
    let Some(host) = Host::start(2).await else { return };
    let (pod, mut plane) = (Uuid::from_u128(2), host.connect().await);
    plane.done(Command::Layer { pod, fence: 9, disk_bytes: DISK, must_exist: false }).await;
    assert_eq!(plane.refused(Command::Layer { pod, fence: 8, disk_bytes: DISK, must_exist: false }).await, HostErrorCode::StaleFence);
    host.kill().await;
    host.serve().await;
    let mut plane = host.connect().await;
    assert_eq!(plane.refused(Command::Stop { pod, fence: 8 }).await, HostErrorCode::StaleFence);
    plane.done(Command::Stop { pod, fence: 9 }).await;

    for installation in [Installation { epoch: 2, ..host.installation }, Installation { id: Uuid::from_u128(99), epoch: 1 }] {
        let mut stranger = host.connect().await;
        stranger.installation = installation;
        assert_eq!(stranger.refused(Command::Inventory).await, HostErrorCode::WrongInstallation);
    }
    for address in [host.pod_address(1), host.pod_address(255), "10.99.0.5".parse().unwrap(), "127.0.0.1".parse().unwrap()] {
        assert_eq!(plane.refused(Command::Network { pod, fence: 9, address }).await, HostErrorCode::Invalid, "{address}");
    }
    assert_eq!(plane.refused(Command::Layer { pod, fence: 9, disk_bytes: 1, must_exist: false }).await, HostErrorCode::Invalid);
    assert_eq!(plane.refused(sandbox(pod, 9, 1)).await, HostErrorCode::Invalid, "without a network");
    plane.done(Command::Network { pod, fence: 9, address: host.pod_address(5) }).await;
    let other = Uuid::from_u128(3);
    assert_eq!(plane.refused(Command::Network { pod: other, fence: 1, address: host.pod_address(5) }).await, HostErrorCode::Failed, "taken");
    plane.done(Command::Delete { pod, fence: 10 }).await;
    assert_eq!(host.traces().await, "");
    host.end().await;
}

#[tokio::test]
async fn input_output_and_time_of_a_command_are_its_own() {
    let Some(host) = Host::start(3).await else { return };
    let (pod, mut plane) = (Uuid::from_u128(4), host.connect().await);
    boot(&mut plane, pod, host.pod_address(4), 1).await;

    let mut sum = host.connect().await;
    sum.open(Command::Exec { pod, exec: exec_spec(&["sha256sum"]) }).await;
    // More than every buffer on the way holds.
    for _ in 0..64 {
        sum.send(&[b'x'; 32 << 10]).await;
    }
    sum.say(StreamInput::Eof).await;
    let ended = sum.rest().await;
    assert_eq!(ended.text(), "6932fd31e5daf4739b9fa78ff777b2831b0995cc1d0b0093cac80601902013bc  -");
    assert_eq!(ended.code(), Some(0));

    let mut slow = host.connect().await;
    slow.open(Command::Exec { pod, exec: ExecSpec { timeout_seconds: 5, ..exec_spec(&["bash", "-c", "echo begun; sleep 600 & sleep 600"]) } }).await;
    let ended = slow.rest().await;
    assert_eq!((ended.text().as_str(), ended.code()), ("begun", None));
    assert!(matches!(ended.last, Some(pinacle_host::protocol::StreamOutput::Exit { timed_out: true, .. })), "{:?}", ended.last);

    // What it leaves in the background stays, with its output thrown away.
    let left = run(&host, pod, "(sleep 1; echo late; echo done >background) & echo now").await;
    assert_eq!((left.text().as_str(), left.code()), ("now", Some(0)));
    assert_eq!(run(&host, pod, "for i in $(seq 50); do [ ! -f background ] || break; sleep 0.1; done; cat background").await.text(), "done");

    // When the one who asked goes, so does the command.
    let mut gone = host.connect().await;
    gone.open(Command::Exec { pod, exec: exec_spec(&["sleep", "987"]) }).await;
    drop(gone);
    let ended = run(&host, pod, "for i in $(seq 50); do pgrep -f 'sleep 98[7]' >/dev/null || break; sleep 0.1; done; pgrep -fc 'sleep 98[7]'").await;
    assert_eq!(ended.text(), "0");
    assert_eq!(plane.refused(Command::Exec { pod, exec: exec_spec(&["no-such-program"]) }).await, HostErrorCode::NotFound);

    let mut plane = host.connect().await;
    plane.done(Command::Delete { pod, fence: 2 }).await;
    assert_eq!(host.traces().await, "");
    host.end().await;
}
