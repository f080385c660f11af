//! The queue's tables beside the model: each step is done to both, and then they must hold the same.

use super::{
    DOOMED, EARS, KEYS, LAST, QUEUES, SOON, STEP,
    model::{Held, Model},
    steps::{Act, Fault, Send, Step},
    struck::{cut, struck, until_gone},
};
use pinacle_server::{
    db::{Db, is_away},
    queue::{self, Message, NewMessage},
};
use serde_json::json;
use sqlx::postgres::{PgListener, PgPoolOptions};
use std::{collections::BTreeSet, slice};
use tokio::{task::JoinSet, time::timeout};

async fn act_on(db: &Db, (id, lease): (i64, i64), act: Act) -> Result<bool, sqlx::Error> {
    match act {
        Act::Keep(steps) => queue::set_vt(db, id, lease, STEP * steps).await,
        Act::Archive => queue::archive(db, id, lease, None).await,
        Act::ArchiveDead => queue::archive(db, id, lease, Some("dead")).await,
        Act::Fail(steps) => queue::fail(db, id, lease, STEP * steps).await,
        Act::Release(steps) => queue::release(db, id, lease, STEP * steps).await,
    }
}

fn new_message(new: &Send, number: u64) -> NewMessage<'static> {
    NewMessage {
        queue: QUEUES[new.queue],
        key: new.key.map(|key| KEYS[key]),
        priority: new.priority,
        delay: STEP * new.delay,
        anew: new.anew,
        message: json!({}),
        headers: json!(number),
    }
}

/// Numbers of new messages come from Postgres. False: it has others than these.
async fn adopt(db: &Db, model: &mut Model, made: Vec<Held>) -> bool {
    let known: Vec<i64> = model.held.keys().copied().collect();
    let mut new: Vec<(i64, i64)> =
        sqlx::query_as("SELECT msg_id, headers::bigint FROM queue.message WHERE msg_id <> ALL ($1)").bind(&known).fetch_all(db).await.expect("rows");
    if new.len() != made.len() {
        return false;
    }
    for held in made {
        let Some(place) = new.iter().position(|(_, headers)| u64::try_from(*headers).ok() == Some(held.headers)) else { return false };
        model.held.insert(new.swap_remove(place).0, held);
    }
    true
}

pub struct Tables<'a> {
    db: &'a Db,
    model: Model,
    ears: PgListener,
}

impl<'a> Tables<'a> {
    pub async fn empty(db: &'a Db) -> Self {
        sqlx::query("TRUNCATE queue.message, queue.archive, queue.idle").execute(db).await.expect("an empty queue");
        let options = (*db.connect_options()).clone().application_name(EARS);
        let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await.expect("a pool");
        let mut ears = PgListener::connect_with(&pool).await.expect("a listener");
        ears.listen("queue").await.expect("listening");
        Self { db, model: Model::default(), ears }
    }

