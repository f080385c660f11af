//! What pods ask the control plane. Of its processes that listen, one after the other is asked; where one goes before it has answered,
//! the next. While none listens, a question waits.

use super::{Daemon, client, stream};
use crate::{
    frame::{FrameError, FrameReader},
    inside::{QUESTIONS_AT_ONCE, Question, What},
    pod::sandbox::Running,
    protocol::{GitAnswer, HostError, HostErrorCode, Reply, StreamInput, StreamOutput},
    valid,
};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use uuid::Uuid;

/// From a pod's question to its answer: less than the pod waits itself, so that it hears why.
const DEADLINE: Duration = Duration::from_secs(25);
/// Questions that one listener has not answered yet.
const UNANSWERED: usize = 16;
/// Between questions of one pod, which may cost its owner a call of GitHub each.
const PACE: Duration = Duration::from_secs(1);
/// Before a pod's PID 1 is listened to again: doubled each time, while it ends the connection at once.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

type Listener = mpsc::Sender<Asked>;

struct Asked {
    pod: Uuid,
    answer: oneshot::Sender<GitAnswer>,
}

#[derive(Default)]
pub(super) struct Questions {
    listeners: watch::Sender<Vec<Listener>>,
    /// Counts what was asked, so that each listener has its turn.
    turn: AtomicUsize,
}

/// One of the listeners, until it is dropped.
struct Listening<'a> {
    questions: &'a Questions,
    listener: Listener,
}

impl Questions {
    async fn ask(&self, pod: Uuid) -> GitAnswer {
        let late = |_| GitAnswer::refused("No server of Pinacle's answered in time. Try again in a moment.");
        timeout(DEADLINE, self.answer_to(pod)).await.unwrap_or_else(late)
    }

    async fn answer_to(&self, pod: Uuid) -> GitAnswer {
        loop {
            let listener = self.listener().await;
            let (answer, answered) = oneshot::channel();
            // One that fails has gone.
            if listener.send(Asked { pod, answer }).await.is_ok()
                && let Ok(answer) = answered.await
            {
                return answer;
            }
        }
    }

    /// The next one, as soon as there is one.
    async fn listener(&self) -> Listener {
        let mut listeners = self.listeners.subscribe();
        loop {
            let mut open: Vec<Listener> = listeners.borrow_and_update().iter().filter(|listener| !listener.is_closed()).cloned().collect();
            if !open.is_empty() {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) % open.len();
                return open.swap_remove(turn);
            }
            // No error: what would be dropped is our own.
            listeners.changed().await.unwrap_or_default();
        }
    }

    /// Asks one process of the control plane, until its connection ends.
    pub(super) async fn listen<R, W>(&self, mut input: FrameReader<R>, mut output: W) -> Result<(), FrameError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        stream::write(&mut output, &Reply::Streaming).await?;
        let mut unanswered: HashMap<u64, oneshot::Sender<GitAnswer>> = HashMap::new();
        let (listener, mut asked) = mpsc::channel(1);
        let _listening = Listening::begin(self, listener);
        let mut last = 0;
        loop {
            // Whoever has waited for too long has gone.
            unanswered.retain(|_, asker| !asker.is_closed());
            tokio::select! {
                Some(Asked { pod, answer }) = asked.recv(), if unanswered.len() < UNANSWERED => {
                    last += 1;
                    unanswered.insert(last, answer);
                    stream::write(&mut output, &StreamOutput::Question { id: last, pod }).await?;
                }
                frame = input.next() => {
                    let Some(frame) = frame? else { return Ok(()) };
                    let StreamInput::Answer { id, answer } = frame.parse()? else {
                        return Err(FrameError::Unexpected("something else than an answer"));
                    };
                    let answer = valid::git_answer(&answer).map_or_else(|error| GitAnswer::refused(error.message), |()| answer);
                    if let Some(asker) = unanswered.remove(&id) {
                        // It may have gone.
                        let _gone = asker.send(answer);
                    }
                }
            }
        }
    }
}

impl<'a> Listening<'a> {
    fn begin(questions: &'a Questions, listener: Listener) -> Self {
        questions.listeners.send_modify(|listeners| listeners.push(listener.clone()));
        Self { questions, listener }
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.questions.listeners.send_modify(|listeners| listeners.retain(|other| !other.same_channel(&self.listener)));
    }
}

