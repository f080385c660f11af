//! Teams: who is in one, who is asked in, what leaving takes, and what is told of it.

use crate::{
    fleet::{Fleet, User},
    screen::{Screen, web_socket},
    stand::{Browser, Stand, browser_of, github_in_peace, location},
};
use futures::StreamExt;
use reqwest::{
    Method,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use std::{pin::pin, time::Duration};
use tokio::time::timeout;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

/// What leaving takes is gone after this.
const AT_ONCE: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(60);

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is text"))
}

/// A new team of this user; its id.
pub async fn team_of(owner: &User<'_>, name: &str) -> String {
    let (status, team) = owner.ask(Method::POST, "/teams", json!({ "name": name })).await;
    assert_eq!(status, 201, "{team}");
    text(&team["id"]).to_owned()
}

async fn invited(owner: &User<'_>, team: &str, body: Value) -> Value {
    let (status, made) = owner.ask(Method::POST, &format!("/teams/{team}/invitations"), body).await;
    assert_eq!(status, 201, "{made}");
    made
}

/// Invites whom `login` names, who accepts.
pub async fn joins(owner: &User<'_>, team: &str, login: &str, who: &User<'_>, role: &str) -> String {
    let made = invited(owner, team, json!({ "github_login": login, "role": role })).await;
    let (status, joined) = who.ask(Method::POST, &format!("/invitations/{}", text(&made["code"])), Value::Null).await;
    assert_eq!((status, &joined["role"]), (200, &json!(role)), "{joined}");
    text(&who.get("/me").await["id"]).to_owned()
}

#[tokio::test]
async fn a_team_is_made_renamed_and_deleted_and_keeps_its_place_in_addresses() {
    let stand = Stand::open().await;
    let owner = User::sign_in(&stand, "owner").await;
    let first = owner.get("/teams").await;
    assert_eq!(
        (&first["items"][0]["personal"], &first["items"][0]["slug"], &first["items"][0]["role"]),
        (&json!(true), &json!("owner"), &json!("owner"))
    );
    for name in ["", "  ", "a\nb", "\u{202e}", &"x".repeat(61)] {
        let (status, problem) = owner.ask(Method::POST, "/teams", json!({ "name": name })).await;
        assert!(status == 422 && problem["errors"]["name"].is_array(), "{name:?}: {problem}");
    }
    let (_, acme) = owner.ask(Method::POST, "/teams", json!({ "name": " Acme, Inc. " })).await;
    assert_eq!((&acme["name"], &acme["slug"], &acme["role"]), (&json!("Acme, Inc."), &json!("acme-inc"), &json!("owner")));
    let (_, twin) = owner.ask(Method::POST, "/teams", json!({ "name": "Acme, Inc." })).await;
    assert_eq!(twin["slug"], "acme-inc-2");
    let path = format!("/teams/{}", text(&acme["id"]));
    let (status, renamed) = owner.ask(Method::PATCH, &path, json!({ "name": "Apex" })).await;
    assert_eq!((status, &renamed["name"], &renamed["slug"]), (200, &json!("Apex"), &json!("acme-inc")));
    let detail = owner.get(&path).await;
    assert_eq!((&detail["members"], &detail["pods"], &detail["left_pods"]), (&json!(1), &json!(0), &json!([])));
    // The only owner stays; a personal team stays for good.
    let me = text(&owner.get("/me").await["id"]).to_owned();
    for (method, body) in [(Method::DELETE, Value::Null), (Method::PATCH, json!({ "role": "member" }))] {
        let (status, problem) = owner.ask(method, &format!("{path}/members/{me}"), body).await;
        assert_eq!((status, &problem["code"]), (409, &json!("wrong_state")), "{problem}");
    }
    let personal = format!("/teams/{}", text(&first["items"][0]["id"]));
    for (method, path, body) in [
        (Method::DELETE, personal.clone(), Value::Null),
        (Method::PATCH, personal.clone(), json!({ "name": "x" })),
        (Method::POST, format!("{personal}/invitations"), json!({ "github_login": "member", "role": "member" })),
    ] {
        let (status, problem) = owner.ask(method.clone(), &path, body).await;
        assert_eq!((status, &problem["code"]), (409, &json!("wrong_state")), "{method} {path}: {problem}");
    }
    assert_eq!(owner.ask(Method::DELETE, &path, Value::Null).await.0, 204);
    assert_eq!(owner.ask(Method::GET, &path, Value::Null).await.0, 404);
    // Its place is free for another.
    assert_eq!(owner.ask(Method::POST, "/teams", json!({ "name": "Acme Inc" })).await.1["slug"], "acme-inc");
}

