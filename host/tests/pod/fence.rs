//! The fence around pods: the internet and the host's resolver, nothing else; what is refused is refused at once. Every
//! target listens, over TCP and UDP, and is reached from where it may be.

use super::{boot, exec_spec, host::Connection, host::Host, run};
use pinacle_host::protocol::Command;
use std::{net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, UdpSocket, UnixStream},
    process::Child,
    task::JoinSet,
};
use uuid::Uuid;

/// Says how it went: `reached`, `refused`, `silence` (nothing within its own time limit), or another error's name; and how many
/// seconds that took.
const PROBE: &str = r#"
import socket, sys, time
kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.settimeout(20)
begun = time.monotonic()
try:
    s.connect((address, port))
    if kind == "udp":
        s.send(b"?")
        s.recv(100)
    how = "reached"
except ConnectionRefusedError:
    how = "refused"
except socket.timeout:
    how = "silence"
except OSError as error:
    how = error
print(how, "%.3f" % (time.monotonic() - begun))
"#;

/// Answers over TCP and UDP on one port of every address, until its input ends.
const LISTENER: &str = r#"
import os, socket, sys, threading
port = int(sys.argv[1])
tcp = socket.create_server(("", port))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("", port))
def streams():
    while True:
        tcp.accept()[0].close()
def datagrams():
    while True:
        udp.sendto(b"here", udp.recvfrom(100)[1])
for work in (streams, datagrams):
    threading.Thread(target=work, daemon=True).start()
print("listens", flush=True)
sys.stdin.read()
os._exit(0)
"#;

/// What stands for another host's pod: a namespace with an address of a pod's, behind that host, where LISTENER answers until its input
/// ends. Nothing of it stays. Takes the address, LISTENER and the port.
const POD_ELSEWHERE: &str = r#"
ip netns delete fence-test 2>/dev/null
ip link delete fence-test 2>/dev/null
set -e
ip netns add fence-test
ip link add fence-test type veth peer name eth0 netns fence-test
ip address add 10.88.254.1/24 dev fence-test
ip link set fence-test up
ip -n fence-test address add "$1/24" dev eth0
ip -n fence-test link set eth0 up
ip -n fence-test route add default via 10.88.254.1
nsenter --net=/run/netns/fence-test python3 -c "$2" "$3"
ip netns delete fence-test
"#;
/// In the last range that a host could be given.
const ELSEWHERE: &str = "10.88.254.11";

/// In seconds, by the probe's own clock. Tells a refusal from a time-out, not a fast one from a slow one: it leaves room for a packet that is
/// lost and sent again after a second; no time-out is as short.
const AT_ONCE: f64 = 2.0;
/// A port that nothing else of the host or this machine has.
const PORT: u16 = 7345;
/// The kernel sends so many ICMP answers to one address: six at once, then one a second. What is beyond that is silence.
const ICMP_AGAIN: Duration = Duration::from_millis(1100);

/// What a probe has said: how it went, and after how many seconds. One that says no time had none.
fn told(text: &str) -> (String, f64) {
    let (how, seconds) = text.trim().rsplit_once(' ').unwrap_or((text, ""));
    (how.to_owned(), seconds.parse().unwrap_or(f64::INFINITY))
}

async fn from_pod(host: &Host, pod: Uuid, kind: &str, at: SocketAddr) -> (String, f64) {
    let mut connection = host.connect().await;
    let (address, port) = (at.ip().to_string(), at.port().to_string());
    connection.open(Command::Exec { pod, exec: exec_spec(&["python3", "-c", PROBE, kind, &address, &port]) }).await;
    told(&connection.rest().await.text())
}

async fn from_host(host: &Host, kind: &str, at: SocketAddr) -> (String, f64) {
    let (address, port) = (at.ip().to_string(), at.port().to_string());
    told(&host.text("exec python3 -c \"$@\"", &[PROBE, kind, &address, &port]).await)
}

/// From this machine, where the server runs.
async fn from_here(kind: &str, at: SocketAddr) -> (String, f64) {
    let (address, port) = (at.ip().to_string(), at.port().to_string());
    let output = tokio::process::Command::new("python3").args(["-c", PROBE, kind, &address, &port]).output().await.unwrap();
    told(&String::from_utf8(output.stdout).unwrap())
}

