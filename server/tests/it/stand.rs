//! One server of its own for a test: its own database, its own port, the stack's stand-in for GitHub.

use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode,
    header::{COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE},
    redirect::Policy,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::{
    env,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use url::Url;

const COOKIE_NAME: &str = "__Host-pinacle_session";
const UP_WITHIN: Duration = Duration::from_secs(30);

/// Faults of the stand-in strike whoever comes next: tests that switch them on are alone with it.
static GITHUB: RwLock<()> = RwLock::const_new(());

pub async fn github_in_peace() -> RwLockReadGuard<'static, ()> {
    GITHUB.read().await
}

pub async fn github_alone() -> RwLockWriteGuard<'static, ()> {
    GITHUB.write().await
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test`, or bring a stack up with dev/stack.sh and source its env file"))
}

pub struct Stand {
    pub http: Client,
    pub at: SocketAddr,
    /// As browsers name it.
    pub url: Url,
    pub database_url: String,
    admin_url: String,
    database: String,
    server: Child,
    folder: PathBuf,
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
        let admin_url = variable("DATABASE_URL");
        let url = Url::parse(&variable("PINACLE_URL")).expect("PINACLE_URL is an address");
        variable("PINACLE_GITHUB_URL");
        let name = format!("it_{:016x}", rand::random::<u64>());
        let mut admin = PgConnection::connect(&admin_url).await.expect("the stack's Postgres answers");
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.expect("a database of its own");
        let mut database_url = Url::parse(&admin_url).expect("DATABASE_URL is an address");
        database_url.set_path(&name);
        let folder = env::temp_dir().join(&name);
        std::fs::create_dir(&folder).expect("a folder of its own");
        let at = free_port();
        let log = std::fs::File::create(folder.join("server.log")).expect("a log");
        let mut command = program();
        command
            .args(["serve", "--no-worker"])
            .env("DATABASE_URL", database_url.as_str())
            .env("PINACLE_LISTEN", at.to_string())
            .env("PINACLE_DATABASE_CONNECTIONS", "5")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let server = command.spawn().expect("the server's program starts");
        let http = Client::builder().redirect(Policy::none()).timeout(Duration::from_secs(20)).build().expect("a client");
        let mut stand = Self { http, at, url, database_url: database_url.into(), admin_url, database: name, server, folder };
        stand.wait().await;
        stand
    }

    async fn wait(&mut self) {
        let begun = Instant::now();
        loop {
            if self.get("/health/live").send().await.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                return;
            }
            let ended = self.server.try_wait().expect("the server's state");
            if ended.is_some() || begun.elapsed() > UP_WITHIN {
                let log = std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
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
        let (browser, ask) = self.begin(return_to).await;
        let ask = format!("{ask}&login={login}");
        let back = self.http.get(ask).send().await.expect("the stand-in answers");
        assert_eq!(back.status(), StatusCode::SEE_OTHER, "the stand-in knows {login}");
        let callback = own_path(&location(&back));
        let answer = self.get(&callback).header(COOKIE, &browser.cookie).send().await.expect("an answer to the callback");
        (browser, answer)
    }

    /// The browser after GET /auth/github, and where that sent it.
    pub async fn begin(&self, return_to: &str) -> (Browser, String) {
        let answer = self.get(&format!("/auth/github?return_to={return_to}")).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        (browser_of(&answer).expect("a session"), location(&answer))
    }

    pub async fn sign_in(&self, login: &str) -> Browser {
        let _peace = github_in_peace().await;
        let (_, answer) = self.sign_in_as_far_as_callback(login, "/").await;
        assert_eq!(location(&answer), "/", "signed in");
        browser_of(&answer).expect("a new session")
    }

    /// `pinacle-server` with these arguments, on this server's database.
    pub fn run(&self, arguments: &[&str]) -> Output {
        program().args(arguments).env("DATABASE_URL", &self.database_url).output().expect("the server's program runs")
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

    /// A new account at the stand-in.
    pub async fn new_account(&self) -> String {
        let login = format!("t{:010x}", rand::random::<u64>() & 0xff_ffff_ffff);
        self.github("/accounts", json!({ "login": login })).await;
        login
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        // Errors have nowhere to go from here: what is left lies in the stack's own folders, which go with it.
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
        let (url, name) = (self.admin_url.clone(), self.database.clone());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut admin = PgConnection::connect(&url).await.map_err(std::io::Error::other)?;
                let drop = AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
                sqlx::query(drop).execute(&mut admin).await.map_err(std::io::Error::other)
            })
        });
        let _ = dropping.join();
    }
}

fn program() -> Command {
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