#[tokio::test]
async fn of_two_owners_who_demote_each_other_at_once_one_stays() {
    let stand = Stand::open().await;
    let (one, other) = (User::sign_in(&stand, "owner").await, User::sign_in(&stand, "member").await);
    let me = text(&one.get("/me").await["id"]).to_owned();
    for round in 0..8 {
        let team = team_of(&one, "acme").await;
        let them = joins(&one, &team, "member", &other, "owner").await;
        let (mine, theirs) = (format!("/teams/{team}/members/{me}"), format!("/teams/{team}/members/{them}"));
        // By a role, or by removing.
        let (first, second) = if round % 2 == 0 {
            let role = json!({ "role": "member" });
            tokio::join!(one.ask(Method::PATCH, &theirs, role.clone()), other.ask(Method::PATCH, &mine, role.clone()))
        } else {
            tokio::join!(one.ask(Method::DELETE, &theirs, Value::Null), other.ask(Method::DELETE, &mine, Value::Null))
        };
        let done = [&first, &second].into_iter().filter(|(status, _)| *status < 300).count();
        assert_eq!(done, 1, "{first:?} {second:?}");
        // Who lost is a member, or nobody: 403 or 404.
        let refused = if first.0 < 300 { second.0 } else { first.0 };
        assert!([403, 404].contains(&refused), "{first:?} {second:?}");
        let left = if first.0 < 300 { &one } else { &other };
        let members = left.get(&format!("/teams/{team}/members")).await;
        let owners = members["items"].as_array().expect("a list").iter().filter(|member| member["role"] == "owner").count();
        assert_eq!(owners, 1, "{members}");
    }
}

