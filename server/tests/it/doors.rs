//! The doors: signing in, sessions, API tokens, what is refused and how.

use crate::{
    fleet::User,
    stand::{Browser, Stand, browser_of, github_alone, github_in_peace, location, own_path, variable},
    teams::{joins, team_of},
};
use futures::future::join_all;
use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, COOKIE, HOST, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Status and problem of a refusal; it is one by its media type.
async fn problem(answer: Response) -> (u16, Value) {
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["status"], status);
    (status, body)
}

async fn me(stand: &Stand, token: &str) -> Value {
    stand.api(token, Method::GET, "/me").send().await.expect("an answer").json().await.expect("JSON")
}

async fn sessions(stand: &Stand, token: &str) -> Vec<Value> {
    let page: Value = stand.api(token, Method::GET, "/sessions").send().await.expect("an answer").json().await.expect("JSON");
    page["items"].as_array().expect("a list").clone()
}

/// Whether this browser is signed in: signed out, a stream is refused before anything else.
async fn is_signed_in(stand: &Stand, browser: &Browser) -> bool {
    let nobodys = "/live/pods/00000000-0000-7000-8000-000000000000/files?path=x";
    stand.page(browser, Method::GET, nobodys).send().await.expect("an answer").status() != StatusCode::UNAUTHORIZED
}

#[tokio::test]
async fn a_person_signs_in_goes_where_it_wanted_and_signs_out() {
    let stand = Stand::open().await;
    let peace = github_in_peace().await;
    let (before, answer) = stand.sign_in_as_far_as_callback("owner", "/pods%3Fstatus%3Drunning").await;
    drop(peace);
    assert_eq!(location(&answer), "/pods?status=running");
    let cookie = answer.headers()["set-cookie"].to_str().expect("text");
    for part in ["__Host-pinacle_session=", "HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    let browser = browser_of(&answer).expect("a session");
    assert_ne!(before, browser, "the id is another after signing in");
    assert!(is_signed_in(&stand, &browser).await);
    assert!(!is_signed_in(&stand, &before).await);
    let out = stand.page(&browser, Method::POST, "/auth/sign-out").send().await.expect("an answer");
    assert_eq!((out.status(), location(&out).as_str()), (StatusCode::SEE_OTHER, "/"));
    assert!(!is_signed_in(&stand, &browser).await);
}

#[tokio::test]
async fn a_foreign_return_address_leads_home() {
    let stand = Stand::open().await;
    let _peace = github_in_peace().await;
    for foreign in ["//evil.test", "/%5Cevil.test", "https://evil.test/", "/%0a/evil.test"] {
        let (_, answer) = stand.sign_in_as_far_as_callback("owner", foreign).await;
        assert_eq!(location(&answer), "/", "{foreign}");
    }
}

#[tokio::test]
async fn a_state_that_is_made_up_used_or_anothers_is_stale() {
    let stand = Stand::open().await;
    let _peace = github_in_peace().await;
    let stale = "/sign-in?error=stale_state";
    let made_up = stand.get("/auth/github/callback?code=x&state=y").send().await.expect("an answer");
    assert_eq!(location(&made_up), stale);
    let (mine, ask) = stand.begin("/").await;
    let (theirs, _) = stand.begin("/").await;
    let back = stand.http.get(format!("{ask}&login=owner")).send().await.expect("the stand-in answers");
    let callback = own_path(&location(&back));
    let answer = stand.get(&callback).header(COOKIE, &theirs.cookie).send().await.expect("an answer");
    assert_eq!(location(&answer), stale, "another browser's");
    let answer = stand.get(&callback).header(COOKIE, &mine.cookie).send().await.expect("an answer");
    assert_eq!(location(&answer), "/");
    let signed_in = browser_of(&answer).expect("a session");
    let answer = stand.get(&callback).header(COOKIE, &signed_in.cookie).send().await.expect("an answer");
    assert_eq!(location(&answer), stale, "used");
}

#[tokio::test]
async fn what_goes_wrong_at_github_leads_to_a_page_that_says_so() {
    let stand = Stand::open().await;
    let _alone = github_alone().await;
    // Consent refused: the page's own button.
    let (browser, ask) = stand.begin("/pods").await;
    let form: Vec<(String, String)> =
        url::Url::parse(&ask).expect("an address").query_pairs().into_owned().chain([("cancel".into(), "1".into())]).collect();
    let page = ask.split('?').next().expect("an address").to_owned();
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let back = stand.http.post(page).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body).send().await.expect("the stand-in answers");
    let answer = stand.get(&own_path(&location(&back))).header(COOKIE, &browser.cookie).send().await.expect("an answer");
    assert_eq!(location(&answer), "/sign-in?error=consent_refused&return_to=%2Fpods");
    // GitHub down, at either call.
    for path in ["/login/oauth/access_token", "/user"] {
        stand.github("/fail", json!({ "path": path, "mode": "error500", "times": 1 })).await;
        let (_, answer) = stand.sign_in_as_far_as_callback("owner", "/").await;
        assert_eq!(location(&answer), "/sign-in?error=github_down", "{path}");
    }
    // No verified address.
    let login = stand.new_account().await;
    stand.github(&format!("/accounts/{login}"), json!({ "verified": false })).await;
    let (_, answer) = stand.sign_in_as_far_as_callback(&login, "/").await;
    assert_eq!(location(&answer), "/sign-in?error=no_verified_email");
}

