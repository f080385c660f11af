//! One server of its own for a test: its own database, its own port, the stack's stand-in for GitHub.

use crate::database::Database;
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE},
    redirect::Policy,
};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::{
    env,
    net::{SocketAddr, TcpListener},
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use url::Url;

const COOKIE_NAME: &str = "__Host-pinacle_session";
const UP_WITHIN: Duration = Duration::from_secs(30);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Faults of the stand-in strike whoever comes next: tests that switch them on are alone with it.
static GITHUB: RwLock<()> = RwLock::const_new(());

pub async fn github_in_peace() -> RwLockReadGuard<'static, ()> {
    GITHUB.read().await
}

pub async fn github_alone() -> RwLockWriteGuard<'static, ()> {
    GITHUB.write().await
}

pub fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test`, or bring a stack up with dev/stack.sh and source its env file"))
}

/// The way in to one server.
pub struct Door {
    pub http: Client,
    pub at: SocketAddr,
    /// As browsers name it.
    pub url: Url,
    pub database_url: String,
}

pub struct Stand {
    door: Door,
    server: Child,
    folder: PathBuf,
    // Dropped last: the server has ended by then.
    database: Database,
}

/// A browser: one cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Browser {
    pub cookie: String,
}

impl Stand {
    pub async fn open() -> Self {
        Self::with(&[]).await
    }

    /// A server with these variables set beside the stack's.
    pub async fn with(variables: &[(&str, &str)]) -> Self {
        Self::on(Database::create().await, variables).await
    }

    /// A server on a database that is there.
    pub async fn on(database: Database, variables: &[(&str, &str)]) -> Self {
        let folder = env::temp_dir().join(&database.name);
        std::fs::create_dir(&folder).expect("a folder of its own");
        let at = free_port();
        let server = begin(&database.url, at, &folder, variables);
        let mut stand = Self { door: Door::new(at, &database.url), server, folder, database };
        stand.door.wait(&mut stand.server, &stand.folder.join("server.log")).await;
        stand
    }

    /// Ends the server and starts another, with these variables, on the same database.
    pub async fn again(&mut self, variables: &[(&str, &str)]) {
        self.server.kill().and_then(|()| self.server.wait()).expect("it ends");
        let at = free_port();
        self.server = begin(&self.database.url, at, &self.folder, variables);
        self.door = Door::new(at, &self.database.url);
        self.door.wait(&mut self.server, &self.folder.join("server.log")).await;
    }

    /// The number of the server's process.
    pub fn process(&self) -> u32 {
        self.server.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("server.log")).expect("the log")
    }
}

fn begin(database_url: &str, at: SocketAddr, folder: &Path, variables: &[(&str, &str)]) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("server.log")).expect("a log");
    let mut command = program();
    command
        .args(["serve", "--no-worker"])
        .env("DATABASE_URL", database_url)
        .env("PINACLE_LISTEN", at.to_string())
        .env("PINACLE_DATABASE_CONNECTIONS", "5")
        // One port, and it is the fleet's.
        .env_remove("PINACLE_GATEWAY_LISTEN");
    // One of the two ways to the master key alone.
    if variables.iter().any(|(name, _)| *name == "PINACLE_MASTER_KEY") {
        command.env_remove("PINACLE_MASTER_KEY_FILE");
    }
    command.envs(variables.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().expect("the server's program starts")
}

impl Stand {
    pub fn pid(&self) -> u32 {
        self.server.id()
    }
}

impl Deref for Stand {
    type Target = Door;

    fn deref(&self) -> &Door {
        &self.door
    }
}

impl Door {
    pub fn new(at: SocketAddr, database_url: &str) -> Self {
        let url = Url::parse(&variable("PINACLE_URL")).expect("PINACLE_URL is an address");
        variable("PINACLE_GITHUB_URL");
        let http = Client::builder().redirect(Policy::none()).timeout(ANSWER_WITHIN).build().expect("a client");
        Self { http, at, url, database_url: database_url.to_owned() }
    }

    /// Until the server answers.
    pub async fn wait(&self, server: &mut Child, log: &Path) {
        let begun = Instant::now();
        loop {
            if self.get("/health/live").send().await.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                return;
            }
            let ended = server.try_wait().expect("the server's state");
            if ended.is_some() || begun.elapsed() > UP_WITHIN {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                panic!("the server did not come up ({ended:?}):\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let authority = self.url.authority().to_owned();
        self.http.request(method, format!("http://{}{path}", self.at)).header(HOST, authority)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// As a page of ours would ask.
    pub fn page(&self, browser: &Browser, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).header(COOKIE, &browser.cookie).header(ORIGIN, self.origin())
    }

    pub fn api(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.request(method, &format!("/api/v1{path}")).bearer_auth(token)
    }

    /// To GitHub and back, as far as the answer to the callback.
    pub async fn sign_in_as_far_as_callback(&self, login: &str, return_to: &str) -> (Browser, Response) {
        self.back_from_github(login, &format!("return_to={return_to}")).await
    }

    async fn back_from_github(&self, login: &str, query: &str) -> (Browser, Response) {
        let (browser, ask) = self.begin_with(query).await;
        let ask = format!("{ask}&login={login}");
        let back = self.http.get(ask).send().await.expect("the stand-in answers");
        assert_eq!(back.status(), StatusCode::SEE_OTHER, "the stand-in knows {login}");
        let callback = own_path(&location(&back));
        let answer = self.get(&callback).header(COOKIE, &browser.cookie).send().await.expect("an answer to the callback");
        (browser, answer)
    }

    /// The browser after GET /auth/github, and where that sent it.
    pub async fn begin(&self, return_to: &str) -> (Browser, String) {
        self.begin_with(&format!("return_to={return_to}")).await
    }

    async fn begin_with(&self, query: &str) -> (Browser, String) {
        let answer = self.get(&format!("/auth/github?{query}")).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        (browser_of(&answer).expect("a session"), location(&answer))
    }

    pub async fn sign_in(&self, login: &str) -> Browser {
        let _peace = github_in_peace().await;
        let (_, answer) = self.sign_in_as_far_as_callback(login, "/").await;
        assert_eq!(location(&answer), "/", "signed in");
        browser_of(&answer).expect("a new session")
    }

    /// And allows access to repositories, as one does who wants a private one.
    pub async fn allow_repositories(&self, login: &str) -> Browser {
        let _peace = github_in_peace().await;
        let (_, answer) = self.back_from_github(login, "return_to=/account&access=repositories").await;
        assert_eq!(location(&answer), "/account", "allowed");
        browser_of(&answer).expect("a new session")
    }

    /// Until something that the server does waits for a row that a test holds.
    pub async fn until_somebody_waits_for_a_lock(&self) {
        const WAITS: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')";
        let mut db = PgConnection::connect(&self.database_url).await.expect("the database");
        let begun = Instant::now();
        while !sqlx::query_scalar::<_, bool>(WAITS).fetch_one(&mut db).await.expect("answered") {
            assert!(begun.elapsed() < UP_WITHIN, "nobody waits");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// `pinacle-server` with these arguments, on this server's database.
    pub fn run(&self, arguments: &[&str]) -> Output {
        program().args(arguments).env("DATABASE_URL", &self.database_url).output().expect("the server's program runs")
    }

    /// As `run`, with these variables beside the stack's.
    pub fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        program().args(arguments).env("DATABASE_URL", &self.database_url).envs(variables.iter().copied()).output().expect("the server's program runs")
    }

    /// An API token from the command line.
    pub fn token(&self, login: &str, scope: &str) -> String {
        let output = self.run(&["token", "create", "--login", login, "--scope", scope]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// Tells the stand-in something.
    pub async fn github(&self, path: &str, body: Value) -> Value {
        let address = format!("{}/_dev{path}", variable("PINACLE_GITHUB_URL").trim_end_matches('/'));
        let answer = self.http.post(address).json(&body).send().await.expect("the stand-in answers");
        assert!(answer.status().is_success(), "{}", answer.status());
        answer.json().await.unwrap_or(Value::Null)
    }

    /// Takes back every fault.
    pub async fn mend_github(&self) {
        let address = format!("{}/_dev/fail", variable("PINACLE_GITHUB_URL").trim_end_matches('/'));
        let answer = self.http.delete(address).send().await.expect("the stand-in answers");
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    /// A token at the stand-in, as an application with every right has it.
    pub async fn github_token(&self, login: &str) -> String {
        let base = variable("PINACLE_GITHUB_URL");
        let base = base.trim_end_matches('/');
        let id = variable("PINACLE_GITHUB_CLIENT_ID");
        let ask = format!("{base}/login/oauth/authorize?client_id={id}&scope=repo&login={login}");
        let back = location(&self.http.get(ask).send().await.expect("the stand-in answers"));
        let code = Url::parse(&back).expect("an address").query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
        let body = [("client_id", id.as_str()), ("client_secret", &variable("PINACLE_GITHUB_CLIENT_SECRET")), ("code", &code)];
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(body).finish();
        let answer = self.http.post(format!("{base}/login/oauth/access_token")).header(ACCEPT, "application/json");
        let answer = answer.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body).send().await.expect("the stand-in answers");
        answer.json::<Value>().await.expect("JSON")["access_token"].as_str().expect("a token").to_owned()
    }

    /// A new account at the stand-in.
    pub async fn new_account(&self) -> String {
        let login = format!("t{:010x}", rand::random::<u64>() & 0xff_ffff_ffff);
        self.github("/accounts", json!({ "login": login })).await;
        login
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        // Errors have nowhere to go from here: what is left goes with the stack.
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pinacle-server"))
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// The browser that this answer made.
pub fn browser_of(answer: &Response) -> Option<Browser> {
    let set = answer.headers().get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()).find(|value| value.starts_with(COOKIE_NAME))?;
    let cookie = set.split(';').next().unwrap_or_default();
    (!cookie.ends_with('=')).then(|| Browser { cookie: cookie.to_owned() })
}

pub fn location(answer: &Response) -> String {
    answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// Path and query of an address.
pub fn own_path(address: &str) -> String {
    let url = Url::parse(address).expect("an address");
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}
