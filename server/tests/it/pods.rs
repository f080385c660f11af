//! Pods on real hosts, through the REST API: their life, their set-up, and what is done inside them.

use crate::{
    fleet::{Fleet, SOON, User, inventory, number_of, on_host, seen_on, traces},
    screen::Screen,
    stand::Stand,
};
use pinacle_host::protocol::SandboxState;
use reqwest::{Method, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// Of a pod's life these are for the user to read.
fn says_what_to_do(setup: &Value, step: &str, code: &str) {
    assert_eq!((&setup["step"], &setup["code"]), (&json!(step), &json!(code)), "{setup}");
    for field in ["message", "remedy"] {
        assert!(setup[field].as_str().is_some_and(|text| text.len() > 10), "{field} of {setup}");
    }
}

async fn uptime(user: &User<'_>, id: &str) -> f64 {
    user.shell(id, "cut -d' ' -f1 /proc/uptime").await.trim().parse().expect("seconds")
}

/// The memory limit that a pod's control group has.
fn memory_limit(host: usize, id: &str) -> u64 {
    let simple = id.replace('-', "");
    let script = format!(
        "find /sys/fs/cgroup -type d \\( -name '*{id}*' -o -name '*{simple}*' \\) | while read -r folder; do
           cat \"$folder/memory.max\" \"$folder/memory.limit_in_bytes\" 2>/dev/null; done | sort -n | head -1"
    );
    on_host(host, &script).trim().parse().expect("bytes")
}

#[tokio::test]
async fn an_empty_pod_lives_its_whole_life() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.newcomer().await;
    let id = user.create(json!({})).await;
    let pod = user.until_status(&id, "running").await;
    assert_eq!(
        (&pod["desired"], &pod["reachable"], &pod["failure"], &pod["setup"]["state"]),
        (&json!("running"), &json!(true), &Value::Null, &json!("none"))
    );
    for field in ["host", "host_ip", "internal_ip", "placement", "owner", "team_id", "created_at", "updated_at"] {
        assert!(pod[field].is_string(), "{field} of {pod}");
    }
    let host = number_of(&pod);
    assert_eq!(user.shell(&id, "id -un; pwd; echo mine > kept").await, "dev\n/home/dev\n");
    assert_eq!(seen_on(host, &id).await.map(|seen| (seen.sandbox, seen.layer)), Some((SandboxState::Running, true)));

    user.wish(&id, "stop").await;
    let pod = user.until_status(&id, "stopped").await;
    assert_eq!(pod["failure"], Value::Null);
    assert_eq!(seen_on(host, &id).await.map(|seen| (seen.sandbox, seen.layer)), Some((SandboxState::Stopped, true)), "the disk stays");
    let (status, problem) = user.exec(&id, json!({ "argv": ["true"] })).await;
    assert_eq!((status, &problem["code"]), (409, &json!("wrong_state")), "{problem}");

    user.wish(&id, "start").await;
    let pod = user.until_status(&id, "running").await;
    assert_eq!(number_of(&pod), host, "its disk lives there");
    assert_eq!(user.shell(&id, "cat kept").await, "mine\n");

    user.shell(&id, "nohup sleep 54321 >/dev/null 2>&1 & touch /run/user-marker 2>/dev/null || touch /dev/shm/marker").await;
    let (before, begun) = (uptime(&user, &id).await, Instant::now());
    user.wish(&id, "restart").await;
    user.until_status(&id, "running").await;
    let after = uptime(&user, &id).await;
    assert!(after < before + begun.elapsed().as_secs_f64() - 0.5, "another boot: {before} s, then {after} s");
    assert_eq!(user.shell(&id, "cat kept; pgrep -f 'sleep 5432[1]' || echo none").await, "mine\nnone\n");

    let (name, path) = (format!("r{:08x}", rand::random::<u32>()), format!("/pods/{id}"));
    let (status, pod) = user.ask(Method::PATCH, &path, json!({ "name": name })).await;
    assert_eq!((status, &pod["name"], &pod["status"]), (200, &json!(name), &json!("running")));
    let small = memory_limit(host, &id);
    let (status, pod) = user.ask(Method::PATCH, &path, json!({ "tier": "dev.medium" })).await;
    assert_eq!((status, &pod["tier"]), (200, &json!("dev.medium")));
    assert_eq!(memory_limit(host, &id), small, "from the next start on");
    user.wish(&id, "restart").await;
    user.until_status(&id, "running").await;
    assert!(memory_limit(host, &id) >= small + (1 << 29), "{small}, then {}", memory_limit(host, &id));
    let disk: u64 = user.shell(&id, "df --output=size -B1G /home/dev | tail -1").await.trim().parse().expect("GB");
    assert!(disk > 15, "the disk has grown with it: {disk} GB");
    assert_eq!(user.shell(&id, "cat kept").await, "mine\n");
    let (status, problem) = user.ask(Method::PATCH, &path, json!({ "tier": "dev.small" })).await;
    assert!(status == 422 && problem["errors"]["tier"].is_array(), "a disk can't shrink: {problem}");

    assert_ne!(traces(host, &id), "", "the search finds what is there");
    user.delete(&id).await;
    assert_eq!(traces(host, &id), "");
    assert!(seen_on(host, &id).await.is_none());
    assert!(on_host(host, &format!("ls /var/lib/pinacle/fences | grep {id} || true")).contains(&id), "its fence is remembered");
    let end: Vec<Value> = user.events(&id).await;
    assert!(end.last().is_some_and(|event| event["kind"] == "status" && event["text"] == "deleted"), "its last watcher can read how it ended");
}