#[tokio::test]
async fn only_operators_and_known_users_come_in_where_people_are_invited() {
    let stand = Stand::with(&[("PINACLE_SIGN_IN", "invited"), ("PINACLE_OPERATORS", "operator")]).await;
    let peace = github_in_peace().await;
    let (_, answer) = stand.sign_in_as_far_as_callback("outsider", "/").await;
    assert_eq!(location(&answer), "/sign-in?error=not_invited");
    drop(peace);
    stand.sign_in("operator").await;
    assert_eq!(me(&stand, &stand.token("operator", "read")).await["operator"], true);
}

#[tokio::test]
async fn a_renamed_account_stays_itself_and_its_old_name_inherits_nothing() {
    let login = {
        let stand = Stand::open().await;
        stand.new_account().await
    };
    let stand = Stand::with(&[("PINACLE_OPERATORS", &login)]).await;
    stand.sign_in(&login).await;
    let before = me(&stand, &stand.token(&login, "read")).await;
    assert_eq!((&before["handle"], &before["operator"]), (&json!(login), &json!(true)));
    let renamed = format!("{login}-new");
    stand.github(&format!("/accounts/{login}"), json!({ "login": renamed })).await;
    stand.github("/accounts", json!({ "login": login })).await;
    // The newcomer signs in first, while we still know the other by its old name.
    stand.sign_in(&login).await;
    let newcomer = me(&stand, &stand.token(&login, "read")).await;
    assert_ne!(newcomer["id"], before["id"]);
    assert_eq!((&newcomer["handle"], &newcomer["operator"]), (&json!(format!("{login}-2")), &json!(false)));
    stand.sign_in(&renamed).await;
    let after = me(&stand, &stand.token(&renamed, "read")).await;
    assert_eq!((&after["id"], &after["handle"], &after["operator"]), (&before["id"], &before["handle"], &json!(true)));
    assert_eq!(after["login"], json!(renamed));
}

#[tokio::test]
async fn an_operator_is_made_and_unmade_from_the_command_line() {
    let stand = Stand::with(&[("PINACLE_OPERATORS", "operator")]).await;
    stand.sign_in("member").await;
    let token = stand.token("member", "read");
    assert_eq!(me(&stand, &token).await["operator"], false);
    assert!(stand.run(&["operator", "grant", "member"]).status.success());
    assert_eq!(me(&stand, &token).await["operator"], true);
    assert!(stand.run(&["operator", "revoke", "member"]).status.success());
    assert_eq!(me(&stand, &token).await["operator"], false);
    assert!(!stand.run(&["operator", "grant", "nobody-of-that-name"]).status.success());
    // Taken back stays taken back, whatever PINACLE_OPERATORS says.
    stand.sign_in("operator").await;
    assert!(stand.run(&["operator", "revoke", "operator"]).status.success());
    stand.sign_in("operator").await;
    assert_eq!(me(&stand, &stand.token("operator", "read")).await["operator"], false);
}

