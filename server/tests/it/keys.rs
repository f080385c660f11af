//! Keys of pods, against the stand-in for GitHub and its real sshd: cloning, pushing, and the end of a key.

use crate::fleet::{Fleet, SOON, User, number_of, on_host};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Deploy keys of a repository, as its owner sees them at GitHub.
async fn keys_at_github(fleet: &Fleet, repository: &str) -> Vec<Value> {
    fleet.at_github("owner", Method::GET, &format!("/repos/{repository}/keys?per_page=100")).await.as_array().expect("a list").clone()
}

fn of_pod<'a>(keys: &'a [Value], name: &str) -> Option<&'a Value> {
    keys.iter().find(|key| key["title"].as_str().is_some_and(|title| title.starts_with(&format!("Pinacle pod {name} "))))
}

/// Until GitHub has forgotten a pod's key.
async fn until_forgotten(fleet: &Fleet, repository: &str, name: &str) {
    let begun = Instant::now();
    while of_pod(&keys_at_github(fleet, repository).await, name).is_some() {
        assert!(begun.elapsed() < SOON, "the key of {name} is still there");
        sleep(Duration::from_millis(100)).await;
    }
}

async fn name_of(user: &User<'_>, id: &str) -> String {
    user.pod(id).await["name"].as_str().expect("a name").to_owned()
}

#[tokio::test]
async fn a_private_repository_is_cloned_and_pushed_with_a_key_that_lives_as_long_as_its_pod() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.user("owner").await;
    let id = user.create(json!({ "repository": "owner/private" })).await;
    let pod = user.until_setup(&id, "done").await;
    assert_eq!(pod["git_access"], json!({ "way": "deploy_key" }));
    let name = name_of(&user, &id).await;
    let keys = keys_at_github(&fleet, "owner/private").await;
    let key = of_pod(&keys, &name).expect("its key is registered");
    assert_eq!(key["read_only"], false);
    assert!(key["key"].as_str().is_some_and(|key| key.starts_with("ssh-ed25519 ")));

    // In the pod: a file in memory that only dev reads, and that no other server is shown.
    assert_eq!(user.shell(&id, "stat -c '%a %U' /run/pinacle/ssh_key; stat -f -c %T /run/pinacle").await, "400 dev\ntmpfs\n");
    assert_eq!(
        user.shell(&id, "ssh -G pinacle-repository | grep -E '^(stricthostkeychecking|identityfile|identitiesonly) '").await,
        "identitiesonly yes\nstricthostkeychecking true\nidentityfile /run/pinacle/ssh_key\n"
    );
    assert!(!user.shell(&id, "ssh -G example.test").await.contains("/run/pinacle/ssh_key"));
    assert!(!user.shell(&id, "sudo grep -rs gho_ /run /etc /home/dev || true; env").await.contains("gho_"), "the owner's token is not in the pod");

    // Pushed, and seen by another clone.
    let branch = format!("b{:08x}", rand::random::<u32>());
    user.shell(&id, &format!("cd private && git checkout -q -b {branch} && echo {branch} > {branch} && git add . && git commit -q -m Push && git push -q origin {branch}")).await;
    let other = user.create(json!({ "repository": "owner/private", "branch": branch })).await;
    user.until_setup(&other, "done").await;
    assert_eq!(user.shell(&other, &format!("cat private/{branch}")).await.trim(), branch);
    assert_eq!(
        user.shell(&other, "cd private && git fetch -q && git remote get-url origin").await.trim(),
        "ssh://pinacle-repository/owner/private.git"
    );
    // The key of one repository opens no other.
    assert!(user.shell(&id, "git ls-remote ssh://pinacle-repository/owner/locked.git 2>&1 || true").await.contains("not found"));

    // A server that shows another key than the pinned one is not spoken to.
    let words = user.shell(&id, "cd private && sudo sh -c 'echo pinacle-repository ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl > /run/pinacle/known_hosts'; git fetch 2>&1 || true").await;
    assert!(words.contains("Host key verification failed"), "{words}");

    // It survives a restart, which tells the pod everything anew.
    user.wish(&id, "restart").await;
    user.until_status(&id, "running").await;
    user.shell(&id, "cd private && git fetch -q").await;
    assert_eq!(of_pod(&keys_at_github(&fleet, "owner/private").await, &name).map(|key| key["id"].clone()), Some(key["id"].clone()), "the same key");

    user.delete(&id).await;
    until_forgotten(&fleet, "owner/private", &name).await;
    let other_name = name_of(&user, &other).await;
    assert!(of_pod(&keys_at_github(&fleet, "owner/private").await, &other_name).is_some(), "the other pod's key stays");
    user.delete(&other).await;
    until_forgotten(&fleet, "owner/private", &other_name).await;
}

