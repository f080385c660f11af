//! Too much at once, by one: it is bounded, said, and nobody else's business.

use crate::{
    fleet::{Fleet, SOON, number_of, on_host},
    screen::Screen,
    stand::{Door, Stand},
};
use futures::{StreamExt, future::join_all, stream};
use pinacle_host::frame::{DATA_CHUNK, WINDOW};
use reqwest::{Method, Response, StatusCode, header::RETRY_AFTER};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite::Message;

/// What a page that is open and hears nothing may cost its server, in bytes: a connection, its buffers, three tasks.
const MOST_OF_A_PAGE: u64 = 128 << 10;
/// Bytes of a WebSocket's message, as `web/terminal.rs` has it.
const MOST_MESSAGE: u64 = 1 << 20;
/// Bytes of output that go to a browser that has not shown them, as `web/terminal.rs` has it.
const MOST_UNSHOWN: usize = 1 << 20;
/// What a terminal may hold in its server: output on its way from the host, as much handed on towards the browser, a message each way.
const MOST_OF_A_TERMINAL: u64 = 2 * WINDOW as u64 + 2 * MOST_MESSAGE;
/// And in its host's daemon, which passes it on frame by frame: a frame, its copy, and what was read of the next ones, each way.
const MOST_OF_A_STREAM: u64 = 8 * DATA_CHUNK as u64;
/// How long a page stays open, as far as its client is concerned.
const OPEN: Duration = Duration::from_secs(600);
/// What a process may grow by itself meanwhile.
const SLACK: u64 = 32 << 20;
/// And the daemon, which does less.
const HOST_SLACK: u64 = 16 << 20;
/// A delay below this is none: within a frame and a half of a screen an echo is there at once. Without it, a median of a few milliseconds
/// could not double on two cores that pods, server and readers share, however little the product adds.
const UNNOTICED_ECHO: Duration = Duration::from_millis(25);
/// As much for an answer: half of the 100 ms that a button has.
const UNNOTICED_ANSWER: Duration = Duration::from_millis(50);

/// Who measures does so without another flood of these beside it.
static MEASURING: Mutex<()> = Mutex::const_new(());

