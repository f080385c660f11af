//! Activity: what is told of who did what, and that nothing takes it back.

use crate::{database::Database, stand::Stand};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool, Row};

/// As docs/operating.md has it, with another name.
const GRANTS: &str = include_str!("../../../docs/server-role.sql");

async fn told(db: &PgPool) -> Vec<(String, String, String, String, String)> {
    let rows = sqlx::query("SELECT actor, action, object, detail, door || ' ' || coalesce(host(address), '-') FROM activity ORDER BY seq")
        .fetch_all(db)
        .await;
    rows.expect("rows").iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))).collect()
}

#[tokio::test]
async fn what_was_told_can_not_be_changed_or_removed_not_even_by_the_owner_of_the_table() {
    let (_database, db) = Database::migrated(1).await;
    let insert = "INSERT INTO activity (team_id, actor, door, action, object) VALUES (gen_random_uuid(), 'owner', 'web', 'pod.create', 'one')";
    sqlx::query(insert).execute(&db).await.expect("added");
    for change in ["UPDATE activity SET actor = 'nobody'", "DELETE FROM activity", "TRUNCATE activity", "DELETE FROM activity WHERE false"] {
        let refused = sqlx::query(change).execute(&db).await.expect_err(change);
        assert_eq!(refused.as_database_error().and_then(|error| error.code()).as_deref(), Some("42501"), "{change}: {refused}");
    }
    assert_eq!(told(&db).await.len(), 1);
}

#[tokio::test]
async fn a_server_with_a_role_of_lesser_rights_serves_and_can_only_add_to_what_was_told() {
    let database = Database::create().await;
    let role = format!("{}_server", database.name);
    let owner = database.connect(2).await;
    let run = |arguments: &[&str]| crate::stand::program().args(arguments).env("DATABASE_URL", &database.url).output().expect("the program runs");
    let migrated = run(&["migrate"]);
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let grants = GRANTS.replace("pinacle_server", &role);
    sqlx::raw_sql(AssertSqlSafe(grants)).execute(&owner).await.expect("the role of the papers");
    let mut url = url::Url::parse(&database.url).expect("an address");
    url.set_username(&role).expect("a name");
    let stand = Stand::on(database, &[("DATABASE_URL", url.as_str())]).await;
    stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let made = stand.api(&token, Method::POST, "/pods").json(&json!({ "name": "one", "tier": "dev.small" })).send().await.expect("an answer");
    assert_eq!(made.status(), 202);
    let server = PgPool::connect(url.as_str()).await.expect("the server's role signs in");
    let before = told(&server).await;
    assert!(before.iter().any(|(_, action, ..)| action == "pod.create"), "{before:?}");
    for change in [
        "UPDATE activity SET actor = 'nobody'",
        "DELETE FROM activity",
        "TRUNCATE activity",
        "ALTER TABLE activity DISABLE TRIGGER ALL",
        "DROP TRIGGER activity_append_only ON activity",
        "DROP TABLE activity",
        "SET session_replication_role = replica",
        "CREATE TABLE mine (x int)",
    ] {
        let refused = sqlx::query(change).execute(&server).await.expect_err(change);
        assert_eq!(refused.as_database_error().and_then(|error| error.code()).as_deref(), Some("42501"), "{change}: {refused}");
    }
    sqlx::query("SELECT queue.maintain_archive(interval '3 months')").execute(&server).await.expect("months are made by their owner");
    assert_eq!(told(&owner).await, before);
    server.close().await;
    drop(stand);
    sqlx::query(AssertSqlSafe(format!("DROP ROLE {role}")))
        .execute(&PgPool::connect(&crate::stand::variable("DATABASE_URL")).await.expect("Postgres"))
        .await
        .expect("the role goes");
}

#[tokio::test]
async fn what_is_done_is_told_with_who_did_it_and_from_where() {
    let stand = Stand::open().await;
    let browser = stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let db = PgPool::connect(&stand.database_url).await.expect("the database");
    let ask = async |method: Method, path: &str, body: Value| {
        let request = stand.api(&token, method, path);
        let answer = if body.is_null() { request } else { request.json(&body) }.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json::<Value>().await.unwrap_or(Value::Null)
    };
    let pod = ask(Method::POST, "/pods", json!({ "name": "one", "tier": "dev.small", "repository": "owner/full" })).await;
    let path = format!("/pods/{}", pod["id"].as_str().expect("an id"));
    ask(Method::PATCH, &path, json!({ "name": "two", "tier": "dev.medium" })).await;
    // The same again is nothing new.
    ask(Method::PATCH, &path, json!({ "name": "two", "tier": "dev.medium" })).await;
    for verb in ["stop", "start", "restart", "retry", "setup/retry"] {
        ask(Method::POST, &format!("{path}/{verb}"), Value::Null).await;
    }
    // What was refused is not told.
    let refused = stand.api(&token, Method::POST, &format!("{path}/setup/approve")).json(&json!({ "plan_digest": "x" })).send().await;
    assert_eq!(refused.expect("an answer").status(), 409);
    ask(Method::DELETE, &path, Value::Null).await;
    let made = ask(Method::POST, "/tokens", json!({ "name": "night shift", "scope": "read", "expires_days": 1 })).await;
    ask(Method::DELETE, &format!("/tokens/{}", made["id"].as_str().expect("an id")), Value::Null).await;
    ask(Method::PATCH, "/me", json!({ "handle": "olive" })).await;
    let out = stand.page(&browser, Method::POST, "/auth/sign-out").send().await.expect("an answer");
    assert_eq!(out.status(), 303);
    ask(Method::DELETE, "/sessions", Value::Null).await;
    let told = told(&db).await;
    let told: Vec<(&str, &str, &str, &str, &str)> = told.iter().map(|(a, b, c, d, e)| (&**a, &**b, &**c, &**d, &**e)).collect();
    let (web, api) = ("web 127.0.0.1", "api 127.0.0.1");
    assert_eq!(
        told,
        [
            ("owner", "session.begin", "", "", web),
            ("", "token.create", "command line", "", "command line -"),
            ("owner", "pod.create", "one", "of owner/full", api),
            ("owner", "pod.rename", "one", "to two", api),
            ("owner", "pod.tier", "one", "from dev.small to dev.medium", api),
            ("owner", "pod.stop", "two", "", api),
            ("owner", "pod.start", "two", "", api),
            ("owner", "pod.restart", "two", "", api),
            ("owner", "pod.retry", "two", "", api),
            ("owner", "pod.set_up", "two", "", api),
            ("owner", "pod.delete", "two", "", api),
            ("owner", "token.create", "night shift", "that may only read", api),
            ("owner", "token.revoke", "night shift", "", api),
            ("owner", "account.handle", "olive", "", api),
            ("owner", "session.end", "", "", web),
            ("owner", "session.end_all", "", "", api),
        ]
    );
}
