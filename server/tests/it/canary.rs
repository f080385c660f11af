//! Proof that a secret's value comes out nowhere: canaries are planted, everything that a secret meets in its life is driven
//! with them, and then everything that was written or answered is searched for them, in every way of writing them.

use crate::{
    fleet::{Fleet, SOON, User, hosts, number_of, on_host, on_host_with},
    screen::Screen,
    stand::Browser,
};
use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::{
    Method,
    header::{ACCEPT, CONTENT_TYPE, COOKIE, REFERER, SET_COOKIE},
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write,
    fs,
    io::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::timeout,
};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const NOBODYS: &str = "00000000-0000-7000-8000-000000000000";
/// Between two looks at all processes.
const PAUSE: Duration = Duration::from_millis(20);
/// Longer than the test.
const WHOLE_TEST: Duration = Duration::from_secs(600);

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
    let (name, text) = place;
    let forms: Vec<(&str, String)> = canaries.iter().flat_map(|canary| canary.forms()).collect();
    // Much is searched for much: where no form's last two bytes stand, none is looked for.
    let pair = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let mut ends = vec![false; 1 << 16];
    for (_, form) in &forms {
        ends[pair(&form.as_bytes()[form.len() - 2..])] = true;
    }
    let mut there = vec![false; forms.len()];
    for (at, two) in text.windows(2).enumerate().filter(|(_, two)| ends[pair(two)]) {
        let so_far = &text[..at + two.len()];
        for ((_, form), there) in forms.iter().zip(&mut there) {
            *there |= so_far.ends_with(form.as_bytes());
        }
    }
    forms.iter().zip(there).filter(|(_, there)| *there).map(|((kind, _), _)| format!("{kind} in {name}")).collect()
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

/// Looks at every process of this machine over and over, until it is let go of: those on hosts are among them, those in pods are not.
struct Looking {
    held: Arc<()>,
    thread: JoinHandle<Looked>,
}

/// What processes had, each text once.
#[derive(Default)]
struct Looked {
    rounds: u32,
    arguments: HashSet<Vec<u8>>,
    environments: HashSet<Vec<u8>>,
    /// What could not be read, and how often.
    unread: BTreeMap<String, u32>,
    /// Processes that were there before and are closed to this one: of the machine itself, and none of ours.
    others: HashSet<PathBuf>,
}

impl Looking {
    fn begin() -> Self {
        let held = Arc::new(());
        let holder = Arc::downgrade(&held);
        let thread = thread::spawn(move || {
            let others = processes().filter(|process| fs::read(process.join("environ")).is_err()).collect();
            let mut looked = Looked { others, ..Looked::default() };
            while holder.strong_count() > 0 {
                looked.once();
                thread::sleep(PAUSE);
            }
            looked
        });
        Self { held, thread }
    }

    fn end(self) -> Looked {
        drop(self.held);
        self.thread.join().expect("it has looked")
    }
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let all = fs::read_dir("/proc").expect("processes").flatten();
    all.filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit()).map(|entry| entry.path())
}

impl Looked {
    fn once(&mut self) {
        /// No such file, no such process: it has ended meanwhile.
        const ENDED: [i32; 2] = [2, 3];
        self.rounds += 1;
        for process in processes().filter(|process| !self.others.contains(process)) {
            for (file, texts) in [("cmdline", &mut self.arguments), ("environ", &mut self.environments)] {
                match fs::read(process.join(file)) {
                    Ok(text) => {
                        texts.insert(text);
                    }
                    Err(error) if error.raw_os_error().is_some_and(|code| ENDED.contains(&code)) => {}
                    Err(error) => {
                        let name = fs::read_to_string(process.join("comm")).unwrap_or_else(|error| error.to_string());
                        *self.unread.entry(format!("{file} of {}: {error}", name.trim())).or_default() += 1;
                    }
                }
            }
        }
    }

    fn places(&self) -> [Place; 2] {
        let joined = |texts: &HashSet<Vec<u8>>| texts.iter().map(Vec::as_slice).collect::<Vec<_>>().join(&b'\n');
        [("the processes' arguments".to_owned(), joined(&self.arguments)), ("the processes' environments".to_owned(), joined(&self.environments))]
    }
}

/// What streams say to a page.
#[derive(Default)]
struct Streams {
    heard: Vec<(String, Arc<Mutex<Vec<u8>>>)>,
    following: JoinSet<()>,
}