/// Bytes of memory that a process has.
pub fn resident(pid: u32) -> u64 {
    resident_by(&std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives"))
}

/// Bytes of memory that a host's daemon has.
fn resident_daemon(host: usize) -> u64 {
    resident_by(&on_host(host, "cat /proc/$(pgrep -o -f '^pinacle-host serve')/status"))
}

fn resident_by(status: &str) -> u64 {
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).expect("a number") << 10
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The answer to a creation: its status, whether it says when to come again, its body.
fn create(door: &Door, token: &str, name: &str) -> impl Future<Output = (u16, bool, Value)> + use<> {
    let request = door.api(token, Method::POST, "/pods").json(&json!({ "name": name, "tier": "dev.small" })).timeout(SOON);
    async move {
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let comes_again = answer.headers().contains_key(RETRY_AFTER);
        (status, comes_again, answer.json::<Value>().await.expect("JSON"))
    }
}

#[tokio::test]
async fn two_hundred_creations_at_once_are_bounded_and_hold_nobody_else_up() {
    let _measuring = MEASURING.lock().await;
    // As few connections as would let one user have them all.
    let stand = Stand::with(&[("PINACLE_DATABASE_CONNECTIONS", "4")]).await;
    stand.sign_in("owner").await;
    stand.sign_in("member").await;
    let (flooding, other) = (stand.token("owner", "write"), stand.token("member", "write"));
    // Their owner's row is held, so that all of them are under way at once for as long as this test likes.
    let mut db = PgConnection::connect(&stand.database_url).await.expect("the database");
    let mut held = db.begin().await.expect("begun");
    sqlx::query("SELECT id FROM users WHERE login = 'owner' FOR UPDATE").execute(&mut *held).await.expect("locked");
    let flood = tokio::spawn(join_all((0..200).map(|number| create(&stand, &flooding, &format!("p{number}"))).collect::<Vec<_>>()));
    stand.until_somebody_waits_for_a_lock().await;
    // Another's creation, and the flooding user's own reading, go past them.
    for name in ["one", "two", "three"] {
        assert_eq!(create(&stand, &other, name).await.0, 202);
    }
    assert_eq!(stand.api(&flooding, Method::GET, "/pods").send().await.expect("an answer").status(), StatusCode::OK);
    assert!(!flood.is_finished());
    held.commit().await.expect("let go");

    let mut counts = BTreeMap::new();
    for (status, comes_again, body) in timeout(SOON, flood).await.expect("all are answered").expect("no panic") {
        *counts.entry(status).or_insert(0) += 1;
        match status {
            202 => {}
            403 => assert!(body["code"] == "quota_exceeded" && body["detail"].as_str().is_some_and(|said| said.contains("10 pods")), "{body}"),
            429 => assert!(body["code"] == "rate_limited" && comes_again, "{body}"),
            other => panic!("{other}: {body}"),
        }
    }
    // Ten pods, a hundred changes at once and ten more a second.
    assert_eq!(counts[&202], 10, "{counts:?}");
    assert!(counts[&429] >= 20 && counts[&403] >= 90, "{counts:?}");
    let all: Value = stand.api(&flooding, Method::GET, "/pods?limit=100").send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(all["items"].as_array().map(Vec::len), Some(10));
}

#[tokio::test]
async fn however_many_ask_how_it_is_postgres_is_asked_once_a_second_and_has_connections_for_everybody_else() {
    const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let stand = Stand::with(&[("PINACLE_DATABASE_CONNECTIONS", "4")]).await;
    stand.sign_in("owner").await;
    let token = stand.token("owner", "read");
    // What is looked at first is held, so that everybody waits for as long as this test likes.
    let mut db = PgConnection::connect(&stand.database_url).await.expect("the database");
    let mut held = db.begin().await.expect("begun");
    sqlx::query("LOCK TABLE _sqlx_migrations").execute(&mut *held).await.expect("locked");
    let begun = Instant::now();
    let flood = tokio::spawn(join_all((0..200).map(|_| stand.get("/health").timeout(SOON).send()).collect::<Vec<_>>()));
    stand.until_somebody_waits_for_a_lock().await;
    // What somebody else asks goes past them.
    assert_eq!(stand.api(&token, Method::GET, "/me").send().await.expect("an answer").status(), StatusCode::OK);
    let waiting: i64 = sqlx::query_scalar(WAITING).fetch_one(&mut *held).await.expect("a number");
    let seconds = begun.elapsed().as_secs();
    assert!(u64::try_from(waiting).is_ok_and(|waiting| waiting <= 1 + seconds), "{waiting} after {seconds} s");
    held.commit().await.expect("let go");

    for answer in timeout(SOON, flood).await.expect("all are answered").expect("no panic") {
        let health: Value = answer.expect("an answer").json().await.expect("JSON");
        assert_eq!(health["parts"]["database"], "ok", "{health}");
    }
}

/// A token of somebody new.
async fn newcomer(stand: &Stand) -> String {
    let login = stand.new_account().await;
    stand.sign_in(&login).await;
    stand.token(&login, "write")
}

/// How long the answer to a creation takes that is let through.
async fn creation(door: &Door, token: &str, name: &str) -> Duration {
    let begun = Instant::now();
    let (status, _, body) = create(door, token, name).await;
    assert_eq!(status, 202, "{body}");
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_beside_another_users_flood_takes_at_most_twice_as_long_as_alone() {
    const ROUNDS: usize = 3;
    // Of the ten pods that a user may have, half are made alone and half beside a flood.
    const EACH: usize = 5;
    const LEAST: usize = 9;
    let _measuring = MEASURING.lock().await;
    let stand = Stand::with(&[("PINACLE_DATABASE_CONNECTIONS", "4")]).await;
    // Connections of its own, as another browser has.
    let door = Door::new(stand.at, &stand.database_url);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    // By turns, so that whatever else runs on this machine meets both.
    for _ in 0..ROUNDS {
        // What one user may do at once is used up by a flood.
        let (neighbour, flooding) = (newcomer(&stand).await, newcomer(&stand).await);
        for number in 0..EACH {
            alone.push(creation(&door, &neighbour, &format!("alone{number}")).await);
        }
        let flood = tokio::spawn(join_all((0..200).map(|number| create(&stand, &flooding, &format!("p{number}"))).collect::<Vec<_>>()));
        for number in 0..EACH {
            if flood.is_finished() {
                break;
            }
            beside.push(creation(&door, &neighbour, &format!("beside{number}")).await);
        }
        let answers = timeout(SOON, flood).await.expect("all are answered").expect("no panic");
        assert_eq!(answers.iter().filter(|(status, ..)| *status == 202).count(), 10, "a flood up to its user's quota");
    }
    assert!(beside.len() >= LEAST, "only {} creations met a flood", beside.len());
    let (alone, beside) = (median(alone), median(beside));
    assert!(beside <= (2 * alone).max(UNNOTICED_ANSWER), "{beside:?} beside a flood, {alone:?} alone");
}

/// Transactions that the database has seen.
async fn transactions(db: &mut PgConnection) -> i64 {
    let count = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    sqlx::query_scalar(count).fetch_one(db).await.expect("counted")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_open_pages_cost_little_and_ask_nothing_when_somebody_elses_pod_changes() {
    const USERS: usize = 20;
    const PAGES: usize = 50;
    const CHANGES: usize = 20;
    let _measuring = MEASURING.lock().await;
    let stand = Stand::open().await;
    stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let pod: Value = stand
        .api(&token, Method::POST, "/pods")
        .json(&json!({ "name": "busy", "tier": "dev.small" }))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let path = format!("/pods/{}", pod["id"].as_str().expect("an id"));
    let mut browsers = Vec::new();
    for _ in 0..USERS {
        let login = stand.new_account().await;
        browsers.push(stand.sign_in(&login).await);
    }
    let before = resident(stand.pid());
    // More connections than a browser would hold, and as many as there are pages.
    let door = &stand;
    let opened = stream::iter(browsers.iter().flat_map(|browser| std::iter::repeat_n(browser, PAGES)))
        .map(move |browser| async move { door.page(browser, Method::GET, "/live/pods").timeout(OPEN).send().await.expect("a stream") })
        .buffer_unordered(20);
    let mut pages = timeout(SOON, opened.collect::<Vec<Response>>()).await.expect("all are open");
    assert!(pages.iter().all(|page| page.status() == StatusCode::OK) && pages.len() == USERS * PAGES);
    for page in &mut pages {
        page.chunk().await.expect("its first word").expect("a word");
    }
    let grown = resident(stand.pid()).saturating_sub(before);
    assert!(grown < pages.len() as u64 * MOST_OF_A_PAGE + SLACK, "{} KiB for {} pages", grown >> 10, pages.len());

    // A page more, of the one whose pod it is.
    let mine = stand.sign_in("owner").await;
    let mut own = stand.page(&mine, Method::GET, "/live/pods").send().await.expect("a stream");
    let mut db = PgConnection::connect(&stand.database_url).await.expect("the database");
    let (asked, begun) = (transactions(&mut db).await, Instant::now());
    for number in 0..CHANGES {
        let changed = stand.api(&token, Method::PATCH, &path).json(&json!({ "name": format!("busy{number}") })).send().await.expect("an answer");
        assert_eq!(changed.status(), StatusCode::OK);
    }
    let mut heard = String::new();
    let last = format!("busy{}", CHANGES - 1);
    while !heard.contains(&last) {
        heard += &String::from_utf8_lossy(&timeout(SOON, own.chunk()).await.expect("in time").expect("a piece").expect("its pods"));
    }
    // Postgres counts with a delay of its own.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = transactions(&mut db).await - asked;
    // Each page looks after its right to be open every 15 s; each change is a handful of its own.
    let looks = (pages.len() as i64) * (begun.elapsed().as_secs() as i64 / 15 + 1);
    assert!(asked < looks + 50 * CHANGES as i64, "{asked} transactions for {CHANGES} changes, {looks} for looks");
    // One page too many of one user is refused with a word.
    let mut refused = 0;
    for _ in 0..=100 - PAGES {
        let answer = stand.page(&browsers[0], Method::GET, "/live/pods").send().await.expect("an answer");
        match answer.status() {
            StatusCode::OK => pages.push(answer),
            StatusCode::TOO_MANY_REQUESTS => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!(refused, 1, "100 streams a user");
}

/// How long a key takes from its sending to its echo at a prompt.
async fn echo(screen: &mut Screen) -> Duration {
    // Nobody types in step with the screen, or with the periods in which a pod gets its share of CPU.
    sleep(Duration::from_millis(rand::random_range(20..=80))).await;
    let begun = Instant::now();
    // Neither prompt nor terminal sequences have this letter.
    screen.types("x").await;
    screen.shows("x").await;
    begun.elapsed()
}

/// Bytes of the next piece of output; none once the terminal has ended.
async fn output(screen: &mut Screen) -> Option<usize> {
    loop {
        match screen.socket.next().await? {
            Ok(Message::Binary(bytes)) => return Some(bytes.len()),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_terminals_that_print_without_pause_and_a_reader_that_never_reads_fill_nobodys_memory_and_hold_up_nobodys_keys() {
    const PRINTING: usize = 50;
    // More than prompt, command and an empty screen take.
    const LEAST_PRINTED: usize = 8 << 10;
    const SCREENFUL: usize = 80 * 24;
    const KEYS: usize = 41;
    // Within which what is not held back would come.
    const QUIET: Duration = Duration::from_secs(1);
    let _measuring = MEASURING.lock().await;
    let Some(fleet) = Fleet::alone().await else { return };
    let (loud, quiet) = (fleet.newcomer().await, fleet.newcomer().await);
    let noisy = loud.running().await;
    let host = number_of(&loud.pod(&noisy).await);
    let calm = quiet.running_on(host).await;
    // All keys fit into one line.
    let mut screen = Screen::open(&quiet, &calm, "main", "cols=200").await;
    screen.types("echo ready-$((1+1))\r").await;
    screen.shows("ready-2").await;
    echo(&mut screen).await;
    let mut before = Vec::new();
    for _ in 0..KEYS {
        before.push(echo(&mut screen).await);
    }
    let server = fleet.server_pid();
    let (server_before, daemon_before) = (resident(server), resident_daemon(host));

    // One shows nothing of what it gets, and doesn't read it, either. The others are read.
    let mut unread = Screen::open(&loud, &noisy, "t0", &format!("client={}", uuid::Uuid::new_v4())).await;
    unread.types("yes 'a line that nobody reads'\r").await;
    let printed = Arc::new(AtomicUsize::new(0));
    let (tell, mut told) = mpsc::channel(PRINTING);
    let mut readers = JoinSet::new();
    for number in 1..PRINTING {
        let mut screen = Screen::open(&loud, &noisy, &format!("t{number}"), "").await;
        screen.types("yes 'a line that comes again and again'\r").await;
        let (tell, printed) = (tell.clone(), printed.clone());
        readers.spawn(async move {
            let mut read = 0;
            while read < LEAST_PRINTED {
                read += output(&mut screen).await.expect("it prints");
            }
            tell.send(()).await.expect("somebody counts");
            while let Some(bytes) = output(&mut screen).await {
                printed.fetch_add(bytes, Ordering::Relaxed);
            }
        });
        // It answers no pings: this says that it is still there.
        unread.says(json!({ "ack_out": 0 })).await;
    }
    for _ in 1..PRINTING {
        timeout(SOON, told.recv()).await.expect("all of them print").expect("counted");
    }

    unread.says(json!({ "ack_out": 0 })).await;
    printed.store(0, Ordering::Relaxed);
    let (mut during, mut most) = (Vec::new(), 0);
    for _ in 0..KEYS {
        during.push(echo(&mut screen).await);
        most = most.max(resident(server));
    }
    let printed = printed.load(Ordering::Relaxed);
    assert!(printed > (PRINTING - 1) * SCREENFUL, "{printed} bytes were printed meanwhile");
    assert!(readers.try_join_next().is_none(), "a terminal has ended");
    let grown = most.saturating_sub(server_before);
    assert!(grown < PRINTING as u64 * MOST_OF_A_TERMINAL + SLACK, "{} MiB for {PRINTING} terminals in the server", grown >> 20);
    let grown = resident_daemon(host).saturating_sub(daemon_before);
    assert!(grown < PRINTING as u64 * MOST_OF_A_STREAM + HOST_SLACK, "{} MiB for {PRINTING} terminals on the host", grown >> 20);
    let (before, during) = (median(before), median(during));
    assert!(during <= (2 * before).max(UNNOTICED_ECHO), "{during:?} from key to echo beside the flood, {before:?} before it");

    // The pod is left to the one that was not read: it got as much as may be unshown, and no more before it says that it has shown that.
    loud.shell(&noisy, "pkill -f '[c]omes again'").await;
    let mut read = 0;
    while read < MOST_UNSHOWN {
        read += timeout(SOON, output(&mut unread)).await.expect("in time").expect("it prints");
    }
    assert!(read < MOST_UNSHOWN + DATA_CHUNK, "{read} bytes came that nobody has shown");
    assert!(timeout(QUIET, output(&mut unread)).await.is_err(), "it is held back");
    unread.says(json!({ "ack_out": read })).await;
    timeout(SOON, output(&mut unread)).await.expect("in time").expect("it goes on");
    // The neighbour's other doors answer, too.
    assert_eq!(quiet.shell(&calm, "echo well").await, "well\n");
    drop((readers, unread));
    loud.delete(&noisy).await;
    quiet.delete(&calm).await;
}
