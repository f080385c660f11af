//! Who is believed: tokens and sessions that are not good (any more), requests that come from elsewhere, heads that claim.

use crate::{
    fleet::{Fleet, SOON},
    master_key::sealer,
    stand::{Browser, Stand, github_in_peace, location, variable},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use pinacle_server::account;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{ACCEPT, CONNECTION, CONTENT_TYPE, COOKIE, HOST, HeaderValue, ORIGIN, UPGRADE},
};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, PgPool};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use uuid::Uuid;

/// The claims of a token of ours.
fn claims(token: &str) -> Value {
    let body = token.split('.').nth(1).expect("a JWT");
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(body).expect("base64")).expect("JSON")
}

fn socket(request: RequestBuilder) -> RequestBuilder {
    request
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.expect("an answer").status().as_u16()
}

/// Asked with this token at each kind of API door.
async fn statuses(stand: &Stand, token: &str, pod: &str) -> [u16; 4] {
    [
        status(stand.api(token, Method::GET, "/me")).await,
        status(stand.api(token, Method::POST, "/pods").json(&json!({ "name": "x", "tier": "dev.small" }))).await,
        status(stand.api(token, Method::GET, &format!("/pods/{pod}/events")).header(ACCEPT, "text/event-stream")).await,
        status(socket(stand.api(token, Method::GET, &format!("/pods/{pod}/terminals/main")))).await,
    ]
}

const REFUSED: [u16; 4] = [401; 4];