async fn listen_in_pod(connection: &mut Connection<impl AsyncRead + Unpin, impl AsyncWrite + Unpin>, pod: Uuid) {
    connection.open(Command::Exec { pod, exec: exec_spec(&["python3", "-c", LISTENER, &PORT.to_string()]) }).await;
    connection.until("listens").await;
}

/// `ip`, in the namespace of the stack's network.
async fn ip(arguments: &[&str]) {
    let space = format!("pinacle-{}-net", std::env::var("PINACLE_TEST_STACK").expect("PINACLE_TEST_STACK"));
    let output = tokio::process::Command::new("ip").args(["-n", &space]).args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The stack's second host, where it has one: its address, and what listens there as a pod would, with the way to it.
async fn listen_elsewhere() -> Option<(String, Child)> {
    let hosts: u32 = std::env::var("PINACLE_TEST_HOSTS").ok().and_then(|hosts| hosts.parse().ok()).unwrap_or(0);
    if hosts < 2 {
        eprintln!("left out: a pod of another host, for PINACLE_TEST_HOSTS says {hosts}");
        return None;
    }
    let address = format!("10.77.{}.10", std::env::var("STACK_NUMBER").expect("STACK_NUMBER"));
    ip(&["route", "replace", ELSEWHERE, "via", &address]).await;
    let mut program = tokio::process::Command::new("../dev/hosts.sh");
    program.args(["run", "2", "sh", "-c", POD_ELSEWHERE, "sh", ELSEWHERE, LISTENER, &PORT.to_string()]);
    Some((address, listening(program).await))
}

/// A program that says so once it listens, and ends with its input.
async fn listening(mut program: tokio::process::Command) -> Child {
    let mut listener = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(listener.stdout.take().unwrap()).read_line(&mut said).await.unwrap();
    assert_eq!(said.trim(), "listens");
    listener
}

/// This machine as the hosts see it, with the server's Postgres over TCP, and a word over UDP.
async fn postgres_over_tcp(serving: &mut JoinSet<()>) -> SocketAddr {
    let stack = std::env::var("STACK_NUMBER").expect("STACK_NUMBER");
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL");
    let folder = PathBuf::from(url.split_once("?host=").expect("the stack's Postgres has a socket in a folder").1);
    let listener = TcpListener::bind(format!("10.77.{stack}.1:0")).await.unwrap();
    let at = listener.local_addr().unwrap();
    let socket = UdpSocket::bind(at).await.unwrap();
    serving.spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut postgres = UnixStream::connect(folder.join(".s.PGSQL.5432")).await.unwrap();
            // Either may go first.
            drop(tokio::io::copy_bidirectional(&mut client, &mut postgres).await);
        }
    });
    serving.spawn(async move {
        let mut said = [0; 100];
        loop {
            let (_, whose) = socket.recv_from(&mut said).await.unwrap();
            socket.send_to(b"here", whose).await.unwrap();
        }
    });
    // It is Postgres: asked whether it speaks TLS, it says yes or no.
    let mut asked = TcpStream::connect(at).await.unwrap();
    asked.write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).await.unwrap();
    assert!(matches!(asked.read_u8().await.unwrap(), b'N' | b'S'));
    at
}

