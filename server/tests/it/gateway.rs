//! The SSH gateway, with OpenSSH's own clients; what it refuses, with one that hears each answer.

use crate::{
    fleet::{Fleet, SOON, User},
    stand::{github_in_peace, variable},
    teams::{joins, team_of},
};
use pinacle_server::db::Db;
use reqwest::Method;
use russh::{
    Channel, ChannelMsg, ChannelOpenFailure, client,
    keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key},
};
use serde_json::{Value, json};
use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

/// Of what a person would not wait longer for.
const CLOSED_WITHIN: Duration = Duration::from_secs(2);

/// Somebody's own machine: a key, and what ssh is to know of the gateway.
struct Machine {
    folder: PathBuf,
    gateway: SocketAddr,
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Errors have nowhere to go from here: what is left goes with the stack.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Machine {
    async fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("pinacle-machine-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&folder).expect("a folder");
        let gateway: SocketAddr = variable("PINACLE_GATEWAY_LISTEN").parse().expect("an address");
        let shown = std::fs::read_to_string(format!("{}.pub", variable("PINACLE_GATEWAY_KEY_FILE"))).expect("the gateway's key");
        std::fs::write(folder.join("known_hosts"), format!("[{}]:{} {shown}", gateway.ip(), gateway.port())).expect("written");
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "a comment", "-f"]).arg(folder.join("key")).status().await;
        assert!(made.expect("ssh-keygen runs").success());
        Self { folder, gateway }
    }

    fn public_key(&self) -> String {
        std::fs::read_to_string(self.folder.join("key.pub")).expect("a key").trim().to_owned()
    }

    /// What each of the clients takes.
    fn options(&self) -> Vec<String> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let mut options = vec!["-F".to_owned(), "/dev/null".to_owned(), "-i".to_owned(), file("key")];
        for option in [
            format!("UserKnownHostsFile={}", file("known_hosts")),
            "StrictHostKeyChecking=yes".into(),
            "IdentitiesOnly=yes".into(),
            "LogLevel=INFO".into(),
            "ConnectTimeout=20".into(),
        ] {
            options.extend(["-o".to_owned(), option]);
        }
        options
    }

    fn ssh(&self, user: &str) -> Command {
        let mut command = Command::new("ssh");
        command.args(self.options()).args(["-p", &self.gateway.port().to_string(), "-l", user]).arg(self.gateway.ip().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs a command line in the pod.
    async fn run(&self, user: &str, line: &str) -> Output {
        ended(self.ssh(user).arg(line).output()).await
    }

    /// With this on its standard input.
    async fn feed(&self, user: &str, arguments: &[&str], input: Vec<u8>) -> Output {
        let mut child = self.ssh(user).args(arguments).stdin(Stdio::piped()).spawn().expect("ssh runs");
        let mut stdin = child.stdin.take().expect("its input");
        let feeding = tokio::spawn(async move { stdin.write_all(&input).await });
        let output = ended(child.wait_with_output()).await;
        // Who ended before its input did has not read it.
        let _ = feeding.await;
        output
    }
}

async fn ended(running: impl Future<Output = std::io::Result<Output>>) -> Output {
    timeout(SOON, running).await.expect("it ends in time").expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Somebody new with a machine whose key their GitHub account has.
async fn somebody(fleet: &Fleet) -> (User<'_>, String, Machine) {
    let login = fleet.new_account().await;
    let machine = Machine::new().await;
    fleet.github(&format!("/accounts/{login}"), json!({ "keys": [machine.public_key()] })).await;
    let user = fleet.user(&login).await;
    (user, login, machine)
}

/// The user name at the gateway that leads to a pod.
async fn address(user: &User<'_>, id: &str) -> String {
    let pod = user.pod(id).await;
    format!("{}.{}", pod["name"].as_str().expect("a name"), pod["owner"].as_str().expect("a handle"))
}

#[tokio::test]
async fn openssh_has_commands_shells_files_and_ports() {
    let Some(fleet) = Fleet::open().await else { return };
    let (user, _, machine) = somebody(&fleet).await;
    let id = user.running().await;
    let at = address(&user, &id).await;

    let output = machine.run(&at, "id -un; pwd; echo wrong >&2; exit 7").await;
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("dev\n/home/dev\n", Some(7)), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("wrong\n"));
    let output = machine.feed(&at, &["-o", "SetEnv=LC_TEST=passed LD_PRELOAD=no", "echo $LC_TEST/$LD_PRELOAD"], Vec::new()).await;
    assert_eq!(text(&output.stdout), "passed/\n");
    let output = machine.run(&at, "kill -TERM $$").await;
    assert_eq!(output.status.code(), Some(143), "ended by a signal, as a shell tells of it");

    // A terminal of its own, with a login shell.
    let output = machine.feed(&at, &["-tt"], b"stty size; tty; echo $TERM; shopt -q login_shell && echo login-$((40+2)); exit 3\n".to_vec()).await;
    let screen = text(&output.stdout);
    assert!(screen.contains("24 80") && screen.contains("/dev/pts/") && screen.contains("login-42"), "{screen}");
    assert_eq!(output.status.code(), Some(3));

    // More than any buffer on the way, both ways at once.
    let much: Vec<u8> = (0..6_000_000_u32).map(|n| (n % 251) as u8).collect();
    let output = machine.feed(&at, &["cat"], much.clone()).await;
    assert!(output.stdout == much, "{} bytes came back; {}", output.stdout.len(), text(&output.stderr));

    // What was told to stay, stays.
    machine.run(&at, "nohup sleep 7654 >/dev/null 2>&1 & disown").await;
    assert_eq!(text(&machine.run(&at, "pgrep -c -f 'sleep 765[4]'").await.stdout), "1\n");

    // Files: sftp, scp in both of its ways, rsync where it is installed.
    let local = machine.folder.join("sent");
    std::fs::write(&local, &much).expect("written");
    let remote = format!("{at}@{}", machine.gateway.ip());
    let port = machine.gateway.port().to_string();
    let mut sftp = Command::new("sftp");
    sftp.args(machine.options()).args(["-P", &port, "-b", "-"]).arg(&remote).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut sftp = sftp.kill_on_drop(true).spawn().expect("sftp runs");
    let script = format!("put {0} by-sftp\nget by-sftp {0}-back\nrm by-sftp\n", local.display());
    sftp.stdin.take().expect("its input").write_all(script.as_bytes()).await.expect("told");
    let output = ended(sftp.wait_with_output()).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(std::fs::read(machine.folder.join("sent-back")).expect("it is back") == much);
    for way in [&[][..], &["-O"][..]] {
        let mut scp = Command::new("scp");
        scp.args(machine.options()).args(way).args(["-q", "-P", &port]).arg(&local).arg(format!("{remote}:by-scp"));
        let output = ended(scp.kill_on_drop(true).output()).await;
        assert!(output.status.success(), "{way:?}: {}", text(&output.stderr));
        assert_eq!(text(&machine.run(&at, "stat -c %s by-scp && rm by-scp").await.stdout), "6000000\n");
    }
    if Command::new("rsync").arg("--version").output().await.is_ok() {
        let shell = format!("ssh -p {port} {}", machine.options().join(" "));
        let mut rsync = Command::new("rsync");
        rsync.args(["-a", "-e", &shell]).arg(&local).arg(format!("{remote}:by-rsync"));
        let output = ended(rsync.kill_on_drop(true).output()).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&machine.run(&at, "stat -c %s by-rsync").await.stdout), "6000000\n");
    }

    // A port of the pod's own loopback; nothing behind the pod.
    user.shell(&id, "echo from-the-pod > index.html; nohup python3 -m http.server 8123 --bind 127.0.0.1 >/dev/null 2>&1 &").await;
    let here = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let elsewhere = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let mut forwarding = machine.ssh(&at);
    forwarding.args(["-L", &format!("{here}:localhost:8123"), "-L", &format!("{elsewhere}:198.51.100.10:80"), "echo ready; sleep 600"]);
    let mut forwarding = forwarding.spawn().expect("ssh runs");
    until_ready(&mut forwarding).await;
    let begun = Instant::now();
    loop {
        // The server in the pod is about to listen.
        match fleet.http.get(format!("http://127.0.0.1:{here}/")).send().await {
            Ok(answer) => {
                assert_eq!(answer.text().await.expect("text"), "from-the-pod\n");
                break;
            }
            Err(error) => assert!(begun.elapsed() < SOON, "{error}"),
        }
    }
    assert!(fleet.http.get(format!("http://127.0.0.1:{elsewhere}/")).send().await.is_err(), "only the pod itself is reached");
    user.delete(&id).await;
}