#[tokio::test]
async fn an_invitation_is_accepted_once_by_the_invited_account_and_every_other_code_says_why_not() {
    let stand = Stand::open().await;
    let db = PgPool::connect(&stand.database_url).await.expect("the database");
    let (owner, outsider) = (User::sign_in(&stand, "owner").await, User::sign_in(&stand, "outsider").await);
    let login = stand.new_account().await;
    let who = User::sign_in(&stand, &login).await;
    let team = team_of(&owner, "acme").await;
    let path = format!("/teams/{team}/invitations");
    for (body, field) in [
        (json!({ "role": "member" }), "github_login"),
        (json!({ "github_login": "nobody-of-that-name", "role": "member" }), "github_login"),
        (json!({ "github_login": "a/../b", "role": "member" }), "github_login"),
        (json!({ "github_login": "owner", "role": "member" }), "github_login"),
        (json!({ "email": "nobody", "role": "member" }), "email"),
        (json!({ "email": "owner@example.test", "role": "member" }), "email"),
        (json!({ "github_login": login, "email": "a@example.test", "role": "member" }), "email"),
        (json!({ "github_login": login, "role": "king" }), "role"),
    ] {
        let (status, problem) = owner.ask(Method::POST, &path, body.clone()).await;
        assert!([409, 422].contains(&status) && problem["errors"][field].is_array(), "{body}: {problem}");
    }
    let accept = async |user: &User<'_>, code: &str| {
        // Looking says what accepting would.
        let shown = user.ask(Method::GET, &format!("/invitations/{code}"), Value::Null).await;
        let accepted = user.ask(Method::POST, &format!("/invitations/{code}"), Value::Null).await;
        assert_eq!(shown.0, accepted.0, "{shown:?} {accepted:?}");
        (accepted.0, accepted.1["detail"].as_str().unwrap_or_default().to_owned())
    };
    let first = invited(&owner, &team, json!({ "github_login": login.to_uppercase(), "role": "member" })).await;
    for field in ["id", "code", "url", "expires_at"] {
        assert!(first[field].is_string(), "{field} of {first}");
    }
    assert!(text(&first["url"]).ends_with(&format!("/invitations/{}", text(&first["code"]))));
    let listed = owner.get(&path).await;
    assert_eq!(
        (listed["items"].as_array().map(Vec::len), &listed["items"][0]["github_login"], &listed["items"][0]["state"]),
        (Some(1), &json!(login), &json!("open"))
    );
    assert!(!listed.to_string().contains(text(&first["code"])), "it is shown once");
    let stored: Vec<Vec<u8>> = sqlx::query_scalar("SELECT code_hash FROM invitation_codes").fetch_all(&db).await.expect("hashes");
    assert!(stored.iter().all(|hash| hash.len() == 32), "nothing but the hash is stored");
    let again = owner.ask(Method::POST, &path, json!({ "github_login": login, "role": "owner" })).await;
    assert_eq!((again.0, &again.1["code"]), (409, &json!("taken")), "{again:?}");
    // Pinned to the number: who is renamed stays invited, and who takes the name is not.
    let renamed = format!("{login}x");
    stand.github(&format!("/accounts/{login}"), json!({ "login": renamed })).await;
    stand.github("/accounts", json!({ "login": login })).await;
    let impostor = User::sign_in(&stand, &login).await;
    let (status, why) = accept(&impostor, text(&first["code"])).await;
    assert!(status == 403 && why.contains("another account"), "{why}");
    // Sent again, the former code is old.
    let (status, second) = owner.ask(Method::POST, &format!("{path}/{}/resend", text(&first["id"])), Value::Null).await;
    assert!(status == 200 && second["id"] == first["id"] && second["code"] != first["code"], "{second}");
    let (status, why) = accept(&who, text(&first["code"])).await;
    assert!(status == 409 && why.contains("old one"), "{why}");
    // Expired.
    let expire = "UPDATE invitations SET expires_at = now() - interval '1 second' WHERE id = $1::text::uuid";
    sqlx::query(expire).bind(text(&first["id"])).execute(&db).await.expect("expired");
    let (status, why) = accept(&who, text(&second["code"])).await;
    assert!(status == 409 && why.contains("expired"), "{why}");
    assert_eq!(owner.get(&path).await["items"][0]["state"], "expired");
    // Again, and now it works, once.
    let (_, third) = owner.ask(Method::POST, &format!("{path}/{}/resend", text(&first["id"])), Value::Null).await;
    let shown = who.get(&format!("/invitations/{}", text(&third["code"]))).await;
    assert_eq!((&shown["team"], &shown["role"], &shown["invited_by"]), (&json!("acme"), &json!("member"), &json!("owner")));
    assert_eq!(outsider.ask(Method::POST, &format!("/invitations/{}", text(&third["code"])), Value::Null).await.0, 403);
    let at = format!("/invitations/{}", text(&third["code"]));
    let (one, two) = tokio::join!(who.ask(Method::POST, &at, Value::Null), who.ask(Method::POST, &at, Value::Null));
    assert_eq!((one.0, two.0, &one.1["id"]), (200, 200, &json!(team)), "twice at once is once: {one:?} {two:?}");
    assert_eq!(owner.get(&path).await["items"], json!([]));
    // Used: by somebody who has left since, too.
    let me = text(&who.get("/me").await["id"]).to_owned();
    assert_eq!(who.ask(Method::DELETE, &format!("/teams/{team}/members/{me}"), Value::Null).await.0, 204);
    let (status, why) = accept(&who, text(&third["code"])).await;
    assert!(status == 409 && why.contains("used"), "{why}");
    // Revoked.
    let fourth = invited(&owner, &team, json!({ "github_login": renamed, "role": "member" })).await;
    assert_eq!(owner.ask(Method::DELETE, &format!("{path}/{}", text(&fourth["id"])), Value::Null).await.0, 204);
    let (status, why) = accept(&who, text(&fourth["code"])).await;
    assert!(status == 409 && why.contains("revoked"), "{why}");
    // Never made.
    for code in ["x", &"a".repeat(43), &"a".repeat(2000), "%00"] {
        assert_eq!(accept(&who, code).await.0, 404, "{code}");
    }
}

