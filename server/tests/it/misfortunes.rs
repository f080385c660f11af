//! What goes wrong in a pod: said as what it is, in that pod alone. The pod next to it answers throughout.

use crate::{
    fleet::{Fleet, SOON, User, number_of},
    screen::Screen,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Of a step's output, what is kept of its beginning and of its end, and the line that says what is not.
const KEPT: usize = (1 << 20) + 200;

/// Two pods on one host: the first is for trouble.
async fn side_by_side(user: &User<'_>, neighbour: &User<'_>, body: Value) -> (String, String) {
    let trouble = user.create(body).await;
    let host = number_of(&user.until(&trouble, "it has a host", |pod| pod["host"].is_string()).await);
    let beside = neighbour.running_on(host).await;
    (trouble, beside)
}

/// Does the work while the pod beside it is asked again and again; it answers each time.
async fn while_it_answers<T>(neighbour: &User<'_>, beside: &str, work: impl Future<Output = T>) -> T {
    let done = Arc::new(AtomicBool::new(false));
    let asking = async {
        let mut times = 0;
        while !done.load(Ordering::Relaxed) || times == 0 {
            assert_eq!(neighbour.shell(beside, "echo well").await, "well\n");
            times += 1;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let working = async {
        let result = work.await;
        done.store(true, Ordering::Relaxed);
        result
    };
    tokio::join!(working, asking).0
}

/// The set-up has failed with this, the pod runs, and there is a way on.
async fn set_up_fails_with(user: &User<'_>, id: &str, step: &str, code: &str) -> Value {
    let pod = user.until_setup(id, "failed").await;
    let setup = &pod["setup"];
    assert_eq!((&setup["step"], &setup["code"]), (&json!(step), &json!(code)), "{setup}");
    for field in ["message", "remedy"] {
        assert!(setup[field].as_str().is_some_and(|text| text.len() > 10), "{field} of {setup}");
    }
    assert_eq!(pod["failure"], Value::Null, "{pod}");
    pod
}

#[tokio::test]
async fn a_repository_that_sends_without_end_is_given_up_and_its_log_stays_small() {
    let Some(fleet) = Fleet::open().await else { return };
    // Somebody who gets no key for it, and clones over HTTP.
    let (user, neighbour) = (fleet.user("member").await, fleet.newcomer().await);
    let (id, beside) = side_by_side(&user, &neighbour, json!({ "repository": "owner/endless" })).await;
    while_it_answers(&neighbour, &beside, async {
        let pod = set_up_fails_with(&user, &id, "clone", "repository_too_slow").await;
        assert_eq!(pod["status"], "running");
        assert!(user.log(&id, "clone", "output").await.len() <= KEPT);
        assert_eq!(
            user.shell(&id, "pgrep -x git || echo none; ls -A endless 2>/dev/null | wc -l").await,
            "none\n0\n",
            "nothing of it goes on, or looks finished"
        );
    })
    .await;
    user.delete(&id).await;
    neighbour.delete(&beside).await;
}

#[tokio::test]
async fn an_install_that_prints_a_hundred_megabytes_is_kept_by_its_beginning_and_its_end() {
    let Some(fleet) = Fleet::open().await else { return };
    let (user, neighbour) = (fleet.user("owner").await, fleet.newcomer().await);
    let (id, beside) = side_by_side(&user, &neighbour, json!({ "repository": "owner/loud-install" })).await;
    while_it_answers(&neighbour, &beside, user.until_setup(&id, "done")).await;
    let said = user.log(&id, "install", "output").await;
    assert!(said.len() <= KEPT, "{} bytes", said.len());
    assert!(said.contains("first words") && said.contains("KiB left out") && said.trim_end().ends_with("last words"));
    user.delete(&id).await;
    neighbour.delete(&beside).await;
}

/// That it is ended in the end, and says so, is tried in `pods.rs`.
#[tokio::test]
async fn an_install_that_hangs_holds_up_neither_its_own_pod_nor_its_neighbour() {
    let Some(fleet) = Fleet::open().await else { return };
    let (user, neighbour) = (fleet.user("owner").await, fleet.newcomer().await);
    let (id, beside) = side_by_side(&user, &neighbour, json!({ "repository": "owner/hanging-install" })).await;
    while_it_answers(&neighbour, &beside, async {
        let hangs = async {
            while !user.log(&id, "install", "output").await.contains("waiting for what never comes") {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(SOON, hangs).await.expect("its install says that it waits");
        for _ in 0..5 {
            assert_eq!(user.shell(&id, "echo well").await, "well\n");
        }
        user.delete(&id).await;
    })
    .await;
    neighbour.delete(&beside).await;
}

#[tokio::test]
async fn a_full_disk_is_said_as_such_at_every_door_and_can_be_emptied() {
    let Some(fleet) = Fleet::open().await else { return };
    let (user, neighbour) = (fleet.user("owner").await, fleet.newcomer().await);
    let (id, beside) = side_by_side(&user, &neighbour, json!({ "repository": "owner/filling-install" })).await;
    while_it_answers(&neighbour, &beside, async {
        let pod = set_up_fails_with(&user, &id, "install", "disk_full").await;
        assert_eq!(pod["status"], "running");
        let put = user.request(Method::PUT, &format!("/pods/{id}/files?path=more")).body(vec![1; 4 << 20]).send().await.expect("an answer");
        assert_eq!(put.status().as_u16(), 409);
        let problem: Value = put.json().await.expect("JSON");
        assert!(problem["detail"].as_str().is_some_and(|said| said.contains("disk is full")), "{problem}");
        // It starts anew, has a terminal, and runs commands all the same: that is how room is made.
        user.wish(&id, "restart").await;
        user.until_status(&id, "running").await;
        let mut screen = Screen::open(&user, &id, "main", "").await;
        screen.types("echo there-$((1+1))\r").await;
        screen.shows("there-2").await;
        assert_eq!(user.shell(&id, "rm -f filling-install/promised filling-install/written; echo emptied").await, "emptied\n");
        let put = user.request(Method::PUT, &format!("/pods/{id}/files?path=more")).body(vec![1; 4 << 20]).send().await.expect("an answer");
        assert_eq!(put.status().as_u16(), 204);
    })
    .await;
    user.delete(&id).await;
    neighbour.delete(&beside).await;
}

#[tokio::test]
async fn an_install_that_takes_all_memory_is_told_so_and_its_pod_goes_on() {
    let Some(fleet) = Fleet::open().await else { return };
    let (user, neighbour) = (fleet.user("owner").await, fleet.newcomer().await);
    let (id, beside) = side_by_side(&user, &neighbour, json!({ "repository": "owner/hungry-install" })).await;
    while_it_answers(&neighbour, &beside, async {
        set_up_fails_with(&user, &id, "install", "out_of_memory").await;
        // The next look at its host brings the machine back.
        let answers = async {
            while user.exec(&id, json!({ "argv": ["true"] })).await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        };
        tokio::time::timeout(SOON, answers).await.expect("it runs again");
        assert_eq!(user.pod(&id).await["setup"]["state"], "failed", "it is not tried again by itself");
    })
    .await;
    user.delete(&id).await;
    neighbour.delete(&beside).await;
}

#[tokio::test]
async fn a_command_that_takes_all_memory_ends_and_says_why() {
    let Some(fleet) = Fleet::open().await else { return };
    let (user, neighbour) = (fleet.newcomer().await, fleet.newcomer().await);
    let (id, beside) = side_by_side(&user, &neighbour, json!({})).await;
    user.until_status(&id, "running").await;
    while_it_answers(&neighbour, &beside, async {
        user.shell(&id, "echo mine > kept; sync").await;
        let eat = json!({ "argv": ["python3", "-c", "x = b'x' * (4 << 30)"], "timeout_seconds": 60 });
        let (status, answer) = user.exec(&id, eat).await;
        // Its machine is gone by the time of the answer, or its host has just seen it go.
        assert!([409, 503].contains(&status) || (status == 200 && answer["exit_code"] != 0), "{status} {answer}");
        user.until_status(&id, "running").await;
        let told = async {
            while !user.events(&id).await.iter().any(|event| event["text"].as_str().is_some_and(|text| text.contains("memory"))) {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(SOON, told).await.expect("its log says why");
        user.until_status(&id, "running").await;
        assert_eq!(user.shell(&id, "cat kept").await, "mine\n");
    })
    .await;
    user.delete(&id).await;
    neighbour.delete(&beside).await;
}

#[tokio::test]
async fn an_install_that_forks_without_end_is_ended_and_leaves_its_neighbour_alone() {
    let Some(fleet) = Fleet::alone().await else { return };
    let (user, neighbour) = (fleet.user("owner").await, fleet.newcomer().await);
    let (id, beside) = side_by_side(&user, &neighbour, json!({ "repository": "owner/forking-install" })).await;
    while_it_answers(&neighbour, &beside, async {
        let pod = user.until_setup(&id, "failed").await;
        let setup = &pod["setup"];
        assert_eq!(setup["step"], "install", "{setup}");
        let code = setup["code"].as_str().expect("a code");
        // Its shell gives up, or its machine has ended by it twice.
        assert!(["install_failed", "install_timeout", "out_of_memory", "machine_ended"].contains(&code), "{setup}");
        user.until(&id, "it runs", |pod| pod["status"] == "running" && pod["behind"] == false).await;
        assert_eq!(user.shell(&id, "pgrep -fc 'sleep 8640[0]' || true").await, "0\n", "nothing of it is left");
    })
    .await;
    user.delete(&id).await;
    neighbour.delete(&beside).await;
}