#[tokio::test]
async fn the_private_half_stands_nowhere_but_in_its_pod() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.user("owner").await;
    let id = user.create(json!({ "repository": "owner/private" })).await;
    let pod = user.until_setup(&id, "done").await;
    let key = user.shell(&id, "sed 1d /run/pinacle/ssh_key | head -2 | tail -1").await.trim().to_owned();
    assert!(key.len() > 40, "a line in the middle of the key: {key}");
    assert!(!format!("{pod} {:?}", user.events(&id).await).contains(&key));
    let db = fleet.database().await;
    let dump: Vec<(String,)> = sqlx::query_as(
        "SELECT k::text FROM ssh_keys k UNION ALL SELECT m::text FROM queue.message m UNION ALL SELECT a::text FROM queue.archive a
         UNION ALL SELECT e::text FROM pod_event e UNION ALL SELECT p::text FROM pods p",
    )
    .fetch_all(&db)
    .await
    .expect("read");
    assert!(!dump.is_empty() && dump.iter().all(|(row,)| !row.contains(&key)));
    let on_disk = on_host(
        number_of(&pod),
        &format!("grep -rlsF '{key}' /var/lib/pinacle /run/pinacle --exclude=layer.img || true; pgrep -af -- '{key}' | grep -v pgrep || true"),
    );
    assert!(!on_disk.contains(&id), "{on_disk}");
    user.delete(&id).await;
    let left: Option<Vec<u8>> = sqlx::query_scalar("SELECT private_key_encrypted FROM ssh_keys WHERE pod_id = $1")
        .bind(id.parse::<uuid::Uuid>().expect("an id"))
        .fetch_optional(&db)
        .await
        .expect("read")
        .flatten();
    assert_eq!(left, None, "erased with the pod, whatever GitHub does");
}