/// A new pod at the moment when its machine is being made.
async fn provisioning(user: &User<'_>) -> String {
    let id = user.create(json!({})).await;
    user.until(&id, "being made", |pod| pod["status"] != "queued").await;
    id
}

#[tokio::test]
async fn a_pod_deleted_while_provisioning_leaves_nothing_on_its_host() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.newcomer().await;
    let db = sqlx::PgPool::connect(&fleet.database_url).await.expect("the database");
    // At different moments of its making.
    for wait in [0, 150, 600] {
        let id = provisioning(&user).await;
        if timeout(Duration::from_millis(wait), user.until_status(&id, "running")).await.is_ok() && wait > 0 {
            eprintln!("it ran before it was deleted");
        }
        // Asked for twice at once.
        let mut stream = user.stream(&id, Some(i64::MAX)).await;
        tokio::join!(user.wish(&id, "delete"), user.wish(&id, "delete"));
        timeout(SOON, async { while stream.next().await.is_some() {} }).await.expect("deleted in time");
        let left = "SELECT count(*) FROM pods p WHERE p.id = $1::text::uuid AND (p.seen_generation < p.generation
            OR EXISTS (SELECT FROM reservations r WHERE r.pod_id = p.id))";
        let left: i64 = sqlx::query_scalar(left).bind(&id).fetch_one(&db).await.expect("counted");
        assert_eq!(left, 0, "nothing is left to do, and nothing is held");
        for host in [1, 2] {
            assert_eq!(traces(host, &id), "", "host {host}");
            assert!(seen_on(host, &id).await.is_none());
        }
    }
}

#[tokio::test]
async fn the_newest_wish_wins_whatever_is_under_way() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.newcomer().await;
    let id = provisioning(&user).await;
    user.wish(&id, "stop").await;
    let pod = user.until_status(&id, "stopped").await;
    assert_eq!(pod["failure"], Value::Null);
    for verb in ["start", "stop", "restart", "stop", "start"] {
        user.wish(&id, verb).await;
    }
    user.until_status(&id, "running").await;
    assert_eq!(user.shell(&id, "echo well").await, "well\n");
    user.wish(&id, "restart").await;
    user.wish(&id, "stop").await;
    user.until_status(&id, "stopped").await;
    // Nothing comes after it.
    let events = user.events(&id).await;
    let last = events.iter().rfind(|event| event["kind"] == "status").expect("a status");
    assert_eq!(last["text"], "stopped");
    user.delete(&id).await;
}

#[tokio::test]
async fn ones_own_repository_is_set_up_without_asking_and_its_process_answers() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.user("owner").await;
    let id = user.create(json!({ "repository": "owner/node-site", "branch": "feature/dark-mode" })).await;
    let pod = user.until_setup(&id, "done").await;
    assert_eq!(pod["status"], "running");
    let commit = pod["commit"].as_str().expect("a commit").to_owned();
    assert_eq!(
        user.shell(&id, "git -C node-site rev-parse HEAD; git -C node-site branch --show-current").await,
        format!("{commit}\nfeature/dark-mode\n")
    );
    assert!(user.shell(&id, "git -C node-site var GIT_AUTHOR_IDENT").await.contains("<owner@example.test>"), "the user's git identity");
    let plan = &pod["setup"]["plan"];
    assert!(plan["source"].as_str().expect("a source").contains("package.json"), "{plan}");
    let said = user.log(&id, "install", "output").await;
    assert!(said.contains("pinacle.yaml") && said.contains("startCommand"), "the guess is said: {said}");
    let live = user.get(&format!("/pods/{id}/live")).await;
    let process = &live["processes"][0];
    assert_eq!((live["processes"].as_array().map(Vec::len), &process["state"]), (Some(1), &json!("running")), "{live}");
    let port = process["port"].as_u64().expect("a port");
    let seen =
        user.until_live(&id, "the port is seen", |live| live["ports"].as_array().is_some_and(|ports| ports.iter().any(|p| p["port"] == port))).await;
    assert!(seen["ports"].as_array().expect("ports").iter().any(|p| p["port"] == port && p["process"] == process["name"]), "{seen}");
    assert!(user.shell(&id, &format!("curl -fsS http://127.0.0.1:{port}/")).await.contains("<"));
    for step in ["clone", "install", "processes", "health"] {
        assert!(
            user.events(&id).await.iter().any(|event| event["step"] == step && event["kind"] == "end" && event["data"]["outcome"] == "ok"),
            "{step}"
        );
    }
    // A new machine: its processes are started again, from what is there.
    user.shell(&id, "echo mine > node-site/notes").await;
    user.wish(&id, "restart").await;
    user.until(&id, "running again", |pod| pod["status"] == "running" && pod["behind"] == false).await;
    user.until_live(&id, "its process runs again", |live| live["processes"][0]["state"] == "running").await;
    assert_eq!(user.shell(&id, "cat node-site/notes").await, "mine\n");
    user.delete(&id).await;
}

