//! A server that is asked to end, and the one that takes its socket up: no request fails, terminals go on there.

use crate::{
    database::Database,
    fleet::{Fleet, SOON, User},
    screen::Screen,
    stand::{Browser, Door, program},
};
use reqwest::{
    Body, Client, ClientBuilder, Method, Proxy, RequestBuilder, StatusCode,
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE},
    redirect::Policy,
};
use serde_json::{Value, json};
use std::{
    net::{SocketAddr, TcpListener},
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinHandle,
    time::{MissedTickBehavior, timeout},
};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::io::ReaderStream;
use uuid::Uuid;

/// How long a server has to end: what may go on in it, and some more.
const END_WITHIN: Duration = Duration::from_secs(25);
/// From one round to the next of a client that changes something: two clients that make two changes a round stay below
/// the ten a second that a user may make.
const PACE: Duration = Duration::from_millis(500);

/// The listening sockets of dashboard and SSH gateway, which outlive the servers that answer on them, as a supervisor would hold them.
struct Socket {
    listener: TcpListener,
    at: SocketAddr,
    gateway: TcpListener,
    folder: PathBuf,
}

impl Socket {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let at = listener.local_addr().expect("its address");
        let folder = std::env::temp_dir().join(format!("pinacle-restart-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).expect("a folder of its own");
        let gateway = TcpListener::bind("127.0.0.1:0").expect("a socket");
        Self { listener, at, gateway, folder }
    }

    /// Somebody who connects over SSH, and waits to be greeted.
    async fn guest(&self) -> BufReader<TcpStream> {
        let at = self.gateway.local_addr().expect("its address");
        BufReader::new(TcpStream::connect(at).await.expect("nobody is refused"))
    }

    /// A server on this socket, once it says that it is ready.
    async fn server(&self, database_url: &str, arguments: &[&str]) -> Server {
        let name = Uuid::new_v4().simple().to_string();
        let said = self.folder.join(format!("{name}.sock"));
        let supervisor = UnixDatagram::bind(&said).expect("where it says so");
        let log = self.folder.join(format!("{name}.log"));
        let program = program();
        let mut command = Command::new("setpriv");
        let child = command
            .args([
                "--pdeathsig",
                "KILL",
                "--",
                "sh",
                "-c",
                "exec 3<&0 4<&1 0</dev/null 1>/dev/null; export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$@\"",
                "sh",
            ])
            .arg(program.get_program())
            .args(arguments)
            .env("DATABASE_URL", database_url)
            // Were the socket not taken up, it would answer nowhere.
            .env("PINACLE_LISTEN", "192.0.2.1:1")
            .env("PINACLE_DATABASE_CONNECTIONS", "5")
            .env("PINACLE_GATEWAY_LISTEN", "192.0.2.1:2")
            .env("NOTIFY_SOCKET", &said)
            .stdin(Stdio::from(OwnedFd::from(self.listener.try_clone().expect("the socket"))))
            .stdout(Stdio::from(OwnedFd::from(self.gateway.try_clone().expect("the socket"))))
            .stderr(std::fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("the server's program starts");
        let ready = tokio::task::spawn_blocking(move || {
            supervisor.set_read_timeout(Some(SOON)).expect("a deadline");
            let mut word = [0; 100];
            supervisor.recv(&mut word).map(|length| String::from_utf8_lossy(&word[..length]).into_owned())
        });
        let word = ready.await.expect("no panic").unwrap_or_else(|error| panic!("not ready: {error}\n{}", read(&log)));
        assert_eq!(word.trim(), "READY=1");
        Server { child, log }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Errors have nowhere to go from here.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    fn ask_to_end(&self) {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(asked.success());
    }

    async fn until_ended(mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status;
            }
            assert!(begun.elapsed() < END_WITHIN, "it does not end:\n{}", read(&self.log));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Somebody with a token, and signed in with a browser.
struct Person {
    token: String,
    browser: Browser,
}

impl Person {
    async fn sign_in(door: &Door, login: &str) -> Arc<Self> {
        let browser = door.sign_in(login).await;
        Arc::new(Self { token: door.token(login, "write"), browser })
    }
}

/// What a client does again and again.
#[derive(Clone, Debug)]
enum Errand {
    Me,
    Pods,
    Handle,
    /// Makes an API token, and revokes it.
    Tokens,
    /// The same as a page's forms do.
    Forms,
    Page,
    /// Puts the number of the round into this file of a pod.
    File {
        pod: String,
        name: &'static str,
    },
    /// Over HTTP/2, whose address names whom it is for.
    SecondVersion,
}

impl Errand {
    fn is_without_pause(&self) -> bool {
        matches!(self, Errand::Me | Errand::Pods | Errand::SecondVersion)
    }

    async fn round(&self, number: usize, door: &Door, person: &Person) -> Result<(), String> {
        let api = |method: Method, path: &str| door.api(&person.token, method, path);
        let form = |path: &str, body: String| {
            let request = door.page(&person.browser, Method::POST, path).header(ACCEPT, "application/json");
            request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
        };
        let id = |made: &Value| made["id"].as_str().expect("an id").to_owned();
        match self {
            Errand::Me => answered(api(Method::GET, "/me"), StatusCode::OK).await?,
            Errand::Pods => answered(api(Method::GET, "/pods?limit=100"), StatusCode::OK).await?,
            Errand::Handle => answered(api(Method::PATCH, "/me").json(&json!({ "handle": "owner" })), StatusCode::OK).await?,
            Errand::Tokens => {
                let new = json!({ "name": "restart", "scope": "read", "expires_days": 1 });
                let made = answered(api(Method::POST, "/tokens").json(&new), StatusCode::CREATED).await?;
                answered(api(Method::DELETE, &format!("/tokens/{}", id(&made))), StatusCode::NO_CONTENT).await?
            }
            Errand::Forms => {
                let new = "name=restart&scope=read&expires_days=1".to_owned();
                let made = answered(form("/fn/account/create-token", new), StatusCode::OK).await?;
                answered(form("/fn/account/revoke-token", format!("id={}", id(&made))), StatusCode::OK).await?
            }
            Errand::Page => answered(door.page(&person.browser, Method::GET, "/"), StatusCode::OK).await?,
            Errand::File { pod, name } => {
                let put = api(Method::PUT, &format!("/pods/{pod}/files?path={name}")).body(number.to_string());
                answered(put, StatusCode::NO_CONTENT).await?
            }
            Errand::SecondVersion => {
                let address = door.url.join("/api/v1/me").expect("an address");
                answered(door.http.get(address).bearer_auth(&person.token), StatusCode::OK).await?
            }
        };
        Ok(())
    }
}

/// All of an answer, which has to have this status. The error is what was there instead.
async fn answered(request: RequestBuilder, status: StatusCode) -> Result<Value, String> {
    let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
    let said = answer.status();
    let body = answer.bytes().await.map_err(|error| format!("{error:?}"))?;
    if said != status {
        return Err(format!("{said}: {}", String::from_utf8_lossy(&body)));
    }
    Ok(serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn through(door: &Door, client: ClientBuilder) -> Door {
    let http = client.redirect(Policy::none()).timeout(SOON).build().expect("a client");
    Door { http, ..Door::new(door.at, &door.database_url) }
}

/// A client that holds its connection. What fails is not tried again behind its back.
fn keeping(door: &Door) -> Door {
    through(door, Client::builder().retry(reqwest::retry::never()))
}

/// A client that makes a new connection for each request.
fn anew(door: &Door) -> Door {
    through(door, Client::builder().retry(reqwest::retry::never()).pool_max_idle_per_host(0))
}

/// A client that speaks HTTP/2 at once, as a proxy in front does. It asks again what the server's goodbye says was not taken, and nothing else.
fn second_version(door: &Door) -> Door {
    // Connects to the test's socket, and names the server as browsers do.
    let there = Proxy::all(format!("http://{}", door.at)).expect("an address");
    through(door, Client::builder().http2_prior_knowledge().proxy(there))
}

/// How many rounds a client did, and why others failed.
#[derive(Default)]
struct Rounds {
    done: usize,
    failed: Vec<String>,
}

/// Clients that go on until they are told to stop.
#[derive(Default)]
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<(Errand, JoinHandle<Rounds>)>,
}

impl Load {
    fn add(&mut self, door: Door, person: &Arc<Person>, errand: Errand) {
        let (person, stop, done, again) = (person.clone(), self.stop.clone(), self.done.clone(), errand.clone());
        let client = tokio::spawn(async move {
            let mut pace = tokio::time::interval(PACE);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut rounds = Rounds::default();
            while !stop.load(Ordering::Relaxed) {
                if !again.is_without_pause() {
                    pace.tick().await;
                }
                match again.round(rounds.done, &door, &person).await {
                    Ok(()) => {
                        rounds.done += 1;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(why) => rounds.failed.push(why),
                }
            }
            rounds
        });
        self.clients.push((errand, client));
    }

    async fn until_more(&self, more: usize) {
        let aim = self.done.load(Ordering::Relaxed) + more;
        let answered = async {
            while self.done.load(Ordering::Relaxed) < aim {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, answered).await.expect("requests are answered");
    }

    /// Stops the clients, none of which was ever refused or left without an answer. How many rounds each of them did.
    async fn until_ended(self) -> Vec<usize> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for (errand, client) in self.clients {
            let Rounds { done, failed } = timeout(SOON, client).await.expect("it stops").expect("no panic");
            assert!(failed.is_empty(), "{errand:?} failed {} times beside {done} rounds: {:#?}", failed.len(), &failed[..failed.len().min(5)]);
            assert!(done > 0, "{errand:?} was never done");
            all.push(done);
        }
        all
    }
}

/// Greeted by a server.
async fn greeted(mut guest: BufReader<TcpStream>) {
    let mut line = String::new();
    timeout(SOON, guest.read_line(&mut line)).await.expect("a word in time").expect("a word");
    assert!(line.starts_with("SSH-2.0-"), "{line:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_fails_no_request() {
    let (database, socket) = (Database::create().await, Socket::open());
    let mut server = socket.server(&database.url, &["serve"]).await;
    let door = Door::new(socket.at, &database.url);
    let owner = Person::sign_in(&door, "owner").await;
    let other = Person::sign_in(&door, &door.new_account().await).await;
    let mut load = Load::default();
    let errands = [Errand::Me, Errand::Pods, Errand::Handle, Errand::Page].map(|errand| (&owner, errand));
    for (person, errand) in errands.into_iter().chain([(&other, Errand::Tokens), (&other, Errand::Forms)]) {
        load.add(keeping(&door), person, errand.clone());
        load.add(anew(&door), person, errand);
    }
    load.add(second_version(&door), &owner, Errand::SecondVersion);
    // Each takes 2 s to end: the connection of HTTP/2 stays open until it is told to go.
    for _ in 0..2 {
        load.until_more(100).await;
        // Two processes on one Postgres and one socket; then the older one goes.
        let next = socket.server(&database.url, &["serve"]).await;
        load.until_more(100).await;
        greeted(socket.guest().await).await;
        server.ask_to_end();
        load.until_more(50).await;
        let status = server.until_ended().await;
        assert!(status.success(), "{status}");
        server = next;
    }
    // One alone: whoever connects while nobody answers waits in the socket.
    server.ask_to_end();
    let status = server.until_ended().await;
    assert!(status.success(), "{status}");
    let guest = socket.guest().await;
    let server = socket.server(&database.url, &["serve"]).await;
    greeted(guest).await;
    load.until_more(100).await;
    load.until_ended().await;
    // What was answered was done, whichever process did it.
    let left = answered(door.api(&other.token, Method::GET, "/tokens"), StatusCode::OK).await.expect("a list");
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1), "each token but the client's own was revoked: {left}");
    drop(server);
}

#[tokio::test]
async fn sockets_that_nobody_would_answer_on_are_refused_with_a_word() {
    let database = Database::create().await;
    let refused = |given: &str, word: &str| {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{given}; export LISTEN_PID=$$; exec \"$@\""), "sh"])
            .arg(program().get_program())
            .arg("serve")
            .stdin(Stdio::from(OwnedFd::from(socket)));
        let output = command.env("DATABASE_URL", &database.url).env_remove("PINACLE_GATEWAY_LISTEN").output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(word), "{said}");
    };
    refused("exec 3<&0 4<&0 5<&0; export LISTEN_FDS=3", "3 sockets were handed over");
    refused("exec 3<&0 4<&0; export LISTEN_FDS=2", "PINACLE_GATEWAY_LISTEN");
}

/// Somebody of the fleet's at another server.
async fn at<'a>(door: &'a Door, fleet: &Fleet, login: &str) -> User<'a> {
    User { door, token: fleet.user(login).await.token }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_ends_well_and_terminals_go_on_at_the_next_process() {
    let Some(fleet) = Fleet::open().await else { return };
    let login = fleet.new_account().await;
    let id = fleet.user(&login).await.running().await;
    let socket = Socket::open();
    let old = socket.server(&fleet.database_url, &["serve", "--no-worker"]).await;
    let door = Door::new(socket.at, &fleet.database_url);
    let user = at(&door, &fleet, &login).await;
    let query = format!("client={}", Uuid::new_v4());
    let mut screen = Screen::open(&user, &id, "main", &query).await;
    screen.types("stty -echo; echo ready-$((1+1))\r").await;
    screen.shows("ready-2").await;
    let stream = user.request(Method::GET, "/pods").send();
    assert_eq!(stream.await.expect("an answer").status(), StatusCode::OK);
    let mut events = user.request(Method::GET, &format!("/pods/{id}/events")).header(ACCEPT, "text/event-stream").send().await.expect("a stream");
    let person = Person::sign_in(&door, &login).await;
    let mut load = Load::default();
    load.add(keeping(&door), &person, Errand::File { pod: id.clone(), name: "kept" });
    load.add(anew(&door), &person, Errand::File { pod: id.clone(), name: "anew" });
    load.until_more(2).await;
    let command =
        user.request(Method::POST, &format!("/pods/{id}/exec")).json(&json!({ "argv": ["bash", "-c", "touch begun; sleep 3; echo whole"] }));
    let command = tokio::spawn(command.send());
    fleet.user(&login).await.shell(&id, "until [ -e begun ]; do sleep 0.1; done").await;
    let (mut rest, file) = tokio::io::duplex(64);
    let upload = user.request(Method::PUT, &format!("/pods/{id}/files?path=begun-before")).header(CONTENT_LENGTH, "first, last".len());
    let upload = tokio::spawn(upload.body(Body::wrap_stream(ReaderStream::new(file))).send());
    rest.write_all(b"first").await.expect("taken");

    let next = socket.server(&fleet.database_url, &["serve", "--no-worker"]).await;
    old.ask_to_end();
    let closed = loop {
        let Message::Text(text) = screen.next().await.expect("it says why before it closes") else { continue };
        let said: Value = serde_json::from_str(&text).expect("JSON");
        if let Some(reason) = said["closed"]["reason"].as_str() {
            break reason.to_owned();
        }
    };
    assert_eq!(closed, "The server restarts.");
    rest.write_all(b", last").await.expect("taken");
    drop(rest);
    let typed = "stty -echo; echo ready-$((1+1))\r".len();
    drop(screen);
    // As a browser does, on a connection of its own, and not on one that the old process has left open.
    let door = Door::new(socket.at, &fleet.database_url);
    let user = at(&door, &fleet, &login).await;
    let mut again = Screen::open(&user, &id, "main", &query).await;
    let Some(Message::Text(first)) = again.next().await else { panic!("the first word is how much is known") };
    assert_eq!(serde_json::from_str::<Value>(&first).expect("JSON"), json!({ "ack": typed }), "the pod knows, whichever process asks");
    again.types("echo all-$((40+2))\r").await;
    again.shows("all-42").await;

    // Streams were closed at once, to begin again; a command and a file went on to their ends.
    timeout(SOON, async { while let Ok(Some(_)) = events.chunk().await {} }).await.expect("the stream ends");
    let answer = command.await.expect("no panic").expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.json::<Value>().await.expect("JSON")["stdout"], "whole\n");
    assert_eq!(upload.await.expect("no panic").expect("an answer").status(), StatusCode::NO_CONTENT);
    let status = old.until_ended().await;
    assert!(status.success(), "{status}");
    load.until_more(2).await;
    let last: String = load.until_ended().await.into_iter().map(|rounds| format!("{}\n", rounds - 1)).collect();
    let kept = fleet.user(&login).await.shell(&id, "for file in begun-before kept anew; do cat $file; echo; done").await;
    assert_eq!(kept, format!("first, last\n{last}"));
    user.delete(&id).await;
    drop(next);
}