#[tokio::test]
async fn a_key_goes_from_github_once_github_is_back_and_was_deleted_while_it_was_down() {
    let Some(fleet) = Fleet::alone().await else { return };
    let user = fleet.user("owner").await;
    let _alone = crate::stand::github_alone().await;
    let id = user.create(json!({ "repository": "owner/private" })).await;
    user.until_setup(&id, "done").await;
    let name = name_of(&user, &id).await;
    // Down for whatever is said of keys.
    fleet.github("/fail", json!({ "path": "/repos/owner/private/keys/", "mode": "error500" })).await;
    user.delete(&id).await;
    let db = fleet.database().await;
    let pod: uuid::Uuid = id.parse().expect("an id");
    let begun = Instant::now();
    loop {
        let tries: i32 =
            sqlx::query_scalar("SELECT removal_tries FROM ssh_keys WHERE pod_id = $1").bind(pod).fetch_one(&db).await.expect("it is kept");
        if tries > 0 {
            break;
        }
        assert!(begun.elapsed() < SOON, "it is tried");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(of_pod(&keys_at_github(&fleet, "owner/private").await, &name).is_some(), "and is still there");
    fleet.mend_github().await;
    until_forgotten(&fleet, "owner/private", &name).await;
    let begun = Instant::now();
    while sqlx::query_scalar::<_, i64>("SELECT count(*) FROM ssh_keys WHERE pod_id = $1").bind(pod).fetch_one(&db).await.expect("read") > 0 {
        assert!(begun.elapsed() < SOON, "its row goes, too");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_key_whose_holder_is_no_admin_any_more_is_not_taken_for_gone_and_goes_by_the_pods_owner() {
    let Some(fleet) = Fleet::open().await else { return };
    let (user, member) = (fleet.user("owner").await, fleet.user("member").await);
    let id = user.create(json!({ "repository": "owner/private" })).await;
    user.until_setup(&id, "done").await;
    let name = name_of(&user, &id).await;
    let db = fleet.database().await;
    let pod: uuid::Uuid = id.parse().expect("an id");
    let (owner_id, member_id) = (user.get("/me").await["id"].clone(), member.get("/me").await["id"].clone());
    let belongs = async |table: &str, to: &Value| {
        let (column, key) = if table == "pods" { ("owner_id", "id") } else { ("user_id", "pod_id") };
        let statement = format!("UPDATE {table} SET {column} = $1::text::uuid WHERE {key} = $2");
        sqlx::query(sqlx::AssertSqlSafe(statement)).bind(to.as_str()).bind(pod).execute(&db).await.expect("written");
    };
    // As if somebody had registered it who could then.
    belongs("ssh_keys", &member_id).await;
    belongs("pods", &member_id).await;
    user.delete(&id).await;
    let tries = "SELECT removal_tries FROM ssh_keys WHERE pod_id = $1";
    let begun = Instant::now();
    while sqlx::query_scalar::<_, i32>(tries).bind(pod).fetch_one(&db).await.expect("it is kept") == 0 {
        assert!(begun.elapsed() < SOON, "it is tried");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(of_pod(&keys_at_github(&fleet, "owner/private").await, &name).is_some(), "and is still there");
    belongs("pods", &owner_id).await;
    until_forgotten(&fleet, "owner/private", &name).await;
}

#[tokio::test]
async fn a_key_that_somebody_removed_at_github_is_registered_again_by_a_retry() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.user("owner").await;
    let id = user.create(json!({ "repository": "owner/private" })).await;
    user.until_setup(&id, "done").await;
    let name = name_of(&user, &id).await;
    let keys = keys_at_github(&fleet, "owner/private").await;
    let key = of_pod(&keys, &name).expect("registered")["id"].as_u64().expect("a number");
    fleet.at_github("owner", Method::DELETE, &format!("/repos/owner/private/keys/{key}")).await;
    assert!(user.shell(&id, "cd private && git fetch 2>&1 || true").await.contains("Permission denied"));
    user.wish(&id, "setup/retry").await;
    user.until(&id, "set up again", |pod| pod["setup"]["state"] == "done" && pod["behind"] == false).await;
    user.shell(&id, "cd private && git fetch -q").await;
    user.delete(&id).await;
    until_forgotten(&fleet, "owner/private", &name).await;
}

#[tokio::test]
async fn who_is_no_admin_gets_no_key_and_is_told_why() {
    let Some(fleet) = Fleet::open().await else { return };
    let (owner, member) = (fleet.user("owner").await, fleet.user("member").await);
    let cases = [(&member, "owner/node-site", "no_admin"), (&owner, "owner/locked", "keys_forbidden")];
    for (user, repository, why) in cases {
        let id = user.create(json!({ "repository": repository })).await;
        let pod = user.until(&id, "its way is settled", |pod| !pod["git_access"].is_null()).await;
        assert_eq!(pod["git_access"]["why"], why, "{pod}");
        let name = name_of(user, &id).await;
        assert!(of_pod(&keys_at_github(&fleet, repository).await, &name).is_none());
        assert!(!user.until_status(&id, "running").await["git_access"].is_null());
        user.shell(&id, "test ! -e /run/pinacle/ssh_key").await;
        user.delete(&id).await;
    }
}

/// What git prints when it fetches in `shared`.
async fn fetch(user: &User<'_>, id: &str) -> String {
    user.shell(id, "cd shared && git fetch -q 2>&1 || true").await
}

#[tokio::test]
async fn where_no_key_is_taken_git_asks_each_time_for_a_token_that_is_good_for_this_repository() {
    let Some(fleet) = Fleet::open().await else { return };
    let (owner, member) = (fleet.user("owner").await, fleet.user("member").await);
    let (id, other) = (member.create(json!({ "repository": "owner/shared" })).await, owner.create(json!({ "repository": "owner/locked" })).await);
    let pod = member.until_setup_or_question(&id).await;
    assert_eq!(pod["git_access"], json!({ "way": "app_token", "why": "no_admin" }));
    let of_owner = owner.until_setup_or_question(&other).await;
    assert_eq!(of_owner["git_access"], json!({ "way": "app_token", "why": "keys_forbidden" }));

    let branch = format!("b{:08x}", rand::random::<u32>());
    member
        .shell(&id, &format!("cd shared && git checkout -q -b {branch} && git commit -q --allow-empty -m Push && git push -q origin {branch}"))
        .await;
    let again = format!("git clone -q -b {branch} $(git -C shared remote get-url origin) again && git -C again log -1 --format=%s");
    assert_eq!(member.shell(&id, &again).await, "Push\n");
    // Nowhere in the pod, whoever looks; and what is asked for is the App's, not the owner's.
    let fill = "git -C shared remote get-url origin | sed 's/^/url=/; s/$/\\n/' | git credential fill | sed -n s/^password=//p";
    assert_eq!(member.shell(&id, &format!("{fill} | cut -c1-4")).await, "ghs_\n");
    assert_eq!(
        member.shell(&id, "sudo grep -rlsE 'gh[a-z]_[0-9A-Za-z]{8}' /run /etc/gitconfig shared/.git again/.git /home/dev/.[a-z]* || true").await,
        ""
    );
    assert_eq!(member.shell(&id, "stat -c '%a %U' /run/pinacle/git.sock; ls /run/pinacle | grep credential || true").await, "600 dev\n");
    // Another repository is not asked for, though another pod has it; nor does this one's token open it.
    let locked = "git -C shared remote get-url origin | sed s/shared/locked/";
    let refused = member.shell(&id, &format!("GIT_TERMINAL_PROMPT=0 git ls-remote $({locked}) 2>&1 || true")).await;
    assert!(refused.contains("could not read Username"), "{refused}");
    let elsewhere = member.shell(&id, &format!("git ls-remote $({locked} | sed \"s|://|://x-access-token:$({fill})@|\") 2>&1 || true")).await;
    assert!(elsewhere.contains("not found"), "{elsewhere}");
    member.delete(&id).await;
    owner.delete(&other).await;
}

#[tokio::test]
async fn git_gets_no_token_any_more_once_its_pods_owner_has_left_and_one_of_who_takes_the_pod_over() {
    let Some(fleet) = Fleet::open().await else { return };
    let (owner, member) = (fleet.user("owner").await, fleet.user("member").await);
    let team = crate::teams::team_of(&owner, "tokens").await;
    let them = crate::teams::joins(&owner, &team, "member", &member, "member").await;
    let id = member.create(json!({ "repository": "owner/shared", "team_id": team })).await;
    assert_eq!(member.until_setup_or_question(&id).await["git_access"]["way"], "app_token");
    assert_eq!(fetch(&owner, &id).await, "");
    assert_eq!(owner.ask(Method::DELETE, &format!("/teams/{team}/members/{them}"), Value::Null).await.0, 204);
    // At once, though a token was given a moment ago.
    let words = fetch(&owner, &id).await;
    assert!(words.contains("has left its team") && words.contains("takes the pod over") && !words.contains("Username"), "{words}");
    // Also where its machine was booted anew meanwhile.
    owner.crashes(&id).await;
    let words = fetch(&owner, &id).await;
    assert!(words.contains("has left its team"), "{words}");
    assert_eq!(owner.ask(Method::POST, &format!("/teams/{team}/pods/take-over"), json!({ "pods": [id] })).await.0, 200);
    assert_eq!(fetch(&owner, &id).await, "");
    owner.delete(&id).await;
    assert_eq!(owner.ask(Method::DELETE, &format!("/teams/{team}"), Value::Null).await.0, 204);
}

#[tokio::test]
async fn git_is_told_what_github_does_not_give_and_asks_whatever_worker_is_there() {
    let Some(fleet) = Fleet::alone().await else { return };
    let member = fleet.user("member").await;
    let id = member.create(json!({ "repository": "owner/shared" })).await;
    member.until_setup_or_question(&id).await;
    // The next one has made no token yet, and listens to the hosts while git waits.
    fleet.kill_worker().await;
    let asked = async {
        let fail = async |path: &str, mode: &str| fleet.github("/fail", json!({ "path": path, "mode": mode, "times": 1 })).await;
        fail("/repos/owner/shared/installation", "error500").await;
        let silent = fetch(&member, &id).await;
        assert!(silent.contains("GitHub does not answer. Try again in a moment.") && !silent.contains("Username"), "{silent}");
        // What its owner has allowed is taken back, and allowed again.
        fail("/repos/owner/shared", "revoked").await;
        let revoked = fetch(&member, &id).await;
        assert!(revoked.contains("no longer accepts") && revoked.contains("account's page"), "{revoked}");
        fleet.allow_repositories("member").await;
        assert_eq!(fetch(&member, &id).await, "");
    };
    tokio::join!(asked, fleet.begin_worker());
    member.delete(&id).await;
}