/// What VS Code's Remote-SSH has its ssh do: a script on standard input for a shell without a terminal, which leaves a server behind on a
/// port of the pod's loopback and says which, and every connection to it through `-D`.
#[tokio::test]
async fn an_editor_starts_its_server_in_the_pod_and_reaches_it_through_a_dynamic_forward() {
    let Some(fleet) = Fleet::open().await else { return };
    let (user, _, machine) = somebody(&fleet).await;
    let id = user.running().await;
    let at = address(&user, &id).await;

    // Once with a shell as its command, once with none, as its two ways of connecting do.
    let (mut editor, socks, port) = editor(&machine, &at, &["sh"], "0").await;
    let (mut one, mut other) = (through(socks, port).await.expect("a connection"), through(socks, port).await.expect("a connection"));
    let much: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 241) as u8).collect();
    assert!(echoed(&mut one, &much).await == much, "what comes back is what was sent");
    assert_eq!(echoed(&mut other, b"beside it").await, b"beside it");
    if let Some(stream) = through(socks, 9).await {
        assert_eq!(left(stream).await, b"", "nobody listens there");
    }
    assert_eq!(echoed(&mut one, b"after a refusal").await, b"after a refusal");

    // The window is closed, and opened again: the server is where it was.
    editor.kill().await.expect("ended");
    assert_eq!(left(one).await, b"");
    let (_editor, socks, again) = self::editor(&machine, &at, &[], &port.to_string()).await;
    assert_eq!(again, port);
    let mut one = through(socks, port).await.expect("a connection");
    assert_eq!(echoed(&mut one, b"as before").await, b"as before");
    user.delete(&id).await;
}

