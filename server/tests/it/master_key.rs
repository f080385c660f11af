//! The master key: what a server does without a good one, and how one takes the place of another while it serves.

use crate::{
    database::Database,
    stand::{Stand, github_in_peace, program},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::Parser;
use futures::future::join_all;
use pinacle_app::ids::{SecretId, TeamId, UserId};
use pinacle_server::{account, config::Cli, crypto::Sealer, keys::Place, secrets};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;
use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(60);

/// A folder for one test's keys.
struct Keys(PathBuf);

impl Keys {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("pinacle-keys-{:016x}", rand::random::<u64>()));
        fs::create_dir(&folder).expect("a folder");
        Self(folder)
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode))).expect("a key file");
        path.display().to_string()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn key() -> String {
    BASE64_STANDARD.encode(rand::random::<[u8; 32]>())
}

pub fn sealer(file: &str) -> Sealer {
    let mut cli = Cli::parse_from(["pinacle-server", "keys", "rotate", "--master-key-file", file]);
    Sealer::load(cli.command.config_mut()).expect("a sealer")
}

/// How a server ends that gets this key, and what it says.
fn refusal(variables: &[(&str, &str)]) -> String {
    let mut command = program();
    command.arg("serve").env_remove("PINACLE_MASTER_KEY_FILE").envs(variables.iter().copied()).stdin(Stdio::null());
    // Not reached: the key comes first.
    command.env("DATABASE_URL", "postgres://127.0.0.1:1/none").env("PINACLE_LISTEN", "127.0.0.1:0");
    let output = command.output().expect("it runs");
    assert!(!output.status.success(), "{variables:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    said.lines().find_map(|line| line.strip_prefix("pinacle-server: ")).unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[test]
fn without_a_good_master_key_the_server_does_not_start_and_says_why() {
    let keys = Keys::new();
    let good = key();
    let file = |name: &str, text: &str, mode| keys.file(name, text, mode);
    let of_file = |path: &str| refusal(&[("PINACLE_MASTER_KEY_FILE", path)]);
    assert!(refusal(&[]).contains("there is no master key"));
    assert!(of_file(&keys.0.join("missing").display().to_string()).contains("can't be read"));
    assert!(of_file(&file("short", "c2hvcnQ=\n", 0o600)).contains("32 random bytes"));
    assert!(of_file(&file("open", &good, 0o604)).contains("can be read by every user"));
    assert!(refusal(&[("PINACLE_MASTER_KEY", "c2hvcnQ=")]).contains("PINACLE_MASTER_KEY must hold 32 random bytes"));
    let both = refusal(&[("PINACLE_MASTER_KEY_FILE", &file("good", &good, 0o600)), ("PINACLE_MASTER_KEY", &good)]);
    assert!(both.contains("both set"), "{both}");
    assert!(!both.contains(&good), "it quotes no key");
}

#[tokio::test]
async fn a_master_key_from_the_environment_is_gone_from_it_once_it_was_read() {
    let (good, mut stand) = (key(), Stand::open().await);
    // The first start has made the tables' own key under the stack's; this one begins with nothing sealed.
    let db = PgPool::connect(&stand.database_url).await.expect("the database");
    sqlx::query("UPDATE installation SET token_key = NULL").execute(&db).await.expect("forgotten");
    stand.again(&[("PINACLE_MASTER_KEY", &good)]).await;
    let environment = fs::read(format!("/proc/{}/environ", stand.process())).expect("its environment");
    let holds = |text: &str| environment.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("DATABASE_URL="), "the search finds what is there");
    assert!(!holds(&good) && !holds(&good[..16]), "nothing of the key is left");
    assert!(!stand.log().contains(&good));
}

#[tokio::test]
async fn a_server_with_another_master_key_than_the_databases_does_not_start() {
    let stand = Stand::open().await;
    let keys = Keys::new();
    let output = program()
        .args(["serve", "--no-worker"])
        .env("DATABASE_URL", &stand.database_url)
        .env("PINACLE_LISTEN", "127.0.0.1:0")
        .env("PINACLE_MASTER_KEY_FILE", keys.file("other", &key(), 0o600))
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("the master key does not open what the database holds"), "{said}");
}

/// A name that no secret has yet.
fn name() -> String {
    format!("R{:08X}", rand::random::<u32>())
}

