//! Secrets: who may do what with them, what a pod gets, and that a value comes out nowhere.

use crate::{
    fleet::{Fleet, User},
    screen::Screen,
    stand::Stand,
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

/// Status and body.
async fn ask(stand: &Stand, token: &str, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = stand.api(token, method, path);
    let request = if body.is_null() { request } else { request.json(&body) };
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

fn field(problem: &Value) -> Vec<&str> {
    problem["errors"].as_object().map(|errors| errors.keys().map(String::as_str).collect()).unwrap_or_default()
}

#[tokio::test]
async fn a_secret_is_made_listed_replaced_renamed_and_deleted_and_no_answer_has_its_value() {
    let stand = Stand::open().await;
    stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let mut answers = Vec::new();
    let mut say = async |method: Method, path: &str, body: Value| {
        let (status, answer) = ask(&stand, &token, method, path, body).await;
        answers.push(answer.to_string());
        (status, answer)
    };
    let (status, made) = say(Method::POST, "/secrets", json!({ "name": "API_KEY", "value": "canary one" })).await;
    assert_eq!((status, &made["name"], &made["project_ref"], &made["changed_by"]), (201, &json!("API_KEY"), &Value::Null, &json!("owner")));
    let (me, path) = (say(Method::GET, "/me", Value::Null).await.1, format!("/secrets/{}", made["id"].as_str().expect("an id")));
    assert_eq!(made["team_id"], me["personal_team"], "the personal team, if none is named");
    let (status, twin) = say(Method::POST, "/secrets", json!({ "name": "API_KEY", "value": "canary two" })).await;
    assert_eq!((status, &twin["code"], field(&twin)), (409, &json!("taken"), vec!["name"]));
    // Beside it, one for a repository; GitHub takes no notice of capitals.
    for (project, expected) in [("Owner/Full", 201), ("owner/full", 409), ("owner/node-site", 201)] {
        let body = json!({ "name": "API_KEY", "value": "canary three", "project_ref": project });
        assert_eq!(say(Method::POST, "/secrets", body).await.0, expected, "{project}");
    }
    let page = say(Method::GET, "/secrets?limit=2", Value::Null).await.1;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(2));
    let cursor = page["next_cursor"].as_str().expect("another page");
    let rest = say(Method::GET, &format!("/secrets?limit=2&cursor={cursor}"), Value::Null).await.1;
    assert_eq!((rest["items"].as_array().map(Vec::len), &rest["next_cursor"]), (Some(1), &Value::Null));
    let (status, replaced) = say(Method::PATCH, &path, json!({ "value": "canary four" })).await;
    assert!(status == 200 && replaced["changed_at"] != made["changed_at"], "{replaced}");
    let (status, renamed) = say(Method::PATCH, &path, json!({ "name": "API_TOKEN" })).await;
    assert_eq!((status, &renamed["name"], &renamed["id"]), (200, &json!("API_TOKEN"), &made["id"]));
    // What is refused quotes nothing either.
    for (body, wrong) in [
        (json!({ "name": "PATH", "value": "canary" }), "name"),
        (json!({ "name": "lower", "value": "canary" }), "name"),
        (json!({ "name": "LD_PRELOAD", "value": "canary" }), "name"),
        (json!({ "name": "PINACLE_X", "value": "canary" }), "name"),
        (json!({ "name": "A", "value": "canary\0" }), "value"),
        (json!({ "name": "A", "value": "canary".repeat(20_000) }), "value"),
        (json!({ "name": "A", "value": ["canary"] }), "value"),
        (json!({ "name": "A", "value": 4711 }), "value"),
        (json!({ "name": "A", "value": "canary", "project_ref": "file:///etc" }), "project_ref"),
        (json!({ "name": "A", "value": "canary", "team_id": "00000000-0000-7000-8000-000000000000" }), "team_id"),
        (json!({ "name": "A", "value": "canary", "valu": "canary" }), "valu"),
        (json!({ "name": "A" }), "value"),
    ] {
        let (status, problem) = say(Method::POST, "/secrets", body).await;
        assert_eq!((status, field(&problem)), (422, vec![wrong]), "{problem}");
    }
    assert_eq!(say(Method::DELETE, &path, Value::Null).await.0, 204);
    assert_eq!(say(Method::GET, &path, Value::Null).await.0, 404);
    // Told by name, the newest first, and what was refused is not among it.
    let activity = format!("/teams/{}/activity?kind=secrets", me["personal_team"].as_str().expect("an id"));
    let told = say(Method::GET, &activity, Value::Null).await.1;
    let told: Vec<(&str, &str)> = told["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (one["action"].as_str().expect("text"), one["object"].as_str().expect("text")))
        .collect();
    let made = ("secret.create", "API_KEY");
    assert_eq!(told, [("secret.delete", "API_TOKEN"), ("secret.rename", "API_KEY"), ("secret.replace", "API_KEY"), made, made, made]);
    for answer in answers {
        assert!(!answer.contains("canary") && !answer.contains("4711"), "{answer}");
    }
    assert!(!stand.log().contains("canary"));
}

#[tokio::test]
async fn owners_manage_a_teams_secrets_members_see_names_and_others_see_nothing() {
    let stand = Stand::open().await;
    for login in ["owner", "member", "outsider"] {
        stand.sign_in(login).await;
    }
    let tokens = ["owner", "member", "outsider"].map(|login| stand.token(login, "write"));
    let [owner, member, outsider] = &tokens;
    let team = ask(&stand, owner, Method::GET, "/me", Value::Null).await.1["personal_team"].as_str().expect("a team").to_owned();
    let db = PgPool::connect(&stand.database_url).await.expect("the database");
    sqlx::query("INSERT INTO team_members (team_id, user_id, role) SELECT $1::text::uuid, id, 'member' FROM users WHERE login = 'member'")
        .bind(&team)
        .execute(&db)
        .await
        .expect("a member");
    let body = json!({ "name": "A", "value": "x", "team_id": team });
    let (status, made) = ask(&stand, owner, Method::POST, "/secrets", body.clone()).await;
    assert_eq!(status, 201, "{made}");
    let path = format!("/secrets/{}", made["id"].as_str().expect("an id"));
    let list = format!("/secrets?team_id={team}");
    // By whom, what it answers: reading one, reading all, making, changing, deleting.
    for (token, expected) in [(member, [200, 200, 403, 403, 403]), (outsider, [404, 404, 422, 404, 404])] {
        let answers = [
            ask(&stand, token, Method::GET, &path, Value::Null).await,
            ask(&stand, token, Method::GET, &list, Value::Null).await,
            ask(&stand, token, Method::POST, "/secrets", body.clone()).await,
            ask(&stand, token, Method::PATCH, &path, json!({ "value": "y" })).await,
            ask(&stand, token, Method::DELETE, &path, Value::Null).await,
        ];
        assert_eq!(answers.each_ref().map(|(status, _)| *status), expected, "{answers:?}");
    }
    let names = ask(&stand, member, Method::GET, &list, Value::Null).await.1;
    assert_eq!(names["items"][0]["name"], "A");
    // Who has left sees nothing more.
    sqlx::query("DELETE FROM team_members WHERE role = 'member'").execute(&db).await.expect("left");
    assert_eq!(ask(&stand, member, Method::GET, &path, Value::Null).await.0, 404);
    assert_eq!(ask(&stand, owner, Method::GET, &path, Value::Null).await.1["changed_at"], made["changed_at"], "nothing of it was done");
}

#[tokio::test]
async fn a_sealed_value_that_is_copied_onto_another_row_does_not_open() {
    let stand = Stand::open().await;
    stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let make = async |name: &str, value: &str| ask(&stand, &token, Method::POST, "/secrets", json!({ "name": name, "value": value })).await.1;
    let (one, other) = (make("ONE", "of one").await, make("OTHER", "of the other").await);
    let db = PgPool::connect(&stand.database_url).await.expect("the database");
    let path = |secret: &Value| format!("/secrets/{}", secret["id"].as_str().expect("an id"));
    let rename = async |secret: &Value, name: &str| ask(&stand, &token, Method::PATCH, &path(secret), json!({ "name": name })).await;
    assert_eq!(rename(&other, "THE_OTHER").await.0, 200, "it opens where it is");
    sqlx::query("UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE name = 'ONE') WHERE name = 'THE_OTHER'")
        .execute(&db)
        .await
        .expect("copied");
    let (status, problem) = rename(&other, "OTHER").await;
    assert_eq!((status, &problem["code"]), (409, &json!("wrong_state")), "{problem}");
    // Nor under another name, nor in another team, where it lies in the row that it was sealed for.
    sqlx::query("UPDATE secrets SET name = 'TWO' WHERE name = 'ONE'").execute(&db).await.expect("renamed behind our back");
    assert_eq!(rename(&one, "THREE").await.0, 409);
    sqlx::query("UPDATE secrets SET name = 'ONE' WHERE name = 'TWO'").execute(&db).await.expect("and back");
    assert_eq!(rename(&one, "THREE").await.0, 200);
    assert_eq!(ask(&stand, &token, Method::PATCH, &path(&other), json!({ "value": "anew" })).await.0, 200, "a new value mends it");
}

#[tokio::test]
async fn of_two_who_add_the_same_name_at_once_one_is_told() {
    let stand = Stand::open().await;
    stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    for round in 0..5 {
        let body = json!({ "name": format!("ROUND_{round}"), "value": "x" });
        let (one, other) =
            tokio::join!(ask(&stand, &token, Method::POST, "/secrets", body.clone()), ask(&stand, &token, Method::POST, "/secrets", body.clone()));
        let mut statuses = [one.0, other.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409]);
    }
}

#[tokio::test]
async fn all_outdated_pods_are_restarted_in_one_go_and_one_that_stays_says_why() {
    let stand = Stand::open().await;
    let browser = stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let (status, made) = ask(&stand, &token, Method::POST, "/secrets", json!({ "name": "A", "value": "x" })).await;
    assert_eq!(status, 201, "{made}");
    let team = made["team_id"].as_str().expect("a team");
    let db = PgPool::connect(&stand.database_url).await.expect("the database");
    // As jobs leave them, more than are read at once; the owner of one has left the team.
    sqlx::query(
        "INSERT INTO pods (id, team_id, owner_id, name, tier, status, booted, seen_generation, owner_left_at)
         SELECT gen_random_uuid(), $1::text::uuid, u.id, 'p' || n, 'dev.small', 'running', true, 1, CASE WHEN n = 101 THEN now() END
         FROM users u, generate_series(100, 201) n WHERE u.login = 'owner'",
    )
    .bind(team)
    .execute(&db)
    .await
    .expect("pods");
    sqlx::query("INSERT INTO pod_event_head (pod_id) SELECT id FROM pods").execute(&db).await.expect("their logs");
    let page = stand.page(&browser, Method::GET, "/secrets").header("accept", "text/html").send().await.expect("a page");
    let page = page.text().await.expect("its text");
    assert!(page.contains("Restart 102 pods") && page.contains("p103, p104 and 97 more"), "all are counted, and the first are named");
    let restart = async || {
        let request = stand.page(&browser, Method::POST, "/fn/secrets/restart-pods").header("accept", "application/json");
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(format!("team={team}"));
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    let (status, answer) = restart().await;
    assert_eq!(status, 200, "{answer}");
    let names: Vec<&str> = answer["restarted"].as_array().expect("a list").iter().filter_map(|pod| pod["name"].as_str()).collect();
    let expected: Vec<String> = (100..=201).filter(|n| *n != 101).map(|n| format!("p{n}")).collect();
    assert_eq!(names, expected);
    let refused = answer["refused"].as_array().expect("a list");
    let why = "The owner of p101 has left the team. An owner of the team takes it over first.";
    assert_eq!((refused.len(), &refused[0]["name"], &refused[0]["why"]), (1, &json!("p101"), &json!(why)));
    let wished: Vec<String> = sqlx::query_scalar("SELECT name FROM pods WHERE boot_after > 0 ORDER BY name").fetch_all(&db).await.expect("names");
    assert_eq!(wished, expected, "it is wished in the database, too");
    // Where none can be restarted, that is an error with the same words.
    sqlx::query("UPDATE pods SET status = 'stopped' WHERE owner_left_at IS NULL").execute(&db).await.expect("stopped");
    let (status, error) = restart().await;
    assert_eq!((status, &error["code"], &error["message"]), (409, &json!("wrong_state"), &json!(format!("p101 stays as it is: {why}"))));
}

/// A new secret of the user's, and the path to it.
async fn add(user: &User<'_>, body: Value) -> String {
    let (status, made) = user.ask(Method::POST, "/secrets", body).await;
    assert_eq!(status, 201, "{made}");
    format!("/secrets/{}", made["id"].as_str().expect("an id"))
}

async fn remove(user: &User<'_>, secrets: &[String]) {
    for path in secrets {
        assert_eq!(user.ask(Method::DELETE, path, Value::Null).await.0, 204);
    }
}

#[tokio::test]
async fn a_pod_gets_its_own_teams_secrets_everywhere_in_it_and_the_repositorys_win() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.user("owner").await;
    let other = fleet.newcomer().await;
    let tag = format!("T{:08X}", rand::random::<u32>());
    let lines = "-----BEGIN-----\n'it' \"is\" $HOME `id` \\n\té\n-----END-----\n";
    let of_another_team = add(&other, json!({ "name": format!("{tag}_FOREIGN"), "value": "foreign" })).await;
    let mine = [
        add(&user, json!({ "name": format!("{tag}_TEAM"), "value": "of the team" })).await,
        add(&user, json!({ "name": format!("{tag}_BOTH"), "value": "of the team" })).await,
        add(&user, json!({ "name": format!("{tag}_BOTH"), "value": "of the repository", "project_ref": "Owner/Node-Site" })).await,
        add(&user, json!({ "name": format!("{tag}_LINES"), "value": lines })).await,
        add(&user, json!({ "name": format!("{tag}_ELSEWHERE"), "value": "of another", "project_ref": "owner/full" })).await,
    ];
    let id = user.create(json!({ "repository": "owner/node-site" })).await;
    user.until_setup(&id, "done").await;
    let expected = format!("{tag}_BOTH=of the repository\n{tag}_TEAM=of the team\n");
    let show = format!("env | grep -a ^{tag}_ | grep -v _LINES | sort");
    // `exec`, a login shell, and a process: that of the repository.
    assert_eq!(user.shell(&id, &show).await, expected);
    assert_eq!(user.shell(&id, &format!("env -i bash -lc '{show}'")).await, expected);
    let of_process = format!("tr '\\0' '\\n' </proc/$(pgrep -o -x node)/environ | grep -a ^{tag}_ | grep -v _LINES | sort");
    assert_eq!(user.shell(&id, &of_process).await, expected);
    let (_, exact) = user.exec(&id, json!({ "argv": ["printenv", format!("{tag}_LINES")] })).await;
    assert_eq!(exact["stdout"], format!("{lines}\n"), "a value of several lines is what it was");
    let (_, exact) = user.exec(&id, json!({ "argv": ["env", "-i", "bash", "-lc", format!("printf %s \"${tag}_LINES\"")] })).await;
    assert_eq!(exact["stdout"], lines);
    let mut terminal = Screen::open(&user, &id, "secrets", "").await;
    // Put together by the shell, so that what is typed is not what is looked for.
    terminal.types(&format!("echo \"<${tag}_BOTH>\"\r")).await;
    terminal.shows("<of the repository>").await;
    assert_eq!(user.shell(&id, "stat -c '%a %U' /run/pinacle/env; stat -f -c %T /run/pinacle").await, "400 dev\ntmpfs\n");
    // By name, and that it was used.
    let names = user.get(&format!("/pods/{id}/secrets")).await;
    let ours: Vec<(&str, bool)> = names["secrets"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|secret| Some((secret["name"].as_str()?.strip_prefix(tag.as_str())?, secret["of_repository"].as_bool()?)))
        .collect();
    assert_eq!(ours, [("_BOTH", true), ("_LINES", false), ("_TEAM", false)]);
    // By this pod or, since other tests have pods of this account, a later one.
    let used = async |path: &str| user.get(path).await["last_used"]["pod_id"].is_string();
    assert!(used(&mine[0]).await && used(&mine[2]).await);
    // After the sandbox has ended by itself it is sent again, on another one's memory.
    user.wish(&id, "restart").await;
    user.until_status(&id, "running").await;
    assert_eq!(user.shell(&id, &show).await, expected);
    user.delete(&id).await;
    remove(&user, &mine).await;
    remove(&other, &[of_another_team]).await;
}

#[tokio::test]
async fn a_pod_with_an_older_value_is_marked_until_it_is_restarted() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.newcomer().await;
    let secret = add(&user, json!({ "name": "MARKED", "value": "first" })).await;
    let id = user.running().await;
    let outdated = async || {
        let names = user.get(&format!("/pods/{id}/secrets")).await["outdated"].clone();
        (user.pod(&id).await["secrets_outdated"].as_bool().expect("said"), names)
    };
    assert_eq!(outdated().await, (false, json!([])));
    // For another repository: nothing to this pod.
    add(&user, json!({ "name": "MARKED", "value": "x", "project_ref": "owner/full" })).await;
    assert_eq!(outdated().await, (false, json!([])));
    assert_eq!(user.ask(Method::PATCH, &secret, json!({ "value": "second" })).await.0, 200);
    assert_eq!(outdated().await, (true, json!(["MARKED"])));
    assert_eq!(user.shell(&id, "printenv MARKED").await, "first\n", "what runs keeps what it has");
    user.wish(&id, "restart").await;
    user.until(&id, "the new value", |pod| pod["status"] == "running" && pod["secrets_outdated"] == false).await;
    assert_eq!(user.shell(&id, "printenv MARKED").await, "second\n");
    // A new one, another name, and one less are changes, too.
    let added = add(&user, json!({ "name": "ADDED", "value": "x" })).await;
    assert_eq!(outdated().await, (true, json!(["ADDED"])));
    assert_eq!(user.ask(Method::PATCH, &secret, json!({ "name": "RENAMED" })).await.0, 200);
    assert_eq!(user.ask(Method::DELETE, &added, Value::Null).await.0, 204);
    assert_eq!(outdated().await, (true, json!(["ADDED", "MARKED", "RENAMED"])));
    user.wish(&id, "restart").await;
    user.until(&id, "the latest", |pod| pod["status"] == "running" && pod["secrets_outdated"] == false).await;
    assert_eq!(user.shell(&id, "printenv RENAMED; printenv MARKED ADDED || true").await, "second\n");
    // One that is stopped runs with nothing.
    user.wish(&id, "stop").await;
    user.until_status(&id, "stopped").await;
    assert_eq!(user.ask(Method::PATCH, &secret, json!({ "value": "third" })).await.0, 200);
    assert_eq!(outdated().await, (false, json!([])));
    user.delete(&id).await;
}
