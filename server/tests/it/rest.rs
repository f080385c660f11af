//! The API as its own document describes it: every operation is driven, and every door is shut to whom it is not for.

use crate::{
    fleet::{Fleet, User},
    screen::Screen,
    stand::{Door, Stand},
};
use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{CONNECTION, UPGRADE},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One operation of the document.
struct Operation {
    method: Method,
    /// As in the document, below `/api/v1`.
    path: String,
    /// What it answers when it does what it is for.
    success: Vec<u16>,
}

async fn operations(door: &Door) -> Vec<Operation> {
    let document: Value = door.get("/api/v1/openapi.json").send().await.expect("an answer").json().await.expect("JSON");
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            let path = path.strip_prefix("/api/v1").unwrap_or_else(|| panic!("{path} is below /api/v1")).to_owned();
            let responses = operation["responses"].as_object().expect("responses");
            let success: Vec<u16> = responses.keys().filter_map(|status| status.parse().ok()).filter(|status| *status < 400).collect();
            assert!(!success.is_empty(), "{method} {path} says how it succeeds");
            operations.push(Operation { method, path, success });
        }
    }
    assert!(operations.len() > 30, "{}", operations.len());
    operations
}

const NOBODYS: &str = "00000000-0000-7000-8000-000000000000";

/// The path with something in place of its parameters.
fn filled(path: &str, id: &str) -> String {
    let query = if path.ends_with("/files") { "?path=x" } else { "" };
    path.replace("{id}", id)
        .replace("{owner}", "owner")
        .replace("{name}", "main")
        .replace("{pod}", NOBODYS)
        .replace("{user_id}", NOBODYS)
        .replace("{invitation_id}", NOBODYS)
        .replace("{code}", "x")
        + query
}

/// A body that the operation takes.
fn body(method: &Method, path: &str) -> Value {
    match (method.as_str(), path) {
        ("PATCH", "/me") => json!({ "handle": format!("h{:08x}", rand::random::<u32>()) }),
        ("POST", "/teams") => json!({ "name": "x" }),
        ("PATCH", "/teams/{id}") => json!({ "name": "x" }),
        ("PATCH", "/teams/{id}/members/{user_id}") => json!({ "role": "member" }),
        ("POST", "/teams/{id}/invitations") => json!({ "github_login": "outsider", "role": "member" }),
        ("POST", "/teams/{id}/pods/take-over") => json!({}),
        ("POST", "/tokens") => json!({ "name": "x", "scope": "read", "expires_days": 1 }),
        ("POST", "/pods") => json!({ "name": format!("p{:08x}", rand::random::<u32>()), "tier": "dev.small" }),
        ("PATCH", "/pods/{id}") => json!({ "name": format!("p{:08x}", rand::random::<u32>()) }),
        ("POST", "/pods/{id}/setup/approve") => json!({ "plan_digest": "x" }),
        ("POST", "/pods/{id}/exec") => json!({ "argv": ["true"] }),
        ("POST", "/secrets") => json!({ "name": format!("S{:08X}", rand::random::<u32>()), "value": "x" }),
        ("PATCH", "/secrets/{id}") => json!({ "value": "y" }),
        ("POST", "/hosts") => json!({ "name": "x", "transport": "ssh", "address": "192.0.2.1" }),
        ("POST", "/hosts/{id}/orphans/{pod}/adopt") => json!({ "owner": "owner", "name": "x", "tier": "dev.small" }),
        ("POST", "/hosts/{id}/keys" | "/hosts/{id}/keys/retire") => json!({ "fingerprint": "SHA256:x" }),
        _ => Value::Null,
    }
}

/// The request as a client that knows the document would send it.
fn asked(request: RequestBuilder, operation: &Operation) -> RequestBuilder {
    let (method, path) = (&operation.method, operation.path.as_str());
    match (method.as_str(), path, body(method, path)) {
        ("PUT", "/pods/{id}/files", _) => request.body("x"),
        ("GET", "/pods/{id}/terminals/{name}", _) => request
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        (_, _, Value::Null) => request,
        (_, _, body) => request.json(&body),
    }
}

