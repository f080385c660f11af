//! One round: pods are brought to their places and held there, a fault strikes all of them at once, is mended, and what has
//! become of them is held against what was wished.

use super::{
    case::{Case, Fault, Moment, Newer, Operation},
    faults::{HOST, Stage},
    hold::Holds,
};
use crate::fleet::{SOON, User, inventory, is_up, traces_of};
use futures::future::join_all;
use pinacle_host::protocol::SandboxState;
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// After things are back, everything is as it should be.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// Within which every pod of a round has come to its place.
const PLACED_WITHIN: Duration = Duration::from_secs(120);
/// A fault within a step strikes at most this long after its beginning was let go.
const INTO_A_STEP: u64 = 600;
/// Within which a server that has its database answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(250);
const KEPT: &str = "what was written before\n";
/// At the repository's process, which may be started again just now.
const KNOCK: &str = "for try in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/8080) 2>/dev/null && exit 0; sleep 0.1; done; exit 1";

/// What a round has found: cases that are broken, pods that failed with a reason, and what the fault did to how many.
#[derive(Default)]
pub struct Found {
    pub broken: Vec<(Case, String)>,
    pub failed: Vec<(Case, String)>,
    /// Cases where the fault struck something.
    pub hit: usize,
    /// Cases where there was nothing any more to strike, as may be.
    pub missed: Vec<Case>,
}

struct Subject {
    case: Case,
    key: i32,
    name: String,
    id: String,
    /// Whether a file was written and synced in it.
    has_file: bool,
}

#[derive(Clone, Debug, sqlx::FromRow)]
struct Row {
    id: String,
    status: String,
    behind: bool,
    setup: String,
    setup_code: Option<String>,
    setup_message: Option<String>,
    setup_remedy: Option<String>,
    code: Option<String>,
    message: Option<String>,
    remedy: Option<String>,
    host: Option<String>,
    cpu_milli: Option<i32>,
    memory_bytes: Option<i64>,
}

impl Subject {
    fn body(&self) -> Value {
        let mut body = json!({ "name": self.name });
        if self.case.needs_repository() {
            body["repository"] = json!("owner/full");
        }
        body
    }

    fn wished(&self) -> &'static str {
        match (self.case.operation, self.case.newer) {
            (Operation::Cleanup, _) | (_, Newer::Delete) => "deleted",
            (Operation::Stop, _) | (_, Newer::Stop) => "stopped",
            (Operation::Provision | Operation::Start, Newer::Nothing) => "running",
        }
    }

    fn is_as_wished(&self, row: &Row) -> bool {
        let set_up = !self.case.needs_repository() || row.setup == "done";
        row.status == self.wished() && !row.behind && (row.status != "running" || set_up)
    }

    /// The file that must outlive whatever comes; it is on the disk when this returns.
    async fn write_file(&mut self, user: &User<'_>) {
        user.shell(&self.id, &format!("printf '{KEPT}' >kept; sync")).await;
        self.has_file = true;
    }

    /// To where the operation begins.
    async fn prepare(&mut self, user: &User<'_>) {
        if self.case.operation == Operation::Provision {
            return;
        }
        self.id = user.create(self.body()).await;
        user.until_status(&self.id, "running").await;
        if self.case.needs_repository() {
            user.until_setup(&self.id, "done").await;
        }
        self.write_file(user).await;
        if self.case.operation == Operation::Start {
            user.wish(&self.id, "stop").await;
            user.until_status(&self.id, "stopped").await;
        }
    }

    async fn begin(&mut self, user: &User<'_>) {
        match self.case.operation {
            Operation::Provision => self.id = user.create(self.body()).await,
            Operation::Start => drop(user.wish(&self.id, "start").await),
            Operation::Stop => drop(user.wish(&self.id, "stop").await),
            Operation::Cleanup => drop(user.wish(&self.id, "delete").await),
        }
    }

    /// What is wished meanwhile; a pod that is being deleted takes no other wish.
    async fn wish(&self, user: &User<'_>) {
        let said = match self.case.newer {
            Newer::Nothing => return,
            Newer::Stop => ask(user, Method::POST, &format!("/pods/{}/stop", self.id)).await,
            Newer::Delete => ask(user, Method::DELETE, &format!("/pods/{}", self.id)).await,
        };
        let is_going = self.case.operation == Operation::Cleanup && matches!(said.status, 404 | 409);
        // Taken before, and the answer was lost.
        let is_gone = self.case.newer == Newer::Delete && said.again && said.status == 404;
        assert!(said.status == 202 || is_going || is_gone, "{}: {} {:#}", self.case, said.status, said.body);
    }
}