#[tokio::test]
async fn a_browser_that_was_signed_out_stays_out_and_its_streams_close_within_two_seconds() {
    let stand = Stand::open().await;
    let (one, other) = (stand.sign_in("owner").await, stand.sign_in("owner").await);
    let token = stand.token("owner", "write");
    let all = sessions(&stand, &token).await;
    assert_eq!(all.len(), 2);
    let mut stream = stand.page(&one, Method::GET, "/live/pods").send().await.expect("a stream");
    assert_eq!(stream.status(), StatusCode::OK);
    // Sessions are listed by when they were seen last; end both, one by one, and see which stream closes.
    let begun = Instant::now();
    for session in &all {
        let path = format!("/sessions/{}", session["id"].as_str().expect("an id"));
        let ended = stand.api(&token, Method::DELETE, &path).send().await.expect("an answer");
        assert_eq!(ended.status(), StatusCode::NO_CONTENT);
        let again = stand.api(&token, Method::DELETE, &path).send().await.expect("an answer");
        assert_eq!(problem(again).await.0, 404);
    }
    let closed = tokio::time::timeout(Duration::from_secs(3), async { while let Ok(Some(_)) = stream.chunk().await {} }).await;
    assert!(closed.is_ok() && begun.elapsed() < Duration::from_secs(2), "closed after {:?}", begun.elapsed());
    for browser in [&one, &other] {
        assert!(!is_signed_in(&stand, browser).await);
    }
    // A request that writes to the session does not bring it back.
    let begun = stand.get("/auth/github").header(COOKIE, &one.cookie).send().await.expect("an answer");
    assert_eq!(begun.status(), StatusCode::SEE_OTHER);
    assert!(!is_signed_in(&stand, &one).await);
    assert!(sessions(&stand, &token).await.is_empty());
}

/// What a server's own connection for news looks like to the stack's Postgres.
struct Ears {
    admin: PgConnection,
    database: String,
}

impl Ears {
    async fn of(stand: &Stand) -> Self {
        let admin = PgConnection::connect(&variable("DATABASE_URL")).await.expect("the stack's Postgres answers");
        let url = url::Url::parse(&stand.database_url).expect("an address");
        Self { admin, database: url.path().trim_start_matches('/').to_owned() }
    }

    async fn count(&mut self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND query LIKE 'LISTEN \"news\"%'")
            .bind(&self.database)
            .fetch_one(&mut self.admin)
            .await
            .expect("a count")
    }