#[tokio::test]
async fn an_address_is_invited_and_its_verified_holder_joins() {
    let stand = Stand::open().await;
    let owner = User::sign_in(&stand, "owner").await;
    let team = team_of(&owner, "acme").await;
    let login = stand.new_account().await;
    let made = invited(&owner, &team, json!({ "email": format!("{}@Example.TEST", login.to_uppercase()), "role": "owner" })).await;
    assert_eq!(made["email"], format!("{login}@example.test"));
    let outsider = User::sign_in(&stand, "outsider").await;
    let at = format!("/invitations/{}", text(&made["code"]));
    let (status, problem) = outsider.ask(Method::POST, &at, Value::Null).await;
    assert_eq!(status, 403);
    assert!(!problem.to_string().contains(&login), "whose it is is not told: {problem}");
    let who = User::sign_in(&stand, &login).await;
    let (status, joined) = who.ask(Method::POST, &at, Value::Null).await;
    assert_eq!((status, &joined["role"]), (200, &json!("owner")), "{joined}");
}

#[tokio::test]
async fn who_is_invited_signs_in_by_the_link_where_nobody_else_may() {
    let stand = Stand::with(&[("PINACLE_SIGN_IN", "invited"), ("PINACLE_OPERATORS", "operator")]).await;
    let operator = User::sign_in(&stand, "operator").await;
    let team = team_of(&operator, "acme").await;
    let (login, other) = (stand.new_account().await, stand.new_account().await);
    let made = invited(&operator, &team, json!({ "github_login": login, "role": "member" })).await;
    let link = format!("/invitations/{}", text(&made["code"]));
    let _peace = github_in_peace().await;
    let come = async |login: &str, to: &str| {
        let (_, answer) = stand.sign_in_as_far_as_callback(login, to).await;
        (location(&answer), browser_of(&answer))
    };
    assert_eq!(come(&login, "/").await.0, "/sign-in?error=not_invited", "without the link");
    assert!(come(&other, &link).await.0.starts_with("/sign-in?error=invitation_foreign"), "with somebody else's");
    assert!(come(&login, "/invitations/made-up").await.0.starts_with("/sign-in?error=not_invited"));
    let (to, browser) = come(&login, &link).await;
    assert_eq!(to, link);
    let browser = browser.expect("signed in");
    // It is not in the team before it says so itself.
    assert_eq!(operator.get(&format!("/teams/{team}")).await["members"], 1);
    let code = link.rsplit('/').next().expect("a code");
    let accepted = stand
        .page(&browser, Method::POST, "/fn/invitations/accept")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(format!("code={code}"))
        .send()
        .await
        .expect("an answer");
    assert!(accepted.status().is_success() || accepted.status().is_redirection(), "{}", accepted.status());
    assert_eq!(operator.get(&format!("/teams/{team}")).await["members"], 2);
    // Known now, it comes in without.
    assert_eq!(come(&login, "/").await.0, "/");
    // A used one lets nobody in.
    assert!(come(&other, &link).await.0.starts_with("/sign-in?error=invitation_foreign"));
    let second = invited(&operator, &team, json!({ "github_login": other, "role": "member" })).await;
    operator.ask(Method::DELETE, &format!("/teams/{team}/invitations/{}", text(&second["id"])), Value::Null).await;
    let link = format!("/invitations/{}", text(&second["code"]));
    assert!(come(&other, &link).await.0.starts_with("/sign-in?error=invitation_over"), "revoked");
}

