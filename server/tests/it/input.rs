//! What people and programs send that can't be: each is answered with its status and its message at the field, at every
//! door, and nothing comes of it.

use crate::{
    fleet::Fleet,
    stand::{Browser, Stand},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT, CONNECTION, CONTENT_TYPE, UPGRADE},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

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
        let long = "x".repeat(MOST_BODY - 1000);
        for value in HOSTILE.into_iter().chain([long.as_str()]) {
            let (status, problem) = send(&stand, who, method.clone(), path, &with(body, field, json!(value))).await;
            let shown: String = value.chars().take(40).collect();
            assert!(is_at(field, status, &problem), "{method} {path} {field} = {shown:?}: {status} {problem}");
        }
        // And of another kind.
        for value in [json!(7), json!(true), json!(["a"]), json!({ "a": "b" })] {
            let (status, problem) = send(&stand, who, method.clone(), path, &with(body, field, value.clone())).await;
            assert!(is_at(field, status, &problem), "{method} {path} {field} = {value}: {status} {problem}");
        }
    }
    for who in [member, outsider] {
        assert_eq!(read(stand.api(who, Method::GET, "/pods").send().await.expect("an answer")).await.1["items"], json!([]));
    }
    let after = read(stand.api(owner, Method::GET, &path).send().await.expect("an answer")).await.1;
    assert_eq!((&after["name"], &after["tier"]), (&json!("kept"), &json!("dev.small")));
    assert_eq!(read(stand.api(owner, Method::GET, "/me").send().await.expect("an answer")).await.1["handle"], "owner");
    assert_eq!(read(stand.api(operator, Method::GET, "/hosts").send().await.expect("an answer")).await.1["items"], json!([]));
}

#[tokio::test]
async fn a_tokens_name_is_kept_as_it_was_typed_or_refused() {
    let stand = Stand::open().await;
    stand.sign_in("owner").await;
    let write = stand.token("owner", "write");
    let body = json!({ "scope": "read", "expires_days": 1 });
    for bad in ["", "  ", "a\nb", "a\0b", "a\u{202e}b", "\u{2066}a", "a\u{200f}", &"x".repeat(61)] {
        let (status, problem) = send(&stand, &write, Method::POST, "/tokens", &with(&body, "name", json!(bad))).await;
        assert!(is_at("name", status, &problem), "{bad:?}: {problem}");
    }
    for good in ["a'b\"c", "$(id) `id`", "<script>alert(1)</script>", "'; DROP TABLE users; --", "größe שלום", "--upload-pack=id"] {
        let (status, made) = send(&stand, &write, Method::POST, "/tokens", &with(&body, "name", json!(good))).await;
        assert_eq!((status, &made["name"]), (201, &json!(good)), "{made}");
    }
}

#[tokio::test]
async fn a_query_that_can_not_be_is_refused_at_its_field() {
    let stand = Stand::with(&[("PINACLE_OPERATORS", "operator")]).await;
    stand.sign_in("operator").await;
    let token = stand.token("operator", "write");
    let (_, pod) = send(&stand, &token, Method::POST, "/pods", &json!({ "name": "mine", "tier": "dev.small" })).await;
    let id = pod["id"].as_str().expect("an id");
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let events = format!("/pods/{id}/events");
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
        ("/pods", "zzz"),
        ("/tokens", "zzz"),
        (&events, "zzz"),
    ] {
        for value in HOSTILE.into_iter().chain(["-x", "99999999999999999999", "MTIz", "💥"]) {
            let (status, problem) =
                read(stand.api(&token, Method::GET, &format!("{path}?{field}={}", encoded(value))).send().await.expect("an answer")).await;
            let named = problem["errors"].as_object().and_then(|errors| errors.keys().next()).cloned().unwrap_or_default();
            // A list of events says it by either of its two words for the same.
            let is_named = named == field || (named == "after" && field == "cursor");
            assert!(status == 422 && is_named, "{path}?{field}={value:?}: {status} {problem}");
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
    let pieces = (0..MUCH >> 16).map(|_| Ok::<_, std::io::Error>("x".repeat(1 << 16)));
    let request = stand.api(&token, Method::POST, "/pods").header(CONTENT_TYPE, "application/json");
    let answer = request.body(reqwest::Body::wrap_stream(futures::stream::iter(pieces))).send().await.expect("an answer");
    assert_eq!(read(answer).await.0, 413);
    for path in ["/fn/pods/create", "/auth/sign-out", "/nothing"] {
        let form = format!("name={text}&tier=dev.small");
        let request = stand.page(&browser, Method::POST, path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = request.body(form).send().await.expect("an answer");
        assert!(answer.status().is_client_error() || answer.status().is_redirection(), "{path}: {}", answer.status());
        if path.starts_with("/fn") {
            assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
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

/// What a server function answers to a form.
async fn form(stand: &Stand, browser: &Browser, path: &str, fields: &[(&str, &str)]) -> (u16, Value) {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request =
        stand.page(browser, Method::POST, path).header(CONTENT_TYPE, "application/x-www-form-urlencoded").header(ACCEPT, "application/json");
    read(request.body(body).send().await.expect("an answer")).await
}

#[tokio::test]
async fn hostile_text_in_a_form_is_refused_at_its_field() {
    let stand = Stand::with(&[("PINACLE_OPERATORS", "operator")]).await;
    let browser = stand.sign_in("operator").await;
    for value in HOSTILE {
        let new = [("name", "fine"), ("tier", "dev.small"), ("repository", "owner/full"), ("branch", "main")];
        for (path, fields, field) in [
            ("/fn/pods/create", &new[..], "name"),
            ("/fn/pods/create", &new[..], "tier"),
            ("/fn/pods/create", &new[..], "repository"),
            ("/fn/pods/create", &new[..], "branch"),
            ("/fn/account/handle", &[("handle", "x")][..], "handle"),
            ("/fn/hosts/add", &[("name", "fine"), ("transport", "ssh"), ("address", "192.0.2.1")][..], "name"),
            ("/fn/hosts/add", &[("name", "fine"), ("transport", "ssh"), ("address", "192.0.2.1")][..], "address"),
        ] {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, fine)| (*name, if *name == field { value } else { *fine })).collect();
            let (status, error) = form(&stand, &browser, path, &fields).await;
            assert!(status == 422 && error["fields"][field][0].is_string(), "{path} {field} = {value:?}: {status} {error}");
        }
    }
    let token = stand.token("operator", "read");
    for list in ["/pods", "/hosts"] {
        assert_eq!(read(stand.api(&token, Method::GET, list).send().await.expect("an answer")).await.1["items"], json!([]), "{list}");
    }
    // What is no form at all.
    for (kind, body) in [("application/json", "{}"), ("text/plain", "x"), ("application/x-www-form-urlencoded", "name=%ff%fe&tier=%00")] {
        let request = stand.page(&browser, Method::POST, "/fn/pods/create").header(CONTENT_TYPE, kind).header(ACCEPT, "application/json");
        let (status, error) = read(request.body(body).send().await.expect("an answer")).await;
        assert!((400..500).contains(&status) && error["code"].is_string(), "{kind}: {status} {error}");
    }
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