    async fn until_there_are(&mut self, expected: i64) {
        let begun = Instant::now();
        while self.count().await != expected {
            assert!(begun.elapsed() < Duration::from_secs(60), "the server listens on {expected} connections");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether the database takes new connections. Those that are there stay.
    async fn may_connect(&mut self, may: bool) {
        let alter = AssertSqlSafe(format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {may}", self.database));
        sqlx::query(alter).execute(&mut self.admin).await.expect("altered");
    }

    /// Cuts it off, for as long as nobody may connect.
    async fn cut(&mut self) {
        self.may_connect(false).await;
        sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND query LIKE 'LISTEN \"news\"%'")
            .bind(&self.database)
            .execute(&mut self.admin)
            .await
            .expect("cut");
        self.until_there_are(0).await;
    }
}

#[tokio::test]
async fn what_is_signed_out_or_left_while_the_server_can_not_listen_closes_within_two_seconds_once_it_can() {
    let stand = Stand::open().await;
    let (owner, member) = (User::sign_in(&stand, "owner").await, User::sign_in(&stand, "member").await);
    let team = team_of(&owner, "acme").await;
    let them = joins(&owner, &team, "member", &member, "member").await;
    let pod = owner.create(json!({ "team_id": team })).await;
    let browser = stand.sign_in("owner").await;
    let mut ears = Ears::of(&stand).await;
    ears.until_there_are(1).await;
    let list = stand.page(&browser, Method::GET, "/live/pods").send().await.expect("a stream");
    let events = stand.api(&member.token, Method::GET, &format!("/pods/{pod}/events")).header(ACCEPT, "text/event-stream");
    let mut streams = [list, events.send().await.expect("a stream")];
    assert!(streams.iter().all(|stream| stream.status() == StatusCode::OK));
    // The server has the connections that it needs from now on.
    join_all((0..8).map(|_| me(&stand, &owner.token))).await;
    ears.cut().await;
    let out = stand.page(&browser, Method::POST, "/auth/sign-out").send().await.expect("an answer");
    assert_eq!(out.status(), StatusCode::SEE_OTHER);
    assert_eq!(owner.ask(Method::DELETE, &format!("/teams/{team}/members/{them}"), Value::Null).await.0, 204);
    assert_eq!(ears.count().await, 0, "it has heard of neither");
    ears.may_connect(true).await;
    ears.until_there_are(1).await;
    // Without being told that it has missed something, it would look again only 15 s after they were opened.
    let closed = async {
        for stream in &mut streams {
            while let Ok(Some(_)) = stream.chunk().await {}
        }
    };
    timeout(Duration::from_secs(2), closed).await.expect("both have closed");
    assert!(!is_signed_in(&stand, &browser).await);
}

#[tokio::test]
async fn signing_out_everywhere_ends_every_browser() {
    let stand = Stand::open().await;
    let browsers = [stand.sign_in("owner").await, stand.sign_in("owner").await];
    let somebody_else = stand.sign_in("member").await;
    let token = stand.token("owner", "write");
    assert_eq!(stand.api(&token, Method::DELETE, "/sessions").send().await.expect("an answer").status(), StatusCode::NO_CONTENT);
    for browser in &browsers {
        assert!(!is_signed_in(&stand, browser).await);
    }
    assert!(is_signed_in(&stand, &somebody_else).await);
}

#[tokio::test]
async fn a_token_does_what_its_scope_says_until_it_is_revoked() {
    let stand = Stand::open().await;
    stand.sign_in("owner").await;
    let (read, write) = (stand.token("owner", "read"), stand.token("owner", "write"));
    let new = json!({ "name": "script", "scope": "write", "expires_days": 1 });
    let refused = stand.api(&read, Method::POST, "/tokens").json(&new).send().await.expect("an answer");
    assert_eq!(problem(refused).await.0, 403);
    let made: Value = stand.api(&write, Method::POST, "/tokens").json(&new).send().await.expect("an answer").json().await.expect("JSON");
    let token = made["token"].as_str().expect("a token");
    assert_eq!(me(&stand, token).await["login"], "owner");
    let listed: Value = stand.api(&read, Method::GET, "/tokens?limit=2").send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!((&listed["items"][0]["name"], listed["items"].as_array().map(Vec::len)), (&json!("script"), Some(2)));
    assert!(listed["items"][0].get("token").is_none(), "it is shown once");
    let cursor = listed["next_cursor"].as_str().expect("a next page");
    let rest: Value = stand.api(&read, Method::GET, &format!("/tokens?cursor={cursor}")).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!((rest["items"].as_array().map(Vec::len), &rest["next_cursor"]), (Some(1), &Value::Null));
    let path = format!("/tokens/{}", made["id"].as_str().expect("an id"));
    // Somebody else's is not there.
    stand.sign_in("outsider").await;
    let foreign = stand.api(&stand.token("outsider", "write"), Method::DELETE, &path).send().await.expect("an answer");
    assert_eq!(problem(foreign).await.0, 404);
    // What it has open closes with it.
    let new = json!({ "name": "watched", "tier": "dev.small" });
    let pod: Value = stand.api(&write, Method::POST, "/pods").json(&new).send().await.expect("an answer").json().await.expect("JSON");
    let events = format!("/pods/{}/events", pod["id"].as_str().expect("an id"));
    let mut watching = stand.api(token, Method::GET, &events).header(ACCEPT, "text/event-stream").send().await.expect("an answer");
    assert_eq!(watching.status(), StatusCode::OK);
    assert_eq!(stand.api(&write, Method::DELETE, &path).send().await.expect("an answer").status(), StatusCode::NO_CONTENT);
    let closed = async { while let Ok(Some(_)) = watching.chunk().await {} };
    timeout(Duration::from_secs(2), closed).await.expect("it ends within 2 s");
    let revoked = stand.api(token, Method::GET, "/me").send().await.expect("an answer");
    assert!(revoked.headers().contains_key(WWW_AUTHENTICATE));
    assert_eq!(problem(revoked).await.0, 401);
}

#[tokio::test]
async fn a_session_is_worth_nothing_at_the_api_and_a_token_nothing_elsewhere() {
    let stand = Stand::open().await;
    let browser = stand.sign_in("owner").await;
    let answer = stand.page(&browser, Method::GET, "/api/v1/me").send().await.expect("an answer");
    assert_eq!(problem(answer).await.0, 401);
    let token = stand.token("owner", "write");
    let answer = stand.get("/live/pods").bearer_auth(&token).header(ORIGIN, stand.origin()).send().await.expect("an answer");
    assert_eq!(problem(answer).await.0, 401);
}

#[tokio::test]
async fn a_token_that_was_changed_is_refused() {
    let stand = Stand::open().await;
    stand.sign_in("owner").await;
    let token = stand.token("owner", "read");
    let (head, signature) = token.rsplit_once('.').expect("a JWT");
    let other = if signature.starts_with('A') { "B" } else { "A" };
    for bad in [format!("{head}.{other}{}", &signature[1..]), format!("{head}."), head.to_owned(), String::new(), "x".repeat(5000)] {
        let answer = stand.api(&bad, Method::GET, "/me").send().await.expect("an answer");
        assert_eq!(problem(answer).await.0, 401, "{bad}");
    }
}

#[tokio::test]
async fn another_host_name_or_two_are_misdirected() {
    let stand = Stand::open().await;
    for host in ["evil.test", "127.0.0.1:3000", "localhost"] {
        let answer = stand.http.get(format!("http://{}/health/live", stand.at)).header(HOST, host).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
    let authority = stand.url.authority();
    let mut raw = TcpStream::connect(stand.at).await.expect("a connection");
    let request = format!("GET /health/live HTTP/1.1\r\nHost: {authority}\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    raw.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    raw.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
}

#[tokio::test]
async fn what_does_not_come_from_our_own_pages_is_refused() {
    let stand = Stand::open().await;
    let browser = stand.sign_in("owner").await;
    for foreign in [None, Some("http://evil.test"), Some("null"), Some("http://localhost:1")] {
        for (method, path) in [(Method::POST, "/auth/sign-out"), (Method::GET, "/live/pods"), (Method::POST, "/fn/account/end-sessions")] {
            let mut request = stand.request(method, path).header(COOKIE, &browser.cookie);
            if let Some(origin) = foreign {
                request = request.header(ORIGIN, origin);
            }
            assert_eq!(problem(request.send().await.expect("an answer")).await.0, 403, "{path} from {foreign:?}");
        }
    }
    assert!(is_signed_in(&stand, &browser).await);
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let stand = Stand::open().await;
    for path in ["/", "/api/v1/me", "/health/live", "/nothing-here"] {
        let answer = stand.get(path).send().await.expect("an answer");
        for (name, value) in [("x-content-type-options", "nosniff"), ("referrer-policy", "same-origin"), ("x-frame-options", "DENY")] {
            assert_eq!(answer.headers()[name], value, "{name} of {path}");
        }
        assert!(answer.headers()["content-security-policy"].to_str().expect("text").contains("'none'"), "{path}");
    }
}

#[tokio::test]
async fn every_refusal_of_the_api_is_a_problem() {
    let stand = Stand::open().await;
    stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let send = async |request: reqwest::RequestBuilder| problem(request.send().await.expect("an answer")).await;
    assert_eq!(send(stand.api(&token, Method::GET, "/nothing")).await.0, 404);
    assert_eq!(send(stand.get("/api/v1/me")).await.0, 401);
    assert_eq!(send(stand.api(&token, Method::PUT, "/me")).await.0, 405);
    let post = |body: &'static str, kind: &'static str| stand.api(&token, Method::POST, "/tokens").header(CONTENT_TYPE, kind).body(body);
    assert_eq!(send(post("{", "application/json")).await.0, 400);
    assert_eq!(send(post("name=x", "application/x-www-form-urlencoded")).await.0, 415);
    let (status, body) = send(post(r#"{"name":"","scope":"read","expires_days":0}"#, "application/json")).await;
    assert_eq!(status, 422);
    assert!(body["errors"]["name"].is_array() && body["errors"]["expires_days"].is_array(), "{body}");
    let (status, body) = send(post(r#"{"name":"x","scope":"read","expires_days":1,"admin":true}"#, "application/json")).await;
    assert!(status == 422 && body["errors"]["admin"].is_array(), "{body}");
    let large = json!({ "name": "x".repeat(300 << 10), "scope": "read", "expires_days": 1 });
    assert_eq!(send(stand.api(&token, Method::POST, "/tokens").json(&large)).await.0, 413);
    assert_eq!(send(stand.api(&token, Method::GET, "/tokens?limit=0")).await.0, 422);
    assert_eq!(send(stand.api(&token, Method::GET, "/tokens?page=2")).await.0, 422);
    assert_eq!(send(stand.api(&token, Method::DELETE, "/tokens/no-id")).await.0, 404);
    let document: Value = stand.get("/api/v1/openapi.json").send().await.expect("an answer").json().await.expect("JSON");
    for status in ["400", "401", "403", "404", "409", "413", "415", "422", "429", "503"] {
        let refusal = &document["paths"]["/api/v1/pods/{id}/exec"]["post"]["responses"][status]["content"]["application/problem+json"];
        assert!(refusal.is_object(), "{status}");
    }
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
}

#[tokio::test]
async fn changing_too_often_is_refused_for_a_while_and_reading_is_not() {
    let stand = Stand::open().await;
    stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let nobodys = "/tokens/00000000-0000-7000-8000-000000000000";
    // All at once: one after another they could be so slow that the limit is never reached.
    let answers = join_all((0..200).map(|_| stand.api(&token, Method::DELETE, nobodys).send())).await;
    let limited = answers.into_iter().map(|answer| answer.expect("an answer")).find(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS);
    let limited = limited.expect("a limit");
    assert!(limited.headers().contains_key(RETRY_AFTER));
    assert_eq!(problem(limited).await.1["code"], "rate_limited");
    assert_eq!(me(&stand, &token).await["login"], "owner");
}

#[tokio::test]
async fn what_github_offers_is_listed_and_its_failure_is_told() {
    let stand = Stand::open().await;
    stand.sign_in("owner").await;
    let token = stand.token("owner", "read");
    let _alone = github_alone().await;
    let list: Value = stand.api(&token, Method::GET, "/repositories?search=node").send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(list["items"][0]["full_name"], "owner/node-site");
    let path = "/repositories/owner/node-site/branches";
    let branches: Value = stand.api(&token, Method::GET, path).send().await.expect("an answer").json().await.expect("JSON");
    assert!(branches["items"].as_array().expect("a list").iter().any(|branch| branch["name"] == "main"));
    let missing = stand.api(&token, Method::GET, "/repositories/owner/nothing/branches").send().await.expect("an answer");
    assert_eq!(problem(missing).await.0, 404);
    for (mode, status) in [("error500", 503), ("revoked", 403), ("rate_limited", 503)] {
        stand.github("/fail", json!({ "path": "/repos/owner/full/branches", "mode": mode, "times": 1 })).await;
        let answer = stand.api(&token, Method::GET, "/repositories/owner/full/branches").send().await.expect("an answer");
        assert_eq!(problem(answer).await.0, status, "{mode}");
    }
    // Told to wait, it waits: GitHub would answer by now, and is not asked.
    let answer = stand.api(&token, Method::GET, "/repositories/owner/python-service/branches").send().await.expect("an answer");
    let wait: u32 = answer.headers()[RETRY_AFTER].to_str().ok().and_then(|wait| wait.parse().ok()).expect("seconds");
    assert!((50..=60).contains(&wait), "{wait}");
    assert_eq!(problem(answer).await.0, 503);
}

#[tokio::test]
async fn repositories_are_asked_for_when_they_are_wanted_and_renewed_when_they_were_taken_back() {
    let stand = Stand::open().await;
    let (_, ask) = stand.begin("/").await;
    assert!(!ask.contains("repo"), "signing in asks for no more than who it is: {ask}");
    stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let names = async || {
        let list: Value = stand.api(&token, Method::GET, "/repositories").send().await.expect("an answer").json().await.expect("JSON");
        list["items"].as_array().map(|items| items.iter().filter_map(|item| item["full_name"].as_str().map(str::to_owned)).collect::<Vec<_>>())
    };
    let allowed = async || me(&stand, &token).await["github"].as_str().map(str::to_owned);
    assert_eq!(allowed().await.as_deref(), Some("sign_in"));
    let public = names().await.expect("a list");
    assert!(public.contains(&"owner/node-site".to_owned()) && !public.contains(&"owner/private".to_owned()), "{public:?}");

    stand.allow_repositories("owner").await;
    assert_eq!(allowed().await.as_deref(), Some("repositories"));
    assert!(names().await.expect("a list").contains(&"owner/private".to_owned()));
    stand.sign_in("owner").await;
    assert_eq!(allowed().await.as_deref(), Some("repositories"), "signing in takes nothing back");
    assert!(names().await.expect("a list").contains(&"owner/private".to_owned()));

    let _alone = github_alone().await;
    stand.github("/fail", json!({ "path": "/repos/owner/full/branches", "mode": "revoked", "times": 1 })).await;
    let refused = stand.api(&token, Method::GET, "/repositories/owner/full/branches").send().await.expect("an answer");
    assert_eq!(problem(refused).await.0, 403);
    assert_eq!(allowed().await.as_deref(), Some("nothing"), "the page offers to renew it");
    drop(_alone);
    stand.allow_repositories("owner").await;
    assert_eq!(allowed().await.as_deref(), Some("repositories"));
}

#[tokio::test]
async fn a_handle_is_changed_by_its_user_and_never_given_to_somebody_else() {
    let stand = Stand::open().await;
    stand.sign_in("owner").await;
    stand.sign_in("member").await;
    let (owner, member) = (stand.token("owner", "write"), stand.token("member", "write"));
    let change = async |token: &str, handle: &str| {
        let answer = stand.api(token, Method::PATCH, "/me").json(&json!({ "handle": handle })).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    for bad in ["", "-a", "a-", "A", "a.b", "a b", &"a".repeat(40)] {
        let (status, problem) = change(&owner, bad).await;
        assert!(status == 422 && problem["errors"]["handle"].is_array(), "{bad}: {problem}");
    }
    let (status, me) = change(&owner, "olive-2").await;
    assert_eq!((status, &me["handle"], &me["login"]), (200, &json!("olive-2"), &json!("owner")));
    for taken in ["olive-2", "owner"] {
        assert_eq!(change(&member, taken).await.0, 409, "{taken} is hers, or was");
    }
    assert_eq!(change(&owner, "owner").await.0, 200, "what was one's own may be taken again");
    assert_eq!(change(&member, "olive-2").await.0, 409);
}
