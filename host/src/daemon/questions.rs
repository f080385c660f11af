//! What pods ask the control plane. Those of its processes that listen take questions by turns; what one of them does not answer, because
//! it goes or takes too long, is asked again. While none listens, a question waits.

use super::{Daemon, client, stream};
use crate::{
    frame::{FrameError, FrameReader},
    inside::{QUESTIONS_AT_ONCE, Question, What},
    pod::sandbox::Running,
    protocol::{GitAnswer, HostError, HostErrorCode, Reply, StreamInput, StreamOutput},
    valid,
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Mutex, mpsc, oneshot},
    task::{JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use uuid::Uuid;

/// From a pod's question to its answer: less than the pod waits itself, so that it hears why.
const DEADLINE: Duration = Duration::from_secs(25);
/// For one listener to answer: more than it takes itself.
const PATIENCE: Duration = Duration::from_secs(12);
/// Questions that nobody has taken yet, of all pods.
const WAITING: usize = 64;
/// Questions that one listener has not answered yet.
const UNANSWERED: usize = 16;
/// Between looks for those that nobody waits for any more, where there is no room for others.
const SWEEP: Duration = Duration::from_secs(1);
/// Between questions of one pod, which may cost its owner a call of GitHub each.
const PACE: Duration = Duration::from_millis(200);
/// Before a pod's PID 1 is listened to again: doubled each time, while it ends the connection at once.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

struct Asked {
    pod: Uuid,
    answer: oneshot::Sender<GitAnswer>,
}

pub(super) struct Questions {
    ask: mpsc::Sender<Asked>,
    /// Of whichever listener has room, in the order in which they came to it.
    asked: Mutex<mpsc::Receiver<Asked>>,
}

impl Default for Questions {
    fn default() -> Self {
        let (ask, asked) = mpsc::channel(WAITING);
        Self { ask, asked: Mutex::new(asked) }
    }
}

impl Questions {
    async fn ask(&self, pod: Uuid) -> GitAnswer {
        let late = |_| GitAnswer::refused("No server of Pinacle's answered in time. Try again in a moment.");
        timeout(DEADLINE, self.answer_to(pod)).await.unwrap_or_else(late)
    }

    async fn answer_to(&self, pod: Uuid) -> GitAnswer {
        loop {
            let (answer, answered) = oneshot::channel();
            // Never closed: the other end is our own.
            if self.ask.send(Asked { pod, answer }).await.is_err() {
                return GitAnswer::refused("The pod's host can't ask. An operator should look at its log.");
            }
            if let Ok(Ok(answer)) = timeout(PATIENCE, answered).await {
                return answer;
            }
        }
    }

    /// The next one that somebody waits for.
    async fn next(&self) -> Option<Asked> {
        let mut asked = self.asked.lock().await;
        loop {
            let next = asked.recv().await?;
            if !next.answer.is_closed() {
                return Some(next);
            }
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
        let mut last = 0;
        let mut sweep = interval(SWEEP);
        loop {
            // Whoever has waited for too long asks another.
            unanswered.retain(|_, asker| !asker.is_closed());
            tokio::select! {
                Some(Asked { pod, answer }) = self.next(), if unanswered.len() < UNANSWERED => {
                    last += 1;
                    unanswered.insert(last, answer);
                    stream::write(&mut output, &StreamOutput::Question { id: last, pod }).await?;
                }
                _ = sweep.tick(), if unanswered.len() == UNANSWERED => {}
                frame = input.next() => {
                    let Some(frame) = frame? else { return Ok(()) };
                    let StreamInput::Answer { id, answer } = frame.parse()? else {
                        return Err(FrameError::Unexpected("something else than an answer"));
                    };
                    if let Some(asker) = unanswered.remove(&id) {
                        // It may have gone.
                        let _gone = asker.send(valid::or_refused(answer));
                    }
                }
            }
        }
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