/// What a page keeps of what was typed into a terminal: all of it, and how much of it the pod has taken.
struct Typing {
    all: String,
    taken: usize,
}

impl Typing {
    /// A connection in which the pod has said what it has taken, and the rest was sent again.
    async fn begin(&mut self, user: &User<'_>, id: &str, query: &str) -> Screen {
        let mut screen = Screen::open(user, id, "main", query).await;
        self.hear(&mut screen).await;
        screen.types(&self.all[self.taken..]).await;
        screen
    }

    async fn types(&mut self, screen: &mut Screen, text: &str) {
        self.all += text;
        screen.types(text).await;
    }

    /// The next word of how much was taken.
    async fn hear(&mut self, screen: &mut Screen) {
        loop {
            let Message::Text(text) = screen.next().await.expect("a word") else { continue };
            let said: Value = serde_json::from_str(&text).expect("JSON");
            let Some(taken) = said.get("ack") else { continue };
            let taken = usize::try_from(taken.as_u64().unwrap_or(0)).expect("bytes");
            assert!((self.taken..=self.all.len()).contains(&taken), "{taken} after {}, of {}", self.taken, self.all.len());
            self.taken = taken;
            return;
        }
    }
}

#[tokio::test]
async fn what_is_typed_while_servers_are_killed_arrives_once_and_in_order() {
    let Some(fleet) = Fleet::open().await else { return };
    let login = fleet.new_account().await;
    let id = fleet.user(&login).await.running().await;
    let socket = Socket::open();
    let mut server = socket.server(&fleet.database_url, &["serve", "--no-worker"]).await;
    let door = Door::new(socket.at, &fleet.database_url);
    let user = at(&door, &fleet, &login).await;
    let query = format!("client={}", Uuid::new_v4());
    let mut typing = Typing { all: String::new(), taken: 0 };
    let mut screen = typing.begin(&user, &id, &query).await;
    typing.types(&mut screen, "stty -echo; echo ready-$((1+1)); while read -r it && [ $it != end ]; do echo $it; done > lines\r").await;
    screen.shows("ready-2").await;
    let mut written = 0;
    for round in 0..6 {
        let before = typing.all.len();
        for _ in 0..40 {
            typing.types(&mut screen, &format!("{written}\r")).await;
            written += 1;
        }
        // Killed at once, or with some of it taken: several pieces may be told of with one word.
        let enough = before + (typing.all.len() - before) * round / 6;
        while typing.taken < enough {
            typing.hear(&mut screen).await;
        }
        drop(server);
        server = socket.server(&fleet.database_url, &["serve", "--no-worker"]).await;
        screen = typing.begin(&user, &id, &query).await;
    }
    typing.types(&mut screen, "end\recho all-$((40+2))\r").await;
    screen.shows("all-42").await;
    let lines: String = (0..written).map(|line| format!("{line}\n")).collect();
    assert_eq!(fleet.user(&login).await.shell(&id, "cat lines").await, lines);
    user.delete(&id).await;
    drop(server);
}
