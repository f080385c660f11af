//! Proof that a secret's value comes out nowhere: canaries are planted, everything that a secret meets in its life is driven
//! with them, and then everything that was written or answered is searched for them, in every way of writing them.

mod search;

use crate::{
    fleet::{Fleet, SOON, User, hosts, number_of, on_host, on_host_with},
    screen::Screen,
    stand::Browser,
};
use reqwest::{
    Method,
    header::{ACCEPT, CONTENT_TYPE, COOKIE, REFERER, SET_COOKIE},
};
use search::{Canary, Looking, Place, Streams, found, in_files, in_shared_files, is_twice, tables};
use serde_json::{Value, json};
use sqlx::PgPool;
use std::{
    fs,
    io::Write as _,
    time::{Instant, SystemTime},
};
use tokio::{task::spawn_blocking, time::timeout};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const NOBODYS: &str = "00000000-0000-7000-8000-000000000000";

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
