//! What people and programs send that can't be: each is answered with its status and its message at the field, at every
//! door, and nothing comes of it.

use crate::{
    fleet::Fleet,
    stand::{Browser, Stand},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use reqwest::{
    Body, Method, Response, StatusCode,
    header::{ACCEPT, CONNECTION, CONTENT_TYPE, UPGRADE},
};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

/// What means something to a shell, an option parser, git, a browser, a terminal or Postgres, and no name may hold.
const HOSTILE: [&str; 17] = [
    "a'b",
    "a\"b",
    "$(id)",
    "`id`",
    "a;id",
    "a|id",
    "a\nb",
    "a\r\nX: y",
    "--upload-pack=id",
    "-oProxyCommand=id",
    "ext::sh -c id",
    "file:///etc/passwd",
    "../../etc",
    "a\0b",
    "a\u{202e}b",
    "\u{200f}a",
    "<script>",
];

/// Hosts that no pod may reach, in all the ways that an address can be written. `app/src/pods/repository.rs` has them, too.
const PRIVATE: &str = "\
    127.0.0.1 127.1 127.0.1 2130706433 0x7f000001 0x7f.0x0.0x0.0x1 0177.0.0.1 017700000001 127.0.0.1. 0x7f.1. %31%32%37.0.0.1 0 0.0.0.0 10.0.0.1 \
    0xa000001 012.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 3232235521 169.254.169.254 0xa9fea9fe 0251.0376.0251.0376 2852039166 100.64.0.1 \
    192.0.0.8 198.18.0.1 224.0.0.1 240.0.0.1 255.255.255.255 [::] [::1] [0:0:0:0:0:0:0:1] [::127.0.0.1] [::ffff:127.0.0.1] [::ffff:7f00:1] \
    [::FFFF:a9fe:a9fe] [0:0:0:0:0:ffff:10.0.0.1] [64:ff9b::10.0.0.1] [64:ff9b:1::1] [2002:7f00:1::] [2002:a9fe:a9fe::1] [fe80::1] [fec0::1] \
    [fc00::1] [fd12:3456::1] [ff02::1] localhost LOCALHOST localhost. a.localhost a.localhost. printer printer.local metadata.google.internal \
    metadata.google.internal. router.home.arpa";

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const NOBODYS: &str = "00000000-0000-7000-8000-000000000000";
/// A limit of the product's doors, and more.
const MOST_BODY: usize = 256 << 10;
const MUCH: usize = 10 << 20;

async fn read(answer: Response) -> (u16, Value) {
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

/// A refusal with a message at this field.
fn is_at(field: &str, status: u16, problem: &Value) -> bool {
    status == 422 && problem["code"] == "invalid" && problem["errors"][field][0].as_str().is_some_and(|message| message.len() > 3)
}

async fn send(stand: &Stand, token: &str, method: Method, path: &str, body: &Value) -> (u16, Value) {
    read(stand.api(token, method, path).json(body).send().await.expect("an answer")).await
}

/// Another value of this name than the body has.
fn with(body: &Value, field: &str, value: Value) -> Value {
    let mut body = body.clone();
    body[field] = value;
    body
}

/// The id of what was made.
fn id_of(made: &Value) -> String {
    made["id"].as_str().unwrap_or_else(|| panic!("{made} has an id")).to_owned()
}

/// What a list holds.
async fn listed(stand: &Stand, token: &str, path: &str) -> Value {
    read(stand.api(token, Method::GET, path).send().await.expect("an answer")).await.1["items"].take()
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Hostile text in this field, far too much of it, and values of other kinds.
async fn refused(stand: &Stand, who: &str, method: &Method, path: &str, body: &Value, field: &str) {
    let long = "x".repeat(MOST_BODY - 1000);
    for value in HOSTILE.into_iter().chain([long.as_str()]) {
        let (status, problem) = send(stand, who, method.clone(), path, &with(body, field, json!(value))).await;
        let shown: String = value.chars().take(40).collect();
        assert!(is_at(field, status, &problem), "{method} {path} {field} = {shown:?}: {status} {problem}");
    }
    for value in [json!(7), json!(true), json!(["a"]), json!({ "a": "b" })] {
        let (status, problem) = send(stand, who, method.clone(), path, &with(body, field, value.clone())).await;
        assert!(is_at(field, status, &problem), "{method} {path} {field} = {value}: {status} {problem}");
    }
}

#[tokio::test]
async fn hostile_text_is_refused_at_its_field_by_the_api_and_nothing_comes_of_it() {
    let stand = Stand::with(&[("PINACLE_OPERATORS", "operator")]).await;
    let logins = ["owner", "member", "outsider", "operator"];
    let mut tokens = Vec::new();
    for login in logins {
        stand.sign_in(login).await;
        tokens.push(stand.token(login, "write"));
    }
    let [owner, member, outsider, operator] = &tokens[..] else { panic!("four tokens") };
    let (_, pod) = send(&stand, owner, Method::POST, "/pods", &json!({ "name": "kept", "tier": "dev.small" })).await;
    let path = format!("/pods/{}", pod["id"].as_str().expect("an id"));
    // Each user's changes are limited: the tables are spread over several.
    let new = json!({ "name": "fine", "tier": "dev.small" });
    let repository = json!({ "name": "fine", "tier": "dev.small", "repository": "owner/full" });
    let token = json!({ "name": "fine", "scope": "read", "expires_days": 1 });
    let host = json!({ "name": "fine", "transport": "ssh", "address": "192.0.2.1" });
    for (who, method, path, body, field) in [
        (member, Method::POST, "/pods", &new, "name"),
        (member, Method::POST, "/pods", &new, "tier"),
        (member, Method::POST, "/pods", &new, "repository"),
        (outsider, Method::POST, "/pods", &repository, "branch"),
        (outsider, Method::POST, "/pods", &new, "team_id"),
        (outsider, Method::POST, "/tokens", &token, "scope"),
        (owner, Method::PATCH, path.as_str(), &json!({}), "name"),
        (owner, Method::PATCH, path.as_str(), &json!({}), "tier"),
        (owner, Method::PATCH, "/me", &json!({}), "handle"),
        (operator, Method::POST, "/hosts", &host, "name"),
        (operator, Method::POST, "/hosts", &host, "address"),
        (operator, Method::POST, "/hosts", &host, "transport"),
    ] {
        refused(&stand, who, &method, path, body, field).await;
    }
    for who in [member, outsider] {
        assert_eq!(listed(&stand, who, "/pods").await, json!([]));
    }
    let after = read(stand.api(owner, Method::GET, &path).send().await.expect("an answer")).await.1;
    assert_eq!((&after["name"], &after["tier"]), (&json!("kept"), &json!("dev.small")));
    assert_eq!(read(stand.api(owner, Method::GET, "/me").send().await.expect("an answer")).await.1["handle"], "owner");
    assert_eq!(listed(&stand, operator, "/hosts").await, json!([]));
}

#[tokio::test]
async fn hostile_text_for_teams_and_secrets_is_refused_at_its_field_by_the_api_and_nothing_comes_of_it() {
    let stand = Stand::open().await;
    let mut tokens = Vec::new();
    for login in ["owner", "member", "outsider"] {
        stand.sign_in(login).await;
        tokens.push(stand.token(login, "write"));
    }
    let [owner, member, outsider] = &tokens[..] else { panic!("three tokens") };
    let (_, team) = send(&stand, owner, Method::POST, "/teams", &json!({ "name": "Kept" })).await;
    let invitations = format!("/teams/{}/invitations", id_of(&team));
    let (_, secret) = send(&stand, outsider, Method::POST, "/secrets", &json!({ "name": "KEPT", "value": "x" })).await;
    let secret = format!("/secrets/{}", id_of(&secret));
    let new = json!({ "name": "FINE", "value": "x" });
    for (who, method, path, body, field) in [
        (member, Method::POST, "/secrets", &new, "name"),
        (member, Method::POST, "/secrets", &new, "project_ref"),
        (member, Method::POST, "/secrets", &new, "team_id"),
        (outsider, Method::PATCH, secret.as_str(), &json!({}), "name"),
        (owner, Method::POST, invitations.as_str(), &json!({ "role": "member" }), "github_login"),
        (owner, Method::POST, invitations.as_str(), &json!({ "role": "member" }), "email"),
        (owner, Method::POST, invitations.as_str(), &json!({ "github_login": "member" }), "role"),
    ] {
        refused(&stand, who, &method, path, body, field).await;
    }
    assert_eq!(listed(&stand, member, "/secrets").await, json!([]));
    assert_eq!(listed(&stand, owner, &invitations).await, json!([]));
    let kept = listed(&stand, outsider, "/secrets").await;
    assert_eq!((kept.as_array().map(Vec::len), &kept[0]["name"]), (Some(1), &json!("KEPT")));
}

#[tokio::test]
async fn a_name_for_people_is_kept_as_it_was_typed_or_refused() {
    let stand = Stand::open().await;
    let (browser, ..) = (stand.sign_in("owner").await, stand.sign_in("member").await, stand.sign_in("outsider").await);
    let [owner, member, outsider] = ["owner", "member", "outsider"].map(|login| stand.token(login, "write"));
    let before = json!({ "name": "Before" });
    let renamed = format!("/teams/{}", id_of(&send(&stand, &outsider, Method::POST, "/teams", &before).await.1));
    let own = id_of(&send(&stand, &owner, Method::POST, "/teams", &before).await.1);
    let long = "x".repeat(61);
    let bad = ["", "  ", "a\nb", "a\r\nX: y", "a\0b", "a\u{202e}b", "\u{2066}a", "\u{200f}a", "a\u{200f}", long.as_str()];
    let good = ["a'b\"c", "$(id) `id`", "<script>alert(1)</script>", "'; DROP TABLE users; --", "größe שלום"];
    let good: Vec<&str> = good.into_iter().chain(HOSTILE.into_iter().filter(|value| !bad.contains(value))).collect();
    // Each user's changes are limited.
    for (who, method, path, body, made) in [
        (&owner, Method::POST, "/tokens", &json!({ "scope": "read", "expires_days": 1 }), 201),
        (&member, Method::POST, "/teams", &json!({}), 201),
        (&outsider, Method::PATCH, renamed.as_str(), &json!({}), 200),
    ] {
        for value in bad.map(|text| json!(text)).into_iter().chain([json!(7), json!(true), json!(["a"]), json!({ "a": "b" })]) {
            let (status, problem) = send(&stand, who, method.clone(), path, &with(body, "name", value.clone())).await;
            assert!(is_at("name", status, &problem), "{method} {path} {value}: {status} {problem}");
        }
        for value in &good {
            let (status, kept) = send(&stand, who, method.clone(), path, &with(body, "name", json!(value))).await;
            assert_eq!((status, &kept["name"]), (made, &json!(value)), "{method} {path}: {kept}");
        }
    }
    for (path, fields) in [
        ("/fn/account/create-token", &[("name", "x"), ("scope", "read"), ("expires_days", "1")][..]),
        ("/fn/teams/create", &[("name", "x")][..]),
        ("/fn/teams/rename", &[("name", "x"), ("id", own.as_str())][..]),
    ] {
        for value in bad {
            let (status, error) = form(&stand, &browser, path, &changed(fields, "name", value)).await;
            assert!(status == 422 && error["fields"]["name"][0].is_string(), "{path} {value:?}: {status} {error}");
        }
        for value in &good {
            let (status, kept) = form(&stand, &browser, path, &changed(fields, "name", value)).await;
            assert_eq!((status, &kept["name"]), (200, &json!(value)), "{path}: {kept}");
        }
    }
}

#[tokio::test]
async fn no_pod_is_made_of_an_address_that_none_may_reach_or_that_is_no_plain_https() {
    let stand = Stand::open().await;
    let browser = stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let private = PRIVATE.split_whitespace().map(|host| (format!("https://{host}/x/y"), "This address is not on the public internet."));
    let refused = [
        ("https://user:pass@example.org/x/y", "Leave user name and password out of the address."),
        ("https://token@example.org/x/y", "Leave user name and password out of the address."),
        ("http://example.org/x/y", "Only https addresses can be cloned."),
        ("ssh://git@example.org/x/y", "Only https addresses can be cloned."),
        ("git@example.org:x/y", "Only https addresses can be cloned."),
        ("ext::sh", "Only https addresses can be cloned."),
        ("file:///etc/passwd", "Only https addresses can be cloned."),
    ];
    for (address, why) in private.chain(refused.map(|(address, why)| (address.to_owned(), why))) {
        let body = json!({ "name": "fine", "tier": "dev.small", "repository": address });
        let (status, problem) = send(&stand, &token, Method::POST, "/pods", &body).await;
        assert!(is_at("repository", status, &problem) && problem["errors"]["repository"][0] == why, "{address}: {status} {problem}");
        // As it is typed, or chosen from the list.
        for field in ["address", "repository"] {
            let fields = [("name", "fine"), ("tier", "dev.small"), (field, address.as_str())];
            let (status, error) = form(&stand, &browser, "/fn/pods/create", &fields).await;
            assert!(status == 422 && error["fields"]["repository"][0] == why, "{field} {address}: {status} {error}");
        }
    }
    assert_eq!(listed(&stand, &token, "/pods").await, json!([]));
}

#[tokio::test]
async fn a_query_that_can_not_be_is_refused_at_its_field() {
    let stand = Stand::with(&[("PINACLE_OPERATORS", "operator")]).await;
    stand.sign_in("operator").await;
    let token = stand.token("operator", "write");
    let (_, pod) = send(&stand, &token, Method::POST, "/pods", &json!({ "name": "mine", "tier": "dev.small" })).await;
    let (_, team) = send(&stand, &token, Method::POST, "/teams", &json!({ "name": "Mine" })).await;
    let events = format!("/pods/{}/events", id_of(&pod));
    let [members, activity, invitations] = ["members", "activity", "invitations"].map(|list| format!("/teams/{}/{list}", id_of(&team)));
    for (path, field) in [
        ("/pods", "cursor"),
        ("/pods", "limit"),
        ("/pods", "status"),
        ("/pods", "tier"),
        ("/pods", "owner"),
        ("/pods", "team_id"),
        ("/tokens", "cursor"),
        ("/tokens", "limit"),
        ("/sessions", "cursor"),
        ("/hosts", "cursor"),
        ("/repositories", "cursor"),
        ("/repositories", "limit"),
        (&events, "after"),
        (&events, "cursor"),
        (&events, "limit"),
        ("/secrets", "cursor"),
        ("/secrets", "limit"),
        ("/secrets", "team_id"),
        ("/teams", "cursor"),
        (&members, "cursor"),
        (&members, "limit"),
        (&activity, "cursor"),
        (&activity, "limit"),
        (&activity, "kind"),
        (&invitations, "cursor"),
        ("/pods", "zzz"),
        ("/tokens", "zzz"),
        ("/secrets", "zzz"),
        (&events, "zzz"),
        (&activity, "zzz"),
    ] {
        for value in HOSTILE.into_iter().chain(["-x", "99999999999999999999", "MTIz", "💥"]) {
            let (status, problem) =
                read(stand.api(&token, Method::GET, &format!("{path}?{field}={}", encoded(value))).send().await.expect("an answer")).await;
            assert!(is_at(field, status, &problem), "{path}?{field}={value:?}: {status} {problem}");
        }
    }
    // Almost ours: of a moment that Postgres does not know.
    let long_ago = BASE64_URL_SAFE_NO_PAD.encode(format!("-300000000000000000000 {NOBODYS}"));
    let (status, problem) = read(stand.api(&token, Method::GET, &format!("/pods?cursor={long_ago}")).send().await.expect("an answer")).await;
    assert!(is_at("cursor", status, &problem), "{problem}");
    for value in ["a\0b", &"x".repeat(101)] {
        let (status, problem) =
            read(stand.api(&token, Method::GET, &format!("/pods?search={}", encoded(value))).send().await.expect("an answer")).await;
        assert!(is_at("search", status, &problem), "{problem}");
    }
    // What is searched for is text, whatever it means elsewhere.
    for value in ["%", "_", "'", "\\", "$(id)", "\u{202e}"] {
        let (status, page) = read(stand.api(&token, Method::GET, &format!("/pods?search={}", encoded(value))).send().await.expect("an answer")).await;
        assert_eq!((status, &page["items"]), (200, &json!([])), "{value}");
    }
    for key in ["", &"k".repeat(256), "ü"] {
        let request =
            stand.api(&token, Method::POST, "/pods").header("idempotency-key", key.as_bytes()).json(&json!({ "name": "other", "tier": "dev.small" }));
        let (status, problem) = read(request.send().await.expect("an answer")).await;
        assert!(is_at("Idempotency-Key", status, &problem), "{key}: {problem}");
    }
}

/// Text that is a cursor of some list more often than chance would have it.
fn cursor() -> impl Strategy<Value = String> {
    let sealed = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
    prop_oneof![
        ".{0,40}",
        "[+-]?[0-9]{1,20}",
        any::<u128>().prop_map(|id| Uuid::from_u128(id).to_string()),
        "(owner|member) .{0,40}".prop_map(sealed),
        "-?[0-9]{1,30} [0-9a-f-]{36}".prop_map(sealed),
        any::<(i64, u128)>().prop_map(move |(at, id)| sealed(format!("{at} {}", Uuid::from_u128(id)))),
    ]
}

#[tokio::test]
async fn any_cursor_is_a_place_in_its_list_or_refused_and_each_page_leads_to_the_next() {
    const CURSORS: usize = 40;
    const MOST_PAGES: usize = 50;
    let stand = Stand::with(&[("PINACLE_OPERATORS", "operator")]).await;
    for login in ["operator", "member", "outsider"] {
        stand.sign_in(login).await;
    }
    let token = stand.token("operator", "write");
    let team = id_of(&send(&stand, &token, Method::POST, "/teams", &json!({ "name": "Mine" })).await.1);
    let [members, activity, invitations] = ["members", "activity", "invitations"].map(|list| format!("/teams/{team}/{list}"));
    let mut pod = String::new();
    for number in 1..=3 {
        for (path, body) in [
            ("/tokens", json!({ "name": "x", "scope": "read", "expires_days": 1 })),
            ("/secrets", json!({ "name": format!("S{number}"), "value": "x" })),
            ("/teams", json!({ "name": "x" })),
            ("/hosts", json!({ "name": format!("h{number}"), "transport": "ssh", "address": format!("192.0.2.{number}") })),
            (&invitations, json!({ "email": format!("a{number}@example.test"), "role": "member" })),
            ("/pods", json!({ "name": format!("p{number}"), "tier": "dev.small" })),
        ] {
            let (status, made) = send(&stand, &token, Method::POST, path, &body).await;
            assert!([201, 202].contains(&status), "{path}: {status} {made}");
            if path == "/pods" {
                pod = id_of(&made);
            }
        }
    }
    let mut db = PgConnection::connect(&stand.database_url).await.expect("the database");
    sqlx::query(
        "INSERT INTO team_members (team_id, user_id, role) SELECT $1::text::uuid, id, 'member' FROM users WHERE login IN ('member', 'outsider')",
    )
    .bind(&team)
    .execute(&mut db)
    .await
    .expect("members");
    let events = format!("/pods/{pod}/events");
    let lists = ["/tokens", "/secrets", "/teams", "/hosts", "/pods", &members, &activity, &invitations, &events];
    let keys = |items: &Value| -> Vec<Value> {
        let key = |item: &Value| ["id", "user_id", "seq"].into_iter().find_map(|key| item.get(key).cloned()).expect("a key");
        items.as_array().expect("a list").iter().map(key).collect()
    };
    for list in lists {
        let all = keys(&listed(&stand, &token, &format!("{list}?limit=100")).await);
        assert!(all.len() > 1 || list == events, "{list} has several");
        let (mut seen, mut more) = (Vec::new(), String::new());
        for _ in 0..MOST_PAGES {
            let page = read(stand.api(&token, Method::GET, &format!("{list}?limit=1{more}")).send().await.expect("an answer")).await.1;
            seen.extend(keys(&page["items"]));
            let Some(next) = page["next_cursor"].as_str() else { break };
            more = format!("&cursor={}", encoded(next));
        }
        assert_eq!(seen, all, "{list}");
    }
    let made_up = vec(cursor(), CURSORS).new_tree(&mut TestRunner::deterministic()).expect("texts").current();
    for (text, list) in made_up.iter().flat_map(|text| lists.map(|list| (text, list))) {
        let path = format!("{list}?cursor={}", encoded(text));
        let (status, answer) = read(stand.api(&token, Method::GET, &path).send().await.expect("an answer")).await;
        assert!(is_at("cursor", status, &answer) || (status == 200 && answer["items"].is_array()), "{list} {text:?}: {status} {answer}");
    }
}

/// Method, path below `/api/v1`, and whether the operation takes JSON, of the document's operations that take it.
async fn taking_json(stand: &Stand) -> Vec<(Method, String)> {
    let document: Value = stand.get("/api/v1/openapi.json").send().await.expect("an answer").json().await.expect("JSON");
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            if operation["requestBody"]["content"]["application/json"].is_object() {
                let path = path.strip_prefix("/api/v1").expect("a path of the API");
                all.push((method.to_uppercase().parse().expect("a method"), path.to_owned()));
            }
        }
    }
    assert!(all.len() > 8, "{all:?}");
    all
}

#[tokio::test]
async fn a_body_that_is_too_large_no_json_too_deep_or_of_unknown_fields_is_refused_by_every_operation() {
    let stand = Stand::with(&[("PINACLE_OPERATORS", "operator")]).await;
    let mut tokens = Vec::new();
    for login in ["operator", "owner", "member", "outsider"] {
        stand.sign_in(login).await;
        tokens.push(stand.token(login, "write"));
    }
    // Before anything is looked up; spread over several users, for each one's changes are limited.
    for ((method, path), token) in taking_json(&stand).await.into_iter().zip(tokens.iter().cycle()) {
        let at = path.replace("{id}", NOBODYS).replace("{pod}", NOBODYS).replace("{name}", "main").replace("{owner}", "owner");
        let ask = async |body: Vec<u8>, kind: &str| {
            let request = stand.api(token, method.clone(), &at).header(CONTENT_TYPE, kind).body(body);
            read(request.send().await.expect("an answer")).await
        };
        let large = format!("{{\"name\":\"{}\"}}", "x".repeat(MOST_BODY));
        let deep = "[".repeat(100_000);
        let deep_object = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
        for (body, kind, expected) in [
            (large.into_bytes(), "application/json", 413),
            (Vec::new(), "application/json", 400),
            (b"{".to_vec(), "application/json", 400),
            (b"{\"name\":\"a\"} x".to_vec(), "application/json", 400),
            (b"name=a".to_vec(), "application/json", 400),
            (b"{\"name\":\"\xff\"}".to_vec(), "application/json", 400),
            (b"{\"name\":\"\\ud800\"}".to_vec(), "application/json", 400),
            (deep.into_bytes(), "application/json", 400),
            (deep_object.into_bytes(), "application/json", 400),
            (b"{}".to_vec(), "text/plain", 415),
            (b"name=a".to_vec(), "application/x-www-form-urlencoded", 415),
        ] {
            let shown = String::from_utf8_lossy(&body[..body.len().min(30)]).into_owned();
            let (status, problem) = ask(body, kind).await;
            assert!(status == expected && problem["code"].is_string(), "{method} {path} {shown}: {status} {problem}");
        }
        let (status, problem) = ask(b"{\"zzz\":1}".to_vec(), "application/json").await;
        assert!(is_at("zzz", status, &problem), "{method} {path}: {problem}");
        for body in ["[]", "null", "7", "\"a\""] {
            let (status, problem) = ask(body.into(), "application/json").await;
            assert!(is_at("body", status, &problem), "{method} {path} {body}: {status} {problem}");
        }
    }
}

#[tokio::test]
async fn ten_megabytes_are_refused_by_every_door_and_the_server_goes_on() {
    let stand = Stand::open().await;
    let browser = stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let text = "x".repeat(MUCH);
    let (status, problem) = send(&stand, &token, Method::POST, "/pods", &json!({ "name": text, "tier": "dev.small" })).await;
    assert_eq!((status, &problem["code"]), (413, &json!("too_large")));
    // Without a length said beforehand.
    let pieces = || Body::wrap_stream(futures::stream::iter((0..MUCH >> 16).map(|_| Ok::<_, std::io::Error>("x".repeat(1 << 16)))));
    let request = stand.api(&token, Method::POST, "/pods").header(CONTENT_TYPE, JSON);
    assert_eq!(read(request.body(pieces()).send().await.expect("an answer")).await.0, 413);
    for (path, kind) in [("/fn/teams/create", FORM), ("/fn/secrets/import", JSON)] {
        let (status, error) = call(&stand, &browser, path, kind, pieces()).await;
        assert!((400..500).contains(&status) && error["code"].is_string(), "{path}: {status} {error}");
    }
    for (path, kind) in [
        ("/fn/pods/create", FORM),
        ("/fn/teams/create", FORM),
        ("/fn/secrets/create", FORM),
        ("/fn/secrets/import", JSON),
        ("/fn/secrets/check-import", JSON),
        ("/auth/sign-out", FORM),
        ("/nothing", FORM),
    ] {
        let body = if kind == JSON { format!("{{\"team\":\"{text}\"}}") } else { format!("name={text}&tier=dev.small") };
        let request = stand.page(&browser, Method::POST, path).header(CONTENT_TYPE, kind);
        let answer = request.body(body).send().await.expect("an answer");
        assert!(answer.status().is_client_error() || answer.status().is_redirection(), "{path}: {}", answer.status());
        if path.starts_with("/fn") {
            assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        }
    }
    // In a head: the connection ends, with a word where there is time for one.
    let authority = stand.url.authority();
    for head in [
        format!("GET /api/v1/pods?search={text} HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
        format!("GET /api/v1/pods HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {text}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {authority}\r\nCookie: __Host-pinacle_session={text}\r\n\r\n"),
    ] {
        let mut raw = TcpStream::connect(stand.at).await.expect("a connection");
        // It may be closed before all of it was sent.
        let sent = raw.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let read = raw.read_to_end(&mut answer).await;
        let word = String::from_utf8_lossy(&answer);
        assert!(sent.is_err() || read.is_err() || word.starts_with("HTTP/1.1 4"), "{word}");
    }
    assert_eq!(stand.api(&token, Method::GET, "/me").send().await.expect("an answer").status(), StatusCode::OK);
}

/// What a server function answers to a body of this kind.
async fn call(stand: &Stand, browser: &Browser, path: &str, kind: &str, body: impl Into<Body>) -> (u16, Value) {
    let request = stand.page(browser, Method::POST, path).header(CONTENT_TYPE, kind).header(ACCEPT, JSON);
    read(request.body(body).send().await.expect("an answer")).await
}

/// And to a form.
async fn form(stand: &Stand, browser: &Browser, path: &str, fields: &[(&str, &str)]) -> (u16, Value) {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    call(stand, browser, path, FORM, body).await
}

/// These fields, with something else in one of them.
fn changed<'a>(fields: &[(&'a str, &'a str)], field: &str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    fields.iter().map(|(name, fine)| (*name, if *name == field { value } else { *fine })).collect()
}

#[tokio::test]
async fn hostile_text_in_a_form_is_refused_at_its_field() {
    let stand = Stand::with(&[("PINACLE_OPERATORS", "operator")]).await;
    let browser = stand.sign_in("operator").await;
    let token = stand.token("operator", "write");
    let mut made = Vec::new();
    for (path, body) in [
        ("/pods", json!({ "name": "kept", "tier": "dev.small" })),
        ("/teams", json!({ "name": "Kept" })),
        ("/secrets", json!({ "name": "KEPT", "value": "x" })),
    ] {
        made.push(id_of(&send(&stand, &token, Method::POST, path, &body).await.1));
    }
    let [pod, team, secret] = &made[..] else { panic!("three ids") };
    let new = [("name", "fine"), ("tier", "dev.small"), ("repository", "owner/full"), ("branch", "main")];
    let host = [("name", "fine"), ("transport", "ssh"), ("address", "192.0.2.1")];
    let patch = [("id", pod.as_str()), ("name", "fine"), ("tier", "dev.small")];
    let new_secret = [("team", team.as_str()), ("name", "FINE"), ("value", "x"), ("whose", "repository"), ("project", "owner/full")];
    let rename = [("id", secret.as_str()), ("name", "FINE")];
    let invitation = [("id", team.as_str()), ("who", "x"), ("role", "member")];
    for value in HOSTILE {
        // What was typed where, and where it is said what is wrong with it.
        for (path, fields, field, at) in [
            ("/fn/pods/create", &new[..], "name", "name"),
            ("/fn/pods/create", &new[..], "tier", "tier"),
            ("/fn/pods/create", &new[..], "repository", "repository"),
            ("/fn/pods/create", &new[..], "branch", "branch"),
            ("/fn/pods/update", &patch[..], "name", "name"),
            ("/fn/pods/update", &patch[..], "tier", "tier"),
            ("/fn/account/handle", &[("handle", "x")][..], "handle", "handle"),
            ("/fn/secrets/create", &new_secret[..], "name", "name"),
            ("/fn/secrets/create", &new_secret[..], "project", "project_ref"),
            ("/fn/secrets/rename", &rename[..], "name", "name"),
            ("/fn/teams/invite", &invitation[..], "who", "github_login"),
            ("/fn/hosts/add", &host[..], "name", "name"),
            ("/fn/hosts/add", &host[..], "address", "address"),
        ] {
            let (status, error) = form(&stand, &browser, path, &changed(fields, field, value)).await;
            assert!(status == 422 && error["fields"][at][0].is_string(), "{path} {field} = {value:?}: {status} {error}");
        }
    }
    let kept = [listed(&stand, &token, "/pods").await, listed(&stand, &token, "/secrets").await];
    assert_eq!(kept.each_ref().map(|list| (list.as_array().map(Vec::len), &list[0]["name"])), [(Some(1), &json!("kept")), (Some(1), &json!("KEPT"))]);
    for list in ["/hosts", &format!("/teams/{team}/invitations")] {
        assert_eq!(listed(&stand, &token, list).await, json!([]), "{list}");
    }
    // What is no form at all.
    for (kind, body) in [(JSON, "{}"), ("text/plain", "x"), (FORM, "name=%ff%fe&tier=%00")] {
        let (status, error) = call(&stand, &browser, "/fn/pods/create", kind, body).await;
        assert!((400..500).contains(&status) && error["code"].is_string(), "{kind}: {status} {error}");
    }
}

#[tokio::test]
async fn what_a_server_function_can_not_read_is_refused_and_nothing_comes_of_it() {
    let stand = Stand::open().await;
    let browser = stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let team = id_of(&send(&stand, &token, Method::POST, "/teams", &json!({ "name": "Kept" })).await.1);
    let json_paths = ["/fn/secrets/view", "/fn/secrets/check-import", "/fn/secrets/import"];
    let deep = "[".repeat(100_000);
    let deep_object = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
    for path in json_paths {
        for body in [
            Vec::new(),
            b"{".to_vec(),
            b"team=a".to_vec(),
            b"{\"team\":\"a\"} x".to_vec(),
            b"{\"team\":\"\xff\"}".to_vec(),
            b"{\"team\":\"\\ud800\"}".to_vec(),
            b"null".to_vec(),
            b"7".to_vec(),
            b"\"a\"".to_vec(),
            b"[]".to_vec(),
            deep.clone().into_bytes(),
            format!("{{\"team\":{deep}").into_bytes(),
            format!("{{\"team\":{deep_object}}}").into_bytes(),
            format!("{{\"team\":\"{team}\",\"entries\":[{deep_object}]}}").into_bytes(),
            // A field that is not known saves nothing that is missing.
            format!("{{\"team\":\"{team}\",\"entries\":[],\"zzz\":1}}").into_bytes(),
        ] {
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            let (status, error) = call(&stand, &browser, path, JSON, body).await;
            assert!((400..500).contains(&status) && error["code"].is_string(), "{path} {shown}: {status} {error}");
        }
    }
    let fine = json!([{ "name": "FINE", "value": "x" }]);
    let bodies = [json!({ "team": null }), json!({ "team": team, "entries": fine }), json!({ "team": team, "entries": fine })];
    let new_token = [("name", "x"), ("scope", "read"), ("expires_days", "1")];
    let invitation = [("id", team.as_str()), ("who", "member"), ("role", "member")];
    let new_secret = [("team", team.as_str()), ("name", "FINE"), ("value", "x")];
    for value in HOSTILE {
        for (path, body) in json_paths.into_iter().zip(&bodies) {
            let (status, error) = call(&stand, &browser, path, JSON, with(body, "project", json!(value)).to_string()).await;
            assert!(status == 422 && error["fields"]["project_ref"][0].is_string(), "{path} {value:?}: {status} {error}");
        }
        // In a file, the line is refused before anything is written, and all of it when it is.
        let import = json!({ "team": team, "entries": [{ "name": value, "value": "x" }, { "name": "FINE", "value": "x" }] }).to_string();
        let (status, verdicts) = call(&stand, &browser, "/fn/secrets/check-import", JSON, import.clone()).await;
        assert!(status == 200 && verdicts[0]["Refused"]["why"].is_string() && verdicts[1]["Refused"].is_null(), "{value:?}: {status} {verdicts}");
        let (status, error) = call(&stand, &browser, "/fn/secrets/import", JSON, import).await;
        assert!(status == 422 && error["fields"]["entries"][0].is_string(), "{value:?}: {status} {error}");
        // Where only an id, a number or a word is one.
        for (path, fields, field) in [
            ("/fn/account/create-token", &new_token[..], "scope"),
            ("/fn/account/create-token", &new_token[..], "expires_days"),
            ("/fn/teams/invite", &invitation[..], "id"),
            ("/fn/teams/invite", &invitation[..], "role"),
            ("/fn/secrets/create", &new_secret[..], "team"),
        ] {
            let (status, error) = form(&stand, &browser, path, &changed(fields, field, value)).await;
            assert!((400..500).contains(&status) && error["code"].is_string(), "{path} {field} = {value:?}: {status} {error}");
        }
    }
    for list in ["/secrets", &format!("/teams/{team}/invitations")] {
        assert_eq!(listed(&stand, &token, list).await, json!([]), "{list}");
    }
    assert_eq!(listed(&stand, &token, "/tokens").await.as_array().map(Vec::len), Some(1), "the one that asks");
}

#[tokio::test]
async fn somebody_elses_pod_is_not_there_for_any_server_function_or_stream() {
    let stand = Stand::open().await;
    stand.sign_in("owner").await;
    let mine = stand.sign_in("outsider").await;
    let theirs = stand.token("owner", "write");
    let (_, pod) = send(&stand, &theirs, Method::POST, "/pods", &json!({ "name": "theirs", "tier": "dev.small", "repository": "owner/full" })).await;
    let id = pod["id"].as_str().expect("an id");
    let of_one_pod: Vec<&str> = pinacle_app::endpoints::endpoints()
        .into_iter()
        .filter(|path| path.starts_with("/fn/pods/") && !["list", "check", "suggest-name", "create"].iter().any(|end| path.ends_with(end)))
        .collect();
    assert!(of_one_pod.len() > 10, "{of_one_pod:?}");
    let fields =
        |id| [("id", id), ("name", "main"), ("tier", "dev.small"), ("wish", "delete"), ("plan_digest", "x"), ("after", "0"), ("limit", "10")];
    for path in of_one_pod {
        for id in [id, NOBODYS] {
            let (status, error) = form(&stand, &mine, path, &fields(id)).await;
            assert_eq!((status, &error["code"]), (404, &json!("not_found")), "{path} of {id}: {error}");
        }
        let (status, error) = form(&stand, &mine, path, &fields("no-id")).await;
        assert!((400..500).contains(&status) && error["code"].is_string(), "{path}: {status} {error}");
    }
    for path in ["events", "terminals/main", "logs/web", "files?path=x"] {
        for id in [id, NOBODYS, "no-id", "%00"] {
            let request = stand.page(&mine, Method::GET, &format!("/live/pods/{id}/{path}"));
            let request = match path {
                "terminals/main" | "logs/web" => request
                    .header(CONNECTION, "Upgrade")
                    .header(UPGRADE, "websocket")
                    .header("sec-websocket-version", "13")
                    .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                _ => request,
            };
            assert_eq!(request.send().await.expect("an answer").status(), StatusCode::NOT_FOUND, "{path} of {id}");
        }
    }
    let put = stand.page(&mine, Method::PUT, &format!("/live/pods/{id}/files?path=x")).body("x");
    assert_eq!(put.send().await.expect("an answer").status(), StatusCode::NOT_FOUND);
    let after = read(stand.api(&theirs, Method::GET, &format!("/pods/{id}")).send().await.expect("an answer")).await.1;
    assert_eq!((&after["name"], &after["desired"]), (&json!("theirs"), &json!("running")));
}

#[tokio::test]
async fn what_a_machine_says_of_itself_as_it_joins_is_kept_without_what_postgres_can_not_keep() {
    let stand = Stand::with(&[("PINACLE_OPERATORS", "operator")]).await;
    stand.sign_in("operator").await;
    let operator = stand.token("operator", "write");
    let (_, invited) = send(&stand, &operator, Method::POST, "/hosts", &json!({ "name": "one", "transport": "ssh", "address": "192.0.2.1" })).await;
    let token = invited["join_token"].as_str().expect("a token");
    let mut report = serde_json::to_value(crate::hosts::report()).expect("JSON");
    report["inventory"]["kernel"] = json!("6.1\0; \u{202e}$(id)'\"");
    let (status, joined) = send(&stand, token, Method::POST, "/hosts/join", &report).await;
    assert_eq!(status, 200, "{joined}");
    // Its disks can be adopted; whose and as what is checked like any form.
    let host = invited["host"]["id"].as_str().expect("an id");
    let orphan = &report["inventory"]["orphans"][0]["pod"];
    let path = format!("/hosts/{host}/orphans/{}/adopt", orphan.as_str().expect("an id"));
    let body = json!({ "owner": "operator", "name": "adopted", "tier": "dev.small" });
    for field in ["owner", "name", "tier"] {
        for value in HOSTILE {
            let (status, problem) = send(&stand, &operator, Method::POST, &path, &with(&body, field, json!(value))).await;
            assert!(is_at(field, status, &problem), "{field} = {value:?}: {status} {problem}");
        }
    }
    for path in ["keys", "keys/retire"] {
        for value in ["SHA256:x", "a\0b", "'"] {
            let (status, problem) = send(&stand, &operator, Method::POST, &format!("/hosts/{host}/{path}"), &json!({ "fingerprint": value })).await;
            assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{path} {value:?}");
        }
    }
    assert_eq!(send(&stand, &operator, Method::POST, &path, &body).await.0, 201);
}

#[tokio::test]
async fn hostile_text_at_the_doors_of_a_running_pod_stays_text_or_is_refused_at_its_field() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.newcomer().await;
    let id = user.running().await;
    for value in HOSTILE {
        // As an argument, as input and as the value of a variable everything but NUL is just text.
        let body = json!({ "argv": ["printf", "%s", value], "stdin": value, "env": { "A": value } });
        let (status, answer) = user.exec(&id, body).await;
        if value.contains('\0') {
            assert!(is_at("argv", status, &answer) && answer["errors"]["env"].is_array(), "{answer}");
        } else {
            assert_eq!((status, &answer["stdout"]), (200, &json!(value)), "{answer}");
            let (_, answer) = user.exec(&id, json!({ "argv": ["printenv", "A"], "env": { "A": value } })).await;
            assert_eq!(answer["stdout"], json!(format!("{value}\n")));
        }
        // Of a path, too.
        let encoded: String = url::form_urlencoded::byte_serialize(format!("deep/{value}").as_bytes()).collect();
        let put = user.request(Method::PUT, &format!("/pods/{id}/files?path={encoded}")).body("x").send().await.expect("an answer");
        if value.contains('\0') {
            let (status, problem) = read(put).await;
            assert!(is_at("path", status, &problem), "{problem}");
        } else {
            assert!([204, 404].contains(&put.status().as_u16()), "{value:?}: {}", put.status());
        }
        // Names are none.
        let name = value.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        for (method, path) in [
            (Method::DELETE, format!("/pods/{id}/terminals/{name}")),
            (Method::POST, format!("/pods/{id}/processes/{name}/restart")),
            (Method::GET, format!("/pods/{id}/processes/{name}/log")),
        ] {
            let (status, problem) = user.ask(method, &path, Value::Null).await;
            assert!(is_at("name", status, &problem), "{path} ({value:?}): {status} {problem}");
        }
        let (status, problem) = user.exec(&id, json!({ "argv": ["true"], "env": { value: "x" } })).await;
        assert!(is_at("env", status, &problem), "{value:?}: {status} {problem}");
    }
    assert_eq!(user.shell(&id, "ls -A / | grep -c passwd || true; ls /home/dev/etc 2>&1 | head -1").await.lines().next(), Some("0"));
    user.delete(&id).await;
}