async fn answer(door: &Door, token: Option<&str>, operation: &Operation, id: &str) -> (u16, Value) {
    let path = format!("/api/v1{}", filled(&operation.path, id));
    let request = door.request(operation.method.clone(), &path);
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let answer = asked(request, operation).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

fn is_joining(operation: &Operation) -> bool {
    operation.path == "/hosts/join"
}

#[tokio::test]
async fn every_operation_wants_a_token() {
    let stand = Stand::open().await;
    stand.sign_in("owner").await;
    for operation in operations(&stand).await {
        let (status, problem) = answer(&stand, None, &operation, NOBODYS).await;
        assert!(status == 401 || (is_joining(&operation) && status >= 400), "{} {}: {status}", operation.method, operation.path);
        assert!(problem["code"].is_string(), "{} {}: {problem}", operation.method, operation.path);
        let (status, _) = answer(&stand, Some("nonsense"), &operation, NOBODYS).await;
        assert!(status == 401 || (is_joining(&operation) && status >= 400), "{} {}: {status}", operation.method, operation.path);
    }
}

#[tokio::test]
async fn somebody_elses_id_and_nobodys_answer_not_found_at_every_path() {
    let stand = Stand::with(&[("PINACLE_OPERATORS", "operator")]).await;
    let owner = stand.sign_in("owner").await;
    let _ = owner;
    stand.sign_in("outsider").await;
    let (theirs, mine) = (stand.token("owner", "write"), stand.token("outsider", "write"));
    let json = async |request: RequestBuilder| request.send().await.expect("an answer").json::<Value>().await.expect("JSON");
    let pod =
        json(stand.api(&theirs, Method::POST, "/pods").json(&json!({ "name": "theirs", "tier": "dev.small", "repository": "owner/full" }))).await;
    let token = json(stand.api(&theirs, Method::POST, "/tokens").json(&json!({ "name": "x", "scope": "read", "expires_days": 1 }))).await;
    let sessions = json(stand.api(&theirs, Method::GET, "/sessions")).await;
    let team = json(stand.api(&theirs, Method::POST, "/teams").json(&json!({ "name": "theirs" }))).await;
    let secret = json(stand.api(&theirs, Method::POST, "/secrets").json(&json!({ "name": "THEIRS", "value": "x" }))).await;
    // One for each kind of id: what one user may change in a while is bounded.
    let mut strangers = Vec::new();
    for _ in 0..4 {
        let login = stand.new_account().await;
        stand.sign_in(&login).await;
        strangers.push(stand.token(&login, "write"));
    }
    let foreign = BTreeMap::from([
        ("teams", &team["id"]),
        ("pods", &pod["id"]),
        ("secrets", &secret["id"]),
        ("tokens", &token["id"]),
        ("sessions", &sessions["items"][0]["id"]),
    ]);
    for operation in operations(&stand).await.iter().filter(|operation| operation.path.contains("{id}")) {
        let noun = operation.path.split('/').nth(1).expect("a noun");
        let theirs = foreign.get(noun).map(|id| id.as_str().expect("an id"));
        for (id, stranger) in [NOBODYS, "no-id", "%00"].into_iter().chain(theirs).zip(&strangers) {
            let (status, problem) = answer(&stand, Some(stranger), operation, id).await;
            assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{} {} of {id}: {problem}", operation.method, operation.path);
        }
    }
    // A stream, too.
    let path = format!("/pods/{}/events", pod["id"].as_str().expect("an id"));
    let stream = stand.api(&mine, Method::GET, &path).header("accept", "text/event-stream").send().await.expect("an answer");
    assert_eq!(stream.status(), StatusCode::NOT_FOUND);
    // And nothing of it was done.
    let after = json(stand.api(&theirs, Method::GET, &format!("/pods/{}", pod["id"].as_str().expect("an id")))).await;
    assert_eq!((&after["name"], &after["desired"]), (&json!("theirs"), &json!("running")));
    assert_eq!(json(stand.api(&theirs, Method::GET, "/sessions")).await["items"].as_array().map(Vec::len), Some(1));
    for list in ["/pods", "/secrets"] {
        assert_eq!(json(stand.api(&mine, Method::GET, list)).await["items"], json!([]), "nor is it listed");
    }
    let after = json(stand.api(&theirs, Method::GET, &format!("/secrets/{}", secret["id"].as_str().expect("an id")))).await;
    assert_eq!(after["changed_at"], secret["changed_at"]);
    let of_team = stand.api(&mine, Method::GET, &format!("/secrets?team_id={}", pod["team_id"].as_str().expect("an id")));
    assert_eq!(of_team.send().await.expect("an answer").status(), StatusCode::NOT_FOUND);
    let body = json!({ "name": "x", "tier": "dev.small", "team_id": pod["team_id"] });
    let refused = json(stand.api(&mine, Method::POST, "/pods").json(&body)).await;
    assert!(refused["errors"]["team_id"].is_array(), "{refused}");
}

#[tokio::test]
async fn a_token_that_may_only_read_changes_nothing() {
    let stand = Stand::with(&[("PINACLE_OPERATORS", "operator")]).await;
    stand.sign_in("operator").await;
    let (read, write) = (stand.token("operator", "read"), stand.token("operator", "write"));
    let pod: Value = stand
        .api(&write, Method::POST, "/pods")
        .json(&json!({ "name": "mine", "tier": "dev.small" }))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let id = pod["id"].as_str().expect("an id");
    for operation in operations(&stand).await.iter().filter(|operation| !is_joining(operation)) {
        // Typing into a terminal is a change, whatever the method is; and what lies in a pod may be a credential.
        let changes = operation.method != Method::GET || ["/pods/{id}/terminals/{name}", "/pods/{id}/files"].contains(&operation.path.as_str());
        let (status, problem) = answer(&stand, Some(&read), operation, id).await;
        if changes {
            assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{} {}: {problem}", operation.method, operation.path);
        } else {
            assert!(status != 403, "{} {}: {problem}", operation.method, operation.path);
        }
    }
    let after: Value = stand.api(&read, Method::GET, &format!("/pods/{id}")).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!((&after["name"], &after["desired"]), (&json!("mine"), &json!("running")));
}

#[tokio::test]
async fn to_everybody_but_operators_there_are_no_hosts() {
    let stand = Stand::with(&[("PINACLE_OPERATORS", "operator")]).await;
    stand.sign_in("operator").await;
    stand.sign_in("owner").await;
    let (operator, owner) = (stand.token("operator", "write"), stand.token("owner", "write"));
    let new = json!({ "name": "one", "transport": "ssh", "address": "192.0.2.1" });
    let added: Value = stand.api(&operator, Method::POST, "/hosts").json(&new).send().await.expect("an answer").json().await.expect("JSON");
    let id = added["host"]["id"].as_str().expect("an id");
    let all = operations(&stand).await;
    let hosts: Vec<&Operation> = all.iter().filter(|operation| operation.path.starts_with("/hosts") && !is_joining(operation)).collect();
    assert!(hosts.len() > 5);
    for operation in hosts {
        let (status, problem) = answer(&stand, Some(&owner), operation, id).await;
        assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{} {}", operation.method, operation.path);
    }
    // Nor does anybody else learn their names from the health of the parts.
    for (token, names) in [(&operator, json!("one")), (&owner, Value::Null)] {
        let health: Value = stand.request(Method::GET, "/health").bearer_auth(token).send().await.expect("an answer").json().await.expect("JSON");
        assert_eq!((&health["details"]["hosts"][0]["name"], &health["parts"]["database"]), (&names, &json!("ok")), "{health}");
    }
    let after: Value = stand.api(&operator, Method::GET, &format!("/hosts/{id}")).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(after["state"], "joining");
}

#[tokio::test]
async fn every_field_of_a_new_pod_has_its_rule_and_its_message() {
    let stand = Stand::open().await;
    stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let refused = async |change: Value| {
        let mut body = json!({ "name": "fine", "tier": "dev.small" });
        body.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        let answer = stand.api(&token, Method::POST, "/pods").json(&body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    let long = "x".repeat(21);
    for (field, values) in [
        ("name", vec![json!(""), json!("Upper"), json!("with-hyphen"), json!("ü"), json!(long), json!("a b"), json!(7), Value::Null]),
        ("tier", vec![json!(""), json!("dev.huge"), json!("DEV.SMALL")]),
        (
            "repository",
            vec![
                json!("nothing"),
                json!("file:///etc"),
                json!("http://example.test/a"),
                json!("ssh://git@example.test/a"),
                json!("--upload-pack=id"),
                json!("owner/../x"),
                json!("https://user:password@example.test/a"),
                json!("ext::sh -c id"),
                json!("https://example.test/\u{0}"),
                json!(format!("https://example.test/{}", "x".repeat(5000))),
            ],
        ),
        ("branch", vec![json!("--x"), json!("a..b"), json!("a b"), json!("a\u{0}"), json!("x".repeat(1000))]),
        ("team_id", vec![json!("no"), json!(NOBODYS)]),
        ("admin", vec![json!(true)]),
    ] {
        for value in values {
            let repository = if field == "branch" { json!({ "repository": "owner/full" }) } else { json!({}) };
            let mut change = repository;
            change[field] = value.clone();
            let (status, problem) = refused(change).await;
            let message = problem["errors"][field][0].as_str().unwrap_or_default();
            assert!(status == 422 && message.len() > 3, "{field} = {value}: {status} {problem}");
        }
    }
    let (status, problem) = refused(json!({ "branch": "main" })).await;
    assert!(status == 422 && problem["errors"]["branch"].is_array(), "a branch of nothing: {problem}");
    let all: Value = stand.api(&token, Method::GET, "/pods").send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(all["items"], json!([]));
}

/// Drives one operation as it is meant; what it answered.
struct Driven<'a> {
    user: &'a User<'a>,
    seen: BTreeMap<String, u16>,
}

impl Driven<'_> {
    async fn send(&mut self, method: &str, path: &str, at: &str, request: impl FnOnce(RequestBuilder) -> RequestBuilder) -> Value {
        let method: Method = method.parse().expect("a method");
        let answer = request(self.user.request(method.clone(), at)).send().await.expect("an answer");
        let status = answer.status().as_u16();
        let body = if path.ends_with("/log") { Value::Null } else { answer.json().await.unwrap_or(Value::Null) };
        assert!(status < 400, "{method} {at}: {status} {body}");
        self.seen.insert(format!("{method} {path}"), status);
        body
    }

    async fn ask(&mut self, method: &str, path: &str, at: &str, body: Value) -> Value {
        self.send(method, path, at, |request| if body.is_null() { request } else { request.json(&body) }).await
    }
}

#[tokio::test]
async fn every_operation_of_the_document_does_what_it_says() {
    let Some(fleet) = Fleet::alone().await else { return };
    // An operator may everything; the repository is its own only by approval.
    fleet.sign_in("operator").await;
    let operator = fleet.user("operator").await;
    let mut api = Driven { user: &operator, seen: BTreeMap::new() };
    for path in ["/me", "/quota", "/teams", "/repositories", "/pods", "/tokens", "/sessions", "/hosts"] {
        api.ask("GET", path, path, Value::Null).await;
    }
    api.ask("PATCH", "/me", "/me", json!({ "handle": format!("h{:08x}", rand::random::<u32>()) })).await;
    let path = "/repositories/{owner}/{name}/branches";
    api.ask("GET", path, "/repositories/owner/full/branches", Value::Null).await;
    let token = api.ask("POST", "/tokens", "/tokens", json!({ "name": "x", "scope": "read", "expires_days": 1 })).await;
    api.ask("DELETE", "/tokens/{id}", &format!("/tokens/{}", text(&token["id"])), Value::Null).await;
    let sessions = operator.get("/sessions").await;
    api.ask("DELETE", "/sessions/{id}", &format!("/sessions/{}", text(&sessions["items"][0]["id"])), Value::Null).await;
    api.ask("DELETE", "/sessions", "/sessions", Value::Null).await;

    let (login, other) = (fleet.new_account().await, fleet.new_account().await);
    fleet.sign_in(&login).await;
    let invited = fleet.user(&login).await;
    let team = api.ask("POST", "/teams", "/teams", json!({ "name": "acme" })).await;
    let at = |rest: &str| format!("/teams/{}{rest}", text(&team["id"]));
    api.ask("GET", "/teams/{id}", &at(""), Value::Null).await;
    api.ask("PATCH", "/teams/{id}", &at(""), json!({ "name": "apex" })).await;
    let path = "/teams/{id}/invitations";
    let first = api.ask("POST", path, &at("/invitations"), json!({ "github_login": login, "role": "member" })).await;
    let second = api.ask("POST", path, &at("/invitations"), json!({ "github_login": other, "role": "member" })).await;
    api.ask("GET", path, &at("/invitations"), Value::Null).await;
    let path = "/teams/{id}/invitations/{invitation_id}";
    let again = api.ask("POST", &format!("{path}/resend"), &at(&format!("/invitations/{}/resend", text(&first["id"]))), Value::Null).await;
    api.ask("DELETE", path, &at(&format!("/invitations/{}", text(&second["id"]))), Value::Null).await;
    let code = format!("/invitations/{}", text(&again["code"]));
    for method in ["GET", "POST"] {
        let (status, body) = invited.ask(method.parse().expect("a method"), &code, Value::Null).await;
        assert!(status < 400, "{method} {code}: {body}");
        api.seen.insert(format!("{method} /invitations/{{code}}"), status);
    }
    let members = api.ask("GET", "/teams/{id}/members", &at("/members"), Value::Null).await;
    let member = format!("/members/{}", text(&members["items"][1]["user_id"]));
    api.ask("PATCH", "/teams/{id}/members/{user_id}", &at(&member), json!({ "role": "owner" })).await;
    api.ask("DELETE", "/teams/{id}/members/{user_id}", &at(&member), Value::Null).await;
    api.ask("POST", "/teams/{id}/pods/take-over", &at("/pods/take-over"), json!({})).await;
    api.ask("GET", "/teams/{id}/activity", &at("/activity"), Value::Null).await;
    api.ask("DELETE", "/teams/{id}", &at(""), Value::Null).await;

    let new = json!({ "name": format!("p{:08x}", rand::random::<u32>()), "tier": "dev.small", "repository": "owner/full" });
    let pod = api.ask("POST", "/pods", "/pods", new).await;
    let id = text(&pod["id"]).to_owned();
    let at = |rest: &str| format!("/pods/{id}{rest}");
    let waiting = operator.until_setup(&id, "awaiting_approval").await;
    api.ask("POST", "/pods/{id}/setup/approve", &at("/setup/approve"), json!({ "plan_digest": waiting["setup"]["plan_digest"] })).await;
    operator.until_setup(&id, "done").await;
    api.ask("GET", "/pods/{id}", &at(""), Value::Null).await;
    api.ask("GET", "/pods/{id}/events", &at("/events"), Value::Null).await;
    api.ask("GET", "/pods/{id}/live", &at("/live"), Value::Null).await;
    api.ask("POST", "/pods/{id}/exec", &at("/exec"), json!({ "argv": ["true"] })).await;
    api.send("PUT", "/pods/{id}/files", &at("/files?path=x"), |request| request.body("x")).await;
    api.ask("GET", "/pods/{id}/files", &at("/files?path=x"), Value::Null).await;
    api.ask("POST", "/pods/{id}/processes/{name}/restart", &at("/processes/worker/restart"), Value::Null).await;
    api.ask("GET", "/pods/{id}/processes/{name}/log", &at("/processes/worker/log"), Value::Null).await;
    let secret = api.ask("POST", "/secrets", "/secrets", json!({ "name": "API_KEY", "value": "x" })).await;
    api.ask("GET", "/secrets", "/secrets", Value::Null).await;
    api.ask("GET", "/pods/{id}/secrets", &at("/secrets"), Value::Null).await;
    let of_secret = format!("/secrets/{}", text(&secret["id"]));
    for (method, change) in [("GET", Value::Null), ("PATCH", json!({ "value": "y" })), ("DELETE", Value::Null)] {
        api.ask(method, "/secrets/{id}", &of_secret, change).await;
    }
    let mut screen = Screen::open(&operator, &id, "main", "").await;
    screen.types("echo seen-$((1+1))\r").await;
    screen.shows("seen-2").await;
    api.seen.insert("GET /pods/{id}/terminals/{name}".into(), 101);
    api.ask("GET", "/pods/{id}/terminals", &at("/terminals"), Value::Null).await;
    api.ask("DELETE", "/pods/{id}/terminals/{name}", &at("/terminals/main"), Value::Null).await;
    api.ask("PATCH", "/pods/{id}", &at(""), json!({ "name": format!("p{:08x}", rand::random::<u32>()) })).await;
    api.ask("POST", "/pods/{id}/setup/retry", &at("/setup/retry"), Value::Null).await;
    for verb in ["stop", "start", "restart", "retry"] {
        api.ask("POST", &format!("/pods/{{id}}/{verb}"), &at(&format!("/{verb}")), Value::Null).await;
    }
    operator.until_status(&id, "running").await;
    api.ask("DELETE", "/pods/{id}", &at(""), Value::Null).await;

    // A host of its own, that is given up at the end; meanwhile it takes no pods.
    let name = format!("h{:08x}", rand::random::<u32>());
    let invited = api.ask("POST", "/hosts", "/hosts", json!({ "name": name, "transport": "ssh", "address": "192.0.2.9" })).await;
    let host = text(&invited["host"]["id"]).to_owned();
    let joining = fleet.api(text(&invited["join_token"]), Method::POST, "/hosts/join").json(&crate::hosts::report()).send().await.expect("an answer");
    api.seen.insert("POST /hosts/join".into(), joining.status().as_u16());
    api.ask("GET", "/hosts/{id}", &format!("/hosts/{host}"), Value::Null).await;
    api.ask("GET", "/hosts/{id}/pods", &format!("/hosts/{host}/pods"), Value::Null).await;
    let orphans = api.ask("GET", "/hosts/{id}/orphans", &format!("/hosts/{host}/orphans"), Value::Null).await;
    let orphan = text(&orphans["items"][0]["pod"]).to_owned();
    api.ask("DELETE", "/hosts/{id}/orphans/{pod}", &format!("/hosts/{host}/orphans/{orphan}"), Value::Null).await;
    let adopt = format!("/hosts/{host}/orphans/{orphan}/adopt");
    let adoption = json!({ "owner": "operator", "name": format!("a{:08x}", rand::random::<u32>()), "tier": "dev.small" });
    api.ask("POST", "/hosts/{id}/orphans/{pod}/adopt", &adopt, adoption).await;
    let db = sqlx::PgPool::connect(&fleet.database_url).await.expect("the database");
    // As check-hosts would write it.
    let offer = "INSERT INTO host_keys (host_id, algorithm, public_key, state) SELECT host_id, algorithm, set_byte(public_key, length(public_key) - 1, 7), 'offered' FROM host_keys WHERE host_id = $1";
    sqlx::query(offer).bind(host.parse::<uuid::Uuid>().expect("an id")).execute(&db).await.expect("offered");
    let keyed = operator.get(&format!("/hosts/{host}")).await;
    if let Some(fingerprint) = keyed["offered_keys"][0].as_str() {
        let key = json!({ "fingerprint": fingerprint });
        let trusted = api.ask("POST", "/hosts/{id}/keys", &format!("/hosts/{host}/keys"), key.clone()).await;
        assert_eq!(trusted["trusted_keys"].as_array().map(Vec::len), Some(2), "the one before it is still good");
        let retired = api.ask("POST", "/hosts/{id}/keys/retire", &format!("/hosts/{host}/keys/retire"), key).await;
        assert_eq!(retired["trusted_keys"].as_array().map(Vec::len), Some(1));
        let last = json!({ "fingerprint": retired["trusted_keys"][0] });
        assert_eq!(operator.ask(Method::POST, &format!("/hosts/{host}/keys/retire"), last).await.0, 409, "the last one stays");
    }
    let again = api.ask("POST", "/hosts/{id}/rejoin", &format!("/hosts/{host}/rejoin"), Value::Null).await;
    let joining = fleet.api(text(&again["join_token"]), Method::POST, "/hosts/join").json(&crate::hosts::report()).send().await.expect("an answer");
    let joined: Value = joining.json().await.expect("JSON");
    assert_eq!((&joined["host_id"], &joined["pod_cidr"]), (&json!(host), &invited["host"]["pod_cidr"]), "its row and its range stay");
    for verb in ["cordon", "drain", "activate", "set-aside", "lost"] {
        api.ask("POST", &format!("/hosts/{{id}}/{verb}"), &format!("/hosts/{host}/{verb}"), Value::Null).await;
    }

    let mut missing = Vec::new();
    for operation in operations(&fleet).await {
        let name = format!("{} {}", operation.method, operation.path);
        match api.seen.get(&name) {
            None => missing.push(format!("{name} is in no row")),
            Some(status) if !operation.success.contains(status) => {
                missing.push(format!("{name} answered {status}, the document says {:?}", operation.success))
            }
            Some(_) => {}
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is text"))
}