impl Streams {
    async fn follow(&mut self, fleet: &Fleet, browser: &Browser, path: &str) {
        let request = fleet.page(browser, Method::GET, path).header(ACCEPT, "text/event-stream").timeout(WHOLE_TEST);
        let mut answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}");
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        self.heard.push((format!("stream {path}"), heard.clone()));
        self.following.spawn(async move {
            while let Ok(Some(piece)) = answer.chunk().await {
                heard.lock().expect("heard").extend_from_slice(&piece);
            }
        });
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        self.heard.iter().map(|(name, heard)| (name.clone(), heard.lock().expect("heard").clone()))
    }
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
    spawn_blocking(move || on_host_with(host, script, &texts)).await.expect("it ends")
}

/// And in files that were written since `begun`, in seconds since the Unix epoch, in folders that the stack's hosts have of this machine.
/// What is built and downloaded there is left out.
async fn in_shared_files(begun: u64, texts: &[String]) -> String {
    let script = format!(
        "exec 3<&0; texts=\"$(cat <&3)\"
        find /root /home /var/log /var/tmp -xdev \\( -path '*/.cache/pinacle' -o -path '*/.cargo' -o -path '*/.rustup' \\) -prune \
            -o -type f -size -32M -newermt @{begun} -print0 2>/dev/null | while IFS= read -r -d '' file; do
          grep -qaF -f <(printf %s \"$texts\") -- \"$file\" 2>/dev/null && echo \"$file\"
        done
        true"
    );
    let texts = texts.join("\n");
    spawn_blocking(move || on_host_with(1, &script, &texts)).await.expect("it ends")
}

/// A person's browser: the pages, and what they ask for.
async fn pages(fleet: &Fleet, browser: &Browser, id: &str, team: &str, slug: &str) -> Vec<Place> {
    let mut places = Vec::new();
    let (pod, activity) = (format!("/pods/{id}"), format!("/live/teams/{team}/activity.csv"));
    let of_team = ["", "/pods", "/pods/new", "/secrets", &pod].map(|path| format!("/teams/{slug}{path}"));
    let others = ["/", "/secrets", "/secrets?project=", "/account", "/pods/new", &pod, &activity];
    for path in others.into_iter().chain(of_team.iter().map(String::as_str)) {
        let answer = fleet.page(browser, Method::GET, path).header(ACCEPT, "text/html").send().await.expect("a page");
        assert!(answer.status().is_success(), "{path}");
        places.push((format!("page {path}"), answer.bytes().await.expect("its text").to_vec()));
    }
    let view = fleet.page(browser, Method::POST, "/fn/secrets/view").json(&json!({ "team": slug, "project": null }));
    let of_pod = fleet.page(browser, Method::POST, "/fn/secrets/of-pod").header(CONTENT_TYPE, FORM).body(format!("pod={id}"));
    for (function, request) in [("view", view), ("of-pod", of_pod)] {
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{function}");
        places.push((format!("answer to {function}"), answer.bytes().await.expect("its text").to_vec()));
    }
    places
}

/// Sends what a form sends, and keeps the answer, its head, and what the page says that it leads to.
async fn sent(fleet: &Fleet, browser: &Browser, seen: &mut Vec<Place>, accept: &str, function: &str, (kind, body): (&str, String)) -> u16 {
    let request = fleet.page(browser, Method::POST, &format!("/fn/secrets/{function}")).header(ACCEPT, accept).header(CONTENT_TYPE, kind);
    let answer = request.header(REFERER, format!("{}/secrets", fleet.origin())).body(body).send().await.expect("an answer");
    let status = answer.status().as_u16();
    let place = format!("answer {status} to {function}, {kind}, for {accept}");
    seen.push((format!("head of the {place}"), format!("{:?}", answer.headers()).into_bytes()));
    let cookies = answer.headers().get_all(SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
    let refusal = cookies.filter(|cookie| cookie.starts_with("__Host-pinacle_refused=")).map(str::to_owned).next();
    seen.push((place, answer.bytes().await.expect("its text").to_vec()));
    if let Some(refusal) = refusal {
        let request = fleet.request(Method::GET, "/secrets").header(ACCEPT, "text/html").header(COOKIE, format!("{}; {refusal}", browser.cookie));
        let page = request.send().await.expect("a page").text().await.expect("its text");
        seen.push((format!("page after a refused {function}"), page.into_bytes()));
    }
    status
}

fn encoded(fields: &[(&str, &str)]) -> (&'static str, String) {
    (FORM, url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish())
}

/// The forms of the page, with JavaScript and without, with a value where it belongs and where it does not: what is taken, what is refused,
/// and what is no form.
async fn forms(fleet: &Fleet, browser: &Browser, user: &User<'_>, seen: &mut Vec<Place>, team: &str, canary: &Canary) {
    let (value, core) = (canary.value.as_str(), canary.core.as_str());
    let (nul, long) = (format!("{value}\0"), value.repeat(1200));
    for (mode, accept, done) in [("SCRIPT", JSON, 200), ("PLAIN", "text/html", 302)] {
        let (name, renamed) = (format!("FORMED_{mode}"), format!("FORMED_{mode}_2"));
        let create = [("team", team), ("name", &name), ("value", value), ("whose", "team"), ("project", "")];
        assert_eq!(sent(fleet, browser, seen, accept, "create", encoded(&create)).await, done);
        let all = user.get("/secrets?limit=100").await;
        let made = all["items"].as_array().expect("a list").iter().find(|secret| secret["name"] == name.as_str()).expect("it is there");
        let id = made["id"].as_str().expect("an id");
        let (replace, rename) = ([("id", id), ("value", value)], [("id", id), ("name", &renamed)]);
        assert_eq!(sent(fleet, browser, seen, accept, "replace", encoded(&replace)).await, done);
        assert_eq!(sent(fleet, browser, seen, accept, "rename", encoded(&rename)).await, done);
        for (function, fields, field, wrong) in [
            ("create", &create[..], "name", "PATH"),
            ("create", &create[..], "name", &renamed),
            ("create", &create[..], "name", value),
            ("create", &create[..], "value", &nul),
            ("create", &create[..], "value", &long),
            ("create", &create[..], "team", NOBODYS),
            ("create", &create[..], "team", value),
            ("replace", &replace[..], "value", &nul),
            ("replace", &replace[..], "value", &long),
            ("replace", &replace[..], "id", NOBODYS),
            ("replace", &replace[..], "id", value),
            ("rename", &rename[..], "name", "PATH"),
            ("rename", &rename[..], "name", core),
            ("rename", &rename[..], "id", NOBODYS),
            ("rename", &rename[..], "id", value),
        ] {
            let changed: Vec<(&str, &str)> = fields.iter().map(|(name, fine)| (*name, if *name == field { wrong } else { *fine })).collect();
            let status = sent(fleet, browser, seen, accept, function, encoded(&changed)).await;
            assert!(status == 302 || (400..500).contains(&status), "{function} with another {field}: {status}");
        }
        let of_repository = [("team", team), ("name", "A"), ("value", value), ("whose", "repository"), ("project", value)];
        assert_ne!(sent(fleet, browser, seen, accept, "create", encoded(&of_repository)).await, 200);
        for function in ["create", "replace", "rename"] {
            for (kind, body) in [
                (FORM, format!("value={core}")),
                (FORM, format!("team={team}&id={id}&name={core}&value={core}&value={core}")),
                (FORM, format!("team={team}&id={id}&value[]={core}&value[{core}]={core}&name[{core}]=A")),
                (FORM, format!("team={team}&id={id}&name=%ff{core}&value=%zz%ff{core}")),
                (JSON, json!({ "team": team, "id": id, "name": core, "value": value }).to_string()),
                ("text/plain", value.to_owned()),
                ("multipart/form-data; boundary=x", format!("--x\r\ncontent-disposition: form-data; name=\"value\"\r\n\r\n{core}\r\n--x--\r\n")),
            ] {
                let status = sent(fleet, browser, seen, accept, function, (kind, body)).await;
                assert!(status < 500, "{function} of {kind}: {status}");
            }
        }
    }
}

/// What a process has written, as far as these words.
async fn process_log(user: &User<'_>, id: &str, process: &str, words: &str) -> Place {
    let path = format!("/pods/{id}/processes/{process}/log");
    let mut log = user.request(Method::GET, &path).send().await.expect("an answer");
    assert_eq!(log.status(), 200);
    let mut text = String::new();
    let reading = async {
        while !text.contains(words) {
            text += &String::from_utf8_lossy(&log.chunk().await.expect("a piece").expect("its log"));
        }
    };
    timeout(SOON, reading).await.expect("its words");
    (format!("log of process {process}"), text.into_bytes())
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
    let (first, second, imported, formed) = (Canary::new(), Canary::new(), Canary::new(), Canary::new());
    let canaries = [&first, &second, &imported, &formed];
    let name = format!("PLANTED_{:08X}", rand::random::<u32>());
    let mut seen: Vec<Place> = Vec::new();
    let begun = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_secs() - 1;
    let looking = Looking::begin();
    let mut streams = Streams::default();
    streams.follow(&fleet, &browser, "/live/pods").await;

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
    let slug = user.get(&format!("/teams/{team}")).await["slug"].as_str().expect("a slug").to_owned();
    for function in ["check-import", "import", "import"] {
        let body = json!({ "team": team, "project": null, "entries": [{ "name": "IMPORTED", "value": imported.value }] });
        let answer = fleet.page(&browser, Method::POST, &format!("/fn/secrets/{function}")).json(&body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{function}");
        seen.push((format!("answer to {function}"), answer.bytes().await.expect("its text").to_vec()));
    }
    // By its forms.
    forms(&fleet, &browser, &user, &mut seen, team, &formed).await;

    // A machine that fails for a secret, is retried, and whose worker dies meanwhile.
    sqlx::query("UPDATE secrets SET sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1) WHERE name = 'IMPORTED'")
        .execute(&db)
        .await
        .expect("broken");
    let id = user.create(json!({ "repository": "owner/broken-install" })).await;
    streams.follow(&fleet, &browser, &format!("/live/pods/{id}/events")).await;
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
    // Beside it, one whose processes run.
    let site = user.create(json!({ "repository": "owner/full" })).await;
    streams.follow(&fleet, &browser, &format!("/live/pods/{site}/events")).await;
    let pod = user.until(&id, "a plan to approve", |pod| pod["setup"]["state"] == "awaiting_approval").await;
    let digest = pod["setup"]["plan_digest"].as_str().expect("a digest").to_owned();
    // A set-up that fails, and is retried.
    assert_eq!(kept(&user, &mut seen, Method::POST, &format!("/pods/{id}/setup/approve"), json!({ "plan_digest": digest })).await.0, 202);
    user.until_setup(&id, "failed").await;
    assert_eq!(kept(&user, &mut seen, Method::POST, &format!("/pods/{id}/setup/retry"), Value::Null).await.0, 202);
    user.until(&id, "failed again", |pod| pod["setup"]["state"] == "failed" && pod["behind"] == false).await;
    let pod = user.until(&site, "a plan to approve", |pod| pod["setup"]["state"] == "awaiting_approval").await;
    let approve = json!({ "plan_digest": pod["setup"]["plan_digest"] });
    assert_eq!(kept(&user, &mut seen, Method::POST, &format!("/pods/{site}/setup/approve"), approve).await.0, 202);
    user.until_setup(&site, "done").await;
    seen.push(process_log(&user, &site, "worker", "worked at").await);

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

    // Replaced, restarted, renamed; pages loaded, and loaded again.
    assert_eq!(kept(&user, &mut seen, Method::PATCH, &path, json!({ "value": second.value })).await.0, 200);
    seen.extend(pages(&fleet, &browser, &id, team, &slug).await);
    user.wish(&id, "restart").await;
    user.until(&id, "the second value", |pod| pod["status"] == "running" && pod["secrets_outdated"] == false).await;
    assert_eq!(user.shell(&id, &digest).await, format!("{}\n2\n", &hex_sha256(&second.value)[..8]));
    assert_eq!(kept(&user, &mut seen, Method::PATCH, &path, json!({ "name": format!("{name}_2") })).await.0, 200);
    seen.extend(pages(&fleet, &browser, &id, team, &slug).await);
    let of_pod = ["", "/secrets", "/events?limit=1000", "/live"].map(|path| format!("/pods/{id}{path}"));
    for path in ["/secrets", &format!("/teams/{team}/activity?limit=100")].into_iter().chain(of_pod.iter().map(String::as_str)) {
        kept(&user, &mut seen, Method::GET, path, Value::Null).await;
    }

    // All the while: what processes were given, and what streams said. Somebody who gives one a value is seen.
    let host = number_of(&user.pod(&id).await);
    let (argument, variable, logged) = (Canary::new(), Canary::new(), Canary::new());
    let (as_argument, as_variable) = (format!("sleep 0.5; : {}", argument.core), variable.core.clone());
    let with_argument = spawn_blocking(move || on_host(host, &as_argument));
    let with_variable = spawn_blocking(move || on_host_with(host, "read -r value; VALUE=\"$value\" sleep 0.5", &as_variable));
    assert!(tokio::try_join!(with_argument, with_variable).is_ok());
    let looked = looking.end();
    assert!(looked.rounds > 50 && looked.unread.is_empty(), "{} rounds, unread: {:?}", looked.rounds, looked.unread);
    let [arguments, environments] = looked.places();
    for (place, is_there, is_not) in [(&arguments, &argument, &variable), (&environments, &variable, &argument)] {
        assert_eq!(found(place, &[is_there]), [format!("plain in {}", place.0)]);
        assert_eq!(found(place, &[is_not]), [""; 0]);
    }
    seen.extend([arguments, environments]);
    seen.extend(streams.places());

    // While the pod runs: everything that was written.
    seen.extend(tables(&db).await);
    let logs = fleet.logs();
    // Both of the installation's own are appended to.
    for log in &logs[..2] {
        let mut log = fs::File::options().append(true).open(log).expect("a log");
        log.write_all(format!("a control: {}\n", logged.core).as_bytes()).expect("written");
    }
    let logs = logs.iter().map(|log| (log.display().to_string(), fs::read(log).unwrap_or_else(|error| panic!("{}: {error}", log.display()))));
    let logs: Vec<Place> = logs.collect();
    assert_eq!(logs.iter().flat_map(|log| found(log, &[&logged])).count(), 2);
    seen.extend(logs);
    let texts: Vec<String> = canaries.iter().flat_map(|canary| canary.forms()).map(|(_, form)| form).collect();
    for host in 1..=hosts() {
        assert_eq!(in_files(host, &texts).await, "", "in files of host {host}");
    }
    let leaks: Vec<String> = seen.iter().flat_map(|place| found(place, &canaries)).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");

    // The searches find what is there: names and ids, and a value that somebody writes where it does not belong.
    let holding = |what: &str, text: &str| {
        seen.iter().filter(|(place, held)| place.starts_with(what) && held.windows(text.len()).any(|part| part == text.as_bytes())).count()
    };
    for what in ["table public.secret", "page /secrets", "page /teams/", "page /live/teams/", "answer to view", "answer to of-pod"] {
        assert!(holding(what, &name) > 1, "names are in {what}");
    }
    assert_eq!(holding("answer to GET /secrets", &name), 1);
    assert!(holding("stream ", &id) > 1 && holding("stream ", &site) > 1);
    assert_eq!(holding("page after a refused ", "would change what every process"), 2, "what refused a form is said");
    let planted = Canary::new();
    for (_, form) in planted.forms() {
        assert_eq!(found(&("a text".to_owned(), format!("x{form}y").into_bytes()), &[&planted]).len(), 1 + usize::from(is_twice(&planted, &form)));
    }
    let texts: Vec<String> = planted.forms().into_iter().map(|(_, form)| form).collect();
    on_host_with(host, "tee /tmp/planted /var/tmp/planted >/dev/null", &texts[2]);
    let everything: Vec<String> = canaries.iter().chain([&&planted]).flat_map(|canary| canary.forms()).map(|(_, form)| form).collect();
    let shared = in_shared_files(begun, &everything).await;
    let (status, _) = user.exec(&id, json!({ "argv": ["sh", "-c", "cat >on-disk; sync"], "stdin": planted.core })).await;
    assert_eq!(status, 200);
    let on_its_host = in_files(host, &texts).await;
    on_host(host, "rm /tmp/planted /var/tmp/planted");
    assert_eq!(shared, "/var/tmp/planted\n", "in files that hosts share with this machine");
    let lines: Vec<&str> = on_its_host.lines().collect();
    assert!(lines.contains(&"/tmp/planted") && lines.iter().any(|line| line.ends_with("layer.img")), "{lines:?}");

    tokio::join!(user.delete(&id), user.delete(&site));
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