#[tokio::test]
async fn nothing_of_another_accounts_repository_runs_before_its_plan_was_approved() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.user("owner").await;
    let id = user.create(json!({ "repository": "outsider/charts" })).await;
    let pod = user.until_setup(&id, "awaiting_approval").await;
    assert_eq!(pod["status"], "running");
    let setup = &pod["setup"];
    let digest = setup["plan_digest"].as_str().expect("a digest").to_owned();
    assert_eq!(
        (&setup["plan"]["install"], &setup["plan"]["commit"]),
        (&json!("python3 chart.py"), &pod["commit"]),
        "what would run, from which commit"
    );
    assert_eq!(user.log(&id, "install", "output").await, "", "nothing ran");
    assert_eq!(user.shell(&id, "ls charts/chart.py").await, "charts/chart.py\n", "it can be looked at");
    let path = format!("/pods/{id}/setup/approve");
    let wrong = format!("{}0", &digest[..digest.len() - 1]);
    let wrong = if wrong == digest { format!("{}1", &digest[..digest.len() - 1]) } else { wrong };
    for other in [wrong.as_str(), "", "x"] {
        let (status, problem) = user.ask(Method::POST, &path, json!({ "plan_digest": other })).await;
        assert_eq!(status, 409, "{problem}");
    }
    assert_eq!(user.pod(&id).await["setup"]["state"], "awaiting_approval");
    assert_eq!(user.ask(Method::POST, &path, json!({ "plan_digest": digest })).await.0, 202);
    user.until_setup(&id, "done").await;
    assert!(user.log(&id, "install", "output").await.contains("north"));
    user.delete(&id).await;
}

#[tokio::test]
async fn a_pod_whose_install_failed_runs_says_why_and_can_be_set_up_again() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.user("owner").await;
    let id = user.create(json!({ "repository": "owner/broken-install" })).await;
    let pod = user.until_setup(&id, "failed").await;
    assert_eq!((&pod["status"], &pod["failure"]), (&json!("running"), &Value::Null));
    says_what_to_do(&pod["setup"], "install", "install_failed");
    assert!(pod["setup"]["output"].as_str().expect("its last output").contains("gamma needs libgamma >= 3"));
    assert!(user.log(&id, "install", "output").await.contains("Installing beta"));
    // Mended from inside, as its user would.
    user.shell(&id, "cd broken-install && sed -i 's/exit 1/exit 0/' install.sh").await;
    user.wish(&id, "setup/retry").await;
    user.until_setup(&id, "done").await;
    user.delete(&id).await;
}

#[tokio::test]
async fn an_install_that_hangs_is_ended_and_says_so() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.user("owner").await;
    let id = user.create(json!({ "repository": "owner/hanging-install" })).await;
    let pod = user.until_setup(&id, "failed").await;
    assert_eq!((&pod["status"], &pod["failure"]), (&json!("running"), &Value::Null));
    says_what_to_do(&pod["setup"], "install", "install_timeout");
    assert!(pod["setup"]["output"].as_str().expect("its last output").contains("waiting for what never comes"));
    assert_eq!(user.shell(&id, "pgrep -f 'sleep infinit[y]' || echo none").await, "none\n", "what hung is ended");
    user.delete(&id).await;
}

#[tokio::test]
async fn a_repository_that_can_not_be_had_is_told_with_step_reason_and_remedy() {
    let Some(fleet) = Fleet::open().await else { return };
    let (owner, member) = (fleet.user("owner").await, fleet.user("member").await);
    let cases = [
        (&owner, json!({ "repository": "owner/empty" }), "repository_empty"),
        (&owner, json!({ "repository": "owner/nothing" }), "repository_not_found"),
        (&owner, json!({ "repository": "owner/node-site", "branch": "gone" }), "branch_not_found"),
        (&member, json!({ "repository": "owner/private" }), "repository_not_found"),
        (&owner, json!({ "repository": "https://nowhere.pinacle.test/a/b.git" }), "repository_unreachable"),
        // It takes the question and never answers.
        (&owner, json!({ "repository": "owner/silent" }), "repository_unreachable"),
    ];
    let mut ids = Vec::new();
    for (user, body, code) in &cases {
        ids.push((*user, user.create(body.clone()).await, *code));
    }
    for (user, id, code) in &ids {
        let pod = user.until_setup(id, "failed").await;
        assert_eq!((&pod["status"], &pod["failure"]), (&json!("running"), &Value::Null));
        says_what_to_do(&pod["setup"], "clone", code);
    }
    // An empty one is filled from the pod, and set up.
    let id = &ids[0].1;
    owner.shell(id, "cd empty && git checkout -q -b main && echo 'install:' > Makefile && git add . && git commit -q -m First").await;
    owner.wish(id, "setup/retry").await;
    owner.until_setup(id, "done").await;
    for (user, id, _) in &ids {
        user.delete(id).await;
    }
}

#[tokio::test]
async fn ones_own_private_repository_is_cloned_with_the_users_own_right() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.user("owner").await;
    let id = user.create(json!({ "repository": "owner/private" })).await;
    user.until_setup(&id, "done").await;
    assert_eq!(user.shell(&id, "head -1 private/README.md").await, "# private\n");
    assert!(
        !user.shell(&id, "cat private/.git/config; env").await.contains("gho_"),
        "the token stands in no file of the clone and in no environment"
    );
    assert!(!format!("{:?}", user.events(&id).await).contains("gho_"));
    user.delete(&id).await;
}

