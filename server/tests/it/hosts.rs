//! Pod hosts: joining, host keys, and what operators say of them.

use crate::{
    fleet::{Fleet, SOON, inventory, number_of, on_host, seen_on, tell},
    stand::Stand,
};
use pinacle_host::protocol::{Command, Inventory, JoinRequest, OrphanSeen, PROTOCOL, SandboxState};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

const OTHER_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG2ujPIrXsm4z/CKaTCSJNF96r/AoGT1N759e3rhtXRm";

/// What a machine says of itself.
pub fn report() -> JoinRequest {
    let inventory = Inventory {
        version: "0.1.0".into(),
        boot_id: Uuid::now_v7(),
        kernel: "6.1".into(),
        runsc_version: "release".into(),
        runsc_platform: "systrap".into(),
        cgroup: "v2".into(),
        image: "base".into(),
        cpu_milli: 4000,
        memory_bytes: 16 << 30,
        disk_bytes: 200 << 30,
        disk_free_bytes: 100 << 30,
        pods: Vec::new(),
        orphans: vec![OrphanSeen { pod: Uuid::now_v7(), set_aside: 1_700_000_000, disk_bytes: 1 << 20 }],
    };
    JoinRequest { protocol: PROTOCOL, inventory, host_keys: vec![KEY.into()] }
}

