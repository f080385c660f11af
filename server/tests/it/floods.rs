//! Too much at once, by one: it is bounded, said, and nobody else's business.

use crate::{
    fleet::{Fleet, SOON},
    screen::Screen,
    stand::Stand,
};
use futures::{StreamExt, future::join_all, stream};
use reqwest::{Method, Response, StatusCode, header::RETRY_AFTER};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// What a page that is open and hears nothing may cost its server, in bytes: a connection, its buffers, three tasks.
const MOST_OF_A_PAGE: u64 = 128 << 10;
/// What a terminal may hold in its server: output on its way from the host and to the browser, one message each, input.
const MOST_OF_A_TERMINAL: u64 = 3 << 20;
/// How long a page stays open, as far as its client is concerned.
const OPEN: Duration = Duration::from_secs(600);
/// What a process may grow by itself meanwhile.
const SLACK: u64 = 32 << 20;

/// Bytes of memory that a process has.
pub fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).expect("a number") << 10
}

#[tokio::test]
async fn two_hundred_creations_at_once_are_bounded_and_hold_nobody_else_up() {
    // As few connections as would let one user have them all.
    let stand = Stand::with(&[("PINACLE_DATABASE_CONNECTIONS", "4")]).await;
    stand.sign_in("owner").await;
    stand.sign_in("member").await;
    let (flooding, other) = (stand.token("owner", "write"), stand.token("member", "write"));
    let create = |token: &str, name: String| {
        let request = stand.api(token, Method::POST, "/pods").json(&json!({ "name": name, "tier": "dev.small" })).timeout(SOON);
        async move {
            let answer = request.send().await.expect("an answer");
            let status = answer.status().as_u16();
            let comes_again = answer.headers().contains_key(RETRY_AFTER);
            (status, comes_again, answer.json::<Value>().await.expect("JSON"))
        }
    };
    // Their owner's row is held, so that all of them are under way at once for as long as this test likes.
    let mut db = PgConnection::connect(&stand.database_url).await.expect("the database");
    let mut held = db.begin().await.expect("begun");
    sqlx::query("SELECT id FROM users WHERE login = 'owner' FOR UPDATE").execute(&mut *held).await.expect("locked");
    let flood = tokio::spawn(join_all((0..200).map(|number| create(&flooding, format!("p{number}"))).collect::<Vec<_>>()));
    stand.until_somebody_waits_for_a_lock().await;
    // Another's creation, and the flooding user's own reading, go past them.
    for name in ["one", "two", "three"] {
        assert_eq!(create(&other, name.to_owned()).await.0, 202);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_terminals_that_print_without_pause_and_a_reader_that_never_reads_fill_nobodys_memory() {
    const PRINTING: usize = 50;
    let Some(fleet) = Fleet::alone().await else { return };
    let (loud, quiet) = (fleet.newcomer().await, fleet.newcomer().await);
    let (noisy, calm) = (loud.running().await, quiet.running().await);
    let mut screen = Screen::open(&quiet, &calm, "main", "").await;
    screen.types("echo ready-$((1+1))\r").await;
    screen.shows("ready-2").await;
    let server = fleet.server_pid();
    let before = resident(server);

    let mut sockets = Vec::new();
    for number in 0..PRINTING {
        let query = if number == 0 { format!("client={}", uuid::Uuid::new_v4()) } else { String::new() };
        let mut screen = Screen::open(&loud, &noisy, &format!("t{number}"), &query).await;
        screen.types("yes 'a line that comes again and again'\r").await;
        sockets.push(screen.socket);
    }
    // The first is never read. The others are, until the quiet one is done.
    let never_read = sockets.remove(0);
    let readers: Vec<_> = sockets
        .into_iter()
        .map(|mut socket| {
            tokio::spawn(async move {
                let mut read = 0usize;
                while let Some(Ok(message)) = socket.next().await {
                    if let Message::Binary(bytes) = message {
                        read += bytes.len();
                    }
                }
                read
            })
        })
        .collect();
    let mut most = 0;
    for number in 0..20 {
        screen.types(&format!("echo key-$(({number}+1000))\r")).await;
        screen.shows(&format!("key-{}", number + 1000)).await;
        most = most.max(resident(server));
    }
    let grown = most.saturating_sub(before);
    assert!(grown < PRINTING as u64 * MOST_OF_A_TERMINAL + SLACK, "{} MiB for {PRINTING} terminals", grown >> 20);
    // The neighbour's other doors answer, too.
    assert_eq!(quiet.shell(&calm, "echo well").await, "well\n");
    for reader in readers {
        reader.abort();
    }
    drop(never_read);
    loud.delete(&noisy).await;
    quiet.delete(&calm).await;
}