#[tokio::test]
async fn processes_run_are_restarted_visibly_when_they_crash_and_keep_their_log() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.user("owner").await;
    let id = user.create(json!({ "repository": "owner/full" })).await;
    user.until_setup(&id, "done").await;
    let process =
        |live: &Value, name: &str| live["processes"].as_array().and_then(|all| all.iter().find(|p| p["name"] == name)).cloned().unwrap_or_default();
    let live = user.get(&format!("/pods/{id}/live")).await;
    assert_eq!((&process(&live, "web")["state"], &process(&live, "web")["health"]), (&json!("running"), &json!("200")), "{live}");
    assert_eq!(process(&live, "worker")["state"], "running");
    assert!(user.shell(&id, "curl -fsS http://127.0.0.1:8080/").await.contains("Built at install"));
    user.shell(&id, "pkill -KILL -f worker.s[h]").await;
    let live = user
        .until_live(&id, "its crash is seen", |live| process(live, "worker")["restarts"] == 1 || process(live, "worker")["state"] == "backing_off")
        .await;
    assert_ne!(process(&live, "web")["state"], "backing_off", "the other goes on");
    user.until_live(&id, "it runs again", |live| {
        process(live, "worker")["state"] == "running" && process(live, "worker")["restarts"].as_u64() >= Some(1)
    })
    .await;
    // What crashes again and again is started later and later.
    user.shell(&id, "printf '#!/bin/sh\\nexit 3\\n' > full/worker.sh").await;
    user.shell(&id, "pkill -KILL -f worker.s[h] || true").await;
    let later = user.until_live(&id, "it waits longer", |live| process(live, "worker")["restart_in"].as_u64() >= Some(4)).await;
    assert_eq!((&process(&later, "worker")["exit_code"], &process(&later, "worker")["state"]), (&json!(3), &json!("backing_off")));
    let mut log = user.request(Method::GET, &format!("/pods/{id}/processes/worker/log")).send().await.expect("an answer");
    assert_eq!(log.status(), StatusCode::OK);
    let mut text = String::new();
    let reading = async {
        while !text.contains("worked at") {
            text += &String::from_utf8_lossy(&log.chunk().await.expect("a piece").expect("its log"));
        }
    };
    timeout(SOON, reading).await.expect("what it said before the crash is kept");
    user.shell(&id, "git -C full checkout -q worker.sh").await;
    assert_eq!(user.ask(Method::POST, &format!("/pods/{id}/processes/worker/restart"), Value::Null).await.0, 202);
    user.until_live(&id, "it runs at once", |live| process(live, "worker")["state"] == "running").await;
    assert_eq!(user.ask(Method::POST, &format!("/pods/{id}/processes/nobody/restart"), Value::Null).await.0, 404);
    user.delete(&id).await;
}