/// An ssh of the editor's: it with its SOCKS port, once a server listens on this port of the pod (on any, if 0), and that port.
async fn editor(machine: &Machine, at: &str, command: &[&str], port: &str) -> (Child, SocketAddr, u16) {
    let script = format!(
        r#"cat > server.py <<'END'
import os, socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while piece := self.request.recv(65536):
            self.request.sendall(piece)
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
with Server(("127.0.0.1", 0), Echo) as server:
    print(server.server_address[1], flush=True)
    os.close(1)
    server.serve_forever()
END
if [ {port} = 0 ]; then
  mkfifo begun
  (setsid python3 server.py >begun 2>server.log </dev/null &)
  cat begun >port
fi
echo "listeningOn==$(cat port)=="
"#
    );
    let socks = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let mut ssh = machine.ssh(at);
    let mut ssh = ssh.args(["-T", "-D", &socks.to_string()]).args(command).stdin(Stdio::piped()).spawn().expect("ssh runs");
    // Its end is kept open, as the editor does for as long as its window is there.
    ssh.stdin.as_mut().expect("its input").write_all(script.as_bytes()).await.expect("told");
    let mut lines = BufReader::new(ssh.stdout.as_mut().expect("its output")).lines();
    let said = timeout(SOON, lines.next_line()).await.expect("in time").expect("a line").expect("not its end");
    let port = said.strip_prefix("listeningOn==").and_then(|rest| rest.strip_suffix("==")).and_then(|port| port.parse().ok());
    (ssh, socks, port.unwrap_or_else(|| panic!("no port: {said}")))
}

/// A connection to the pod's loopback by way of SOCKS 5. Where nobody is reached ssh closes it, be it before or after it has said yes.
async fn through(socks: SocketAddr, port: u16) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(socks).await.expect("ssh listens");
    let asked = async {
        stream.write_all(&[5, 1, 0]).await?;
        let mut method = [0; 2];
        stream.read_exact(&mut method).await?;
        let [high, low] = port.to_be_bytes();
        stream.write_all(&[5, 1, 0, 1, 127, 0, 0, 1, high, low]).await?;
        let mut answer = [0; 10];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>((method, answer[1]))
    };
    match timeout(SOON, asked).await.expect("in time") {
        Ok(answer) => assert_eq!(answer, ([5, 0], 0)),
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => return None,
        Err(error) => panic!("{error}"),
    }
    Some(stream)
}