#[tokio::test]
async fn pods_reach_the_internet_and_nothing_behind_the_fence_and_are_told_at_once() {
    let Some(host) = Host::start(4).await else { return };
    let (one, two, mut plane) = (Uuid::from_u128(10), Uuid::from_u128(11), host.connect().await);
    boot(&mut plane, one, host.pod_address(10), 1).await;
    boot(&mut plane, two, host.pod_address(11), 1).await;

    let (mut neighbour, mut own) = (host.connect().await, host.connect().await);
    listen_in_pod(&mut neighbour, two).await;
    listen_in_pod(&mut own, one).await;
    let mut serving = JoinSet::new();
    let postgres = postgres_over_tcp(&mut serving).await;
    let mut listener = listening(host.enter(&["python3", "-c", LISTENER, &PORT.to_string()])).await;
    let elsewhere = listen_elsewhere().await;

    let at = |address: &str, port: u16| SocketAddr::new(address.parse().unwrap(), port);
    let (address, gateway, pod) = (host.address(), host.pod_address(1).to_string(), host.pod_address(11).to_string());
    // From where they may be reached.
    for kind in ["tcp", "udp"] {
        for (what, (answer, _)) in [
            ("the metadata service, from the host", from_host(&host, kind, at("169.254.169.254", 80)).await),
            ("a machine of the private network, from the host", from_host(&host, kind, at("192.168.77.1", 80)).await),
            ("the host, from this machine", from_here(kind, at(&address, PORT)).await),
            ("a pod, from its host's root", from_host(&host, kind, at(&pod, PORT)).await),
            ("a pod, from itself", from_pod(&host, two, kind, at(&pod, PORT)).await),
            ("the server's Postgres, from this machine", from_here(kind, postgres).await),
            ("the internet, from a pod", from_pod(&host, one, kind, at("198.51.100.10", 80)).await),
            ("a pod, by its own loopback", from_pod(&host, one, kind, at("127.0.0.1", PORT)).await),
        ] {
            assert_eq!(answer, "reached", "{what}, over {kind}");
        }
    }
    for (what, (answer, _)) in [
        ("the host's sshd", from_here("tcp", at(&address, 22)).await),
        ("the gateway, from the host: the same listener", from_host(&host, "tcp", at(&gateway, PORT)).await),
        ("the daemon's HTTPS", from_here("tcp", at(&address, host.https_port())).await),
        ("PID 1 of another pod, from its host's root", from_host(&host, "tcp", at(&pod, 1017)).await),
        ("the resolver, over TCP", from_pod(&host, one, "tcp", at(&gateway, 53)).await),
    ] {
        assert_eq!(answer, "reached", "{what}");
    }
    if let Some((other, _)) = &elsewhere {
        for (what, (answer, _)) in [
            ("another host's sshd, from the host", from_host(&host, "tcp", at(other, 22)).await),
            ("another host's pod, from the host", from_host(&host, "tcp", at(ELSEWHERE, PORT)).await),
            ("another host's pod, from the host, over UDP", from_host(&host, "udp", at(ELSEWHERE, PORT)).await),
        ] {
            assert_eq!(answer, "reached", "{what}");
        }
    }
    let by_name = run(&host, one, "curl -s -o /dev/null -m 10 -w %{http_code} http://github.pinacle.test/").await.text();
    assert!(by_name.len() == 3 && by_name != "000", "the internet answers by name: {by_name}");

    // From inside a pod.
    let mut targets = vec![
        ("the metadata service", at("169.254.169.254", 80)),
        ("a machine of the private network", at("192.168.77.1", 80)),
        ("the host", at(&address, PORT)),
        ("the host's sshd", at(&address, 22)),
        ("the daemon's HTTPS", at(&address, host.https_port())),
        ("the gateway but for its resolver", at(&gateway, PORT)),
        ("the gateway's sshd", at(&gateway, 22)),
        ("another pod", at(&pod, PORT)),
        ("PID 1 of another pod", at(&pod, 1017)),
        ("the server's Postgres", postgres),
        ("an address that nobody has", at("10.1.2.3", 80)),
        ("the shared range", at("100.64.0.1", 80)),
        ("a reserved address", at("240.0.0.1", 80)),
    ];
    if let Some((other, _)) = &elsewhere {
        targets.extend([("another host's sshd", at(other, 22)), ("another host's pod", at(ELSEWHERE, PORT))]);
    }
    for (what, target) in targets {
        for kind in ["tcp", "udp"] {
            let (answer, seconds) = from_pod(&host, one, kind, target).await;
            assert!(answer == "refused" && seconds < AT_ONCE, "{what}, over {kind}: {answer} after {seconds} s");
        }
        tokio::time::sleep(ICMP_AGAIN).await;
    }
    drop((neighbour, own, listener.stdin.take()));
    listener.wait().await.unwrap();
    if let Some((_, mut listener)) = elsewhere {
        drop(listener.stdin.take());
        assert!(listener.wait().await.unwrap().success(), "nothing of it stays");
        ip(&["route", "delete", ELSEWHERE]).await;
    }
    for pod in [one, two] {
        plane.done(Command::Delete { pod, fence: 2 }).await;
    }
    assert_eq!(host.traces().await, "");
    host.end().await;
}
