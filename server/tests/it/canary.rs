//! Proof that a secret's value comes out nowhere: canaries are planted, everything that a secret meets in its life is driven
//! with them, and then everything that was written or answered is searched for them, in every way of writing them.

use crate::{
    fleet::{Fleet, SOON, User, hosts, number_of, on_host, on_host_with},
    screen::Screen,
    stand::Browser,
};
use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::{Method, header::ACCEPT};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use std::{fmt::Write, fs, time::Instant};

/// A value that is nobody else's, with what has to be quoted around it.
struct Canary {
    core: String,
    value: String,
}

impl Canary {
    fn new() -> Self {
        let core = format!("cAnArY{:032x}", rand::random::<u128>());
        Self { value: format!("+/ %&<\"'{core}\nsecond é line"), core }
    }

    /// Every way in which it may be written: plain, reversed, in hexadecimal, in base64 at each of its three offsets, with every
    /// byte as in a URL.
    fn forms(&self) -> Vec<(&'static str, String)> {
        let reversed: String = self.core.chars().rev().collect();
        let hex = self.core.bytes().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("written");
            text
        });
        let url = self.core.bytes().fold(String::new(), |mut text, byte| {
            write!(text, "%{byte:02X}").expect("written");
            text
        });
        let mut forms = vec![
            ("plain", self.core.clone()),
            ("reversed", reversed),
            ("hexadecimal", hex.clone()),
            ("hexadecimal", hex.to_uppercase()),
            ("URL-encoded", url.to_lowercase()),
            ("URL-encoded", url),
        ];
        for offset in 0..3 {
            // Whole groups of the core alone: what stands around it changes the ends.
            let bytes = &self.core.as_bytes()[(3 - offset) % 3..];
            let bytes = &bytes[..bytes.len() / 3 * 3];
            forms.push(("base64", BASE64_STANDARD.encode(bytes)));
            forms.push(("base64", BASE64_URL_SAFE_NO_PAD.encode(bytes)));
        }
        forms
    }
}

/// What was searched, and under which name it is complained of.
type Place = (String, Vec<u8>);

fn found(place: &Place, canaries: &[&Canary]) -> Vec<String> {
    let holds = |form: &str| place.1.windows(form.len()).any(|part| part == form.as_bytes());
    let all = canaries.iter().flat_map(|canary| canary.forms());
    all.filter(|(_, form)| holds(form)).map(|(kind, _)| format!("{kind} in {}", place.0)).collect()
}

/// Every row of every table, as text.
async fn tables(db: &PgPool) -> Vec<Place> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables
         WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'",
    )
    .fetch_all(db)
    .await
    .expect("tables");
    assert!(names.len() > 15, "{names:?}");
    let mut places = Vec::new();
    for name in names {
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("SELECT t::text FROM {name} t"))).fetch_all(db).await.expect("rows");
        places.push((format!("table {name}"), rows.join("\n").into_bytes()));
    }
    places
}

/// Arguments and environment of every process on this machine; those on hosts are among them, those in pods are not.
fn processes() -> Place {
    let mut all = Vec::new();
    for process in fs::read_dir("/proc").expect("processes").flatten() {
        for file in ["cmdline", "environ"] {
            // One that has ended meanwhile shows nothing.
            all.extend(fs::read(process.path().join(file)).unwrap_or_default());
        }
    }
    ("the processes' arguments and environments".to_owned(), all)
}