/// What still comes of a connection that the other end is to close.
async fn left(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    match timeout(SOON, stream.read_to_end(&mut rest)).await.expect("it ends") {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => rest,
    }
}

/// What came back of it.
async fn echoed(stream: &mut TcpStream, sent: &[u8]) -> Vec<u8> {
    let (mut read, mut write) = stream.split();
    let mut back = vec![0; sent.len()];
    let both = async { tokio::try_join!(write.write_all(sent), read.read_exact(&mut back)) };
    timeout(SOON, both).await.expect("in time").expect("an echo");
    back
}

/// A command that stays open.
async fn open(machine: &Machine, at: &str) -> Child {
    let mut child = machine.ssh(at).arg("echo ready; sleep 600").spawn().expect("ssh runs");
    until_ready(&mut child).await;
    child
}

/// What a client was told as the server closed it.
async fn closed(child: &mut Child) -> String {
    let mut said = String::new();
    child.stderr.as_mut().expect("its errors").read_to_string(&mut said).await.expect("read");
    assert!(!child.wait().await.expect("an end").success(), "{said}");
    said
}

async fn until_ready(child: &mut Child) {
    let mut lines = BufReader::new(child.stdout.as_mut().expect("its output")).lines();
    let line = timeout(SOON, lines.next_line()).await.expect("in time").expect("a line");
    assert_eq!(line.as_deref(), Some("ready"));
}

#[tokio::test]
async fn who_may_not_come_in_is_told_why() {
    let Some(fleet) = Fleet::open().await else { return };
    let (user, login, machine) = somebody(&fleet).await;
    let (_, _, foreign) = somebody(&fleet).await;
    let id = user.running().await;
    let at = address(&user, &id).await;
    let told = async |machine: &Machine, at: &str, words: &str| {
        let output = machine.run(at, "echo inside").await;
        let said = text(&output.stderr);
        assert!(said.contains(words), "{words}: {said}");
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(255), ""), "{said}");
    };
    let stranger = Machine::new().await;
    told(&stranger, &at, "Pinacle does not know your key").await;
    told(&stranger, &at, "/account#keys").await;
    told(&machine, "no-pod-named", "Name a pod and its owner").await;
    told(&machine, &format!("nothing.{login}"), "This doesn't exist, or you have no access to it.").await;
    // Somebody whose key is known comes as far as hearing that it is not theirs, in the words for what is not there.
    let own = foreign.run(&at, "echo inside").await;
    assert_eq!(text(&own.stdout), "");
    told(&foreign, &at, if text(&own.stderr).contains("does not know") { "does not know your key" } else { "This doesn't exist" }).await;
    user.wish(&id, "stop").await;
    user.until_status(&id, "stopped").await;
    told(&machine, &at, "This needs a running pod;").await;
    user.delete(&id).await;
    told(&machine, &at, "This doesn't exist, or you have no access to it.").await;
}