impl Daemon {
    /// Passes on what a pod asks. Never ends: whoever watches over the sandbox drops it.
    pub(super) async fn hear(self: &Arc<Self>, pod: Uuid, running: &Running) {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            if let Err(error) = self.hear_once(pod, running).await {
                tracing::debug!(%pod, %error, "what a pod asks can't be heard");
            }
            if begun.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            // A PID 1 of an earlier release, which knows no questions, ends the connection at once.
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// To the connection's end. Which pod it is that asks, it has no word in.
    async fn hear_once(self: &Arc<Self>, pod: Uuid, running: &Running) -> Result<(), HostError> {
        let broken = |error: FrameError| HostError::new(HostErrorCode::NotRunning, format!("the pod ended the connection: {error}"));
        let client::Asked { mut input, mut output } = client::open(&running.boot, What::Questions).await?;
        let mut asking = JoinSet::new();
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = async {
                pace.tick().await;
                input.next().await
            };
            tokio::select! {
                frame = next, if asking.len() < QUESTIONS_AT_ONCE => {
                    let Some(frame) = frame.map_err(broken)? else { return Ok(()) };
                    let Question { id } = frame.parse().map_err(broken)?;
                    let daemon = self.clone();
                    asking.spawn(async move { (id, daemon.questions.ask(pod).await) });
                }
                Some(asked) = asking.join_next() => {
                    let fault = |error: JoinError| HostError::new(HostErrorCode::Failed, format!("a question did not end: {error}"));
                    let (id, answer) = asked.map_err(fault)?;
                    stream::write(&mut output, &StreamInput::Answer { id, answer }).await.map_err(broken)?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::write_json;
    use tokio::{
        io::{DuplexStream, ReadHalf, WriteHalf, duplex, split},
        task::JoinHandle,
    };

    const POD: Uuid = Uuid::from_u128(1);

    struct Server {
        read: FrameReader<ReadHalf<DuplexStream>>,
        write: WriteHalf<DuplexStream>,
    }

    impl Server {
        async fn listen(questions: &Arc<Questions>) -> Self {
            let (ours, theirs) = duplex(4096);
            let ((read, write), (input, output)) = (split(ours), split(theirs));
            let questions = questions.clone();
            tokio::spawn(async move { questions.listen(FrameReader::new(input), output).await });
            let mut server = Self { read: FrameReader::new(read), write };
            assert!(matches!(server.read.next().await.unwrap().unwrap().parse().unwrap(), Reply::Streaming));
            server
        }

        async fn question(&mut self) -> u64 {
            match self.read.next().await.unwrap().unwrap().parse().unwrap() {
                StreamOutput::Question { id, pod } if pod == POD => id,
                other => panic!("{other:?}"),
            }
        }

        async fn answer(&mut self, id: u64, answer: GitAnswer) {
            write_json(&mut self.write, &StreamInput::Answer { id, answer }).await.unwrap();
        }
    }

    fn ask(questions: &Arc<Questions>) -> JoinHandle<GitAnswer> {
        let questions = questions.clone();
        tokio::spawn(async move { questions.ask(POD).await })
    }

    fn credential(token: &str) -> GitAnswer {
        GitAnswer::Credential { username: "u".into(), token: token.into() }
    }

    #[tokio::test]
    async fn a_question_waits_for_a_listener_and_goes_to_another_where_that_one_goes() {
        let questions = Arc::new(Questions::default());
        let asked = ask(&questions);
        let mut first = Server::listen(&questions).await;
        first.question().await;
        let mut second = Server::listen(&questions).await;
        drop(first);
        let id = second.question().await;
        second.answer(id, credential("t")).await;
        assert_eq!(asked.await.unwrap(), credential("t"));
        drop(second);
        // Both have gone: the next one is asked, though it comes later.
        let asked = ask(&questions);
        let mut third = Server::listen(&questions).await;
        let id = third.question().await;
        third.answer(id, GitAnswer::refused("no")).await;
        assert_eq!(asked.await.unwrap(), GitAnswer::refused("no"));
    }

    #[tokio::test]
    async fn several_are_answered_in_any_order_and_what_is_no_credential_is_not_passed_on() {
        let questions = Arc::new(Questions::default());
        let mut server = Server::listen(&questions).await;
        let one = ask(&questions);
        let first = server.question().await;
        let other = ask(&questions);
        let second = server.question().await;
        server.answer(99, credential("nobody's")).await;
        server.answer(second, credential("other")).await;
        server.answer(first, credential("a\nb")).await;
        assert_eq!(other.await.unwrap(), credential("other"));
        assert!(matches!(one.await.unwrap(), GitAnswer::Refused { .. }));
    }

    #[tokio::test]
    async fn each_listener_has_its_turn() {
        let questions = Arc::new(Questions::default());
        let (mut one, mut other) = (Server::listen(&questions).await, Server::listen(&questions).await);
        let asked = [ask(&questions), ask(&questions)];
        for server in [&mut one, &mut other] {
            let id = server.question().await;
            server.answer(id, credential("t")).await;
        }
        for asked in asked {
            assert_eq!(asked.await.unwrap(), credential("t"));
        }
    }
}