#[tokio::test]
async fn members_use_the_teams_pods_and_owners_delete_them() {
    let stand = Stand::open().await;
    let (owner, member) = (User::sign_in(&stand, "owner").await, User::sign_in(&stand, "member").await);
    let third = User::sign_in(&stand, "two-part-name").await;
    let team = team_of(&owner, "acme").await;
    joins(&owner, &team, "member", &member, "member").await;
    joins(&owner, &team, "two-part-name", &third, "member").await;
    let (status, pod) = member.ask(Method::POST, "/pods", json!({ "name": "shared", "tier": "dev.small", "team_id": team })).await;
    assert_eq!((status, &pod["team_id"], &pod["team"]), (202, &json!(team), &json!("acme")), "{pod}");
    let path = format!("/pods/{}", text(&pod["id"]));
    for user in [&owner, &third] {
        assert_eq!(user.get(&path).await["name"], "shared");
        assert_eq!(user.get(&format!("/pods?team_id={team}")).await["items"].as_array().map(Vec::len), Some(1));
        assert_eq!(user.ask(Method::POST, &format!("{path}/stop"), Value::Null).await.0, 202);
    }
    let (status, problem) = third.ask(Method::DELETE, &path, Value::Null).await;
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "neither its owner nor the team's: {problem}");
    assert_eq!(owner.ask(Method::DELETE, &path, Value::Null).await.0, 202);
}

#[tokio::test]
async fn who_leaves_loses_everything_at_once_and_the_pods_stay_with_the_team() {
    let stand = Stand::open().await;
    let (owner, member) = (User::sign_in(&stand, "owner").await, User::sign_in(&stand, "member").await);
    let team = team_of(&owner, "acme").await;
    let them = joins(&owner, &team, "member", &member, "owner").await;
    let new = |name: &str| json!({ "name": name, "tier": "dev.small", "team_id": team });
    let (_, pod) = member.ask(Method::POST, "/pods", new("api")).await;
    let (_, second) = member.ask(Method::POST, "/pods", new("cart")).await;
    // The owner has a pod of the same name elsewhere.
    assert_eq!(owner.ask(Method::POST, "/pods", json!({ "name": "api", "tier": "dev.small" })).await.0, 202);
    let path = format!("/pods/{}", text(&pod["id"]));
    // What it has open: a pod's news, the list, the team's news; and an invitation of its own making.
    let events = stand.api(&member.token, Method::GET, &format!("{path}/events")).header(ACCEPT, "text/event-stream");
    let mut streams = vec![events.send().await.expect("a stream")];
    let browser = stand.sign_in("member").await;
    for live in ["/live/pods".to_owned(), format!("/live/teams/{team}"), format!("/live{path}/events")] {
        streams.push(stand.page(&browser, Method::GET, &live).send().await.expect("a stream"));
    }
    assert!(streams.iter().all(|stream| stream.status() == 200));
    let back = invited(&member, &team, json!({ "email": "back@example.test", "role": "owner" })).await;
    assert_eq!(owner.ask(Method::DELETE, &format!("/teams/{team}/members/{them}"), Value::Null).await.0, 204);
    let ends = async {
        for stream in &mut streams {
            while let Ok(Some(_)) = stream.chunk().await {}
        }
    };
    timeout(AT_ONCE, ends).await.expect("all of it has closed");
    for gone in [path.clone(), format!("/teams/{team}"), format!("/teams/{team}/members"), format!("{path}/events")] {
        assert_eq!(member.ask(Method::GET, &gone, Value::Null).await.0, 404, "{gone}");
    }
    assert_eq!(member.get("/pods").await["items"], json!([]));
    assert_eq!(owner.get(&format!("/teams/{team}/invitations")).await["items"], json!([]), "nor does it come back by {back}");
    // The pods are the team's. Nobody starts one without an owner; whoever left has its name back.
    let left = owner.get(&format!("/teams/{team}")).await;
    assert_eq!((&left["pods"], left["left_pods"].as_array().map(Vec::len), &left["left_pods"][0]["owner"]), (&json!(2), Some(2), &json!("member")));
    assert_eq!(owner.ask(Method::POST, &format!("{path}/stop"), Value::Null).await.0, 202);
    let (status, problem) = owner.ask(Method::POST, &format!("{path}/start"), Value::Null).await;
    assert!(status == 409 && text(&problem["detail"]).contains("takes it over"), "{problem}");
    assert_eq!(member.ask(Method::POST, "/pods", json!({ "name": "api", "tier": "dev.small" })).await.0, 202);
    let used = |user: Value| user["pods"]["used"].as_u64().expect("a figure");
    assert_eq!((used(owner.get("/quota").await), used(member.get("/quota").await)), (3, 1), "they count for the team's owner now");
    // Taken over: one, under a name that is free, then the rest.
    let take = format!("/teams/{team}/pods/take-over");
    let (status, taken) = owner.ask(Method::POST, &take, json!({ "pods": [pod["id"]] })).await;
    assert_eq!((status, &taken["pods"]), (200, &json!(1)), "{taken}");
    let mine = owner.get(&path).await;
    assert_eq!((&mine["owner"], &mine["name"]), (&json!("owner"), &json!("api2")));
    assert_eq!(owner.ask(Method::POST, &format!("{path}/start"), Value::Null).await.0, 202);
    let (status, problem) = owner.ask(Method::POST, &take, json!({ "pods": [pod["id"]] })).await;
    assert!(status == 422 && problem["errors"]["pods"].is_array(), "{problem}");
    // Back again, it has what nobody took.
    joins(&owner, &team, "member", &member, "member").await;
    let again = member.get(&format!("/pods/{}", text(&second["id"]))).await;
    assert_eq!((&again["owner"], &again["name"]), (&json!("member"), &json!("cart")));
    assert_eq!((used(owner.get("/quota").await), used(member.get("/quota").await)), (2, 2));
    // Removed with its pods.
    assert_eq!(owner.ask(Method::DELETE, &format!("/teams/{team}/members/{them}?take_over=true"), Value::Null).await.0, 204);
    assert_eq!(owner.get(&format!("/pods/{}", text(&second["id"]))).await["owner"], "owner");
    assert_eq!(owner.get(&format!("/teams/{team}")).await["left_pods"], json!([]));
}