#[tokio::test]
async fn a_command_runs_as_it_was_said_within_its_limits() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.newcomer().await;
    let id = user.running().await;
    // As argv elements: no shell sees them.
    let (status, done) = user.exec(&id, json!({ "argv": ["printf", "%s|", "$HOME", "a b", "; id", "", "ü"] })).await;
    assert_eq!((status, &done["stdout"], &done["exit_code"]), (200, &json!("$HOME|a b|; id||ü|"), &json!(0)));
    let (_, done) =
        user.exec(&id, json!({ "argv": ["bash", "-c", "cat; echo $A >&2; pwd; id -un; exit 7"], "stdin": "in\n", "env": { "A": "b c" } })).await;
    assert_eq!((&done["stdout"], &done["stderr"], &done["exit_code"]), (&json!("in\n/home/dev\ndev\n"), &json!("b c\n"), &json!(7)));
    let begun = Instant::now();
    let (status, done) = user.exec(&id, json!({ "argv": ["bash", "-c", "echo before; sleep 600"], "timeout_seconds": 5 })).await;
    assert_eq!((status, &done["exit_code"], &done["timed_out"], &done["stdout"]), (200, &Value::Null, &json!(true), &json!("before\n")), "{done}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(user.shell(&id, "pgrep -f 'sleep 60[0]' || echo none").await, "none\n", "it was ended");
    let (_, done) = user
        .exec(&id, json!({ "argv": ["bash", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; head -c 2000000 /dev/zero | tr '\\0' y >&2; exit 3"] }))
        .await;
    let length = |field: &str| done[field].as_str().map(str::len);
    assert_eq!((length("stdout"), length("stderr")), (Some(1 << 20), Some(1 << 20)));
    assert_eq!((&done["truncated"], &done["exit_code"]), (&json!(true), &json!(3)), "drained to its end");
    let begun = Instant::now();
    let (_, done) = user.exec(&id, json!({ "argv": ["bash", "-c", "sleep 4444 >/dev/null 2>&1 & echo left"] })).await;
    assert_eq!((&done["stdout"], &done["timed_out"]), (&json!("left\n"), &json!(false)));
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_ne!(user.shell(&id, "pgrep -f 'sleep 444[4]' || echo none").await, "none\n", "what it left in the background stays");
    let many: Vec<String> = vec!["x".into(); 257];
    for (body, field) in [
        (json!({ "argv": [] }), "argv"),
        (json!({ "argv": [""] }), "argv"),
        (json!({ "argv": many }), "argv"),
        (json!({ "argv": ["a\u{0}b"] }), "argv"),
        (json!({ "argv": ["echo", "x".repeat(128 << 10)] }), "argv"),
        (json!({ "argv": ["true"], "timeout_seconds": 0 }), "timeout_seconds"),
        (json!({ "argv": ["true"], "timeout_seconds": 3601 }), "timeout_seconds"),
        (json!({ "argv": ["true"], "env": { "A=B": "x" } }), "env"),
        (json!({ "argv": ["true"], "shell": true }), "shell"),
    ] {
        let (status, problem) = user.exec(&id, body).await;
        assert!(status == 422 && problem["errors"][field].is_array(), "{field}: {problem}");
    }
    let last = "x".repeat((128 << 10) - 4);
    let (status, done) = user.exec(&id, json!({ "argv": ["echo", last] })).await;
    assert!(status == 200 && done["exit_code"] == 0, "128 KiB are not too many");
    user.delete(&id).await;
}

#[tokio::test]
async fn files_go_up_and_come_down_as_they_are() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.newcomer().await;
    let id = user.running().await;
    let at = |path: &str| format!("/pods/{id}/files?path={path}");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let put = async |path: &str, bytes: Vec<u8>| user.request(Method::PUT, &at(path)).body(bytes).send().await.expect("an answer").status().as_u16();
    let get = async |path: &str| {
        let answer = user.request(Method::GET, &at(path)).send().await.expect("an answer");
        (answer.status().as_u16(), answer.bytes().await.expect("bytes").to_vec())
    };
    assert_eq!(put("data.bin", bytes.clone()).await, 204);
    assert_eq!(get("data.bin").await, (200, bytes.clone()));
    assert_eq!(get("/home/dev/data.bin").await.0, 200, "relative to /home/dev");
    assert_eq!(user.shell(&id, "stat -c '%U %s' data.bin").await, "dev 3000000\n");
    assert_eq!(put("data.bin", b"short".to_vec()).await, 204);
    assert_eq!(get("data.bin").await, (200, b"short".to_vec()), "replaced");
    assert_eq!(put("empty", Vec::new()).await, 204);
    assert_eq!(get("empty").await, (200, Vec::new()));
    assert_eq!(put("with%20space%20%C3%BC", b"x".to_vec()).await, 204);
    assert_eq!(user.shell(&id, "cat 'with space ü'").await, "x");
    for path in ["nothing", "no/such/folder", "/nothing"] {
        assert_eq!(get(path).await.0, 404, "{path}");
    }
    for path in ["", "a%00b", &"x".repeat(4097)] {
        assert_eq!(get(path).await.0, 422, "{path}");
        assert_eq!(put(path, b"x".to_vec()).await, 422, "{path}");
    }
    // What dev may not, this door may not.
    for (status, path) in [
        (get("/etc/shadow").await.0, "/etc/shadow"),
        (put("/etc/passwd", b"x".to_vec()).await, "/etc/passwd"),
        (get("/home/dev").await.0, "a folder"),
    ] {
        assert!((400..500).contains(&status), "{path}: {status}");
    }
    // One that says that it is too large is refused before it travels.
    let large = user.request(Method::PUT, &at("large")).header("content-length", (1_u64 << 30) + 1).body("").send().await;
    assert!(large.is_err() || large.is_ok_and(|answer| answer.status() == StatusCode::PAYLOAD_TOO_LARGE));
    user.delete(&id).await;
}

#[tokio::test]
async fn a_terminal_is_typed_into_resized_left_and_joined_again_with_what_was_shown() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.newcomer().await;
    let id = user.running().await;
    let mut screen = Screen::open(&user, &id, "main", "cols=100&rows=30").await;
    // The result, not the echo of what was typed.
    screen.types("echo one-$((40+2))-ü; stty size\r").await;
    screen.shows("one-42-ü").await;
    screen.types("stty size | tr ' ' x\r").await;
    screen.shows("30x100").await;
    screen.says(json!({ "resize": { "cols": 132, "rows": 43 } })).await;
    screen.types("stty size | tr ' ' x\r").await;
    screen.shows("43x132").await;
    screen.types("echo begun-$((2+2)); sleep 1; echo done-$((1+1)) > later; echo after-$((3+3))\r").await;
    screen.shows("begun-4").await;
    drop(screen);
    // From another connection: what was shown, and what went on in the meantime.
    let mut again = Screen::open(&user, &id, "main", "cols=132&rows=43").await;
    again.shows("one-42-ü").await;
    again.types("cat later; echo still-$((4+4))\r").await;
    again.shows("still-8").await;
    assert_eq!(user.shell(&id, "cat later").await, "done-2\n");
    let listed = user.get(&format!("/pods/{id}/terminals")).await;
    assert_eq!((&listed["items"][0]["name"], &listed["items"][0]["viewers"]), (&json!("main"), &json!(1)), "{listed}");
    let mut other = Screen::open(&user, &id, "other", "").await;
    other.types("echo other-$((5+5))\r").await;
    other.shows("other-10").await;
    assert_eq!(user.get(&format!("/pods/{id}/terminals")).await["items"].as_array().map(Vec::len), Some(2));
    let path = format!("/pods/{id}/terminals/other");
    assert_eq!(user.ask(Method::DELETE, &path, Value::Null).await.0, 204);
    while let Some(message) = other.next().await {
        assert!(!matches!(&message, Message::Text(text) if !text.contains("exit") && !text.contains("closed")), "{message:?}");
    }
    assert_eq!(user.get(&format!("/pods/{id}/terminals")).await["items"].as_array().map(Vec::len), Some(1));
    again.types("exit\r").await;
    let mut last = String::new();
    while let Some(message) = again.next().await {
        if let Message::Text(text) = message {
            last = text.to_string();
        }
    }
    assert!(last.contains("exit"), "it says that it has ended: {last}");
    for name in ["-x", "a%2Fb", &"x".repeat(33), "a;b"] {
        let answer = user.request(Method::DELETE, &format!("/pods/{id}/terminals/{name}")).send().await.expect("an answer");
        assert!(matches!(answer.status().as_u16(), 404 | 422), "{name}");
    }
    user.delete(&id).await;
}

#[tokio::test]
async fn what_was_typed_is_acknowledged_so_that_nothing_is_lost_or_typed_twice() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.newcomer().await;
    let id = user.running().await;
    let query = format!("client={}", uuid::Uuid::new_v4());
    let ack = async |screen: &mut Screen| loop {
        if let Message::Text(text) = screen.next().await.expect("the terminal stays open") {
            let said: Value = serde_json::from_str(&text).expect("JSON");
            if said.get("ack").is_some() {
                return said["ack"].clone();
            }
        }
    };
    let mut screen = Screen::open(&user, &id, "main", &query).await;
    assert_eq!(ack(&mut screen).await, Value::Null, "nothing is known of this client");
    screen.types("echo ready-$((1+1))\r").await;
    screen.shows("ready-2").await;
    screen.types("echo a >> typed\r").await;
    let typed = "echo ready-$((1+1))\recho a >> typed\r".len();
    while ack(&mut screen).await != typed {}
    drop(screen);
    let mut again = Screen::open(&user, &id, "main", &query).await;
    assert_eq!(ack(&mut again).await, typed, "what need not be sent again");
    again.types("echo b >> typed; echo end-$((1+1))\r").await;
    again.shows("end-2").await;
    assert_eq!(user.shell(&id, "cat typed").await, "a\nb\n");
    user.delete(&id).await;
}

#[tokio::test]
async fn a_jobs_payload_that_names_another_teams_pod_or_secret_changes_nothing() {
    let Some(fleet) = Fleet::open().await else { return };
    let (user, other) = (fleet.newcomer().await, fleet.newcomer().await);
    let (own, foreign) = (user.running().await, other.running().await);
    let (status, secret) = other.ask(Method::POST, "/secrets", json!({ "name": "KEPT", "value": "as it was" })).await;
    assert_eq!(status, 201, "{secret}");
    let db = fleet.database().await;
    let standing = async || -> Vec<(String, String, i64, Option<String>)> {
        let rows = "SELECT desired, status, generation, (SELECT md5(string_agg(concat(s.id, s.team_id, s.name, s.sealed), ',' ORDER BY s.id)) FROM secrets s WHERE s.team_id = p.team_id)
            FROM pods p WHERE p.id IN ($1::text::uuid, $2::text::uuid) ORDER BY p.id";
        sqlx::query_as(rows).bind(&own).bind(&foreign).fetch_all(&db).await.expect("two rows")
    };
    let before = standing().await;
    // Under the pod's own key, with orders that no job takes; and under the key of one's own pod.
    let theirs = json!({ "pod_id": foreign, "desired": "deleted", "owner_id": own, "secret_id": secret["id"], "value": "another" });
    for key in [&foreign, &own] {
        let sent: i64 =
            sqlx::query_scalar("INSERT INTO queue.message (queue, key, max_reads, message) VALUES ('pod', 'pod:' || $1, 1, $2) RETURNING msg_id")
                .bind(key)
                .bind(&theirs)
                .fetch_one(&db)
                .await
                .expect("sent");
        let archived = async {
            let is_there = "SELECT EXISTS (SELECT FROM queue.archive WHERE msg_id = $1)";
            while !sqlx::query_scalar::<_, bool>(is_there).bind(sent).fetch_one(&db).await.expect("an answer") {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(SOON, archived).await.expect("a worker has had it");
        assert_eq!(standing().await, before);
    }
    for (who, id) in [(&user, &own), (&other, &foreign)] {
        assert_eq!(who.shell(id, "echo there").await, "there\n");
        who.delete(id).await;
    }
}

#[tokio::test]
async fn a_pods_log_neither_skips_nor_repeats_by_page_by_stream_or_after_a_break() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.user("owner").await;
    let id = user.create(json!({ "repository": "owner/full" })).await;
    // While it grows: cut off after every few events, and taken up again.
    let (mut seen, mut cuts) = (Vec::new(), 0);
    let following = async {
        loop {
            let mut stream = user.stream(&id, seen.last().copied()).await;
            let mut here = 0;
            loop {
                let (event_id, news) = stream.next().await.expect("the stream goes on");
                match news["type"].as_str() {
                    Some("event") => {
                        assert_eq!(event_id, news["event"]["seq"].as_i64());
                        seen.push(event_id.expect("an id"));
                        here += 1;
                        let event = &news["event"];
                        if event["step"] == "health" && event["kind"] == "end" {
                            return;
                        }
                        if here == 3 {
                            cuts += 1;
                            break;
                        }
                    }
                    _ => assert_eq!(event_id, None, "what is no event moves nobody's place"),
                }
            }
        }
    };
    timeout(SOON, following).await.expect("its set-up ends");
    assert!(cuts > 3);
    let whole: Vec<i64> = (1..=*seen.last().expect("events")).collect();
    assert_eq!(seen, whole);
    user.until_setup(&id, "done").await;
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = user.get(&format!("/pods/{id}/events?limit=4{cursor}")).await;
        let items = page["items"].as_array().expect("a list");
        assert!(items.len() <= 4);
        pages.extend(items.iter().map(|event| event["seq"].as_i64().expect("a number")));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let whole: Vec<i64> = (1..=*pages.last().expect("events")).collect();
    assert_eq!(pages, whole);
    // A page begins with all of it, and with the pod as it is.
    let browser = fleet.sign_in("owner").await;
    let view = fleet.page(&browser, Method::POST, "/fn/pods/view").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let start: Value = view.body(format!("id={id}")).send().await.expect("an answer").json().await.expect("JSON");
    let begun: Vec<i64> = start["events"].as_array().expect("a list").iter().map(|event| event["seq"].as_i64().expect("a number")).collect();
    assert!(start["pod"]["id"] == id.as_str() && begun.starts_with(&whole), "{start}");
    assert!(start["usual"].as_array().is_some_and(|usual| !usual.is_empty()) && start["month"]["cents"].is_u64(), "{start}");
    let rest = user.get(&format!("/pods/{id}/events?after=5&limit=2")).await;
    assert_eq!((&rest["items"][0]["seq"], &rest["items"][1]["seq"]), (&json!(6), &json!(7)));
    for bad in ["after=-1", "after=x", "limit=0", "limit=1001", "since=1"] {
        assert_eq!(user.ask(Method::GET, &format!("/pods/{id}/events?{bad}"), Value::Null).await.0, 422, "{bad}");
    }
    user.delete(&id).await;
}

#[tokio::test]
async fn what_goes_over_the_quota_is_refused_with_the_figures() {
    let stand = Stand::with(&[("PINACLE_QUOTA_PODS", "3"), ("PINACLE_QUOTA_CPU", "1")]).await;
    stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let create = async |name: &str| {
        let answer = stand.api(&token, Method::POST, "/pods").json(&json!({ "name": name, "tier": "dev.small" })).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    let (status, first) = create("one").await;
    assert_eq!((status, create("two").await.0), (202, 202));
    let (status, problem) = create("three").await;
    assert_eq!((status, &problem["code"]), (403, &json!("quota_exceeded")));
    let said = problem["detail"].as_str().expect("a sentence");
    assert!(said.contains("1 CPU") && said.contains("0.5"), "{said}");
    // Stopped, it takes no CPU; it is still one of three.
    let id = first["id"].as_str().expect("an id");
    assert_eq!(stand.api(&token, Method::POST, &format!("/pods/{id}/stop")).send().await.expect("an answer").status(), 202);
    assert_eq!(create("three").await.0, 202);
    let (status, problem) = create("four").await;
    assert!(status == 403 && problem["detail"].as_str().is_some_and(|said| said.contains("3 pods")), "{problem}");
    let start = stand.api(&token, Method::POST, &format!("/pods/{id}/start")).send().await.expect("an answer");
    assert_eq!(start.status(), 403, "a start takes CPU, too");
}

#[tokio::test]
async fn a_creation_that_is_repeated_with_its_key_makes_one_pod() {
    let stand = Stand::open().await;
    stand.sign_in("owner").await;
    let token = stand.token("owner", "write");
    let create = async |key: &str, name: &str| {
        let body = json!({ "name": name, "tier": "dev.small" });
        let answer = stand.api(&token, Method::POST, "/pods").header("idempotency-key", key).json(&body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    let (one, two) = tokio::join!(create("k", "one"), create("k", "one"));
    assert_eq!((one.0, two.0), (202, 202));
    assert_eq!(one.1["id"], two.1["id"]);
    assert_eq!(create("k", "other").await.0, 409, "the same key for something else");
    let (status, problem) = create("l", "one").await;
    assert!(status == 409 && problem["errors"]["name"].is_array(), "{problem}");
    let all: Value = stand.api(&token, Method::GET, "/pods").send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_pod_goes_to_the_least_loaded_host_and_says_why() {
    let Some(fleet) = Fleet::alone().await else { return };
    let user = fleet.newcomer().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let load = |host: &Value| {
            ["cpu", "memory", "disk"].map(|what| host[what]["reserved"].as_f64().expect("a number") / host[what]["limit"].as_f64().expect("a number"))
        };
        let mut hosts = fleet.hosts().await;
        hosts.retain(|host| host["state"] == "active");
        // Equal machines: the one with less reserved of what is scarcest; by name where they are level.
        hosts.sort_by(|a, b| load(a).into_iter().fold(0.0, f64::max).total_cmp(&load(b).into_iter().fold(0.0, f64::max)));
        let id = user.running().await;
        let pod = user.pod(&id).await;
        assert_eq!(pod["host"], hosts[0]["name"], "{hosts:#?}");
        let why = pod["placement"].as_str().expect("a reason");
        assert!(why.starts_with(hosts[0]["name"].as_str().expect("a name")) && why.contains(hosts[1]["name"].as_str().expect("a name")), "{why}");
        ids.push(id);
    }
    for id in ids {
        user.delete(&id).await;
    }
}

#[tokio::test]
async fn a_pod_without_room_waits_and_says_for_what() {
    let Some(fleet) = Fleet::alone().await else { return };
    let user = fleet.newcomer().await;
    let db = sqlx::PgPool::connect(&fleet.database_url).await.expect("the database");
    let ratio: f32 = sqlx::query_scalar("SELECT memory_ratio FROM hosts LIMIT 1").fetch_one(&db).await.expect("a ratio");
    sqlx::query("UPDATE hosts SET memory_ratio = 0.00001").execute(&db).await.expect("written");
    let id = user.create(json!({})).await;
    let pod = user.until(&id, "it says why it waits", |pod| pod["waiting_for"].is_string()).await;
    sqlx::query("UPDATE hosts SET memory_ratio = $1").bind(ratio).execute(&db).await.expect("written");
    let why = pod["waiting_for"].as_str().expect("a reason");
    assert!(pod["status"] == "queued" && why.contains("memory") && why.contains("host1") && why.contains("host2"), "{pod}");
    let pod = user.until_status(&id, "running").await;
    assert_eq!(pod["waiting_for"], Value::Null);
    user.delete(&id).await;
}

#[tokio::test]
async fn a_pod_whose_worker_is_killed_while_it_is_made_runs_in_the_end() {
    let Some(fleet) = Fleet::alone().await else { return };
    let user = fleet.newcomer().await;
    for wait in [50, 400] {
        let id = provisioning(&user).await;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        fleet.kill_worker().await;
        let before = user.pod(&id).await;
        fleet.begin_worker().await;
        let pod = user.until_status(&id, "running").await;
        assert_eq!(pod["failure"], Value::Null, "{before}");
        assert_eq!(user.shell(&id, "echo well").await, "well\n");
        let host = number_of(&pod);
        assert!(seen_on(3 - host, &id).await.is_none(), "on one host alone");
        user.delete(&id).await;
        assert_eq!(traces(host, &id), "");
    }
}

#[tokio::test]
async fn a_worker_that_is_asked_to_end_lets_its_jobs_end_or_hands_them_back() {
    let Some(fleet) = Fleet::alone().await else { return };
    let user = fleet.newcomer().await;
    let id = provisioning(&user).await;
    let status = fleet.end_worker(Duration::from_secs(40)).await;
    assert!(status.success(), "{status}");
    let db = sqlx::PgPool::connect(&fleet.database_url).await.expect("the database");
    let held: i64 = sqlx::query_scalar("SELECT count(*) FROM queue.message WHERE lease IS NOT NULL").fetch_one(&db).await.expect("a count");
    assert_eq!(held, 0, "nobody has to wait until a visibility ends");
    fleet.begin_worker().await;
    user.until_status(&id, "running").await;
    user.delete(&id).await;
}

#[tokio::test]
async fn a_sandbox_that_ended_by_itself_is_brought_back_and_a_pods_disk_survives_it() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.newcomer().await;
    let id = user.running().await;
    let host = number_of(&user.pod(&id).await);
    user.shell(&id, "echo mine > kept; sync").await;
    let before = inventory(host).await.boot_id;
    // The newest wish, long answered, is a restart: that it was ended on purpose then says nothing of what comes.
    user.wish(&id, "restart").await;
    user.until(&id, "it is restarted", |pod| pod["status"] == "running" && pod["behind"] == false).await;
    user.crashes(&id).await;
    assert_eq!(inventory(host).await.boot_id, before, "the host itself went on");
    assert_eq!(user.shell(&id, "cat kept").await, "mine\n");
    user.delete(&id).await;
}

#[tokio::test]
async fn a_pod_that_a_job_has_left_on_its_way_goes_on_without_a_new_wish() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.newcomer().await;
    let id = user.running().await;
    let db = fleet.database().await;
    // As after a worker's end, while it booted a machine anew that had ended by itself.
    for status in ["starting", "queued", "stopping"] {
        sqlx::query("UPDATE pods SET status = $2 WHERE id = $1::uuid").bind(&id).bind(status).execute(&db).await.expect("written");
        user.until_status(&id, "running").await;
    }
    user.delete(&id).await;
}

#[tokio::test]
async fn what_was_typed_just_before_a_terminal_is_closed_arrives() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.newcomer().await;
    let id = user.running().await;
    let mut first = Screen::open(&user, &id, "main", "").await;
    first.types("echo ready-$((1+1))\r").await;
    first.shows("ready-2").await;
    for number in 0..8 {
        let mut screen = Screen::open(&user, &id, "main", "").await;
        screen.types(&format!("touch closed-{number}\r")).await;
        screen.socket.close(None).await.expect("closed");
    }
    let all = user.shell(&id, "for wait in $(seq 400); do [ $(ls closed-* | wc -l) = 8 ] && break; sleep 0.1; done; ls closed-* | wc -l").await;
    assert_eq!(all, "8\n");
    user.delete(&id).await;
}

#[tokio::test]
async fn a_viewer_that_shows_nothing_and_types_much_holds_nobody_up() {
    let Some(fleet) = Fleet::open().await else { return };
    let user = fleet.newcomer().await;
    let id = user.running().await;
    let mut stuck = Screen::open(&user, &id, "stuck", &format!("client={}", uuid::Uuid::new_v4())).await;
    stuck.types("head -c 3000000 /dev/urandom | base64 -w0\r").await;
    let mut seen = 0;
    while seen < 1 << 20 {
        if let Message::Binary(bytes) = stuck.next().await.expect("it stays open") {
            seen += bytes.len();
        }
    }
    // Nothing of it is acknowledged, so nothing more comes; each of these is answered in the pod.
    for _ in 0..3000 {
        stuck.types("x").await;
    }
    let mut other = Screen::open(&user, &id, "other", "").await;
    other.types("echo fine-$((1+1))\r").await;
    other.shows("fine-2").await;
    drop(stuck);
    user.delete(&id).await;
}
