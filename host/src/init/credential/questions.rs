//! What is asked, until it is answered: told to the daemon, and to the next one where it is started anew meanwhile.

use crate::{
    init::{outbox::Gone, serve::Connection},
    inside::Question,
    protocol::{GitAnswer, StreamInput},
    valid,
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

type Waiting = BTreeMap<u64, oneshot::Sender<GitAnswer>>;

/// As many at once as there are helpers (`server`).
#[derive(Default)]
pub struct Questions {
    waiting: Mutex<Waiting>,
    /// Id of the newest; from 1.
    newest: watch::Sender<u64>,
}

/// Withdrawn when it is dropped.
struct Asked<'a> {
    questions: &'a Questions,
    id: u64,
}

impl Questions {
    pub async fn ask(&self, within: Duration) -> GitAnswer {
        let (answer, answered) = oneshot::channel();
        let _asked = self.begin(answer);
        match timeout(within, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => GitAnswer::refused("The pod's host did not answer in time. Try again in a moment."),
        }
    }

    fn begin(&self, answer: oneshot::Sender<GitAnswer>) -> Asked<'_> {
        let mut waiting = self.waiting();
        let id = *self.newest.borrow() + 1;
        waiting.insert(id, answer);
        self.newest.send_replace(id);
        Asked { questions: self, id }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a daemon what is asked, and hears its answers, until it goes.
    pub async fn tell(&self, connection: Connection) -> Result<(), Gone> {
        let Connection { mut input, output } = connection;
        let mut newest = self.newest.subscribe();
        let mut told = 0;
        loop {
            newest.mark_unchanged();
            let untold: Vec<u64> = self.waiting().range(told + 1..).map(|(id, _)| *id).collect();
            for id in untold {
                output.json(&Question { id }).await?;
                told = id;
            }
            tokio::select! {
                changed = newest.changed() => changed.map_err(|_| Gone)?,
                () = output.closed() => return Err(Gone),
                frame = input.next() => match frame.map_err(|_| Gone)?.ok_or(Gone)?.parse() {
                    Ok(StreamInput::Answer { id, answer }) => self.answered(id, answer),
                    Ok(_) | Err(_) => return Err(Gone),
                },
            }
        }
    }

    fn answered(&self, id: u64, answer: GitAnswer) {
        let Some(asker) = self.waiting().remove(&id) else { return };
        // The helper may have gone.
        let _gone = asker.send(valid::or_refused(answer));
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.questions.waiting().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{FrameReader, write_json},
        init::outbox::Outbox,
    };
    use std::sync::Arc;
    use tokio::{
        net::{
            TcpListener, TcpStream,
            tcp::{OwnedReadHalf, OwnedWriteHalf},
        },
        task::JoinHandle,
    };

    struct Daemon {
        read: FrameReader<OwnedReadHalf>,
        write: OwnedWriteHalf,
        telling: JoinHandle<Result<(), Gone>>,
    }

    impl Daemon {
        async fn connect(questions: &Arc<Questions>) -> Self {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let (read, write) = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap().into_split();
            let (input, output) = listener.accept().await.unwrap().0.into_split();
            let (questions, connection) = (questions.clone(), Connection { input: FrameReader::new(input), output: Outbox::new(output) });
            Self { read: FrameReader::new(read), write, telling: tokio::spawn(async move { questions.tell(connection).await }) }
        }

        async fn question(&mut self) -> u64 {
            self.read.next().await.unwrap().unwrap().parse::<Question>().unwrap().id
        }
    }

    #[tokio::test]
    async fn what_a_daemon_did_not_answer_is_asked_of_the_next() {
        let questions = Arc::new(Questions::default());
        let ask = || {
            let questions = questions.clone();
            tokio::spawn(async move { questions.ask(Duration::from_secs(60)).await })
        };
        let early = ask();
        let mut first = Daemon::connect(&questions).await;
        let id = first.question().await;
        drop((first.read, first.write));
        assert!(first.telling.await.unwrap().is_err());

        let mut second = Daemon::connect(&questions).await;
        assert_eq!(second.question().await, id);
        let late = ask();
        let other = second.question().await;
        let answer = |token: &str| GitAnswer::Credential { username: "u".into(), token: token.into() };
        for (id, answer) in [(other, answer("late")), (id, answer("early")), (99, answer("nobody's"))] {
            write_json(&mut second.write, &StreamInput::Answer { id, answer }).await.unwrap();
        }
        assert_eq!((early.await.unwrap(), late.await.unwrap()), (answer("early"), answer("late")));

        let hostile = ask();
        let id = second.question().await;
        write_json(&mut second.write, &StreamInput::Answer { id, answer: answer("t\nquit=1") }).await.unwrap();
        assert!(matches!(hostile.await.unwrap(), GitAnswer::Refused { .. }), "it would be two lines to git");
    }

    #[tokio::test]
    async fn a_question_that_nobody_answers_is_given_up_at_its_deadline() {
        let questions = Questions::default();
        assert!(matches!(questions.ask(Duration::from_millis(20)).await, GitAnswer::Refused { .. }));
        assert!(questions.waiting().is_empty());
    }
}