#[tokio::test]
async fn what_is_open_in_a_pod_closes_within_two_seconds_when_its_user_is_removed() {
    let Some(fleet) = Fleet::open().await else { return };
    let (owner, member) = (fleet.user("owner").await, fleet.newcomer().await);
    let team = team_of(&owner, "acme").await;
    let login = text(&member.get("/me").await["login"]).to_owned();
    let them = joins(&owner, &team, &login, &member, "member").await;
    let id = owner.create(json!({ "team_id": team, "repository": "owner/full" })).await;
    owner.until_setup(&id, "done").await;
    let mut screen = Screen::open(&member, &id, "main", "").await;
    screen.types("echo seen-$((1+1))\r").await;
    screen.shows("seen-2").await;
    let mut log = log_of(&fleet, &fleet.sign_in(&login).await, &id, "worker").await;
    let begins = async { while !log.next().await.expect("it goes on").expect("a message").is_binary() {} };
    timeout(SOON, begins).await.expect("the log has begun");
    owner.shell(&id, &format!("truncate -s {LARGE} large")).await;
    let mut download = member.request(Method::GET, &format!("/pods/{id}/files?path=large")).send().await.expect("an answer");
    assert_eq!(download.status(), 200);
    let mut received = download.chunk().await.expect("a piece").expect("its beginning").len();
    let mut running = pin!(member.exec(&id, json!({ "argv": ["sleep", "600"] })));
    // The command is under way when the pod shows it.
    let under_way = async { while !owner.shell(&id, "pgrep -f 'sleep 60[0]' || true").await.contains(char::is_numeric) {} };
    tokio::select! {
        seen = timeout(SOON, under_way) => seen.expect("the pod shows the command"),
        (status, problem) = &mut running => panic!("the command ended by itself: {status} {problem}"),
    }
    let removing = async {
        assert_eq!(owner.ask(Method::DELETE, &format!("/teams/{team}/members/{them}"), Value::Null).await.0, 204);
        let terminal = async {
            let mut said = String::new();
            while let Some(Ok(message)) = screen.socket.next().await {
                if let Message::Text(text) = message {
                    said = text.to_string();
                }
            }
            said
        };
        let log = async { while let Some(Ok(_)) = log.next().await {} };
        let download = async {
            while let Ok(Some(piece)) = download.chunk().await {
                received += piece.len();
            }
        };
        timeout(AT_ONCE, async { tokio::join!(terminal, log, download).0 }).await.expect("all of it has closed")
    };
    let ((status, problem), said) = tokio::join!(async { timeout(SOON, running).await.expect("ended") }, removing);
    assert!(said.contains("not in this pod's team"), "{said}");
    assert!(received < LARGE, "the file was cut short");
    assert_eq!(status, 404, "the command was given up: {problem}");
    assert_eq!(member.exec(&id, json!({ "argv": ["true"] })).await.0, 404);
    owner.delete(&id).await;
}