#[tokio::test]
async fn a_join_token_is_good_for_one_machine_and_for_nothing_else() {
    let stand = Stand::with(&[("PINACLE_OPERATORS", "operator")]).await;
    stand.sign_in("operator").await;
    let operator = stand.token("operator", "write");
    let add = async |name: &str| {
        let new = json!({ "name": name, "transport": "ssh", "address": "192.0.2.7" });
        let answer = stand.api(&operator, Method::POST, "/hosts").json(&new).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    let join = async |token: &str, report: &JoinRequest| {
        let answer = stand.api(token, Method::POST, "/hosts/join").json(report).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    let (status, invited) = add("one").await;
    assert_eq!((status, &invited["host"]["state"]), (201, &json!("joining")));
    let first = invited["join_token"].as_str().expect("a token").to_owned();
    assert!(!invited["command"].as_str().expect("a command").contains(&first), "no secret in a process list");
    // Asked for again, the new one counts.
    let token = add("one").await.1["join_token"].as_str().expect("a token").to_owned();
    assert_eq!(join(&first, &report()).await.0, 401);
    assert_eq!(join(&operator, &report()).await.0, 401, "an API token is none");
    assert_eq!(stand.api(&token, Method::GET, "/me").send().await.expect("an answer").status(), 401, "and it is no API token");
    let other = JoinRequest { protocol: PROTOCOL + 1, ..report() };
    assert_eq!(join(&token, &other).await.0, 409, "another protocol uses nothing up");
    let bad = JoinRequest { host_keys: vec!["ssh-ed25519 no".into()], ..report() };
    assert_eq!(join(&token, &bad).await.0, 422);
    let report = report();
    // The answer may be lost, so the same machine may ask again, and is told the same; no other may.
    let (one, other) = tokio::join!(join(&token, &report), join(&token, &report));
    assert_eq!((one.0, other.0), (200, 200));
    assert_eq!((&one.1["host_id"], &one.1["pod_cidr"]), (&other.1["host_id"], &other.1["pod_cidr"]));
    let stranger = JoinRequest { host_keys: vec![OTHER_KEY.into()], ..report.clone() };
    assert_eq!(join(&token, &stranger).await.0, 401);
    assert_eq!(join(&token, &JoinRequest { host_keys: Vec::new(), ..report.clone() }).await.0, 422);
    let hosts: Value = stand.api(&operator, Method::GET, "/hosts").send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!((&hosts["items"][0]["state"], &hosts["items"][0]["cpu"]["physical"]), (&json!("active"), &json!(4000)));
    assert_eq!(add("one").await.0, 409, "one that has joined can't be joined again by its name");
    // Each has a range of its own.
    let (_, two) = add("two").await;
    assert_ne!(two["host"]["pod_cidr"], hosts["items"][0]["pod_cidr"]);
}

#[tokio::test]
async fn what_a_lost_host_had_says_so_and_can_be_deleted() {
    let Some(fleet) = Fleet::alone().await else { return };
    let (operator, user) = (fleet.user("operator").await, fleet.newcomer().await);
    let (me, teams) = (user.get("/me").await, user.get("/teams").await);
    let name = format!("h{:08x}", rand::random::<u32>());
    let (_, invited) = operator.ask(Method::POST, "/hosts", json!({ "name": name, "transport": "ssh", "address": "192.0.2.9" })).await;
    let host = invited["host"]["id"].as_str().expect("an id");
    let joined = fleet.api(invited["join_token"].as_str().expect("a token"), Method::POST, "/hosts/join").json(&report()).send().await;
    assert_eq!(joined.expect("an answer").status(), 200);
    // As jobs would have written them before the machine burned down: one runs, one was to be deleted and could not be.
    let db = sqlx::PgPool::connect(&fleet.database_url).await.expect("the database");
    let address = invited["host"]["pod_cidr"].as_str().expect("a range").to_owned();
    let mut pods = Vec::new();
    for (number, (desired, status)) in [("running", "running"), ("deleted", "failed")].into_iter().enumerate() {
        let pod = Uuid::now_v7();
        let written = sqlx::query(
            "WITH pod AS (
               INSERT INTO pods (id, team_id, owner_id, name, tier, desired, status, booted, seen_generation)
               VALUES ($1, $2::text::uuid, $3::text::uuid, $4, 'dev.small', $5, $6, true, 1) RETURNING id),
             head AS (INSERT INTO pod_event_head (pod_id) SELECT id FROM pod)
             INSERT INTO reservations (pod_id, host_id, address, disk_bytes, cpu_milli, memory_bytes, reason)
             SELECT id, $7::text::uuid, host(network($8::text::cidr) + $9)::inet, 1, 1, 1,
               jsonb_build_object('host_id', $7::text, 'host', 'x', 'load', 0, 'others', '[]'::jsonb) FROM pod",
        )
        .bind(pod)
        .bind(teams["items"][0]["id"].as_str())
        .bind(me["id"].as_str())
        .bind(format!("lost{number}"))
        .bind(desired)
        .bind(status)
        .bind(host)
        .bind(&address)
        .bind(i64::try_from(number + 2).expect("small"));
        written.execute(&db).await.expect("written");
        pods.push(pod.to_string());
    }
    let mut gone = user.stream(&pods[1], Some(i64::MAX)).await;
    assert_eq!(operator.ask(Method::POST, &format!("/hosts/{host}/lost"), Value::Null).await.1["state"], "lost");
    let failed = async {
        let mut stream = user.stream(&pods[0], Some(i64::MAX)).await;
        loop {
            let (_, news) = stream.next().await.expect("the stream goes on");
            if news["pod"]["status"] == "failed" {
                return news["pod"].clone();
            }
        }
    };
    let failed = tokio::time::timeout(SOON, failed).await.expect("it says that it is lost");
    assert_eq!(failed["failure"]["code"], "host_lost", "{failed}");
    let ended = async { while gone.next().await.is_some() {} };
    tokio::time::timeout(SOON, ended).await.expect("what was to be deleted is");
    user.delete(&pods[0]).await;
    for pod in pods {
        assert_eq!(user.ask(Method::GET, &format!("/pods/{pod}"), Value::Null).await.0, 404);
    }
}

#[tokio::test]
async fn after_a_restore_epoch_and_fences_are_beyond_whatever_hosts_have_seen() {
    let stand = Stand::open().await;
    let db = sqlx::PgPool::connect(&stand.database_url).await.expect("the database");
    let now = "SELECT epoch, nextval('queue.fence') FROM installation";
    let (epoch, fence): (i32, i64) = sqlx::query_as(now).fetch_one(&db).await.expect("both");
    assert!(stand.run(&["restored"]).status.success());
    let first: (i32, i64) = sqlx::query_as(now).fetch_one(&db).await.expect("both");
    assert!(first.0 > epoch && first.1 > fence + 1_000_000_000, "{first:?} after {epoch}, {fence}");
    // Restored once more, from the same backup.
    sqlx::query("UPDATE installation SET epoch = $1").bind(epoch).execute(&db).await.expect("written");
    sqlx::query("SELECT setval('queue.fence', $1)").bind(fence).execute(&db).await.expect("written");
    assert!(stand.run(&["restored"]).status.success());
    let second: (i32, i64) = sqlx::query_as(now).fetch_one(&db).await.expect("both");
    assert!(second.0 >= first.0 && second.1 > first.1, "{second:?} after {first:?}");
}

/// As after a restore of Postgres from before the pod was made.
async fn forget(db: &sqlx::PgPool, pod: &str) {
    for table in ["reservations", "idempotency_keys"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table} WHERE pod_id = $1::text::uuid"))).bind(pod).execute(db).await.expect("gone");
    }
    sqlx::query("DELETE FROM pods WHERE id = $1::text::uuid").bind(pod).execute(db).await.expect("forgotten");
}