#[tokio::test]
async fn the_gateway_is_for_the_pods_team_and_for_nobody_else() {
    let Some(fleet) = Fleet::open().await else { return };
    let (owner, _, owners) = somebody(&fleet).await;
    let (member, login, members) = somebody(&fleet).await;
    let (former, gone, formers) = somebody(&fleet).await;
    let (_, _, outsiders) = somebody(&fleet).await;
    let operators = Machine::new().await;
    fleet.github("/accounts/operator", json!({ "keys": [operators.public_key()] })).await;
    let operator = fleet.user("operator").await;
    assert_eq!(operator.get("/me").await["operator"], true);
    let team = team_of(&owner, "gate").await;
    joins(&owner, &team, &login, &member, "member").await;
    let left = joins(&owner, &team, &gone, &former, "member").await;
    let id = owner.create(json!({ "team_id": team })).await;
    // Stays with the team when its owner leaves.
    let ownerless = former.create(json!({ "team_id": team })).await;
    for pod in [&id, &ownerless] {
        owner.until_status(pod, "running").await;
    }
    let at = address(&owner, &id).await;
    let behind = address(&owner, &ownerless).await;
    // Whoever will leave has been in both.
    for pod in [&at, &behind] {
        assert_eq!(text(&formers.run(pod, "echo inside").await.stdout), "inside\n");
    }
    assert_eq!(former.ask(Method::DELETE, &format!("/teams/{team}/members/{left}"), Value::Null).await.0, 204);

    // All that is offered: a command, a shell, files, a port.
    let ways: [&[&str]; 4] = [&["echo inside"], &["-tt"], &["-s", "sftp"], &["-W", "localhost:1"]];
    for (who, machine, comes_in) in [
        ("an owner", &owners, true),
        ("a member", &members, true),
        ("who has left", &formers, false),
        ("an outsider", &outsiders, false),
        ("an operator", &operators, false),
        ("nobody", &Machine::new().await, false),
    ] {
        for way in ways {
            let output = machine.feed(&at, way, b"exit\n".to_vec()).await;
            let said = text(&output.stderr);
            // In the words for what is not there; for a port SSH has a word of its own.
            let words = ["This doesn't exist", "does not know your key", "administratively prohibited"];
            let refused = output.status.code() == Some(255) && words.iter().any(|word| said.contains(word));
            assert_eq!(refused, !comes_in, "{way:?} by {who}: {said}");
            assert!(comes_in || output.stdout.is_empty(), "{way:?} by {who}");
        }
        let output = machine.run(&behind, "echo inside").await;
        assert_eq!(text(&output.stdout), if comes_in { "inside\n" } else { "" }, "what was left behind, by {who}: {}", text(&output.stderr));
    }

    // Whoever has left calls another pod the same, for a member of both teams: neither is taken for the other.
    let elsewhere = team_of(&former, "elsewhere").await;
    joins(&former, &elsewhere, &login, &member, "member").await;
    let other = former.create(json!({ "team_id": elsewhere, "name": owner.pod(&ownerless).await["name"] })).await;
    let output = members.run(&behind, "echo inside").await;
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).contains("There are two pods"), "{}", text(&output.stderr));
    assert_eq!(text(&owners.run(&behind, "echo inside").await.stdout), "inside\n", "who is in one of the teams means that one");
    former.delete(&other).await;
    assert_eq!(text(&members.run(&behind, "echo inside").await.stdout), "inside\n");
    owner.delete(&ownerless).await;
    owner.delete(&id).await;
}

#[tokio::test]
async fn what_is_open_ends_with_the_pod_and_with_the_key() {
    let Some(fleet) = Fleet::open().await else { return };
    let (user, login, machine) = somebody(&fleet).await;
    let id = user.running().await;
    let at = address(&user, &id).await;
    let mut child = open(&machine, &at).await;
    user.wish(&id, "stop").await;
    user.until_status(&id, "stopped").await;
    timeout(CLOSED_WITHIN, closed(&mut child)).await.expect("closed within two seconds");
    user.wish(&id, "start").await;
    user.until_status(&id, "running").await;

    // A client that goes while nothing takes its input takes along what runs for it: so much has no room on the way.
    let mut child = machine.ssh(&at).arg("echo $$ >pid; echo ready; exec sleep 600").stdin(Stdio::piped()).spawn().expect("ssh runs");
    until_ready(&mut child).await;
    let mut stdin = child.stdin.take().expect("its input");
    assert!(timeout(Duration::from_secs(3), stdin.write_all(&vec![0; 32 << 20])).await.is_err(), "it is held up");
    child.kill().await.expect("killed");
    let gone = "for i in $(seq 300); do kill -0 $(cat pid) 2>/dev/null || { echo gone; break; }; sleep 0.1; done";
    assert_eq!(user.shell(&id, gone).await, "gone\n");

    let mut child = open(&machine, &at).await;
    fleet.github(&format!("/accounts/{login}"), json!({ "keys": [] })).await;
    make_old(&fleet.database().await, &login).await;
    let said = timeout(SOON, closed(&mut child)).await.expect("closed");
    assert!(said.contains("no longer one of your GitHub account's"), "{said}");
    user.delete(&id).await;
}