/// Bytes of a file that is not through in two seconds.
const LARGE: usize = 1 << 30;

/// The log of a process, as a page follows it.
async fn log_of(fleet: &Fleet, browser: &Browser, pod: &str, process: &str) -> WebSocketStream<reqwest::Upgraded> {
    web_socket(fleet.page(browser, Method::GET, &format!("/live/pods/{pod}/logs/{process}"))).await
}

#[tokio::test]
async fn a_team_with_pods_is_deleted_by_its_name_alone() {
    let stand = Stand::open().await;
    let (owner, member) = (User::sign_in(&stand, "owner").await, User::sign_in(&stand, "member").await);
    let team = team_of(&owner, "Acme & Co").await;
    joins(&owner, &team, "member", &member, "member").await;
    let (_, pod) = member.ask(Method::POST, "/pods", json!({ "name": "api", "tier": "dev.small", "team_id": team })).await;
    let secret = json!({ "name": "API_KEY", "value": "x", "team_id": team });
    assert_eq!(owner.ask(Method::POST, "/secrets", secret.clone()).await.0, 201);
    let path = format!("/teams/{team}");
    let (status, problem) = owner.ask(Method::DELETE, &path, Value::Null).await;
    assert!(status == 409 && text(&problem["detail"]).contains("api"), "{problem}");
    let (status, problem) = owner.ask(Method::DELETE, &format!("{path}?with_pods_of=acme"), Value::Null).await;
    assert!(status == 422 && problem["errors"]["with_pods_of"].is_array(), "{problem}");
    assert_eq!(member.ask(Method::DELETE, &format!("{path}?with_pods_of=Acme+%26+Co"), Value::Null).await.0, 403);
    assert_eq!(owner.get(&path).await["members"], 2, "nothing was done yet");
    assert_eq!(owner.ask(Method::DELETE, &format!("{path}?with_pods_of=Acme+%26+Co"), Value::Null).await.0, 204);
    for user in [&owner, &member] {
        assert_eq!(user.ask(Method::GET, &path, Value::Null).await.0, 404);
        assert_eq!(user.ask(Method::GET, &format!("/pods/{}", text(&pod["id"])), Value::Null).await.0, 404);
    }
    let db = PgPool::connect(&stand.database_url).await.expect("the database");
    let wish: (String, bool) =
        sqlx::query_as("SELECT desired, EXISTS (SELECT FROM queue.message WHERE key = 'pod:' || $1) FROM pods WHERE id = $1::text::uuid")
            .bind(text(&pod["id"]))
            .fetch_one(&db)
            .await
            .expect("its row");
    assert_eq!(wish, ("deleted".to_owned(), true));
    let secrets: i64 = sqlx::query_scalar("SELECT count(*) FROM secrets").fetch_one(&db).await.expect("a number");
    assert_eq!(secrets, 0, "its secrets are gone with it");
    assert_eq!(owner.ask(Method::POST, "/secrets", secret).await.0, 422, "and none comes after");
}