/// As often as it takes while the server has no database, or too many wishes at once.
async fn ask(user: &User<'_>, method: Method, path: &str) -> Said {
    let (begun, mut again) = (Instant::now(), false);
    loop {
        let sent = user.request(method.clone(), path).timeout(ANSWER_WITHIN).send().await;
        let (status, body) = match sent {
            Ok(answer) => (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null)),
            Err(error) => (0, Value::String(error.to_string())),
        };
        if matches!(status, 200..=428 | 430..=499) {
            return Said { status, body, again };
        }
        assert!(begun.elapsed() < SOON, "{method} {path}: {status} {body}");
        again = true;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

struct Said {
    status: u16,
    body: Value,
    /// Whether it was asked before, and the answer was lost or a refusal for the moment.
    again: bool,
}

pub async fn run(stage: &mut Stage<'_>, cases: &[Case], seed: u64) -> Found {
    let fault = cases[0].fault;
    let fleet = stage.fleet;
    let (user, operator) = (fleet.user("owner").await, fleet.user("operator").await);
    Holds::set_up(&stage.db).await;
    // All of them on the host that is struck, however small it is.
    sqlx::query("UPDATE hosts SET memory_ratio = 8").execute(&stage.db).await.expect("written");
    let host = |name: String| async move { fleet.until_host(&name, "it answers", |host| host["reachable"] == true).await };
    let (_, other) = (host(format!("host{HOST}")).await, host("host2".to_owned()).await);
    let change = async |verb: &str| {
        let path = format!("/hosts/{}/{verb}", other["id"].as_str().expect("an id"));
        let (status, said) = operator.ask(Method::POST, &path, Value::Null).await;
        assert_eq!(status, 200, "{said}");
    };
    change("cordon").await;

    let mut subjects: Vec<Subject> = (1..)
        .zip(cases)
        .map(|(key, &case)| Subject { case, key, name: format!("c{:08x}", rand::random::<u32>()), id: String::new(), has_file: false })
        .collect();
    stage.names = subjects.iter().map(|subject| subject.name.clone()).collect();
    join_all(subjects.iter_mut().map(|subject| subject.prepare(&user))).await;
    let mut holds = Holds::new(&fleet.database_url).await;
    for subject in &subjects {
        let kind = if subject.case.moment == Moment::After { "end" } else { "begin" };
        holds.hold(subject.key, &subject.name, subject.case.step.key(), kind).await;
    }
    join_all(subjects.iter_mut().map(|subject| subject.begin(&user))).await;
    all_held(&mut holds, &subjects, &user).await;
    // Those that run by now, though they are still provisioned.
    let run = subjects.iter_mut().filter(|subject| subject.case.operation == Operation::Provision && subject.case.needs_repository());
    join_all(run.map(|subject| subject.write_file(&user))).await;
    change("activate").await;

    stage.until_there(fault, subjects.len()).await;
    holds.forget_all().await;
    let within: Vec<i32> = subjects.iter().filter(|subject| subject.case.moment == Moment::Within).map(|subject| subject.key).collect();
    for key in &within {
        holds.release(*key).await;
    }
    if !within.is_empty() && fault != Fault::SandboxKilled {
        // How far into their steps, the seed says.
        tokio::time::sleep(Duration::from_millis(StdRng::seed_from_u64(seed).random_range(0..INTO_A_STEP))).await;
    }
    let pods: Vec<(&str, bool)> = subjects.iter().map(|subject| (subject.id.as_str(), subject.case.must_hit())).collect();
    let mut hits = stage.strike(fault, &pods).await;
    let locks_were_left = holds.release_all().await;
    if fault == Fault::PostgresKilled && locks_were_left {
        hits.fill(0);
    }
    tokio::join!(stage.mend(fault), join_all(subjects.iter().map(|subject| subject.wish(&user))));

    let back = Instant::now();
    let mut found = settle(stage, &subjects, back).await;
    go_on(stage, &subjects, &user, &mut found).await;
    for (subject, hit) in subjects.iter().zip(hits) {
        match hit {
            0 if subject.case.must_hit() => found.broken.push((subject.case, "the fault struck nothing".to_owned())),
            0 => found.missed.push(subject.case),
            _ => found.hit += 1,
        }
    }
    join_all(subjects.iter().map(|subject| remove(&user, &subject.id))).await;
    if let Err(why) = tidy_until(stage, Instant::now() + SETTLED_WITHIN).await {
        found.broken.push((cases[0], format!("after everything was deleted: {why}")));
    }
    found
}

async fn all_held(holds: &mut Holds, subjects: &[Subject], user: &User<'_>) {
    let begun = Instant::now();
    loop {
        let waiting: HashSet<i32> = holds.waiting().await.into_iter().collect();
        let missing: Vec<&Subject> = subjects.iter().filter(|subject| !waiting.contains(&subject.key)).collect();
        let Some(first) = missing.first() else { return };
        if begun.elapsed() > PLACED_WITHIN {
            let names: Vec<String> = missing.iter().map(|subject| subject.case.to_string()).collect();
            panic!("never came to their places: {names:?}; the first: {:#}, {:#?}", user.pod(&first.id).await, user.events(&first.id).await);
        }
        tokio::time::sleep(LOOK_EVERY / 5).await;
    }
}

async fn rows(stage: &Stage<'_>) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as(
        "SELECT p.id::text AS id, p.status, p.seen_generation < p.generation AS behind, p.setup, p.setup_detail->>'code' AS setup_code,
                p.setup_detail->>'message' AS setup_message, p.setup_detail->>'remedy' AS setup_remedy,
                p.failure->>'code' AS code, p.failure->>'message' AS message, p.failure->>'remedy' AS remedy,
                h.name AS host, r.cpu_milli, r.memory_bytes
         FROM pods p LEFT JOIN reservations r ON r.pod_id = p.id LEFT JOIN hosts h ON h.id = r.host_id
         WHERE p.status <> 'deleted' OR p.name = ANY($1)",
    )
    .bind(&stage.names)
    .fetch_all(&stage.db)
    .await
}