/// The clock sends the next round of a job now; returns when that round has ended.
async fn round_of(db: &sqlx::PgPool, job: &str) {
    let ended = "SELECT count(*) FROM queue.archive WHERE headers->>'job' = $1";
    let before: i64 = sqlx::query_scalar(ended).bind(job).fetch_one(db).await.expect("counted");
    // One that runs already may have looked before.
    for round in 1..=2 {
        sqlx::query("UPDATE queue.cron SET next_at = now() WHERE name = $1").bind(job).execute(db).await.expect("due");
        let begun = Instant::now();
        while sqlx::query_scalar::<_, i64>(ended).bind(job).fetch_one(db).await.expect("counted") < before + round {
            assert!(begun.elapsed() < SOON, "a round of {job}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn the_disk_of_a_pod_that_nobody_knows_is_set_aside_and_adopted() {
    let Some(fleet) = Fleet::alone().await else { return };
    let (operator, user) = (fleet.user("operator").await, fleet.newcomer().await);
    let db = sqlx::PgPool::connect(&fleet.database_url).await.expect("the database");
    let id = user.running().await;
    user.shell(&id, "echo precious >work; sync").await;
    let pod = user.pod(&id).await;
    let host = number_of(&pod);
    forget(&db, &id).await;
    round_of(&db, "reconcile").await;
    assert!(seen_on(host, &id).await.is_none(), "its sandbox is ended");
    assert!(inventory(host).await.orphans.iter().any(|orphan| orphan.pod.to_string() == id), "its disk is kept");
    let host = fleet.until_host(pod["host"].as_str().expect("a name"), "operators see it", |host| host["orphans"] == 1).await;
    let orphans = format!("/hosts/{}/orphans", host["id"].as_str().expect("an id"));
    assert_eq!(operator.get(&orphans).await["items"][0]["pod"], json!(id));
    assert_eq!(user.ask(Method::GET, &orphans, Value::Null).await.0, 404);
    let adopt = format!("{orphans}/{id}/adopt");
    let login = user.get("/me").await["login"].clone();
    let body = |owner: &Value, name: &str, tier: &str| json!({ "owner": owner, "name": name, "tier": tier });
    for (field, body) in [
        ("owner", body(&json!("nobody-at-all"), "again", "dev.small")),
        ("name", body(&login, "Not a name", "dev.small")),
        ("tier", body(&login, "again", "dev.tiny")),
    ] {
        let (status, problem) = operator.ask(Method::POST, &adopt, body).await;
        assert!(status == 422 && problem["errors"][field].is_array(), "{field}: {problem}");
    }
    let (status, adopted) = operator.ask(Method::POST, &adopt, body(&login, "again", "dev.small")).await;
    assert_eq!((status, &adopted["id"], &adopted["status"]), (201, &json!(id), &json!("stopped")), "{adopted}");
    round_of(&db, "reconcile").await;
    assert_eq!(user.pod(&id).await["status"], "stopped", "its disk is not missed meanwhile");
    let left = inventory(number_of(&pod)).await.orphans;
    assert!(left.iter().all(|orphan| orphan.pod.to_string() != id), "what is set aside is removed in the end, so it is taken back at once");
    user.wish(&id, "start").await;
    user.until_status(&id, "running").await;
    assert_eq!(user.shell(&id, "cat work").await, "precious\n");
    user.delete(&id).await;
}

#[tokio::test]
async fn many_pods_that_nobody_knows_are_left_alone_until_an_operator_has_looked() {
    let Some(fleet) = Fleet::alone().await else { return };
    let (operator, user) = (fleet.user("operator").await, fleet.newcomer().await);
    let db = sqlx::PgPool::connect(&fleet.database_url).await.expect("the database");
    // All on one host.
    let hosts = fleet.hosts().await;
    let other = hosts.iter().find(|host| host["name"] == "host2").expect("the other")["id"].as_str().expect("an id").to_owned();
    assert_eq!(operator.ask(Method::POST, &format!("/hosts/{other}/cordon"), Value::Null).await.0, 200);
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(user.running().await);
    }
    let stopped = user.running().await;
    sqlx::query("UPDATE pods SET status = 'stopped', desired = 'stopped', seen_generation = generation WHERE id = $1::uuid")
        .bind(&stopped)
        .execute(&db)
        .await
        .expect("as an older copy has it");
    for id in &ids {
        forget(&db, id).await;
    }
    round_of(&db, "reconcile").await;
    for id in &ids {
        assert_eq!(seen_on(1, id).await.map(|pod| pod.sandbox), Some(SandboxState::Running), "nothing is touched");
    }
    // Nor what Postgres knows as stopped: that may be as old as the rest.
    assert_eq!(seen_on(1, &stopped).await.map(|pod| pod.sandbox), Some(SandboxState::Running), "nothing is ended");
    fleet.until_host("host1", "operators see it", |host| host["unknown"] == 4 && host["left_alone"] == true).await;
    // Two of three are too many as well, by their share.
    for id in &ids[2..] {
        tell(1, &db, Command::Delete { pod: id.parse().expect("an id"), fence: i64::MAX }).await;
    }
    let two = fleet.until_host("host1", "two are left", |host| host["unknown"] == 2 && host["left_alone"] == true).await;
    round_of(&db, "reconcile").await;
    for id in ids[..2].iter().chain([&stopped]) {
        assert_eq!(seen_on(1, id).await.map(|pod| pod.sandbox), Some(SandboxState::Running), "nothing is touched");
    }
    // The way on: the operator has looked, and nobody restored an older copy.
    let path = format!("/hosts/{}/set-aside", two["id"].as_str().expect("an id"));
    assert_eq!(operator.ask(Method::POST, &path, Value::Null).await.0, 202);
    fleet.until_host("host1", "they are set aside", |host| host["unknown"] == 0 && host["left_alone"] == false).await;
    for id in &ids[..2] {
        let set_aside = inventory(1).await.orphans.iter().any(|orphan| orphan.pod.to_string() == *id);
        assert!(set_aside, "{id} can be adopted");
        tell(1, &db, Command::Delete { pod: id.parse().expect("an id"), fence: i64::MAX }).await;
    }
    assert_eq!(operator.ask(Method::POST, &format!("/hosts/{other}/activate"), Value::Null).await.0, 200);
}

#[tokio::test]
async fn what_runs_on_a_host_that_takes_no_commands_goes_on_and_all_is_as_wished_once_it_does() {
    let Some(fleet) = Fleet::alone().await else { return };
    let user = fleet.newcomer().await;
    let db = sqlx::PgPool::connect(&fleet.database_url).await.expect("the database");
    let (left, wished) = (user.running().await, user.running().await);
    for id in [&left, &wished] {
        user.shell(id, "echo $(hostname) >/dev/shm/mark").await;
    }
    // Another epoch's: as with another installation's, a host answers nothing.
    let write = async |statement: &'static str| sqlx::query(statement).execute(&db).await.expect("written");
    write("UPDATE installation SET epoch = epoch + 1").await;
    user.wish(&wished, "restart").await;
    let failed = user.until(&wished, "it says why it can't", |pod| pod["status"] == "failed").await;
    assert_eq!(failed["failure"]["code"], "wrong_installation", "{failed}");
    round_of(&db, "sweep").await;
    assert_eq!(user.pod(&left).await["status"], "running", "nobody has wished anything of it");
    round_of(&db, "reconcile").await;
    write("UPDATE hosts SET last_seen_at = now() - interval '1 minute'").await;
    write("UPDATE installation SET epoch = epoch - 1").await;
    let begun = Instant::now();
    while user.pod(&wished).await["status"] != "running" {
        assert!(begun.elapsed() < SOON, "it goes on by itself");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    round_of(&db, "reconcile").await;
    assert_eq!(user.pod(&left).await["status"], "running");
    assert!(!user.shell(&left, "cat /dev/shm/mark").await.is_empty(), "it has run all the time");
    for id in [&left, &wished] {
        user.delete(id).await;
    }
}

/// Whether the host has this pod's disk, in its place or set aside.
async fn has_disk(host: usize, id: &str) -> bool {
    let inventory = inventory(host).await;
    let in_place = inventory.pods.iter().any(|pod| pod.pod.to_string() == id && pod.layer);
    in_place || inventory.orphans.iter().any(|orphan| orphan.pod.to_string() == id)
}

#[tokio::test]
async fn with_postgres_restored_to_an_older_copy_nothing_is_deleted_from_any_host() {
    let Some(fleet) = Fleet::alone().await else { return };
    let (operator, user) = (fleet.user("operator").await, fleet.newcomer().await);
    // Another test may have given one up.
    let hosts: Vec<Value> = fleet.hosts().await.into_iter().filter(|host| host["state"] != "lost").collect();
    let change = async |verb: &str| {
        for host in &hosts {
            let path = format!("/hosts/{}/{verb}", host["id"].as_str().expect("an id"));
            assert_eq!(operator.ask(Method::POST, &path, Value::Null).await.0, 200, "{verb}");
        }
    };
    let work = async |id: &str| {
        user.until_status(id, "running").await;
        user.shell(id, &format!("echo {id} >work; sync")).await;
        number_of(&user.pod(id).await)
    };
    let known = user.running().await;
    let mut pods = vec![(known.clone(), work(&known).await)];
    // One that the copy knows as not started yet, and one that it doesn't know.
    change("cordon").await;
    let early = user.create(json!({})).await;
    user.until(&early, "it says why it waits", |pod| pod["waiting_for"].is_string()).await;
    let copy = fleet.copy();
    change("activate").await;
    pods.push((early.clone(), work(&early).await));
    let late = user.running().await;
    pods.push((late.clone(), work(&late).await));
    fleet.kill_worker().await;
    fleet.restore(copy).await;

    // The worst: nobody has said so, and the fences of the copy have risen above those that hosts have seen.
    let db = sqlx::PgPool::connect(&fleet.database_url).await.expect("the database");
    sqlx::query("SELECT setval('queue.fence', nextval('queue.fence') + 100000)").execute(&db).await.expect("raised");
    fleet.begin_worker().await;
    round_of(&db, "reconcile").await;
    for (id, host) in &pods {
        assert!(has_disk(*host, id).await, "{id} on host {host}");
    }

    // As it is meant to be: no host takes a command before it has joined again.
    fleet.kill_worker().await;
    assert!(fleet.run(&["restored"]).status.success());
    fleet.begin_worker().await;
    round_of(&db, "reconcile").await;
    for (id, host) in &pods {
        assert!(has_disk(*host, id).await, "{id} on host {host}");
    }
    for host in &hosts {
        fleet.join_again(host).await;
    }
    round_of(&db, "reconcile").await;
    round_of(&db, "check-hosts").await;
    for (id, host) in &pods {
        assert!(has_disk(*host, id).await, "{id} on host {host}");
    }

    // Each is had back with its work: what was known, what waited for a host, and what was unknown.
    let activate = async |host: usize| {
        let its = hosts.iter().find(|its| its["name"] == format!("host{host}")).expect("the host");
        let path = format!("/hosts/{}/activate", its["id"].as_str().expect("an id"));
        assert_eq!(operator.ask(Method::POST, &path, Value::Null).await.0, 200);
        its["id"].as_str().expect("an id").to_owned()
    };
    activate(pods[1].1).await;
    user.until_status(&early, "running").await;
    change("activate").await;
    let orphans = format!("/hosts/{}/orphans", activate(pods[2].1).await);
    let body = json!({ "owner": user.get("/me").await["login"], "name": "late", "tier": "dev.small" });
    let (status, adopted) = operator.ask(Method::POST, &format!("{orphans}/{late}/adopt"), body).await;
    assert_eq!((status, &adopted["id"]), (201, &json!(late)), "{adopted}");
    user.wish(&late, "start").await;
    for (id, _) in &pods {
        user.until_status(id, "running").await;
        assert_eq!(user.shell(id, "cat work").await, format!("{id}\n"));
        user.delete(id).await;
    }
}

#[tokio::test]
async fn a_host_that_is_cordoned_keeps_its_pods_and_gets_no_new_ones() {
    let Some(fleet) = Fleet::alone().await else { return };
    let (operator, user) = (fleet.user("operator").await, fleet.newcomer().await);
    let id = user.running().await;
    let pod = user.pod(&id).await;
    let hosts = fleet.hosts().await;
    let path = |host: &Value, verb: &str| format!("/hosts/{}/{verb}", host["id"].as_str().expect("an id"));
    let (its, other) = if hosts[0]["name"] == pod["host"] { (&hosts[0], &hosts[1]) } else { (&hosts[1], &hosts[0]) };
    // The one that would be chosen.
    assert_eq!(operator.ask(Method::POST, &path(its, "cordon"), Value::Null).await.1["state"], "cordoned");
    let mut others = Vec::new();
    for _ in 0..3 {
        let new = user.running().await;
        assert_eq!(user.pod(&new).await["host"], other["name"]);
        others.push(new);
    }
    assert_eq!(user.shell(&id, "echo well").await, "well\n", "its own go on");
    user.wish(&id, "restart").await;
    user.until_status(&id, "running").await;
    // No host at all.
    assert_eq!(operator.ask(Method::POST, &path(other, "cordon"), Value::Null).await.0, 200);
    let waiting = user.create(json!({})).await;
    let pod = user.until(&waiting, "it says why it waits", |pod| pod["waiting_for"].is_string()).await;
    assert_eq!(pod["status"], "queued");
    for host in [its, other] {
        assert_eq!(operator.ask(Method::POST, &path(host, "activate"), Value::Null).await.1["state"], "active");
    }
    user.until_status(&waiting, "running").await;
    for id in others.iter().chain([&id, &waiting]) {
        user.delete(id).await;
    }
}

/// Another key for a host's sshd from the next connection on; every one that is open ends.
fn change_key(host: usize, script: &str) {
    // sshd is started again by the host itself.
    on_host(host, &format!("set -e; cd /etc/ssh; {script}; pkill -KILL -x sshd || true"));
}

/// Of the key that this host shows now.
fn fingerprint_of(host: usize) -> String {
    on_host(host, "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub | cut -d' ' -f2").trim().to_owned()
}

#[tokio::test]
async fn a_host_with_another_key_is_refused_shown_to_operators_and_used_again_once_the_key_is_trusted() {
    const HOST: usize = 2;
    let Some(fleet) = Fleet::alone().await else { return };
    let operator = fleet.user("operator").await;
    let host = fleet.until_host("host2", "it answers", |host| host["reachable"] == true).await;
    assert_eq!(host["offered_keys"], json!([]));
    let path = format!("/hosts/{}/keys", host["id"].as_str().expect("an id"));
    let former = fingerprint_of(HOST);
    assert!(host["trusted_keys"].as_array().is_some_and(|keys| keys.contains(&json!(former))), "{host}");
    change_key(HOST, "mkdir -p /run/before; mv ssh_host_ed25519_key* /run/before; ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key");
    let fingerprint = fingerprint_of(HOST);
    let offered = fleet.until_host("host2", "the key is shown", |host| host["offered_keys"] != json!([])).await;
    assert_eq!(offered["offered_keys"], json!([fingerprint]));
    assert_eq!(operator.ask(Method::POST, &path, json!({ "fingerprint": "SHA256:nonsense" })).await.0, 404);
    let (status, trusted) = operator.ask(Method::POST, &path, json!({ "fingerprint": fingerprint })).await;
    assert_eq!((status, &trusted["offered_keys"]), (200, &json!([])));
    fleet.until_host("host2", "it is used again", |host| host["reachable"] == true).await;
    // Both are good while one is replaced; then the former one is not.
    assert_eq!(operator.ask(Method::POST, &format!("{path}/retire"), json!({ "fingerprint": former })).await.0, 200);
    change_key(HOST, "rm ssh_host_ed25519_key*; mv /run/before/* .");
    let before = fingerprint_of(HOST);
    let offered = fleet.until_host("host2", "the former key is shown", |host| host["offered_keys"] != json!([])).await;
    assert_eq!(offered["offered_keys"], json!([before]));
    assert_eq!(operator.ask(Method::POST, &path, json!({ "fingerprint": before })).await.0, 200);
    fleet.until_host("host2", "it is used again", |host| host["offered_keys"] == json!([]) && host["reachable"] == true).await;
    tokio::time::timeout(Duration::from_secs(60), async {
        let user = fleet.newcomer().await;
        let id = user.running().await;
        user.delete(&id).await;
    })
    .await
    .expect("pods are made as before");
}
