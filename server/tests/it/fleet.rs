//! The installation that the stack's pod hosts belong to while the tests run. A host belongs to one installation, so all
//! tests with pods share it: one server, one database, one worker of its own process. It ends with this process.

use crate::{
    database::{self, Database},
    stand::{Door, program, variable},
};
use futures::StreamExt;
use pinacle_host::{
    frame::{FrameReader, write_json},
    protocol::{self, Inventory, PROTOCOL, PodSeen, Reply, Request},
};
use pinacle_server::db::Db;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header::ACCEPT};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    env,
    fs::File,
    io::{Write, stderr},
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};
use tokio::{
    net::UnixStream,
    sync::{Mutex, OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::timeout,
};

/// For anything that a pod does, on a machine that does much else.
pub const SOON: Duration = Duration::from_secs(90);
/// Short, so that a job whose worker was killed is taken up soon.
const VISIBILITY_SECONDS: &str = "5";

static INSTALLATION: OnceCell<Installation> = OnceCell::const_new();
/// What ends workers or changes hosts is alone; the other tests share.
static SHARED: RwLock<()> = RwLock::const_new(());

struct Installation {
    at: std::net::SocketAddr,
    database: Database,
    folder: PathBuf,
    server: u32,
    worker: Mutex<Child>,
    /// By login.
    tokens: Mutex<HashMap<String, String>>,
}

#[expect(dead_code, reason = "held, not read")]
enum Held {
    Share(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// One test's way in.
pub struct Fleet {
    door: Door,
    installation: &'static Installation,
    _held: Held,
}

impl Deref for Fleet {
    type Target = Door;

    fn deref(&self) -> &Door {
        &self.door
    }
}

pub fn hosts() -> usize {
    env::var("PINACLE_TEST_HOSTS").ok().and_then(|hosts| hosts.parse().ok()).unwrap_or(0)
}

/// The stack's own folder: its keys lie in one below it.
fn data() -> PathBuf {
    Path::new(&variable("PINACLE_SSH_KEY_FILE")).ancestors().nth(2).expect("a folder of the stack").to_owned()
}

/// The workspace: tests run in their package's folder, wherever they were compiled.
pub fn root() -> PathBuf {
    std::env::current_dir().expect("a folder").parent().expect("the workspace").to_owned()
}

/// Ends when this process does, however it ends: started by a thread that lives as long.
fn begin(mut command: Command) -> Child {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        if sender.send(child).is_ok() {
            loop {
                std::thread::park();
            }
        }
    });
    receiver.recv().expect("the thread answers").expect("the program starts")
}

impl Installation {
    async fn open() -> Self {
        let database = Database::create().await;
        // Where the hosts look for it, too: the stack's own server does not run beside these tests.
        let at = variable("PINACLE_LISTEN").parse().expect("PINACLE_LISTEN is an address");
        let folder = data().join(&database.name);
        std::fs::create_dir(&folder).expect("a folder of its own");
        let mut server = begin(with_log(command(&database.url, &["serve", "--no-worker"]), &folder.join("server.log")));
        let door = Door::new(at, &database.url);
        door.wait(&mut server, &folder.join("server.log")).await;
        let worker = Mutex::new(begin(with_log(command(&database.url, &["worker"]), &folder.join("worker.log"))));
        let installation = Self { at, database, folder, server: server.id(), worker, tokens: Mutex::default() };
        for host in 1..=hosts() {
            join(&door, &installation.token(&door, "operator").await, host).await;
        }
        installation
    }

    async fn token(&self, door: &Door, login: &str) -> String {
        let mut tokens = self.tokens.lock().await;
        if !tokens.contains_key(login) {
            door.allow_repositories(login).await;
            tokens.insert(login.to_owned(), door.token(login, "write"));
        }
        tokens[login].clone()
    }
}

fn command(database_url: &str, arguments: &[&str]) -> Command {
    let program = program();
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program.get_program())
        .args(arguments)
        .env("DATABASE_URL", database_url)
        .env("PINACLE_DATABASE_CONNECTIONS", "10")
        .env("PINACLE_VISIBILITY_SECONDS", VISIBILITY_SECONDS)
        .envs([("PINACLE_INSTALL_SECONDS", "30"), ("PINACLE_CLONE_SECONDS", "20"), ("PINACLE_GIT_SILENCE_SECONDS", "4")])
        // What the tests share is not what they test.
        .envs([("PINACLE_QUOTA_PODS", "500"), ("PINACLE_QUOTA_CPU", "500"), ("PINACLE_QUOTA_MEMORY_GB", "1000"), ("PINACLE_QUOTA_DISK_GB", "10000")]);
    command
}

