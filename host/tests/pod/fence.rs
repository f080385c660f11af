//! The fence around pods: the internet and the host's resolver, nothing else; what is refused is refused at once.

use super::{boot, host::Host, run};
use pinacle_host::protocol::Command;
use uuid::Uuid;

/// Milliseconds within which a refusal must come; a packet that is dropped takes seconds.
const AT_ONCE: u64 = 1500;

#[tokio::test]
async fn pods_reach_the_internet_and_nothing_behind_the_fence() {
    let Some(host) = Host::start(4).await else { return };
    let (one, two, mut plane) = (Uuid::from_u128(10), Uuid::from_u128(11), host.connect().await);
    boot(&mut plane, one, host.pod_address(10), 1).await;
    boot(&mut plane, two, host.pod_address(11), 1).await;
    let mut server = host.connect().await;
    server.open(Command::Exec { pod: two, exec: super::exec_spec(&["nc", "-lk", "0.0.0.0", "8080"]) }).await;
    assert_eq!(
        run(&host, two, "for i in $(seq 50); do nc -z 127.0.0.1 8080 && break; sleep 0.1; done; nc -z 10.88.204.11 8080 && echo listens")
            .await
            .text(),
        "listens"
    );

    let internet = run(&host, one, "curl -s -o /dev/null -m 10 -w %{http_code} http://github.pinacle.test/").await;
    assert_eq!(internet.text().len(), 3, "{}", internet.text());
    assert_ne!(internet.text(), "000", "the stand-in internet answers, by name");

    let own = host.address();
    for (what, address) in [
        ("metadata", "169.254.169.254 80".to_owned()),
        ("a machine of the private network", "192.168.77.1 80".to_owned()),
        ("the host's sshd", format!("{own} 22")),
        ("the host's other door", format!("{own} {}", host.https_port())),
        ("the gateway's sshd", format!("{} 22", host.pod_address(1))),
        ("another pod", format!("{} 8080", host.pod_address(11))),
        ("another pod's PID 1", format!("{} 1017", host.pod_address(11))),
        ("an unused private address", "10.1.2.3 80".to_owned()),
    ] {
        let script = format!("begin=$(date +%s%3N); nc -w 5 -z {address} && echo open || echo closed; echo $(( $(date +%s%3N) - begin ))");
        let text = run(&host, one, &script).await.text();
        let (verdict, time) = text.split_once('\n').unwrap();
        assert_eq!(verdict, "closed", "{what}");
        assert!(time.parse::<u64>().unwrap() < AT_ONCE, "{what}: {time} ms");
    }
    // The same from outside, so that the targets are known to be there.
    assert_eq!(host.text("timeout 2 bash -c 'exec 3<>/dev/tcp/192.168.77.1/80' && echo open", &[]).await.trim(), "open");

    drop(server);
    for pod in [one, two] {
        plane.done(Command::Delete { pod, fence: 2 }).await;
    }
    assert_eq!(host.traces().await, "");
    host.end().await;
}