/// As five minutes later: somebody's keys are asked for anew.
async fn make_old(db: &Db, login: &str) {
    let older = "UPDATE users SET public_keys_tried_at = now() - interval '6 minutes' WHERE login = $1";
    sqlx::query(older).bind(login).execute(db).await.expect("written");
}

#[tokio::test]
async fn what_is_open_ends_with_the_membership_also_while_github_is_slow() {
    let Some(fleet) = Fleet::open().await else { return };
    let (owner, _, owners) = somebody(&fleet).await;
    let (member, login, members) = somebody(&fleet).await;
    let team = team_of(&owner, "gate").await;
    let them = joins(&owner, &team, &login, &member, "member").await;
    let id = owner.create(json!({ "team_id": team })).await;
    owner.until_status(&id, "running").await;
    let at = address(&owner, &id).await;

    // Removed while GitHub is asked about the key and does not answer: it hangs for this one account, and once.
    let db = fleet.database().await;
    let mut child = open(&members, &at).await;
    let peace = github_in_peace().await;
    let account: i64 = sqlx::query_scalar("SELECT github_id FROM users WHERE login = $1").bind(&login).fetch_one(&db).await.expect("a number");
    fleet.github("/fail", json!({ "path": format!("/user/{account}"), "mode": "slow", "delay_ms": 60_000, "times": 1 })).await;
    make_old(&db, &login).await;
    let asked = "SELECT public_keys_tried_at > now() - interval '1 minute' FROM users WHERE login = $1";
    let begun = Instant::now();
    while !sqlx::query_scalar::<_, bool>(asked).bind(&login).fetch_one(&db).await.expect("a moment") {
        assert!(begun.elapsed() < SOON, "the key is looked at again");
        sleep(Duration::from_millis(50)).await;
    }
    drop(peace);
    assert_eq!(owner.ask(Method::DELETE, &format!("/teams/{team}/members/{them}"), Value::Null).await.0, 204);
    let said = timeout(CLOSED_WITHIN, closed(&mut child)).await.expect("closed within two seconds");
    assert!(said.contains("This doesn't exist, or you have no access to it."), "{said}");

    // The whole team ends.
    joins(&owner, &team, &login, &member, "member").await;
    let (mut first, mut second) = (open(&owners, &at).await, open(&members, &at).await);
    assert_eq!(owner.ask(Method::DELETE, &format!("/teams/{team}?with_pods_of=gate"), Value::Null).await.0, 204);
    let both = async { tokio::join!(closed(&mut first), closed(&mut second)) };
    timeout(CLOSED_WITHIN, both).await.expect("closed within two seconds");
    let begun = Instant::now();
    let status = "SELECT status FROM pods WHERE id = $1::text::uuid";
    while sqlx::query_scalar::<_, String>(status).bind(&id).fetch_one(&db).await.expect("its row") != "deleted" {
        assert!(begun.elapsed() < SOON, "the pod goes with its team");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn whoever_has_signed_in_or_joined_a_team_is_known_before_they_come() {
    let Some(fleet) = Fleet::open().await else { return };
    let owner = fleet.newcomer().await;
    let (user, login, machine) = somebody(&fleet).await;
    let db = fleet.database().await;
    let until_known = async |keys: i64| {
        let known = "SELECT count(*) FROM public_keys k JOIN users u ON u.id = k.user_id WHERE u.login = $1";
        let begun = Instant::now();
        while sqlx::query_scalar::<_, i64>(known).bind(&login).fetch_one(&db).await.expect("a count") != keys {
            assert!(begun.elapsed() < SOON, "{keys} keys are known");
            sleep(Duration::from_millis(50)).await;
        }
    };
    until_known(1).await;
    let second = Machine::new().await;
    fleet.github(&format!("/accounts/{login}"), json!({ "keys": [machine.public_key(), second.public_key()] })).await;
    make_old(&db, &login).await;
    let team = team_of(&owner, "gate").await;
    joins(&owner, &team, &login, &user, "member").await;
    until_known(2).await;

    let id = owner.create(json!({ "team_id": team })).await;
    owner.until_status(&id, "running").await;
    let at = address(&owner, &id).await;
    let asked = async || -> String {
        sqlx::query_scalar("SELECT public_keys_tried_at::text FROM users WHERE login = $1").bind(&login).fetch_one(&db).await.expect("a moment")
    };
    let before = asked().await;
    for machine in [&machine, &second] {
        let output = machine.run(&at, "echo inside").await;
        assert_eq!(text(&output.stdout), "inside\n", "{}", text(&output.stderr));
    }
    assert_eq!(asked().await, before, "GitHub was not asked at the gateway");
    owner.delete(&id).await;
}

/// Takes whatever key the gateway shows: OpenSSH's clients see to that.
struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// The answer to what was just asked for on a channel.
async fn is_granted(channel: &mut Channel<client::Msg>) -> bool {
    loop {
        match channel.wait().await.expect("the channel is open") {
            ChannelMsg::Success => return true,
            ChannelMsg::Failure => return false,
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_else_ssh_can_ask_for_is_refused_and_the_connection_goes_on() {
    let Some(fleet) = Fleet::open().await else { return };
    let (user, _, machine) = somebody(&fleet).await;
    let id = user.running().await;
    let at = address(&user, &id).await;
    let asking = async {
        let mut gateway = client::connect(Arc::new(client::Config::default()), machine.gateway, Trusting).await.expect("connected");
        let key = Arc::new(load_secret_key(machine.folder.join("key"), None).expect("a key"));
        assert!(gateway.authenticate_publickey(at.as_str(), PrivateKeyWithHashAlg::new(key, None)).await.expect("an answer").success());
        // -R, to a port and to a socket.
        assert!(matches!(gateway.tcpip_forward("localhost", 0).await, Err(russh::Error::RequestDenied)));
        assert!(matches!(gateway.streamlocal_forward("/tmp/socket").await, Err(russh::Error::RequestDenied)));
        // -L to a socket, and to what lies behind the pod; an X11 client of one's own.
        for opened in [
            gateway.channel_open_direct_streamlocal("/run/pinacle/socket").await,
            gateway.channel_open_direct_tcpip("198.51.100.10", 80, "localhost", 1).await,
            gateway.channel_open_x11("localhost", 1).await,
        ] {
            assert!(matches!(opened, Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited))));
        }
        let mut channel = gateway.channel_open_session().await.expect("a channel");
        channel.agent_forward(true).await.expect("asked");
        assert!(!is_granted(&mut channel).await, "-A");
        channel.request_x11(true, false, "MIT-MAGIC-COOKIE-1", "00", 0).await.expect("asked");
        assert!(!is_granted(&mut channel).await, "-X");
        channel.request_subsystem(true, "netconf").await.expect("asked");
        assert!(!is_granted(&mut channel).await, "another subsystem");
        // Nothing of it has come through, and what is offered still is.
        channel.exec(true, "echo inside:$SSH_AUTH_SOCK:$DISPLAY").await.expect("asked");
        assert!(is_granted(&mut channel).await, "a command");
        let mut said = Vec::new();
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => said.extend_from_slice(&data),
                ChannelMsg::Close => break,
                _ => {}
            }
        }
        assert_eq!(text(&said), "inside::\n");
    };
    timeout(SOON, asking).await.expect("each of it is answered");
    user.delete(&id).await;
}

#[tokio::test]
async fn strangers_are_few_at_a_time() {
    let Some(fleet) = Fleet::alone().await else { return };
    let (user, _, machine) = somebody(&fleet).await;
    let mut held = Vec::new();
    let mut refused = false;
    for _ in 0..60 {
        let mut socket = TcpStream::connect(machine.gateway).await.expect("it listens");
        let mut first = [0; 4];
        // One that is let in is greeted; one too many is closed.
        match timeout(SOON, socket.read(&mut first)).await.expect("in time") {
            Ok(read) if read > 0 => held.push(socket),
            _ => {
                refused = true;
                break;
            }
        }
    }
    assert!(refused && held.len() >= 10, "{} were let in", held.len());
    drop(held);
    let id = user.running().await;
    let at = address(&user, &id).await;
    let begun = Instant::now();
    while machine.run(&at, "true").await.status.code() != Some(0) {
        assert!(begun.elapsed() < SOON, "there is room again");
        sleep(Duration::from_millis(100)).await;
    }
    user.delete(&id).await;
}