#[tokio::test]
async fn what_was_done_is_listed_filtered_and_taken_away_as_csv() {
    let stand = Stand::open().await;
    let (owner, member) = (User::sign_in(&stand, "owner").await, User::sign_in(&stand, "member").await);
    let team = team_of(&owner, "acme").await;
    let them = joins(&owner, &team, "member", &member, "member").await;
    member.ask(Method::POST, "/pods", json!({ "name": "api", "tier": "dev.small", "team_id": team })).await;
    owner.ask(Method::PATCH, &format!("/teams/{team}/members/{them}"), json!({ "role": "owner" })).await;
    owner.ask(Method::PATCH, &format!("/teams/{team}"), json!({ "name": "=HYPERLINK(1)" })).await;
    let path = format!("/teams/{team}/activity");
    let told = |page: &Value| -> Vec<(String, String)> {
        let items = page["items"].as_array().expect("a list");
        items.iter().map(|item| (text(&item["actor"]).to_owned(), text(&item["action"]).to_owned())).collect()
    };
    let all = owner.get(&path).await;
    let expected = [
        ("owner", "team.rename"),
        ("owner", "member.role"),
        ("member", "pod.create"),
        ("member", "member.join"),
        ("owner", "invitation.make"),
        ("owner", "team.create"),
    ];
    assert_eq!(told(&all), expected.map(|(who, what)| (who.to_owned(), what.to_owned())));
    assert!(all["items"].as_array().expect("a list").iter().all(|item| item["address"] == "127.0.0.1" && item["token"] == "command line"), "{all}");
    let pods = owner.get(&format!("{path}?kind=pods")).await;
    assert_eq!(told(&pods), [("member".to_owned(), "pod.create".to_owned())]);
    assert_eq!(told(&owner.get(&format!("{path}?kind=people&actor=MEMBER")).await), [("member".to_owned(), "member.join".to_owned())]);
    let first = owner.get(&format!("{path}?limit=4")).await;
    let rest = owner.get(&format!("{path}?limit=4&cursor={}", text(&first["next_cursor"]))).await;
    assert_eq!((told(&first).len(), told(&rest).len(), &rest["next_cursor"]), (4, 2, &Value::Null));
    for bad in ["kind=nonsense", "cursor=x", "cursor=-1", "limit=0", "limit=1001", "page=2"] {
        assert_eq!(owner.ask(Method::GET, &format!("{path}?{bad}"), Value::Null).await.0, 422, "{bad}");
    }
    let csv = owner.request(Method::GET, &format!("{path}?kind=people")).header(ACCEPT, "text/csv").send().await.expect("an answer");
    assert!(csv.headers()["content-type"].to_str().expect("text").starts_with("text/csv"));
    let csv = csv.text().await.expect("text");
    assert!(csv.starts_with("number,at,who,action,what,detail,door,token,address\r\n"), "{csv}");
    assert!(csv.contains(",owner,team.rename,acme,to =HYPERLINK(1),api,command line,127.0.0.1\r\n"), "{csv}");
    assert_eq!(csv.lines().count(), 6, "{csv}");
    // By the browser's door, too; where others were is for owners alone.
    let browser = stand.sign_in("owner").await;
    let live = format!("/live/teams/{team}/activity.csv");
    let file = stand.page(&browser, Method::GET, &live).send().await.expect("an answer");
    assert!(file.headers()["content-disposition"].to_str().expect("text").contains("activity.csv"));
    // Who is an owner no more brings nobody else in as one either.
    invited(&member, &team, json!({ "email": "another@example.test", "role": "owner" })).await;
    owner.ask(Method::PATCH, &format!("/teams/{team}/members/{them}"), json!({ "role": "member" })).await;
    assert_eq!(owner.get(&format!("/teams/{team}/invitations")).await["items"], json!([]));
    let told = owner.get(&path).await;
    assert_eq!((&told["items"][0]["action"], &told["items"][0]["object"]), (&json!("invitation.revoke"), &json!("another@example.test")));
    for item in member.get(&path).await["items"].as_array().expect("a list") {
        assert_eq!(item["address"].is_string(), item["actor"] == "member", "{item}");
        // Who is invited is for owners alone, too, but for what one did oneself.
        let is_told = item["object"] != "somebody";
        assert_eq!(is_told, item["actor"] == "member" || !text(&item["action"]).starts_with("invitation."), "{item}");
    }
    let outsider = stand.sign_in("outsider").await;
    assert_eq!(stand.page(&outsider, Method::GET, &live).send().await.expect("an answer").status(), 404);
}