/// What needs each of the sealed things: an API token, the user's GitHub token, and a secret that is renamed.
async fn works(stand: &Stand, token: &str, secret: &str) -> String {
    let _peace = github_in_peace().await;
    let get = async |path: &str| stand.api(token, Method::GET, path).send().await.expect("an answer").status();
    assert_eq!(get("/me").await, StatusCode::OK, "API tokens are good");
    assert_eq!(get("/repositories").await, StatusCode::OK, "the GitHub token opens");
    let name = name();
    let renamed = stand.api(token, Method::PATCH, &format!("/secrets/{secret}")).json(&json!({ "name": name })).send().await.expect("an answer");
    assert_eq!(renamed.status(), StatusCode::OK, "the secret opens");
    name
}

#[tokio::test]
async fn the_master_key_is_replaced_while_the_server_serves() {
    let keys = Keys::new();
    let (old, new) = (key(), key());
    let file = |name: &str, text: &str| keys.file(name, text, 0o600);
    let (only_old, both, only_new) = (file("old", &old), file("both", &format!("{new}\n{old}\n")), file("new", &new));
    let mut stand = Stand::with(&[("PINACLE_MASTER_KEY_FILE", &only_old)]).await;
    stand.sign_in("owner").await;
    let token = stand.run_with(&["token", "create", "--login", "owner"], &[("PINACLE_MASTER_KEY_FILE", &only_old)]);
    let token = String::from_utf8(token.stdout).expect("text").trim().to_owned();
    let made: Value = stand
        .api(&token, Method::POST, "/secrets")
        .json(&json!({ "name": "A", "value": "b" }))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let secret = made["id"].as_str().expect("an id").to_owned();
    works(&stand, &token, &secret).await;

    stand.again(&[("PINACLE_MASTER_KEY_FILE", &both)]).await;
    works(&stand, &token, &secret).await;
    let rotate = |file: &str| {
        let output = stand.run_with(&["keys", "rotate"], &[("PINACLE_MASTER_KEY_FILE", file)]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let said = rotate(&both);
    assert!(said.contains("the key of API tokens: 1 wrapped") && said.contains("GitHub tokens: 1 wrapped"), "{said}");
    works(&stand, &token, &secret).await;
    assert!(rotate(&both).contains("GitHub tokens: 0 wrapped by the new key, 1 were already"), "twice is once");
    // One that lacks a key says what it could not do, and changes nothing.
    let lacking = stand.run_with(&["keys", "rotate"], &[("PINACLE_MASTER_KEY_FILE", &file("third", &key()))]);
    assert!(!lacking.status.success() && String::from_utf8_lossy(&lacking.stderr).contains("3 could not be opened"));

    stand.again(&[("PINACLE_MASTER_KEY_FILE", &only_new)]).await;
    works(&stand, &token, &secret).await;
}

#[tokio::test]
async fn a_rotation_that_was_killed_in_the_middle_loses_nothing_and_is_taken_up() {
    const USERS: usize = 6000;
    let keys = Keys::new();
    let (old, new) = (key(), key());
    let file = |name: &str, text: &str| keys.file(name, text, 0o600);
    let (only_old, both, only_new) = (file("old", &old), file("both", &format!("{new}\n{old}\n")), file("new", &new));
    let (database, db) = Database::migrated(3).await;
    let before = sealer(&only_old);
    let ids: Vec<Uuid> = (0..USERS).map(|_| Uuid::now_v7()).collect();
    let sealed: Vec<Vec<u8>> = ids.iter().map(|id| before.seal(&account::token_row(UserId(*id)), format!("token of {id}").as_bytes())).collect();
    sqlx::query(
        "INSERT INTO users (id, github_id, login, handle, name, email, github_token)
         SELECT n.id, n.at, 'u' || n.at, 'u' || n.at, 'u', 'u', n.sealed FROM unnest($1::uuid[], $2::bytea[]) WITH ORDINALITY AS n (id, sealed, at)",
    )
    .bind(&ids)
    .bind(&sealed)
    .execute(&db)
    .await
    .expect("users");
    let rotate = || {
        let mut command = program();
        command.args(["keys", "rotate"]).env("DATABASE_URL", &database.url).env("PINACLE_MASTER_KEY_FILE", &both).stdin(Stdio::null());
        command
    };
    let unchanged = async || {
        let now: HashSet<Vec<u8>> = sqlx::query_scalar("SELECT github_token FROM users").fetch_all(&db).await.expect("rows").into_iter().collect();
        sealed.iter().filter(|sealed| now.contains(*sealed)).count()
    };
    let mut running = rotate().stdout(Stdio::null()).spawn().expect("it starts");
    let begun = Instant::now();
    while unchanged().await == USERS {
        assert!(begun.elapsed() < SOON, "it begins");
    }
    running.kill().and_then(|()| running.wait()).expect("killed");
    let left = unchanged().await;
    assert!(left < USERS, "some were wrapped anew");
    eprintln!("killed with {left} of {USERS} left");
    let all_open = async |file: &str| {
        let sealer = sealer(file);
        let rows: Vec<(Uuid, Vec<u8>)> = sqlx::query_as("SELECT id, github_token FROM users").fetch_all(&db).await.expect("rows");
        let open = |(id, sealed): &(Uuid, Vec<u8>)| {
            sealer.open(&account::token_row(UserId(*id)), sealed).is_ok_and(|plain| plain.as_slice() == format!("token of {id}").as_bytes())
        };
        rows.iter().filter(|row| open(row)).count()
    };
    assert_eq!(all_open(&both).await, USERS, "both keys work meanwhile");
    let output = rotate().output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((all_open(&only_new).await, all_open(&only_old).await), (USERS, 0));
}

/// Rows of a column, more than the rotation reads at once.
const MANY: usize = 1200;

/// Rows of a sealed column: for each id the row that its value, the id itself, is sealed for.
struct Column {
    select: &'static str,
    rows: HashMap<Uuid, Vec<u8>>,
}

impl Column {
    /// How many of them open by the keys of this file.
    async fn open(&self, db: &PgPool, file: &str) -> usize {
        let sealer = sealer(file);
        let rows: Vec<(Uuid, Vec<u8>)> = sqlx::query_as(self.select).fetch_all(db).await.expect("rows");
        let opens = |(id, sealed): &(Uuid, Vec<u8>)| {
            self.rows.get(id).is_some_and(|row| sealer.open(row, sealed).is_ok_and(|plain| plain.as_slice() == id.as_bytes()))
        };
        rows.iter().filter(|row| opens(row)).count()
    }
}

/// The columns with many rows each, in the order in which they are rewrapped, and the id of a secret in the middle.
async fn filled(db: &PgPool, sealer: &Sealer) -> ([Column; 3], Uuid) {
    let ids = || (0..MANY).map(|_| Uuid::now_v7()).collect::<Vec<_>>();
    let (users, secrets, pods, keys, team) = (ids(), ids(), ids(), ids(), Uuid::now_v7());
    let of_users: Vec<Vec<u8>> = users.iter().map(|id| account::token_row(UserId(*id))).collect();
    let of_secrets: Vec<Vec<u8>> = (1..).zip(&secrets).map(|(at, id)| secrets::sealed_row(SecretId(*id), TeamId(team), &format!("S{at}"))).collect();
    // As pods/git_access.rs has it.
    let of_keys: Vec<Vec<u8>> = keys.iter().zip(&pods).map(|(id, pod)| format!("ssh_keys/{id}/{pod}").into_bytes()).collect();
    let sealed = |ids: &[Uuid], rows: &[Vec<u8>]| ids.iter().zip(rows).map(|(id, row)| sealer.seal(row, id.as_bytes())).collect::<Vec<_>>();
    sqlx::query(
        "INSERT INTO users (id, github_id, login, handle, name, email, github_token)
         SELECT n.id, 1000000 + n.at, 'u' || n.at, 'u' || n.at, 'u', 'u', n.sealed
         FROM unnest($1::uuid[], $2::bytea[]) WITH ORDINALITY AS n (id, sealed, at)",
    )
    .bind(&users)
    .bind(sealed(&users, &of_users))
    .execute(db)
    .await
    .expect("users");
    sqlx::query("INSERT INTO teams (id, slug, name) VALUES ($1, 'many', 'many')").bind(team).execute(db).await.expect("a team");
    sqlx::query(
        "INSERT INTO secrets (id, team_id, name, sealed, carried)
         SELECT n.id, $1, 'S' || n.at, n.sealed, 1 FROM unnest($2::uuid[], $3::bytea[]) WITH ORDINALITY AS n (id, sealed, at)",
    )
    .bind(team)
    .bind(&secrets)
    .bind(sealed(&secrets, &of_secrets))
    .execute(db)
    .await
    .expect("secrets");
    sqlx::query(
        "INSERT INTO pods (id, team_id, owner_id, name, tier)
         SELECT n.id, $1, $2, 'p' || n.at, 'dev.small' FROM unnest($3::uuid[]) WITH ORDINALITY AS n (id, at)",
    )
    .bind(team)
    .bind(users[0])
    .bind(&pods)
    .execute(db)
    .await
    .expect("pods");
    sqlx::query(
        "INSERT INTO ssh_keys (id, pod_id, user_id, repository, public_key, private_key_encrypted)
         SELECT n.id, n.pod, $1, 'owner/full', 'a public key', n.sealed FROM unnest($2::uuid[], $3::uuid[], $4::bytea[]) AS n (id, pod, sealed)",
    )
    .bind(users[0])
    .bind(&keys)
    .bind(&pods)
    .bind(sealed(&keys, &of_keys))
    .execute(db)
    .await
    .expect("keys of pods");
    let middle = secrets[MANY / 2];
    let columns = [
        ("SELECT id, github_token FROM users WHERE github_token IS NOT NULL", users, of_users),
        ("SELECT id, sealed FROM secrets", secrets, of_secrets),
        ("SELECT id, private_key_encrypted FROM ssh_keys WHERE private_key_encrypted IS NOT NULL", keys, of_keys),
    ];
    (columns.map(|(select, ids, rows)| Column { select, rows: ids.into_iter().zip(rows).collect() }), middle)
}

/// Somebody who works on while keys are rotated.
struct Person {
    token: String,
    secrets: Vec<String>,
}

impl Person {
    /// Rounds in which something is changed: how much one user may change in a while is bounded.
    const CHANGING: usize = 20;

    async fn ask(&self, stand: &Stand, method: Method, path: &str, body: Value) -> Value {
        let request = stand.api(&self.token, method.clone(), path);
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.expect("an answer");
        let (status, said) = (answer.status(), answer.json::<Value>().await.unwrap_or(Value::Null));
        assert!(status.is_success(), "{method} {path}: {status} {said}");
        said
    }

    async fn adds(&mut self, stand: &Stand) {
        let made = self.ask(stand, Method::POST, "/secrets", json!({ "name": name(), "value": "first" })).await;
        self.secrets.push(made["id"].as_str().expect("an id").to_owned());
    }

    /// Reads, renames and replaces until that is enough; the values that its secrets have then.
    async fn works(&self, stand: &Stand, rounds: &watch::Sender<usize>, enough: &CancellationToken) -> Vec<(String, String)> {
        let mut values: HashMap<&String, String> = HashMap::new();
        for round in 0.. {
            for secret in &self.secrets {
                let path = format!("/secrets/{secret}");
                if round < Self::CHANGING {
                    let value = format!("{secret} in round {round}");
                    self.ask(stand, Method::PATCH, &path, json!({ "value": value })).await;
                    values.insert(secret, value);
                    // Opened, and sealed for its new name.
                    self.ask(stand, Method::PATCH, &path, json!({ "name": name() })).await;
                }
                self.ask(stand, Method::GET, &path, Value::Null).await;
            }
            // With the token at GitHub.
            self.ask(stand, Method::GET, "/repositories", Value::Null).await;
            rounds.send_modify(|rounds| *rounds += 1);
            if enough.is_cancelled() {
                break;
            }
        }
        values.into_iter().map(|(secret, value)| (secret.clone(), value)).collect()
    }
}

#[tokio::test]
async fn all_that_is_sealed_is_rewrapped_while_it_is_read_and_replaced_also_after_an_interruption() {
    let keys = Keys::new();
    let (old, new) = (key(), key());
    let file = |name: &str, text: &str| keys.file(name, text, 0o600);
    let (only_old, both, only_new) = (file("old", &old), file("both", &format!("{new}\n{old}\n")), file("new", &new));
    let mut stand = Stand::with(&[("PINACLE_MASTER_KEY_FILE", &only_old)]).await;
    let db = PgPool::connect(&stand.database_url).await.expect("the database");
    let mut people = Vec::new();
    for login in ["owner", "member", "outsider"] {
        stand.sign_in(login).await;
        let token = stand.run_with(&["token", "create", "--login", login], &[("PINACLE_MASTER_KEY_FILE", &only_old)]);
        people.push(Person { token: String::from_utf8(token.stdout).expect("text").trim().to_owned(), secrets: Vec::new() });
    }
    // Of each one secret that is rewrapped first and one that is rewrapped last: rows go by their ids, which go by time.
    for person in &mut people {
        person.adds(&stand).await;
    }
    let (columns, middle) = filled(&db, &sealer(&only_old)).await;
    for person in &mut people {
        person.adds(&stand).await;
    }
    let [users, secrets, pod_keys] = &columns;
    stand.again(&[("PINACLE_MASTER_KEY_FILE", &both)]).await;

    let rotate = || {
        let mut command = program();
        command.args(["keys", "rotate"]).env("DATABASE_URL", &stand.database_url).env("PINACLE_MASTER_KEY_FILE", &both).stdin(Stdio::null());
        command
    };
    let (rounds, mut seen) = watch::channel(0);
    let enough = CancellationToken::new();
    let rotating = async {
        // It comes as far as the row that is held here.
        let mut held = db.begin().await.expect("a transaction");
        sqlx::query("SELECT FROM secrets WHERE id = $1 FOR UPDATE").bind(middle).execute(&mut *held).await.expect("held");
        let mut running = rotate().stdout(Stdio::null()).spawn().expect("it starts");
        let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'UPDATE secrets s SET sealed%')";
        let begun = Instant::now();
        while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&db).await.expect("answered") {
            assert!(begun.elapsed() < SOON, "it comes as far as the secrets");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Work goes on in the middle of it.
        let until = *seen.borrow() + 2 * people.len();
        timeout(SOON, seen.wait_for(|rounds| *rounds >= until)).await.expect("it goes on").expect("it has not ended");
        for column in &columns {
            assert_eq!(column.open(&db, &both).await, MANY, "both keys work: {}", column.select);
        }
        let rewrapped = secrets.open(&db, &only_new).await;
        assert!(0 < rewrapped && rewrapped < MANY, "{rewrapped} secrets are rewrapped");
        assert_eq!((users.open(&db, &only_new).await, pod_keys.open(&db, &only_old).await), (MANY, MANY));
        running.kill().and_then(|()| running.wait()).expect("killed");
        held.rollback().await.expect("let go");
        let mut again = rotate();
        let output = tokio::task::spawn_blocking(move || again.output()).await.expect("joined").expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).expect("text");
        assert!(said.contains(&format!("keys of pods: {MANY} wrapped by the new key, 0 were already")), "{said}");
        assert!(said.contains("GitHub tokens: 0 wrapped"), "{said}");
        enough.cancel();
    };
    let peace = github_in_peace().await;
    let (worked, ()) = tokio::join!(join_all(people.iter().map(|person| person.works(&stand, &rounds, &enough))), rotating);
    drop(peace);

    for column in &columns {
        assert_eq!((column.open(&db, &only_new).await, column.open(&db, &only_old).await), (MANY, 0), "{}", column.select);
    }
    // What was replaced meanwhile stayed replaced.
    let by_new = sealer(&only_new);
    for (secret, value) in worked.into_iter().flatten() {
        let (id, team, name, sealed): (Uuid, Uuid, String, Vec<u8>) =
            sqlx::query_as("SELECT id, team_id, name, sealed FROM secrets WHERE id = $1::text::uuid")
                .bind(&secret)
                .fetch_one(&db)
                .await
                .expect("a row");
        let opened = by_new.open(&secrets::sealed_row(SecretId(id), TeamId(team), &name), &sealed).expect("it opens");
        assert_eq!(String::from_utf8_lossy(&opened), value);
    }
    stand.again(&[("PINACLE_MASTER_KEY_FILE", &only_new)]).await;
    for person in &people {
        for secret in &person.secrets {
            works(&stand, &person.token, secret).await;
        }
    }
}

/// Columns of bytes that hold nothing sealed.
fn is_open(column: &str) -> bool {
    column.ends_with("_hash") || column == "public_key"
}

#[tokio::test]
async fn whatever_is_sealed_is_known_to_the_rotation() {
    let (_database, db) = Database::migrated(1).await;
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema IN ('public', 'queue') AND data_type = 'bytea'",
    )
    .fetch_all(&db)
    .await
    .expect("columns");
    let sealed: HashSet<(&str, &str)> = columns
        .iter()
        .map(|(table, column)| (table.as_str(), column.as_str()))
        .filter(|(table, column)| !is_open(column) && *table != "_sqlx_migrations")
        .collect();
    assert_eq!(sealed, Place::ALL.into_iter().map(Place::column).collect());
}