async fn new_pod(stand: &Stand, token: &str) -> String {
    let new = json!({ "name": format!("p{:08x}", rand::random::<u32>()), "tier": "dev.small" });
    let pod: Value = stand.api(token, Method::POST, "/pods").json(&new).send().await.expect("an answer").json().await.expect("JSON");
    pod["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_token_that_somebody_made_up_or_changed_is_refused_at_every_door() {
    let stand = Stand::open().await;
    stand.sign_in("owner").await;
    stand.sign_in("member").await;
    let (good, theirs) = (stand.token("owner", "write"), stand.token("member", "write"));
    let pod = new_pod(&stand, &good).await;
    let db = PgPool::connect(&stand.database_url).await.expect("the database");
    let sealed = account::store::token_key(&db).await.expect("an answer").expect("the key that the server signs with");
    let key = sealer(&variable("PINACLE_MASTER_KEY_FILE")).open(account::KEY_ROW, &sealed).expect("it opens");
    let (ours, mine, now) = (EncodingKey::from_secret(key.as_slice()), claims(&good), OffsetDateTime::now_utc().unix_timestamp());
    let signed = |algorithm, key: &EncodingKey, change: Value| {
        let mut claims = mine.clone();
        for (name, value) in change.as_object().expect("claims") {
            match value {
                Value::Null => drop(claims.as_object_mut().expect("claims").remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        encode(&Header::new(algorithm), &claims, key).expect("signed")
    };
    let again = signed(Algorithm::HS256, &ours, json!({}));
    assert_eq!(status(stand.api(&again, Method::GET, "/me")).await, 200, "signed here as the server signs");
    let part = |value: &str| BASE64_URL_SAFE_NO_PAD.encode(value);
    let (head, signature) = good.rsplit_once('.').expect("a JWT");
    let body = good.split('.').nth(1).expect("a JWT");
    let unsigned = |algorithm: &str| format!("{}.{body}", part(&format!(r#"{{"typ":"JWT","alg":"{algorithm}"}}"#)));
    let public = EncodingKey::from_secret(b"a key that is not the server's own");
    let forged = [
        ("alg none", format!("{}.", unsigned("none"))),
        ("alg none, with a signature", format!("{}.{signature}", unsigned("none"))),
        ("alg None", format!("{}.", unsigned("None"))),
        ("alg NONE, no last dot", unsigned("NONE")),
        ("alg RS256", format!("{}.{signature}", unsigned("RS256"))),
        ("no signature", format!("{head}.")),
        ("no head", format!(".{body}.{signature}")),
        ("another key", signed(Algorithm::HS256, &public, json!({}))),
        ("an empty key", signed(Algorithm::HS256, &EncodingKey::from_secret(b""), json!({}))),
        ("our key, HS384", signed(Algorithm::HS384, &ours, json!({}))),
        ("our key, HS512", signed(Algorithm::HS512, &ours, json!({}))),
        ("another audience", signed(Algorithm::HS256, &ours, json!({ "aud": "pinacle-preview" }))),
        ("several audiences", signed(Algorithm::HS256, &ours, json!({ "aud": ["pinacle-api", "x"] }))),
        ("no audience", signed(Algorithm::HS256, &ours, json!({ "aud": null }))),
        ("expired", signed(Algorithm::HS256, &ours, json!({ "exp": now - 1 }))),
        ("never expires", signed(Algorithm::HS256, &ours, json!({ "exp": null }))),
        ("expires in text", signed(Algorithm::HS256, &ours, json!({ "exp": "9999999999" }))),
        ("nobody's", signed(Algorithm::HS256, &ours, json!({ "sub": Uuid::nil() }))),
        ("somebody else's number", signed(Algorithm::HS256, &ours, json!({ "jti": claims(&theirs)["jti"] }))),
        ("somebody else", signed(Algorithm::HS256, &ours, json!({ "sub": claims(&theirs)["sub"] }))),
        ("no number", signed(Algorithm::HS256, &ours, json!({ "jti": null }))),
        ("a number that is none", signed(Algorithm::HS256, &ours, json!({ "jti": "' OR 1=1" }))),
    ];
    for (what, token) in &forged {
        assert_eq!(statuses(&stand, token, &pod).await, REFUSED, "{what}");
    }
    for header in
        ["", "Bearer", "Bearer ", "Basic eDp5", &format!("Token {good}"), &format!("Bearer {good} {good}"), &format!("Bearer {good}, Bearer {good}")]
    {
        assert_eq!(status(stand.request(Method::GET, "/api/v1/me").header("authorization", header)).await, 401, "{header}");
    }
    assert_eq!(status(stand.api(&good, Method::GET, "/me").header("authorization", format!("Bearer {good}"))).await, 401, "two of them");
    assert_eq!(status(stand.get(&format!("/api/v1/me?access_token={good}"))).await, 401, "in an address");
    assert_eq!(status(stand.get("/api/v1/me").header(COOKIE, format!("__Host-pinacle_session={good}"))).await, 401, "in a cookie");
    assert_eq!(status(stand.api(&good, Method::GET, "/me")).await, 200);
}

#[tokio::test]
async fn a_token_that_was_revoked_has_expired_or_whose_user_was_removed_is_refused_at_once() {
    let stand = Stand::open().await;
    let login = stand.new_account().await;
    let browser = stand.sign_in(&login).await;
    let [one, other, revoked] = [(); 3].map(|()| stand.token(&login, "write"));
    let pod = new_pod(&stand, &one).await;
    let mut db = PgConnection::connect(&stand.database_url).await.expect("the database");
    let number = |token: &str| -> Uuid { claims(token)["jti"].as_str().and_then(|id| id.parse().ok()).expect("an id") };
    assert_eq!(status(stand.api(&revoked, Method::GET, "/me")).await, 200);
    assert_eq!(status(stand.api(&other, Method::DELETE, &format!("/tokens/{}", number(&revoked)))).await, 204);
    assert_eq!(statuses(&stand, &revoked, &pod).await, REFUSED, "revoked");
    let expire = "UPDATE api_tokens SET expires_at = now() - interval '1 second' WHERE id = $1";
    sqlx::query(expire).bind(number(&one)).execute(&mut db).await.expect("written");
    assert_eq!(statuses(&stand, &one, &pod).await, REFUSED, "expired");
    assert_eq!(status(stand.api(&other, Method::GET, "/me")).await, 200);
    // Nothing of the product removes a user yet; an operator can, in Postgres.
    let user: Uuid = claims(&other)["sub"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    for statement in [
        "DELETE FROM pods WHERE owner_id = $1",
        "DELETE FROM team_members WHERE user_id = $1",
        "DELETE FROM teams WHERE personal_of = $1",
        "DELETE FROM handles WHERE user_id = $1",
        "DELETE FROM users WHERE id = $1",
    ] {
        sqlx::query(statement).bind(user).execute(&mut db).await.expect("removed");
    }
    assert_eq!(statuses(&stand, &other, &pod).await, REFUSED, "removed");
    assert_eq!(status(stand.page(&browser, Method::GET, "/live/pods")).await, 401, "and signed out");
}

#[tokio::test]
async fn a_session_that_is_ended_while_a_request_on_it_is_under_way_stays_ended() {
    let stand = Stand::open().await;
    let browser = stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let mut db = PgConnection::connect(&stand.database_url).await.expect("the database");
    // A request that writes to its session is held up at just that.
    let mut held = db.begin().await.expect("begun");
    sqlx::query("SELECT id FROM sessions WHERE user_id IS NOT NULL FOR UPDATE").execute(&mut *held).await.expect("locked");
    let writing = tokio::spawn(stand.get("/auth/github").header(COOKIE, &browser.cookie).send());
    stand.until_somebody_waits_for_a_lock().await;
    sqlx::query("DELETE FROM sessions WHERE user_id IS NOT NULL").execute(&mut *held).await.expect("ended");
    held.commit().await.expect("committed");
    let answer = writing.await.expect("no panic").expect("an answer");
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(status(stand.page(&browser, Method::GET, "/live/pods")).await, 401);
    let sessions: Value = stand.api(&token, Method::GET, "/sessions").send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(sessions["items"], json!([]));

    // One that changes something else is held up in the middle, while its browser is signed out at the other door.
    let browser = stand.sign_in("owner").await;
    let mut held = db.begin().await.expect("begun");
    sqlx::query("SELECT id FROM users FOR UPDATE").execute(&mut *held).await.expect("locked");
    let request = stand.page(&browser, Method::POST, "/fn/account/handle").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let changing = tokio::spawn(request.body("handle=owner").send());
    stand.until_somebody_waits_for_a_lock().await;
    let ended = stand.api(&token, Method::DELETE, "/sessions").send().await.expect("an answer");
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    held.commit().await.expect("committed");
    let answer = changing.await.expect("no panic").expect("an answer");
    let revived = answer.headers().get_all("set-cookie").iter().any(|cookie| cookie.to_str().is_ok_and(|cookie| cookie.contains("pinacle_session=")));
    assert!(!revived, "{:?}", answer.headers());
    assert_eq!(status(stand.page(&browser, Method::GET, "/live/pods")).await, 401);
}

#[tokio::test]
async fn what_a_revoked_token_has_under_way_in_a_pod_ends_with_it() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.newcomer().await;
    let id = user.running().await;
    let (status, made) = user.ask(Method::POST, "/tokens", json!({ "name": "script", "scope": "write", "expires_days": 1 })).await;
    assert_eq!(status, 201);
    let token = made["token"].as_str().expect("a token");
    let command = fleet.api(token, Method::POST, &format!("/pods/{id}/exec")).json(&json!({ "argv": ["sleep", "7171"], "timeout_seconds": 600 }));
    let command = tokio::spawn(command.timeout(SOON).send());
    user.shell(&id, "until pgrep -f 'sleep 717[1]'; do sleep 0.1; done").await;
    assert_eq!(user.ask(Method::DELETE, &format!("/tokens/{}", made["id"].as_str().expect("an id")), Value::Null).await.0, 204);
    let answer = timeout(Duration::from_secs(5), command).await.expect("it ends at once").expect("no panic").expect("an answer");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    user.shell(&id, "while pgrep -f 'sleep 717[1]'; do sleep 0.1; done").await;
    user.delete(&id).await;
}

#[tokio::test]
async fn a_form_or_a_socket_of_another_site_is_refused_by_every_door_of_the_pages() {
    let stand = Stand::open().await;
    let browser = stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let pod = new_pod(&stand, &token).await;
    let foreign: [&[(&str, &str)]; 8] = [
        &[],
        &[("origin", "http://evil.test")],
        &[("origin", "null")],
        &[("origin", "http://localhost.evil.test")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "http://evil.test"), ("sec-fetch-site", "same-origin")],
        &[("referer", "http://localhost/")],
    ];
    let endpoints = pinacle_app::endpoints::endpoints();
    for said in foreign {
        let from = |request: RequestBuilder| {
            said.iter().fold(request.header(COOKIE, &browser.cookie), |request, (name, value)| request.header(*name, *value))
        };
        for path in endpoints.iter().copied().chain(["/auth/sign-out", "/pods", "/nothing"]) {
            for kind in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"] {
                let request = from(stand.request(Method::POST, path)).header(CONTENT_TYPE, kind).body(format!("id={pod}&wish=delete&handle=taken"));
                assert_eq!(status(request).await, 403, "{path} with {said:?}");
            }
        }
        for path in [format!("/live/pods/{pod}/terminals/main"), format!("/live/pods/{pod}/logs/web"), "/live/pods".to_owned(), "/pods".to_owned()] {
            assert_eq!(status(socket(from(stand.get(&path)))).await, 403, "a socket of {path} with {said:?}");
        }
        assert_eq!(status(from(stand.request(Method::PUT, &format!("/live/pods/{pod}/files?path=x"))).body("x")).await, 403);
        // The API takes no cookie at all, and lets no page of another site read an answer.
        let request = from(stand.request(Method::POST, "/api/v1/pods")).header(CONTENT_TYPE, "application/json").body("{}");
        assert_eq!(status(request).await, 401);
        let asked =
            from(stand.request(Method::OPTIONS, "/api/v1/pods")).header("access-control-request-method", "POST").send().await.expect("an answer");
        assert!(asked.headers().keys().all(|name| !name.as_str().starts_with("access-control")), "{:?}", asked.headers());
    }
    let after: Value = stand.api(&token, Method::GET, &format!("/pods/{pod}")).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(after["desired"], "running");
    assert_eq!(status(stand.page(&browser, Method::GET, "/live/pods")).await, 200, "still signed in");
}

/// The addresses that the signed-in browsers of this user are listed with.
async fn addresses(stand: &Stand, token: &str) -> Vec<String> {
    let page: Value = stand.api(token, Method::GET, "/sessions").send().await.expect("an answer").json().await.expect("JSON");
    page["items"].as_array().expect("a list").iter().map(|session| session["address"].as_str().expect("an address").to_owned()).collect()
}

/// Signs in with these said in each head.
async fn sign_in_saying(stand: &Stand, said: &[(&str, &str)]) -> Response {
    let _peace = github_in_peace().await;
    let with = |request: RequestBuilder| said.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let begun = with(stand.get("/auth/github")).send().await.expect("an answer");
    let browser = Browser { cookie: begun.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a cookie").to_owned() };
    let ask = location(&begun);
    let asked = url::Url::parse(&ask).expect("an address");
    let back: String = asked.query_pairs().find(|(name, _)| name == "redirect_uri").expect("where to come back").1.into_owned();
    assert!(back.starts_with(&stand.origin()), "{back}");
    let back = stand.http.get(format!("{ask}&login=owner")).send().await.expect("the stand-in answers");
    let callback = crate::stand::own_path(&location(&back));
    with(stand.get(&callback)).header(COOKIE, &browser.cookie).send().await.expect("an answer")
}

const CLAIMS: [(&str, &str); 8] = [
    ("x-forwarded-for", "203.0.113.9"),
    ("x-real-ip", "203.0.113.9"),
    ("forwarded", "for=203.0.113.9;host=evil.test;proto=https"),
    ("x-forwarded-host", "evil.test"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-port", "443"),
    ("x-original-url", "/api/v1/hosts"),
    ("x-http-method-override", "DELETE"),
];

#[tokio::test]
async fn what_a_client_claims_of_a_proxy_is_believed_from_a_configured_one_alone() {
    let stand = Stand::open().await;
    let answer = sign_in_saying(&stand, &CLAIMS).await;
    assert_eq!(location(&answer), "/");
    assert!(!answer.headers()["set-cookie"].to_str().expect("text").contains("evil.test"));
    let token = stand.token("owner", "write");
    assert_eq!(addresses(&stand, &token).await, ["127.0.0.1"], "no proxy is configured");
    let claiming = CLAIMS.iter().fold(stand.api(&token, Method::GET, "/me"), |request, (name, value)| request.header(*name, *value));
    assert_eq!(status(claiming).await, 200, "it is the path and the method that were asked for");

    // Nor does who claims another address with every try begin more sign-ins than one address may.
    let mut limited = false;
    for number in 0..200 {
        let begun = stand.get("/auth/github").header("x-forwarded-for", format!("198.51.100.{number}"));
        limited = status(begun).await == 429;
        if limited {
            break;
        }
    }
    assert!(limited);

    let behind = Stand::with(&[("PINACLE_TRUSTED_PROXIES", "127.0.0.1,10.0.0.2")]).await;
    sign_in_saying(&behind, &[("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.0.0.2")]).await;
    let token = behind.token("owner", "read");
    assert_eq!(addresses(&behind, &token).await, ["203.0.113.9"], "what stands before it may be made up");
    sign_in_saying(&behind, &[("x-forwarded-for", "nonsense"), ("x-real-ip", "203.0.113.9")]).await;
    assert!(addresses(&behind, &token).await.contains(&"127.0.0.1".to_owned()));
}

#[tokio::test]
async fn a_host_name_that_is_not_ours_gets_nothing_however_it_is_said() {
    let stand = Stand::open().await;
    let browser = stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let (ours, origin) = (stand.url.authority().to_owned(), stand.origin());
    for path in ["/", "/pods", "/api/v1/me", "/api/v1/openapi.json", "/health", "/live/pods", "/auth/github", "/pkg/pinacle.js", "/icon.svg"] {
        for host in
            ["evil.test", "127.0.0.1", &format!("{ours}.evil.test"), &format!("evil.{ours}"), &format!("{ours}:80"), "[::1]", "*", "localhost."]
        {
            let url = format!("http://{}{path}", stand.at);
            let request = stand.http.get(url).header(HOST, host).header(COOKIE, &browser.cookie).header(ORIGIN, &origin).bearer_auth(&token);
            assert_eq!(status(request.header("x-forwarded-host", &ours)).await, 421, "{host}{path}");
        }
    }
    for (head, expected) in [
        (format!("GET http://evil.test/health/live HTTP/1.1\r\nHost: {ours}"), "421"),
        ("GET /health/live HTTP/1.0".to_owned(), "421"),
        ("GET /health/live HTTP/1.1\r\nHost:".to_owned(), "421"),
        (format!("GET /health/live HTTP/1.1\r\nHost: {ours}\r\nHost: evil.test"), "421"),
        (format!("GET /health/live HTTP/1.1\r\nHost : {ours}"), "400"),
        (format!("GET /health/live HTTP/1.1\r\nHost: {ours}"), "200"),
    ] {
        let mut raw = TcpStream::connect(stand.at).await.expect("a connection");
        raw.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).await.expect("sent");
        let mut answer = String::new();
        raw.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.split(' ').nth(1) == Some(expected), "{head:?}: {answer}");
    }
}

/// Cookie heads: some almost ours, some of anything.
fn cookies() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![Just("__Host-pinacle_session"), Just("__host-pinacle_session"), Just("pinacle_session"), Just("theme"), Just("")];
    let value = prop_oneof!["[A-Za-z0-9_-]{22}", "[A-Za-z0-9_=+/-]{0,60}", "[ -~]{0,40}", "(%[0-9a-f]{2}){0,10}", Just("x".repeat(8000)),];
    let pair = (name, value).prop_map(|(name, value)| format!("{name}={value}").into_bytes());
    let piece = prop_oneof![6 => pair, 1 => prop::collection::vec(0x20u8..=0xff, 0..40)];
    prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.join(&b"; "[..]).into_iter().filter(|byte| *byte != 0x7f).collect())
}

#[tokio::test]
async fn no_cookie_that_somebody_made_up_signs_in_or_breaks_anything() {
    const CASES: usize = 150;
    let stand = Stand::open().await;
    let browser = stand.sign_in("owner").await;
    let mut runner = TestRunner::deterministic();
    for _ in 0..CASES {
        let cookie = cookies().new_tree(&mut runner).expect("a cookie").current();
        let shown = String::from_utf8_lossy(&cookie).into_owned();
        let Ok(head) = HeaderValue::from_bytes(&cookie) else { continue };
        for (path, signed_out) in [("/live/pods", 401), ("/", 200), ("/sign-in", 200)] {
            let answer = stand.request(Method::GET, path).header(COOKIE, &head).header(ORIGIN, stand.origin()).send().await.expect("an answer");
            assert!([signed_out, 302, 303, 307].contains(&answer.status().as_u16()), "{path} with {shown:?}: {}", answer.status());
        }
        // Beside a good one, it takes nothing from it.
        let both = [browser.cookie.as_bytes(), b"; theme=", cookie.as_slice()].concat();
        if !shown.contains("__Host-pinacle_session")
            && let Ok(head) = HeaderValue::from_bytes(&both)
        {
            let answer =
                stand.request(Method::GET, "/live/pods").header(COOKIE, head).header(ORIGIN, stand.origin()).send().await.expect("an answer");
            assert!(answer.status() == StatusCode::OK || answer.status() == StatusCode::UNAUTHORIZED, "{shown:?}: {}", answer.status());
        }
    }
    assert_eq!(status(stand.page(&browser, Method::GET, "/live/pods")).await, 200);
}