/// Waits for each pod to be as wished, and for hosts and Postgres to agree; at the deadline, a pod that failed and says why, and
/// what helps, is no broken case.
async fn settle(stage: &Stage<'_>, subjects: &[Subject], back: Instant) -> Found {
    let mut found = Found::default();
    loop {
        let late = back.elapsed() > SETTLED_WITHIN;
        match rows(stage).await {
            Ok(rows) => {
                let row = |subject: &Subject| rows.iter().find(|row| row.id == subject.id).cloned();
                let open: Vec<(&Subject, Option<Row>)> =
                    subjects.iter().map(|s| (s, row(s))).filter(|(s, row)| !row.as_ref().is_some_and(|row| s.is_as_wished(row))).collect();
                if open.is_empty() {
                    break;
                }
                if late {
                    for (subject, row) in open {
                        judge(stage, subject, row, &mut found).await;
                    }
                    break;
                }
            }
            Err(error) => assert!(!late, "the database does not answer: {error}"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    if let Err(why) = tidy_until(stage, back + SETTLED_WITHIN).await {
        let case = subjects.iter().find(|subject| why.contains(&subject.id)).unwrap_or(&subjects[0]).case;
        found.broken.push((case, why));
    }
    found
}

async fn judge(stage: &Stage<'_>, subject: &Subject, row: Option<Row>, found: &mut Found) {
    let Some(row) = row else { return found.broken.push((subject.case, "its row is gone".to_owned())) };
    let why = match (row.status.as_str(), &row.code) {
        // It says that it goes on by itself.
        ("failed", Some(code)) if code == "host_unreachable" => None,
        ("failed", code) if !row.behind => reason(code.as_deref(), row.message.as_deref(), row.remedy.as_deref()),
        ("running", _) if !row.behind && subject.wished() == "running" && row.setup == "failed" => {
            reason(row.setup_code.as_deref(), row.setup_message.as_deref(), row.setup_remedy.as_deref())
        }
        _ => None,
    };
    match why {
        Some(why) => found.failed.push((subject.case, why)),
        None => {
            let events: Vec<(i64, String, String, String)> = sqlx::query_as(
                "SELECT generation, step, kind, concat_ws(' ', to_char(at, 'MI:SS.MS'), left(text, 120)) FROM pod_event WHERE pod_id = $1::text::uuid ORDER BY seq DESC LIMIT 25",
            )
            .bind(&subject.id)
            .fetch_all(&stage.db)
            .await
            .unwrap_or_default();
            let message: Vec<String> = sqlx::query_scalar("SELECT to_jsonb(m)::text FROM queue.message m WHERE key = 'pod:' || $1")
                .bind(&subject.id)
                .fetch_all(&stage.db)
                .await
                .unwrap_or_default();
            found.broken.push((subject.case, format!("{row:?}, not {}\n{message:?}\n{events:#?}", subject.wished())));
        }
    }
}

/// Why something failed and what helps, in words; None where it does not say both.
fn reason(code: Option<&str>, message: Option<&str>, remedy: Option<&str>) -> Option<String> {
    let said = |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    Some(format!("{}: {} {}", said(code)?, said(message)?, said(remedy)?))
}

/// Asks until hosts and Postgres agree about everything.
async fn tidy_until(stage: &Stage<'_>, deadline: Instant) -> Result<(), String> {
    loop {
        let state = tidy(stage).await;
        if state.is_ok() || Instant::now() > deadline {
            return state;
        }
        tokio::time::sleep(2 * LOOK_EVERY).await;
    }
}

/// No sandbox, mount, namespace, control group, disk or reservation but those that Postgres has.
async fn tidy(stage: &Stage<'_>) -> Result<(), String> {
    let rows = rows(stage).await.map_err(|error| error.to_string())?;
    for row in &rows {
        let held = row.cpu_milli.unwrap_or(0) > 0 || row.memory_bytes.unwrap_or(0) > 0;
        match row.status.as_str() {
            "deleted" if row.host.is_some() => return Err(format!("a deleted pod has a reservation: {row:?}")),
            "stopped" | "failed" if held => return Err(format!("a pod that does not run has CPU and memory: {row:?}")),
            "running" if !held => return Err(format!("a pod that runs has no reservation: {row:?}")),
            _ => {}
        }
    }
    let messages: Vec<String> =
        sqlx::query_scalar("SELECT key FROM queue.message WHERE queue = 'pod'").fetch_all(&stage.db).await.map_err(|e| e.to_string())?;
    if !messages.is_empty() {
        return Err(format!("work is left: {messages:?}"));
    }
    for host in 1..=2 {
        let name = format!("host{host}");
        if !is_up(host).await {
            return Err(format!("{name}'s daemon does not answer"));
        }
        let seen = inventory(host).await;
        let here: Vec<&Row> = rows.iter().filter(|row| row.host.as_deref() == Some(name.as_str())).collect();
        for pod in &seen.pods {
            let Some(row) = here.iter().find(|row| row.id == pod.pod.to_string()) else {
                return Err(format!("{name} has what Postgres has not there: {pod:?}"));
            };
            if (pod.sandbox == SandboxState::Running) != (row.status == "running") {
                return Err(format!("{name} has {pod:?}, Postgres {row:?}"));
            }
        }
        if let Some(row) = here.iter().find(|row| row.status == "running" && !seen.pods.iter().any(|pod| pod.pod.to_string() == row.id)) {
            return Err(format!("{name} lacks {row:?}"));
        }
        if !seen.orphans.is_empty() {
            return Err(format!("{name} has set aside {:?}", seen.orphans));
        }
        // Control groups and loop devices are all hosts' here.
        let idle: Vec<&str> = rows.iter().filter(|row| row.status != "running").map(|row| row.id.as_str()).collect();
        let gone: Vec<&str> = rows.iter().filter(|row| row.host.as_deref() != Some(name.as_str())).map(|row| row.id.as_str()).collect();
        let left = traces_of(host, &idle, &gone);
        if !left.is_empty() {
            return Err(format!("{name} has left:\n{left}"));
        }
    }
    Ok(())
}

/// Every pod that is not deleted runs or has a way to run again, with what was written in it and its processes.
async fn go_on(stage: &Stage<'_>, subjects: &[Subject], user: &User<'_>, found: &mut Found) {
    let Ok(rows) = rows(stage).await else { return };
    let ways = join_all(subjects.iter().map(|subject| async {
        let Some(row) = rows.iter().find(|row| row.id == subject.id && row.status != "deleted") else { return Ok(()) };
        if found.broken.iter().any(|(case, _)| *case == subject.case) {
            return Ok(());
        }
        if row.status == "running" && row.setup == "failed" {
            let said = ask(user, Method::POST, &format!("/pods/{}/setup/retry", subject.id)).await;
            if said.status != 202 {
                return Err(format!("its set-up can't be retried: {}", said.body));
            }
        }
        if row.status != "running" {
            let said = ask(user, Method::POST, &format!("/pods/{}/start", subject.id)).await;
            if said.status != 202 {
                return Err(format!("it can't be started: {}", said.body));
            }
        }
        let begun = Instant::now();
        loop {
            let pod = user.pod(&subject.id).await;
            let is_set_up = !subject.case.needs_repository() || pod["setup"]["state"] == "done";
            if pod["status"] == "running" && pod["behind"] == false && is_set_up {
                break;
            }
            if begun.elapsed() > SOON {
                return Err(format!("it does not run again: {pod:#}"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        if subject.has_file {
            let (status, result) = user.exec(&subject.id, json!({ "argv": ["cat", "kept"] })).await;
            if status != 200 || result["stdout"] != KEPT {
                return Err(format!("what was written in it is gone: {status} {result}"));
            }
        }
        if subject.case.needs_repository() {
            let (status, result) = user.exec(&subject.id, json!({ "argv": ["bash", "-c", KNOCK] })).await;
            if status != 200 || result["exit_code"] != 0 {
                return Err(format!("its process does not answer: {status} {result}"));
            }
        }
        Ok(())
    }))
    .await;
    for (subject, way) in subjects.iter().zip(ways) {
        if let Err(why) = way {
            found.broken.push((subject.case, why));
        }
    }
}

async fn remove(user: &User<'_>, id: &str) {
    let path = format!("/pods/{id}");
    let said = ask(user, Method::DELETE, &path).await;
    assert!(matches!(said.status, 202 | 404), "{}", said.body);
    let begun = Instant::now();
    while ask(user, Method::GET, &path).await.status != 404 {
        assert!(begun.elapsed() < SOON, "it is not deleted: {:#}", user.pod(id).await);
        tokio::time::sleep(2 * LOOK_EVERY).await;
    }
}

/// After a round that broke off: what it left goes, as far as it does.
pub async fn sweep(stage: &Stage<'_>) {
    let user = stage.fleet.user("owner").await;
    let ids: Vec<String> = match rows(stage).await {
        Ok(rows) => rows.into_iter().filter(|row| row.status != "deleted").map(|row| row.id).collect(),
        Err(error) => return eprintln!("the database does not answer: {error}"),
    };
    let removing = join_all(ids.iter().map(|id| remove(&user, id)));
    if tokio::time::timeout(SOON, removing).await.is_err() {
        eprintln!("pods of a round that broke off are still there");
    }
}