    /// In the order in which the model counts them.
    fn messages(&self, batch: &[Send]) -> Vec<NewMessage<'static>> {
        batch.iter().zip(self.model.sends + 1..).map(|(new, number)| new_message(new, number)).collect()
    }

    async fn send_all(&mut self, queue: usize, batch: &[Send]) {
        let mut connection = self.db.acquire().await.expect("a connection");
        queue::send_batch(&mut connection, QUEUES[queue], self.messages(batch)).await.expect("sent");
        let made = self.model.send_all(batch);
        self.model.tell(queue);
        assert!(adopt(self.db, &mut self.model, made).await, "as many messages as were sent, less those that had a twin");
    }

    pub async fn step(&mut self, step: &Step) {
        self.model.statements += 1;
        match step {
            Step::Send(new) => self.send_all(new.queue, slice::from_ref(new)).await,
            Step::SendBatch(queue, batch) => {
                let batch: Vec<Send> = batch.iter().map(|new| Send { queue: *queue, ..new.clone() }).collect();
                self.send_all(*queue, &batch).await;
            }
            Step::SendAndCrash(new) => {
                let doomed = self.doomed().await;
                let mut tx = doomed.begin().await.expect("a transaction");
                queue::send(&mut tx, new_message(new, self.model.sends + 1)).await.expect("sent");
                drop(tx);
                // Until Postgres has noticed, a read skips what the dead one had locked.
                self.bury(doomed).await;
            }
            Step::SendBatchesAndCrash(batch, fault) => {
                let mut batches: [Vec<NewMessage>; QUEUES.len()] = Default::default();
                for (new, message) in batch.iter().zip(self.messages(batch)) {
                    batches[new.queue].push(message);
                }
                let doomed = self.doomed().await;
                let work = async {
                    let mut tx = doomed.begin().await?;
                    for (name, batch) in QUEUES.into_iter().zip(batches) {
                        queue::send_batch(&mut tx, name, batch).await?;
                    }
                    tx.commit().await
                };
                let answer = struck(self.db, *fault, work).await;
                self.bury(doomed).await;
                let mut done = self.model.clone();
                let made = done.send_all(batch);
                (0..QUEUES.len()).for_each(|queue| done.tell(queue));
                let is_there = adopt(self.db, &mut done, made).await;
                assert!(is_there || answer.is_none(), "what was answered has happened");
                if is_there {
                    self.all_or_nothing(done, answer.is_some()).await;
                }
            }
            Step::Read { queue, limit, visibility } => {
                let mut expected = self.model.readable(*queue);
                expected.truncate(usize::try_from(*limit).expect("small"));
                let read = queue::read(self.db, QUEUES[*queue], "w", STEP * *visibility, *limit).await.expect("read");
                let ids: BTreeSet<i64> = read.iter().map(|message| message.msg_id).collect();
                assert_eq!(ids, expected.iter().copied().collect(), "by priority, then by time");
                self.begun(&read, *visibility);
            }
            Step::ReadTogether { readers, limit, fault } => self.read_together(*readers, *limit, *fault).await,
            Step::Act(number, act) => {
                let lease = self.model.lease(*number);
                let done = act_on(self.db, lease, *act).await.expect("answered");
                assert_eq!(done, self.model.act(lease, *act), "whether the lease was good");
            }
            Step::ArchiveBatch(numbers) => {
                let leases: BTreeSet<(i64, i64)> = numbers.iter().map(|number| self.model.lease(*number)).collect();
                let done = queue::archive_batch(self.db, &leases.iter().copied().collect::<Vec<_>>()).await.expect("answered");
                let expected: BTreeSet<i64> = leases.into_iter().filter(|lease| self.model.act(*lease, Act::Archive)).map(|(id, _)| id).collect();
                assert_eq!(done.into_iter().collect::<BTreeSet<_>>(), expected);
            }
            Step::ArchiveBatchAndCrash(numbers, fault) => {
                let leases: BTreeSet<(i64, i64)> = numbers.iter().map(|number| self.model.lease(*number)).collect();
                let batch: Vec<(i64, i64)> = leases.iter().copied().collect();
                let doomed = self.doomed().await;
                let answer = struck(self.db, *fault, queue::archive_batch(&doomed, &batch)).await;
                self.bury(doomed).await;
                let mut done = self.model.clone();
                let expected: BTreeSet<i64> = leases.into_iter().filter(|lease| done.act(*lease, Act::Archive)).map(|(id, _)| id).collect();
                let is_answered = answer.is_some();
                if let Some(archived) = answer {
                    assert_eq!(archived.into_iter().collect::<BTreeSet<_>>(), expected);
                }
                self.all_or_nothing(done, is_answered).await;
            }
            Step::ActAndCrash(number, act, fault) => {
                let lease = self.model.lease(*number);
                let doomed = self.doomed().await;
                let answer = struck(self.db, *fault, act_on(&doomed, lease, *act)).await;
                self.bury(doomed).await;
                let mut done = self.model.clone();
                let is_good = done.act(lease, *act);
                assert!(answer.is_none_or(|answer| answer == is_good), "whether the lease was good");
                self.all_or_nothing(done, answer.is_some()).await;
            }
            Step::ReadAndCrash { queue, limit, visibility, fault } => {
                let doomed = self.doomed().await;
                let answer = struck(self.db, *fault, queue::read(&doomed, QUEUES[*queue], "w", STEP * *visibility, *limit)).await;
                self.bury(doomed).await;
                let given = self.given().await;
                let ids: BTreeSet<i64> = given.iter().map(|(id, _)| *id).collect();
                if answer.is_some() || !given.is_empty() {
                    let mut expected = self.model.readable(*queue);
                    expected.truncate(usize::try_from(*limit).expect("small"));
                    assert_eq!(ids, expected.into_iter().collect(), "all of the batch, or nothing");
                }
                if let Some(read) = answer {
                    assert_eq!(read.iter().map(|message| message.msg_id).collect::<BTreeSet<_>>(), ids, "what was answered has happened");
                }
                for (id, lease) in given {
                    self.model.begin(id, lease, *visibility);
                }
            }
            Step::Wait { queue, patience } => {
                queue::wait_for_work(self.db, QUEUES[*queue], "w", STEP * *patience).await.expect("listed");
                self.model.waits = Some((*queue, self.model.now + i64::from(*patience)));
            }
            Step::WaitNoMore => {
                queue::woken(self.db, "w").await.expect("off the list");
                self.model.waits = None;
            }
            Step::CutEars(new) => {
                cut(self.db, EARS).await;
                self.send_all(new.queue, slice::from_ref(new)).await;
                // It was not told of this; but it is told that it may have missed something, and then it listens again.
                let told = timeout(SOON, self.ears.try_recv()).await.expect("told in time").expect("connected again");
                assert!(told.is_none(), "its connection was lost");
                self.model.told.clear();
            }
            Step::TimePasses(steps) => {
                sqlx::query("UPDATE queue.message SET vt = vt - make_interval(secs => $1)")
                    .bind(STEP.as_secs_f64() * f64::from(*steps))
                    .execute(self.db)
                    .await
                    .expect("moved");
                sqlx::query("UPDATE queue.idle SET until = until - make_interval(secs => $1)")
                    .bind(STEP.as_secs_f64() * f64::from(*steps))
                    .execute(self.db)
                    .await
                    .expect("moved");
                self.model.now += i64::from(*steps);
            }
        }
        self.model.check();
        let fits = self.holds_what(&self.model).await;
        assert!(fits, "the tables differ from the model: {:#?}\n{:#?}", self.model, self.rows().await);
    }

    /// Nobody heard the answer: all of it has happened, or nothing, and then the tables are as they were. What was answered has happened.
    async fn all_or_nothing(&mut self, done: Model, is_answered: bool) {
        if self.holds_what(&done).await {
            self.model = done;
        } else {
            assert!(!is_answered, "what was answered has happened: {done:#?}\n{:#?}", self.rows().await);
        }
    }

    /// Hears what was told since it last listened: what the model says, in its order, and no more.
    pub async fn listen(&mut self) {
        sqlx::query("SELECT pg_notify('queue', $1)").bind(LAST).execute(self.db).await.expect("told");
        let mut heard = Vec::new();
        loop {
            let told = timeout(SOON, self.ears.try_recv()).await.expect("told in time").expect("heard").expect("its connection is there");
            if told.payload() == LAST {
                break;
            }
            heard.push(told.payload().to_owned());
        }
        let expected: Vec<&str> = self.model.told.drain(..).map(|queue| QUEUES[queue]).collect();
        assert_eq!(heard, expected, "told of work where somebody waits, and only there");
    }

    /// Messages and leases that were given since the model last knew of one: they may have gone with their worker, and the rows tell.
    async fn given(&self) -> Vec<(i64, i64)> {
        sqlx::query_as("SELECT msg_id, lease FROM queue.message WHERE lease > $1 ORDER BY lease")
            .bind(self.model.leases.iter().map(|(_, lease)| *lease).max().unwrap_or(0))
            .fetch_all(self.db)
            .await
            .expect("leases")
    }

    fn begun(&mut self, read: &[Message], visibility: u32) {
        let latest = self.model.leases.iter().map(|(_, lease)| *lease).max().unwrap_or(0);
        for message in read {
            assert!(message.lease > latest, "each lease is higher than all before it");
            self.model.begin(message.msg_id, message.lease, visibility);
            assert_eq!(message.read_ct, self.model.held[&message.msg_id].tries);
        }
    }

    /// Workers that read at the same time, of both queues: together they get what one after another would have got.
    async fn read_together(&mut self, readers: usize, limit: i64, fault: Option<Fault>) {
        let victim = match fault {
            Some(fault) => Some((self.doomed().await, fault)),
            None => None,
        };
        let mut reads = JoinSet::new();
        for number in 0..readers {
            let (db, name) = (self.db.clone(), QUEUES[number % 2]);
            let befalls = victim.clone().filter(|_| number == 0);
            reads.spawn(async move {
                match befalls {
                    Some((doomed, fault)) => struck(&db, fault, queue::read(&doomed, name, "w", STEP, limit)).await,
                    None => match queue::read(&db, name, "w", STEP, limit).await {
                        Ok(read) => Some(read),
                        // Of two that each wait for a key of the other's, one is told to try again.
                        Err(error) => {
                            assert!(is_away(&error), "read: {error:?}");
                            None
                        }
                    },
                }
            });
        }
        let may: BTreeSet<i64> = (0..2).flat_map(|queue| self.model.readable(queue)).collect();
        let answers: Vec<Option<Vec<Message>>> = reads.join_all().await;
        if let Some((doomed, _)) = victim {
            self.bury(doomed).await;
        }
        let all_answered = answers.iter().all(Option::is_some);
        let read: Vec<Message> = answers.into_iter().flatten().flatten().collect();
        let given = self.given().await;
        let ids: BTreeSet<i64> = given.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids.len(), given.len(), "nothing twice");
        assert!(ids.is_subset(&may), "only what was due: {ids:?} of {may:?}");
        let heard: BTreeSet<(i64, i64)> = read.iter().map(|message| (message.msg_id, message.lease)).collect();
        assert_eq!(heard.len(), read.len(), "nothing twice");
        let held: BTreeSet<(i64, i64)> = given.iter().copied().collect();
        assert!(heard.is_subset(&held) && (heard == held || !all_answered), "what was answered has happened: {heard:?} of {held:?}");
        // What the victim had locked as it died, the others passed by.
        assert!(fault.is_some() || ids.is_empty() == may.is_empty(), "something, if anything was due");
        let mut keys = BTreeSet::new();
        let alone = ids.iter().filter_map(|id| self.model.held[id].key).all(|key| keys.insert(key));
        assert!(alone, "never two of one key");
        for (id, lease) in given {
            self.model.begin(id, lease, 1);
        }
        for message in read {
            assert_eq!(message.read_ct, self.model.held[&message.msg_id].tries);
        }
        // Only the rows tell which of them came first.
        let order: Vec<(i64, i64)> =
            sqlx::query_as("SELECT msg_id, dense_rank() OVER (ORDER BY vt) FROM queue.message WHERE msg_id = ANY ($1) ORDER BY 2")
                .bind(ids.into_iter().collect::<Vec<_>>())
                .fetch_all(self.db)
                .await
                .expect("the order");
        for (id, place) in order {
            let place = u64::try_from(place).expect("a rank");
            self.model.held.get_mut(&id).expect("held").due.1 = self.model.statements + place;
        }
        self.model.statements += u64::try_from(readers).expect("few");
    }

    /// A worker that something is going to befall has connections of its own.
    async fn doomed(&self) -> Db {
        let options = (*self.db.connect_options()).clone().application_name(DOOMED);
        // Untested, so that a fault strikes its work and not the test.
        PgPoolOptions::new().max_connections(1).test_before_acquire(false).connect_with(options).await.expect("a pool")
    }

    /// Waits until they are gone, and with them what Postgres was still doing on them: an idle one may have work to read.
    async fn bury(&self, doomed: Db) {
        doomed.close().await;
        until_gone(self.db, DOOMED).await;
    }

    async fn rows(&self) -> Vec<Row> {
        sqlx::query_as(
            "SELECT msg_id, queue, key, priority, read_ct, lease, headers::bigint AS headers,
                    round(extract(epoch FROM vt - now()) / $1)::bigint AS due
             FROM queue.message ORDER BY priority DESC, vt, msg_id",
        )
        .bind(STEP.as_secs_f64())
        .fetch_all(self.db)
        .await
        .expect("rows")
    }

    async fn holds_what(&self, model: &Model) -> bool {
        let mut expected: Vec<(i64, &Held)> = model.held.iter().map(|(id, held)| (*id, held)).collect();
        expected.sort_by_key(|(id, held)| (-held.priority, held.due, *id));
        let expected: Vec<Row> = expected
            .into_iter()
            .map(|(msg_id, held)| Row {
                msg_id,
                queue: QUEUES[held.queue].to_owned(),
                key: held.key.map(|key| KEYS[key].to_owned()),
                priority: held.priority,
                read_ct: held.tries,
                lease: held.lease,
                headers: i64::try_from(held.headers).expect("small"),
                due: held.due.0 - model.now,
            })
            .collect();
        let rows = self.rows().await;
        // Their order shows in what is read.
        let sorted = |mut rows: Vec<Row>| {
            rows.sort_by_key(|row| row.msg_id);
            rows
        };
        let archive: Vec<(i64, bool)> =
            sqlx::query_as("SELECT msg_id, outcome = 'dead' FROM queue.archive ORDER BY msg_id").fetch_all(self.db).await.expect("the archive");
        sorted(rows) == sorted(expected) && archive == model.archive.iter().map(|(id, dead)| (*id, *dead)).collect::<Vec<_>>()
    }

    /// Whatever happened: workers that do their work come to an end with it.
    pub async fn drain(&mut self) {
        let mut rounds = 0;
        while !self.model.held.is_empty() {
            rounds += 1;
            assert!(rounds < 200, "it ends");
            self.step(&Step::TimePasses(4)).await;
            for queue in 0..QUEUES.len() {
                self.step(&Step::Read { queue, limit: 4, visibility: 3 }).await;
                self.step(&Step::ArchiveBatch((0..4).collect())).await;
            }
        }
    }
}

#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Row {
    msg_id: i64,
    queue: String,
    key: Option<String>,
    priority: i16,
    read_ct: i32,
    lease: Option<i64>,
    headers: i64,
    /// Steps from now.
    due: i64,
}