/// What `grep` finds of these texts in the files that are a host's own, and in the disks of its pods, whose holes are left out.
///
/// On a thread of its own: meanwhile the server closes connections that are idle, and the client has to notice.
async fn in_files(host: usize, texts: &[String]) -> String {
    let script = "sync; exec 3<&0; texts=\"$(cat <&3)\"
        grep -rlaF -f <(printf %s \"$texts\") /etc /run /tmp /dev/shm /var/lib/pinacle --exclude=layer.img 2>/dev/null
        for disk in /var/lib/pinacle/pods/*/layer.img; do
          [ -e \"$disk\" ] || continue
          tar -cSf - \"$disk\" 2>/dev/null | grep -qaF -f <(printf %s \"$texts\") && echo \"$disk\"
        done
        true";
    let texts = texts.join("\n");
    tokio::task::spawn_blocking(move || on_host_with(host, script, &texts)).await.expect("it ends")
}

/// A person's browser: the pages, and what they ask for.
async fn pages(fleet: &Fleet, browser: &Browser, id: &str) -> Vec<Place> {
    let mut places = Vec::new();
    for path in ["/", "/secrets", "/secrets?project=", "/account", &format!("/pods/{id}"), "/pods/new"] {
        let answer = fleet.page(browser, Method::GET, path).header(ACCEPT, "text/html").send().await.expect("a page");
        assert!(answer.status().is_success(), "{path}");
        places.push((format!("page {path}"), answer.bytes().await.expect("its text").to_vec()));
    }
    places
}

/// Asks the API and keeps the answer.
async fn kept(user: &User<'_>, answers: &mut Vec<Place>, method: Method, path: &str, body: Value) -> (u16, Value) {
    let (status, answer) = user.ask(method.clone(), path, body).await;
    answers.push((format!("answer to {method} {path}"), answer.to_string().into_bytes()));
    (status, answer)
}

#[tokio::test]
async fn a_planted_value_is_found_nowhere_but_in_its_pod() {
    // Alone: a worker is killed.
    let Some(fleet) = Fleet::alone().await else { return };
    let login = fleet.new_account().await;
    let user = fleet.user(&login).await;
    let browser = fleet.sign_in(&login).await;
    let db = PgPool::connect(&fleet.database_url).await.expect("the database");
    let (first, second, imported) = (Canary::new(), Canary::new(), Canary::new());
    let canaries = [&first, &second, &imported];
    let name = format!("PLANTED_{:08X}", rand::random::<u32>());
    let mut seen: Vec<Place> = Vec::new();

    // In, by the API; and refused in every way.
    let (status, secret) = kept(&user, &mut seen, Method::POST, "/secrets", json!({ "name": name, "value": first.value })).await;
    assert_eq!(status, 201);
    let path = format!("/secrets/{}", secret["id"].as_str().expect("an id"));
    for body in [
        json!({ "name": name, "value": first.value }),
        json!({ "name": "PATH", "value": first.value }),
        json!({ "name": "A", "value": [first.value] }),
        json!({ "name": "A", "value": { "value": first.value } }),
        json!({ "name": "A", "value": first.value.repeat(2000) }),
        json!({ "name": "A", "value": format!("{}\0", first.value) }),
        json!({ "name": "A", "value": first.value, "team_id": "none" }),
    ] {
        assert!(kept(&user, &mut seen, Method::POST, "/secrets", body).await.0 >= 400);
    }
    let broken = user.request(Method::POST, "/secrets").header("content-type", "application/json").body(format!("{{\"value\": \"{}", first.core));
    let broken = broken.send().await.expect("an answer");
    assert_eq!(broken.status(), 400);
    seen.push(("answer to what is no JSON".to_owned(), broken.bytes().await.expect("its text").to_vec()));
    // By a page's import.
    let team = secret["team_id"].as_str().expect("a team");
    for function in ["check-import", "import", "import"] {
        let body = json!({ "team": team, "project": null, "entries": [{ "name": "IMPORTED", "value": imported.value }] });
        let answer = fleet.page(&browser, Method::POST, &format!("/fn/secrets/{function}")).json(&body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{function}");
        seen.push((format!("answer to {function}"), answer.bytes().await.expect("its text").to_vec()));
    }

    // A machine that fails for a secret, is retried, and whose worker dies meanwhile.
    sqlx::query("UPDATE secrets SET sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1) WHERE name = 'IMPORTED'")
        .execute(&db)
        .await
        .expect("broken");
    let id = user.create(json!({ "repository": "owner/broken-install" })).await;
    let failed = failed(&user, &id).await;
    assert_eq!((&failed["failure"]["step"], &failed["failure"]["code"]), (&json!("keys"), &json!("secret_closed")), "{failed}");
    assert!(failed["failure"]["message"].as_str().expect("why").contains("IMPORTED"));
    sqlx::query("UPDATE secrets SET sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1) WHERE name = 'IMPORTED'")
        .execute(&db)
        .await
        .expect("mended");
    user.wish(&id, "retry").await;
    fleet.kill_worker().await;
    fleet.begin_worker().await;
    let pod = user.until(&id, "a plan to approve", |pod| pod["setup"]["state"] == "awaiting_approval").await;
    let digest = pod["setup"]["plan_digest"].as_str().expect("a digest").to_owned();
    // A set-up that fails, and is retried.
    assert_eq!(kept(&user, &mut seen, Method::POST, &format!("/pods/{id}/setup/approve"), json!({ "plan_digest": digest })).await.0, 202);
    user.until_setup(&id, "failed").await;
    assert_eq!(kept(&user, &mut seen, Method::POST, &format!("/pods/{id}/setup/retry"), Value::Null).await.0, 202);
    user.until(&id, "failed again", |pod| pod["setup"]["state"] == "failed" && pod["behind"] == false).await;

    // In the pod it is there: by `exec`, and in a terminal, which does not show it.
    let digest = format!("printf %s \"${name}\" | sha256sum | cut -c1-8; printenv IMPORTED | wc -l");
    let there = user.shell(&id, &digest).await;
    assert_eq!(there, format!("{}\n2\n", &hex_sha256(&first.value)[..8]));
    for body in
        [json!({ "argv": ["no-such-program"] }), json!({ "argv": ["sh", "-c", "exit 3"] }), json!({ "argv": ["sleep", "30"], "timeout_seconds": 1 })]
    {
        kept(&user, &mut seen, Method::POST, &format!("/pods/{id}/exec"), body).await;
    }
    let mut terminal = Screen::open(&user, &id, "canary", "").await;
    terminal.types(&format!("echo \"<${{{name}:+there}}>\"\r")).await;
    terminal.shows("<there>").await;
    seen.push(processes());

    // Replaced, restarted, renamed; pages loaded, and loaded again.
    assert_eq!(kept(&user, &mut seen, Method::PATCH, &path, json!({ "value": second.value })).await.0, 200);
    seen.extend(pages(&fleet, &browser, &id).await);
    user.wish(&id, "restart").await;
    user.until(&id, "the second value", |pod| pod["status"] == "running" && pod["secrets_outdated"] == false).await;
    assert_eq!(user.shell(&id, &digest).await, format!("{}\n2\n", &hex_sha256(&second.value)[..8]));
    assert_eq!(kept(&user, &mut seen, Method::PATCH, &path, json!({ "name": format!("{name}_2") })).await.0, 200);
    seen.extend(pages(&fleet, &browser, &id).await);
    for path in
        ["/secrets", &format!("/pods/{id}"), &format!("/pods/{id}/secrets"), &format!("/pods/{id}/events?limit=1000"), &format!("/pods/{id}/live")]
    {
        kept(&user, &mut seen, Method::GET, path, Value::Null).await;
    }
    seen.push(processes());

    // While the pod runs: everything that was written.
    seen.extend(tables(&db).await);
    for log in fleet.logs() {
        seen.push((log.display().to_string(), fs::read(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()))));
    }
    let texts: Vec<String> = canaries.iter().flat_map(|canary| canary.forms()).map(|(_, form)| form).collect();
    let host = number_of(&user.pod(&id).await);
    for host in 1..=hosts() {
        assert_eq!(in_files(host, &texts).await, "", "in files of host {host}");
    }
    let leaks: Vec<String> = seen.iter().flat_map(|place| found(place, &canaries)).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");

    // The searches find what is there: the secret's name, and a value that somebody writes where it does not belong.
    let control = |what: &str| {
        seen.iter().filter(|(place, text)| place.starts_with(what) && text.windows(name.len()).any(|part| part == name.as_bytes())).count()
    };
    assert!(control("table public.secret") > 1 && control("page /secrets") > 1 && control("answer to GET /secrets") == 1, "names are in these");
    let planted = Canary::new();
    for (_, form) in planted.forms() {
        assert_eq!(found(&("a text".to_owned(), format!("x{form}y").into_bytes()), &[&planted]).len(), 1 + usize::from(is_twice(&planted, &form)));
    }
    let texts: Vec<String> = planted.forms().into_iter().map(|(_, form)| form).collect();
    on_host_with(host, "cat >/tmp/planted", &texts[2]);
    assert_eq!(in_files(host, &texts).await.trim(), "/tmp/planted");
    on_host(host, "rm /tmp/planted");
    let (status, _) = user.exec(&id, json!({ "argv": ["sh", "-c", "cat >on-disk; sync"], "stdin": planted.core })).await;
    assert_eq!(status, 200);
    assert!(in_files(host, &texts).await.contains("layer.img"), "a pod's disk is searched, too");

    user.delete(&id).await;
    assert_eq!(user.ask(Method::DELETE, &path, Value::Null).await.0, 204);
}

/// Forms that are the same in both alphabets of base64.
fn is_twice(canary: &Canary, form: &str) -> bool {
    canary.forms().iter().filter(|(_, other)| other == form).count() > 1
}

/// Follows the pod until it has failed.
async fn failed(user: &User<'_>, id: &str) -> Value {
    let begun = Instant::now();
    let mut stream = user.stream(id, None).await;
    loop {
        let (_, news) = tokio::time::timeout(SOON, stream.next()).await.expect("news in time").expect("the stream goes on");
        if news["type"] == "pod" && news["pod"]["status"] == "failed" {
            return news["pod"].clone();
        }
        assert!(begun.elapsed() < SOON, "{news}");
    }
}

fn hex_sha256(text: &str) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(text))
}
