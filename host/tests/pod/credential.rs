//! What git in a pod signs in with: asked of whoever listens in the control plane's place.

use super::{
    boot,
    host::{Connection, Host},
    run,
};
use pinacle_host::protocol::{Command, GitAnswer, GitCredential, PodConfig, StreamInput, StreamOutput};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    join,
};
use uuid::Uuid;

const TOKEN: &str = "a-token-0123456789";

fn answer() -> GitAnswer {
    GitAnswer::Credential { username: "u".into(), token: TOKEN.into() }
}

/// git, as a command that is to sign in at this address has it.
fn fill(address: &str) -> String {
    format!("printf 'url={address}\\n\\n' | GIT_TERMINAL_PROMPT=0 git credential fill")
}

/// The next question, and which pod's it is.
async fn question<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(listener: &mut Connection<R, W>) -> (u64, Uuid) {
    match listener.frame().await.expect("a question").parse().expect("a question") {
        StreamOutput::Question { id, pod } => (id, pod),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn git_asks_for_its_own_repository_alone_and_is_answered_or_told_why_not() {
    let Some(host) = Host::start(18).await else { return };
    let (pod, other, mut plane) = (Uuid::from_u128(180), Uuid::from_u128(181), host.connect().await);
    for (pod, address, repository) in [(pod, 180, "owner/site"), (other, 181, "owner/other")] {
        boot(&mut plane, pod, host.pod_address(address), 1).await;
        let git_credential = Some(GitCredential { origin: "https://git.test".into(), repository: repository.into() });
        plane.done(Command::Configure { pod, fence: 1, config: PodConfig { git_credential, ..PodConfig::default() } }).await;
    }
    let own = fill("https://git.test/owner/site.git");

    // While nobody listens, it waits.
    let mut listener = host.connect().await;
    let (filled, first) = join!(run(&host, pod, &own), async {
        listener.open(Command::Questions).await;
        let (id, of) = question(&mut listener).await;
        assert_eq!(of, pod, "the daemon says which pod it is");
        listener.say(StreamInput::Answer { id, answer: answer() }).await;
        id
    });
    assert_eq!((filled.code(), filled.text().contains(&format!("username=u\npassword={TOKEN}"))), (Some(0), true), "{}", filled.text());
    // Other repositories, another pod's among them, and other servers are not asked about; nothing is stored.
    for address in
        ["https://git.test/owner/other.git", "https://git.test/owner/site-two", "http://git.test/owner/site", "https://else.test/owner/site"]
    {
        let ended = run(&host, pod, &fill(address)).await;
        assert!(ended.code() == Some(128) && String::from_utf8_lossy(&ended.errors).contains("could not read Username"), "{address}");
    }
    let stored = run(&host, pod, &format!("printf 'url=https://u:{TOKEN}@git.test/owner/site\\n\\n' | git credential approve")).await;
    assert_eq!((stored.code(), stored.errors.len()), (Some(0), 0));

    // Refused: what the answer says, and nobody is asked to type. Root may ask as well.
    let of_root = format!("sudo sh -c \"{own}\"");
    let (refused, second) = join!(run(&host, pod, &of_root), async {
        let (id, _) = question(&mut listener).await;
        listener.say(StreamInput::Answer { id, answer: GitAnswer::refused("Its owner has left.") }).await;
        id
    });
    let words = String::from_utf8_lossy(&refused.errors).into_owned();
    assert!(refused.code() == Some(128) && words.contains("pinacle: Its owner has left.") && !words.contains("Username"), "{words}");
    assert_eq!(second, first + 1, "nothing else was asked");

    // The other pod's question is the other pod's.
    let others = fill("https://git.test/owner/other");
    let (filled, ()) = join!(run(&host, other, &others), async {
        let (id, of) = question(&mut listener).await;
        assert_eq!(of, other);
        listener.say(StreamInput::Answer { id, answer: answer() }).await;
    });
    assert_eq!(filled.code(), Some(0));
    let found = run(&host, pod, &format!("stat -c %a:%U /run/pinacle/git.sock; sudo grep -rlsF {TOKEN} /run /etc /home/dev")).await;
    assert_eq!(found.text(), "600:dev", "the token stands nowhere");

    // Without a repository of its own it asks about none.
    plane.done(Command::Configure { pod, fence: 1, config: PodConfig::default() }).await;
    assert_eq!(run(&host, pod, &own).await.code(), Some(128));
    for pod in [pod, other] {
        plane.done(Command::Delete { pod, fence: 2 }).await;
    }
    assert_eq!(host.traces().await, "");
    host.end().await;
}

#[tokio::test]
async fn a_question_outlives_whoever_was_asked_and_the_daemon() {
    let Some(host) = Host::start(19).await else { return };
    let (pod, mut plane) = (Uuid::from_u128(190), host.connect().await);
    boot(&mut plane, pod, host.pod_address(190), 1).await;
    let git_credential = Some(GitCredential { origin: "https://git.test".into(), repository: "owner/site".into() });
    plane.done(Command::Configure { pod, fence: 1, config: PodConfig { git_credential, ..PodConfig::default() } }).await;
    let own = fill("https://git.test/owner/site.git");

    let (mut one, mut another) = (host.connect().await, host.connect().await);
    one.open(Command::Questions).await;
    another.open(Command::Questions).await;
    let (filled, ()) = join!(run(&host, pod, &own), async {
        let one_was_asked = tokio::select! {
            _ = question(&mut one) => true,
            _ = question(&mut another) => false,
        };
        let (gone, mut stays) = if one_was_asked { (one, another) } else { (another, one) };
        drop(gone);
        let (id, _) = question(&mut stays).await;
        stays.say(StreamInput::Answer { id, answer: answer() }).await;
    });
    assert!(filled.text().contains(TOKEN), "{}", filled.text());

    // In the background, for commands end with their daemon.
    let mut asked = host.connect().await;
    asked.open(Command::Questions).await;
    run(&host, pod, &format!("({own} >filled 2>&1; touch done) </dev/null >/dev/null 2>&1 &")).await;
    question(&mut asked).await;
    host.kill().await;
    host.serve().await;
    let mut asked = host.connect().await;
    asked.open(Command::Questions).await;
    let (id, of) = question(&mut asked).await;
    assert_eq!(of, pod);
    asked.say(StreamInput::Answer { id, answer: answer() }).await;
    let filled = run(&host, pod, "for i in $(seq 300); do [ ! -e done ] || break; sleep 0.1; done; cat filled").await;
    assert!(filled.text().contains(TOKEN), "{}", filled.text());

    let mut plane = host.connect().await;
    plane.done(Command::Delete { pod, fence: 2 }).await;
    assert_eq!(host.traces().await, "");
    host.end().await;
}