fn with_log(mut command: Command, log: &Path) -> Command {
    let log = File::options().create(true).append(true).open(log).expect("a log");
    command.stderr(log);
    command
}

/// The stack's host, as an operator would let it in.
async fn join(door: &Door, token: &str, host: usize) {
    let new = json!({ "name": format!("host{host}"), "transport": "ssh", "address": address_of(host), "port": 22 });
    let answer = door.api(token, Method::POST, "/hosts").json(&new).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::CREATED);
    let invited: Value = answer.json().await.expect("JSON");
    let joined = join_with(door, host, invited["join_token"].as_str().expect("a token"));
    assert!(joined.status.success(), "{}", String::from_utf8_lossy(&joined.stderr));
}

/// Where the host's sshd listens.
pub fn address_of(host: usize) -> String {
    let address = Command::new("bash").args(["-c", ". dev/lib.sh; host_address \"$1\"", "-", &host.to_string()]).current_dir(root()).output();
    String::from_utf8(address.expect("bash runs").stdout).expect("text")
}

/// `pinacle-host join` on a host. All of the host's but its network: the server listens on this machine's loopback alone.
fn join_with(door: &Door, host: usize, token: &str) -> Output {
    let mut joining = Command::new("nsenter")
        .args(["-t", &init_of(host), "--mount", "--uts", "--ipc", "--pid", "--", "pinacle-host", "join"])
        .args(["--server", &format!("http://localhost:{}", door.at.port()), "--authorized-keys", "/etc/pinacle/authorized_keys"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nsenter runs");
    joining.stdin.take().expect("its input").write_all(token.as_bytes()).expect("the token is taken");
    joining.wait_with_output().expect("it ends")
}

/// The number of the process that is PID 1 on a host.
pub fn init_of(host: usize) -> String {
    let file = data().join(format!("hosts/h{host}/init.pid"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.split_whitespace().next().expect("a number").to_owned()
}

impl Fleet {
    /// None, and a line that says so, where the stack has no pod hosts.
    pub async fn open() -> Option<Self> {
        Self::is_there().then_some(())?;
        let share = SHARED.read().await;
        Some(Self::with(Held::Share(share)).await)
    }

    /// As `open`, while no other test has pods.
    pub async fn alone() -> Option<Self> {
        Self::is_there().then_some(())?;
        let alone = SHARED.write().await;
        Some(Self::with(Held::Alone(alone)).await)
    }

    fn is_there() -> bool {
        if hosts() < 2 {
            let name = std::thread::current().name().unwrap_or("a test").to_owned();
            // Past the harness, which would keep it to itself.
            writeln!(stderr(), "NOT TESTED: {name} needs two pod hosts, and PINACLE_TEST_HOSTS says {}", hosts()).expect("written");
        }
        hosts() >= 2
    }

    async fn with(held: Held) -> Self {
        let installation = INSTALLATION.get_or_init(Installation::open).await;
        Self { door: Door::new(installation.at, &installation.database.url), installation, _held: held }
    }

    /// Somebody with an API token.
    pub async fn user(&self, login: &str) -> User<'_> {
        User { door: &self.door, token: self.installation.token(&self.door, login).await }
    }

    /// Somebody new, with nothing.
    pub async fn newcomer(&self) -> User<'_> {
        let login = self.new_account().await;
        self.user(&login).await
    }

    /// The number of the server's process.
    pub fn server_pid(&self) -> u32 {
        self.installation.server
    }

    /// SIGKILL.
    pub async fn kill_worker(&self) {
        let mut worker = self.installation.worker.lock().await;
        worker.kill().and_then(|()| worker.wait()).expect("killed");
    }

    /// SIGTERM, and how it ended.
    pub async fn end_worker(&self, within: Duration) -> ExitStatus {
        let mut worker = self.installation.worker.lock().await;
        let asked = Command::new("kill").args(["-TERM", &worker.id().to_string()]).status().expect("kill runs");
        assert!(asked.success());
        let begun = Instant::now();
        loop {
            if let Some(status) = worker.try_wait().expect("its state") {
                return status;
            }
            assert!(begun.elapsed() < within, "the worker does not end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn begin_worker(&self) {
        *self.installation.worker.lock().await = self.worker(&[]);
    }

    /// Everything that the installation, its hosts, Postgres and the stand-in for GitHub have written down.
    pub fn logs(&self) -> Vec<PathBuf> {
        let mut logs: Vec<PathBuf> = ["server.log", "worker.log"].map(|log| self.installation.folder.join(log)).into();
        logs.extend((1..=hosts()).map(|host| data().join(format!("hosts/h{host}/host.log"))));
        logs.extend(["github.log", "postgres/log"].map(|log| data().join(log)));
        logs
    }

    /// One more worker, with these variables set beside the others.
    pub fn worker(&self, variables: &[(&str, &str)]) -> Child {
        let mut command = command(&self.installation.database.url, &["worker"]);
        command.envs(variables.iter().copied());
        begin(with_log(command, &self.installation.folder.join("worker.log")))
    }

    /// Of the installation's database, as it is now.
    pub fn copy(&self) -> database::Copy {
        self.installation.database.copy()
    }

    /// The installation's database as it was then, while no worker is there.
    pub async fn restore(&self, copy: database::Copy) {
        self.installation.database.restore(copy).await;
    }

    /// Lets a host in once more, as an operator would.
    pub async fn join_again(&self, host: &Value) {
        let operator = self.user("operator").await;
        let (status, invited) = operator.ask(Method::POST, &format!("/hosts/{}/rejoin", host["id"].as_str().expect("an id")), Value::Null).await;
        assert_eq!(status, 201, "{invited}");
        let number = number_of(&json!({ "host": host["name"] }));
        let joined = join_with(&self.door, number, invited["join_token"].as_str().expect("a token"));
        assert!(joined.status.success(), "{}", String::from_utf8_lossy(&joined.stderr));
    }

    pub async fn database(&self) -> Db {
        self.installation.database.connect(4).await
    }

    /// What GitHub answers somebody who asks there, with a token of their own.
    pub async fn at_github(&self, login: &str, method: Method, path: &str) -> Value {
        let token = self.github_token(login).await;
        let address = format!("{}{path}", variable("PINACLE_GITHUB_API_URL").trim_end_matches('/'));
        let answer = self.http.request(method, address).bearer_auth(token).send().await.expect("the stand-in answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap_or(Value::Null)
    }

    pub async fn hosts(&self) -> Vec<Value> {
        self.user("operator").await.get("/hosts").await["items"].as_array().expect("a list").clone()
    }

    /// Asks until a host is as it should be.
    pub async fn until_host(&self, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let hosts = self.hosts().await;
            let host = hosts.iter().find(|host| host["name"] == name).expect("the host");
            if is_so(host) {
                return host.clone();
            }
            assert!(begun.elapsed() < SOON, "{what}: {host}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A command on a host, as its root; its output.
pub fn on_host(host: usize, script: &str) -> String {
    let output = Command::new(root().join("dev/hosts.sh")).args(["run", &host.to_string(), "bash", "-c", script]).output().expect("hosts.sh runs");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// As `on_host`, with something on its standard input, which no process list shows.
pub fn on_host_with(host: usize, script: &str, input: &str) -> String {
    let mut running = Command::new(root().join("dev/hosts.sh"))
        .args(["run", &host.to_string(), "bash", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("hosts.sh runs");
    running.stdin.take().expect("its input").write_all(input.as_bytes()).expect("written");
    let output = running.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{script}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a host says that it has.
pub async fn inventory(host: usize) -> Inventory {
    let socket = format!("/proc/{}/root/run/pinacle/host.sock", init_of(host));
    let (read, mut write) = UnixStream::connect(socket).await.expect("the daemon's socket").into_split();
    write_json(&mut write, &json!({ "admin": { "do": "inventory" } })).await.expect("asked");
    match FrameReader::new(read).next().await.expect("answered").expect("a frame").parse().expect("a reply") {
        Reply::Inventory(inventory) => *inventory,
        other => panic!("{other:?}"),
    }
}

/// Whether the host's daemon answers.
pub async fn is_up(host: usize) -> bool {
    UnixStream::connect(format!("/proc/{}/root/run/pinacle/host.sock", init_of(host))).await.is_ok()
}

/// As the control plane of this installation would tell it, with a fence above all others.
pub async fn tell(host: usize, db: &sqlx::PgPool, command: protocol::Command) {
    let (id, epoch): (uuid::Uuid, i32) = sqlx::query_as("SELECT id, epoch FROM installation").fetch_one(db).await.expect("the installation");
    let installation = Some(protocol::Installation { id, epoch: u32::try_from(epoch).expect("a number") });
    let socket = format!("/proc/{}/root/run/pinacle/host.sock", init_of(host));
    let (read, mut write) = UnixStream::connect(socket).await.expect("the daemon's socket").into_split();
    write_json(&mut write, &Request { protocol: PROTOCOL, installation, command }).await.expect("told");
    let reply: Reply = FrameReader::new(read).next().await.expect("answered").expect("a frame").parse().expect("a reply");
    assert!(matches!(reply, Reply::Done), "{reply:?}");
}

/// Number of a host by its name.
pub fn number_of(pod: &Value) -> usize {
    pod["host"].as_str().and_then(|name| name.strip_prefix("host")).and_then(|number| number.parse().ok()).expect("a host")
}

pub async fn seen_on(host: usize, id: &str) -> Option<PodSeen> {
    inventory(host).await.pods.into_iter().find(|pod| pod.pod.to_string() == id)
}

/// Everything on a host that carries a pod's id: nothing, after it was deleted. The fence alone is kept.
pub fn traces(host: usize, id: &str) -> String {
    traces_of(host, &[id], &[id])
}

/// Everything on a host of the sandboxes of `idle` pods and of the disks of `gone` ones.
pub fn traces_of(host: usize, idle: &[&str], gone: &[&str]) -> String {
    let simple = |id: &str| id.replace('-', "");
    let long: Vec<String> = idle.iter().flat_map(|id| [(*id).to_owned(), simple(id)]).collect();
    let short: Vec<String> = idle.iter().map(|id| simple(id)[21..].to_owned()).collect();
    // Nothing is found by a pattern of nothing.
    let any = |words: Vec<String>| if words.is_empty() { "no pod at all".to_owned() } else { words.join("|") };
    let (long, short, disks) = (any(long), any(short), any(gone.iter().map(|id| (*id).to_owned()).collect()));
    on_host(
        host,
        &format!(
            "grep -E '{long}' /proc/self/mountinfo; ip -o link show | grep -E '{short}'; ls /run/netns | grep -E '{short}'
             nft list ruleset | grep -E '{short}'; find /sys/fs/cgroup -type d -path '*/pinacle-*' | grep -E '{long}'
             losetup -a 2>/dev/null | grep -E '{long}'; pgrep -af '{long}'; find /run | grep -E '{long}'
             find /var/lib/pinacle -path '*/fences/*' -prune -o -print | grep -E '{disks}'; true"
        ),
    )
    .lines()
    // The search itself.
    .filter(|line| !line.contains("mountinfo;") && !line.contains("pgrep") && !line.contains("bash -c"))
    .map(|line| format!("{line}\n"))
    .collect()
}

pub struct User<'a> {
    pub door: &'a Door,
    pub token: String,
}

impl<'a> User<'a> {
    /// Signed in at this server, with a token that may change.
    pub async fn sign_in(door: &'a Door, login: &str) -> Self {
        door.sign_in(login).await;
        Self { door, token: door.token(login, "write") }
    }
}

impl User<'_> {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.door.api(&self.token, method, path).timeout(SOON)
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.request(Method::GET, path).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "GET {path}");
        answer.json().await.expect("JSON")
    }

    /// Status and body.
    pub async fn ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = self.request(method, path);
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// What a job will do, by its path below the pod.
    pub async fn wish(&self, id: &str, verb: &str) -> Value {
        let (status, pod) = match verb {
            "delete" => self.ask(Method::DELETE, &format!("/pods/{id}"), Value::Null).await,
            verb => self.ask(Method::POST, &format!("/pods/{id}/{verb}"), Value::Null).await,
        };
        assert_eq!(status, 202, "{verb}: {pod}");
        pod
    }

    /// Id of a new pod. `body` has what is said beside name and tier.
    pub async fn create(&self, body: Value) -> String {
        let mut new = json!({ "name": format!("p{:08x}", rand::random::<u32>()), "tier": "dev.small" });
        new.as_object_mut().expect("an object").extend(body.as_object().expect("an object").clone());
        let (status, pod) = self.ask(Method::POST, "/pods", new).await;
        assert_eq!(status, 202, "{pod}");
        // Its job may have begun by the time of the answer.
        assert!(pod["status"] == "queued" || pod["status"] == "provisioning", "{pod}");
        pod["id"].as_str().expect("an id").to_owned()
    }

    pub async fn pod(&self, id: &str) -> Value {
        self.get(&format!("/pods/{id}")).await
    }

    pub async fn events(&self, id: &str) -> Vec<Value> {
        self.get(&format!("/pods/{id}/events?limit=1000")).await["items"].as_array().expect("a list").clone()
    }

    /// The text of a step's events, of one kind.
    pub async fn log(&self, id: &str, step: &str, kind: &str) -> String {
        self.events(id)
            .await
            .iter()
            .filter(|event| event["step"] == step && event["kind"] == kind)
            .filter_map(|event| event["text"].as_str())
            .collect()
    }

    /// The pod's stream from the event after `after`.
    pub async fn stream(&self, id: &str, after: Option<i64>) -> Sse {
        let request = self.request(Method::GET, &format!("/pods/{id}/events")).header(ACCEPT, "text/event-stream");
        let request = match after {
            Some(after) => request.header("last-event-id", after.to_string()),
            None => request,
        };
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        Sse::new(answer)
    }

    /// Follows the pod until it is as it should be, and answers with it.
    pub async fn until(&self, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let following = async {
            let mut stream = self.stream(id, Some(i64::MAX)).await;
            loop {
                let Some((_, news)) = stream.next().await else {
                    stream = self.stream(id, Some(i64::MAX)).await;
                    continue;
                };
                if news["type"] == "pod" {
                    last = news["pod"].clone();
                    if is_so(&last) {
                        return;
                    }
                    assert!(last["status"] != "failed" || last["behind"] == true, "{what}, and it has failed: {last:#}");
                }
            }
        };
        if timeout(SOON, following).await.is_err() {
            panic!("not within {SOON:?}: {what}\n{last:#}\n{:#?}", self.events(id).await);
        }
        last
    }

    pub async fn until_status(&self, id: &str, status: &str) -> Value {
        self.until(id, status, |pod| pod["status"] == status && (pod["behind"] == false || status == "provisioning")).await
    }

    /// A new empty pod that runs.
    pub async fn running(&self) -> String {
        let id = self.create(json!({})).await;
        self.until_status(&id, "running").await;
        id
    }

    /// A new empty pod that runs on this host.
    pub async fn running_on(&self, host: usize) -> String {
        let mut others = Vec::new();
        let found = loop {
            let id = self.running().await;
            if number_of(&self.pod(&id).await) == host {
                break id;
            }
            others.push(id);
            assert!(others.len() < 4, "the other host is always emptier");
        };
        for id in others {
            self.delete(&id).await;
        }
        found
    }

    pub async fn until_setup(&self, id: &str, state: &str) -> Value {
        self.until(id, state, |pod| pod["setup"]["state"] == state && pod["behind"] == false).await
    }

    /// Cloned, and set up as far as that goes without an answer.
    pub async fn until_setup_or_question(&self, id: &str) -> Value {
        self.until(id, "cloned", |pod| (pod["setup"]["state"] == "done" || pod["setup"]["state"] == "awaiting_approval") && pod["behind"] == false)
            .await
    }

    /// Waits for what runs in the pod.
    pub async fn until_live(&self, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let following = async {
            let mut stream = self.stream(id, Some(i64::MAX)).await;
            loop {
                let (_, news) = stream.next().await.expect("the stream goes on");
                if news["type"] == "live" && is_so(&news["live"]) {
                    return news["live"].clone();
                }
            }
        };
        timeout(SOON, following).await.unwrap_or_else(|_| panic!("not within {SOON:?}: {what}"))
    }

    pub async fn exec(&self, id: &str, body: Value) -> (u16, Value) {
        self.ask(Method::POST, &format!("/pods/{id}/exec"), body).await
    }

    /// A script that has to end well; its output.
    pub async fn shell(&self, id: &str, script: &str) -> String {
        let (status, result) = self.exec(id, json!({ "argv": ["bash", "-c", script] })).await;
        assert_eq!((status, &result["exit_code"]), (200, &json!(0)), "{script}: {result}");
        result["stdout"].as_str().expect("text").to_owned()
    }

    /// The pod's machine ends by itself, which is seen, and is booted anew.
    pub async fn crashes(&self, id: &str) {
        let mut stream = self.stream(id, Some(0)).await;
        on_host(
            number_of(&self.pod(id).await),
            &format!("runsc --root /run/pinacle/runsc kill {} KILL 2>/dev/null || pkill -KILL -f 'runsc-sandbox.*{id}'; true", id.replace('-', "")),
        );
        let said = |news: &Value| {
            let event = &news["event"];
            event["step"] == "sandbox"
                && event["kind"] == "output"
                && event["text"].as_str().is_some_and(|text| text.contains("The machine ended by itself"))
        };
        timeout(SOON, async { while !said(&stream.next().await.expect("the stream goes on").1) {} }).await.expect("it is seen");
        self.until_status(id, "running").await;
    }

    pub async fn delete(&self, id: &str) {
        let mut stream = self.stream(id, Some(i64::MAX)).await;
        self.wish(id, "delete").await;
        let deleted = async {
            let mut last = Value::Null;
            // It ends when the pod is gone.
            while let Some((_, news)) = stream.next().await {
                last = news;
            }
            last
        };
        timeout(SOON, deleted).await.expect("deleted in time");
        let (status, problem) = self.ask(Method::GET, &format!("/pods/{id}"), Value::Null).await;
        assert_eq!(status, 404, "{problem}");
    }
}

/// Server-sent events.
pub struct Sse {
    bytes: futures::stream::BoxStream<'static, Vec<u8>>,
    seen: Vec<u8>,
}

impl Sse {
    fn new(answer: Response) -> Self {
        let bytes = answer.bytes_stream().take_while(|piece| std::future::ready(piece.is_ok())).map(|piece| piece.expect("a piece").to_vec()).boxed();
        Self { bytes, seen: Vec::new() }
    }

    /// The next event that has data: its id, and the data. None: the stream has ended.
    pub async fn next(&mut self) -> Option<(Option<i64>, Value)> {
        loop {
            while let Some(end) = self.seen.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.seen.drain(..end + 2).collect();
                let event = String::from_utf8(event).expect("UTF-8");
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                if let Some(data) = field("data:") {
                    let id = field("id:").map(|id| id.parse().expect("a number"));
                    return Some((id, serde_json::from_str(data).expect("JSON")));
                }
            }
            self.seen.extend(self.bytes.next().await?);
        }
    }
}
