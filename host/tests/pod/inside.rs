//! What runs in a pod: terminals, files, processes, relays.

use super::{boot, exec_spec, host::Host, report, run};
use pinacle_host::{
    frame::{Frame, WINDOW, write_json},
    protocol::{
        Command, ExecSpec, HostErrorCode, PROTOCOL, PodReport, ProcessSpec, ProcessState, PtySize, Reply, Request, StreamInput, StreamOutput,
    },
};
use std::time::{Duration, Instant};
use uuid::Uuid;

#[tokio::test]
async fn a_terminal_outlives_its_viewer_and_files_replace_at_once() {
    let Some(host) = Host::start(6).await else { return };
    let (pod, mut plane) = (Uuid::from_u128(20), host.connect().await);
    boot(&mut plane, pod, host.pod_address(20), 1).await;

    let mut first = host.connect().await;
    first.open(Command::Terminal { pod, name: "main".into(), cols: 80, rows: 24, client: None }).await;
    first.send(b"stty size; echo $TERM; echo mark-$((40+2)) \xc3\xa9\n").await;
    let screen = first.until("mark-42 \u{e9}").await;
    assert!(screen.contains("24 80"), "{screen}");
    first.send(b"trap 'echo has-$((4*4))-changed' WINCH; echo set-$((3*3))\n").await;
    first.until("set-9").await;
    first.say(StreamInput::Resize { cols: 100, rows: 30 }).await;
    first.until("has-16-changed").await;
    first.send(b"trap - WINCH; stty size\n").await;
    first.until("30 100").await;
    // Root's shell has a terminal of its own, of the same size, also when that changes.
    first.send(b"sudo -i\n").await;
    first.until("root@").await;
    first.send(b"trap 'echo has-$((5*5))-changed' WINCH; stty size; id -un\n").await;
    assert!(first.until("root\r\n").await.contains("30 100"));
    first.say(StreamInput::Resize { cols: 90, rows: 20 }).await;
    first.until("has-25-changed").await;
    // What it leaves behind there holds nobody up.
    first.send(b"sleep 321 & exit\n").await;
    first.until("dev@").await;
    first.send(b"echo back-$((6*7))\n").await;
    first.until("back-42").await;
    drop(first);

    let mut again = host.connect().await;
    again.open(Command::Terminal { pod, name: "main".into(), cols: 100, rows: 30, client: None }).await;
    again.until("mark-42").await;
    // Who waits for typing takes no time, also after a viewer has gone: of two seconds (200 ticks) less than a fifth.
    let spent =
        run(&host, pod, "ticks() { awk '{print $14 + $15}' /proc/$(pgrep -o tmux)/stat; }; before=$(ticks); sleep 2; echo $(($(ticks) - before))")
            .await;
    assert!(spent.text().parse::<u32>().is_ok_and(|ticks| ticks < 40), "{} ticks", spent.text());
    again.send(b"echo set-${EVENT_NOPOLL-to-nothing}\n").await;
    again.until("set-to-nothing").await;
    match plane.ask(Command::Terminals { pod }).await {
        Reply::Terminals { terminals } => assert_eq!((terminals[0].name.as_str(), terminals[0].viewers), ("main", 1)),
        other => panic!("{other:?}"),
    }
    plane.done(Command::EndTerminal { pod, name: "main".into() }).await;
    assert_eq!(again.rest().await.code(), Some(0));
    assert_eq!(plane.refused(Command::EndTerminal { pod, name: "main".into() }).await, HostErrorCode::NotFound);

    // Files: what is written is read; a half-sent one changes nothing; rights are dev's; a full disk says so.
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut write = host.connect().await;
    write.open(Command::WriteFile { pod, path: "data.bin".into(), bytes: content.len() as u64 }).await;
    for piece in content.chunks(32 << 10) {
        write.send(piece).await;
    }
    write.say(StreamInput::Eof).await;
    assert_eq!(write.rest().await.code(), Some(0));
    let mut cut = host.connect().await;
    cut.open(Command::WriteFile { pod, path: "data.bin".into(), bytes: 1 << 20 }).await;
    cut.send(&[7; 1000]).await;
    drop(cut);
    let script = "for i in $(seq 80); do ls -A | grep -q pinacle-new || break; sleep 0.1; done; ls -A | grep pinacle-new || echo none";
    assert_eq!(run(&host, pod, script).await.text(), "none", "what was cut off is cleared away");
    let mut half = host.connect().await;
    half.open(Command::WriteFile { pod, path: "data.bin".into(), bytes: 100 }).await;
    half.send(b"cut off").await;
    half.say(StreamInput::Eof).await;
    assert!(matches!(half.rest().await.last, Some(StreamOutput::Error(error)) if error.code == HostErrorCode::Invalid));
    // What is still said to one that has ended takes nothing from its last word.
    for round in 0..15 {
        let mut over = host.connect().await;
        over.open(Command::WriteFile { pod, path: "data.bin".into(), bytes: 1 }).await;
        over.send_late(64).await;
        let last = over.rest().await.last;
        assert!(matches!(&last, Some(StreamOutput::Error(error)) if error.code == HostErrorCode::Invalid), "{round}: {last:?}");
        let mut over = host.connect().await;
        over.open(Command::Exec { pod, exec: exec_spec(&["bash", "-c", "exit 7"]) }).await;
        over.send_late(64).await;
        assert_eq!(over.rest().await.code(), Some(7), "{round}");
    }
    let mut read = host.connect().await;
    read.open(Command::ReadFile { pod, path: "/home/dev/data.bin".into() }).await;
    assert!(read.rest().await.out == content);
    let mut missing = host.connect().await;
    assert_eq!(missing.refused(Command::ReadFile { pod, path: "nothing".into() }).await, HostErrorCode::NotFound);
    let mut closed = host.connect().await;
    assert_eq!(closed.refused(Command::ReadFile { pod, path: "/.pinacle/boot/boot.json".into() }).await, HostErrorCode::Invalid);
    let mut closed = host.connect().await;
    assert_eq!(closed.refused(Command::WriteFile { pod, path: "/etc/shadow".into(), bytes: 1 }).await, HostErrorCode::Invalid);
    run(&host, pod, "fallocate -l $(($(df --output=avail -B1M . | tail -1) - 8))M fill; dd if=/dev/zero of=rest bs=64K 2>/dev/null").await;
    let mut full = host.connect().await;
    match full.ask(Command::WriteFile { pod, path: "more".into(), bytes: 8 << 20 }).await {
        Reply::Streaming => {
            full.send_late(256).await;
            let last = full.rest().await.last;
            assert!(matches!(&last, Some(StreamOutput::Error(error)) if error.code == HostErrorCode::NoSpace), "{last:?}");
        }
        Reply::Error(error) => assert_eq!(error.code, HostErrorCode::NoSpace),
        other => panic!("{other:?}"),
    }
    assert_eq!(run(&host, pod, "rm fill rest; ls -A | grep -c pinacle-new").await.text(), "0");
    plane.done(Command::Delete { pod, fence: 2 }).await;
    assert_eq!(host.traces().await, "");
    host.end().await;
}

fn process(name: &str, command: &str, port: Option<u16>, health_check: Option<&str>) -> ProcessSpec {
    ProcessSpec { name: name.into(), command: command.into(), cwd: "/home/dev".into(), port, health_check: health_check.map(Into::into) }
}

fn state(report: &PodReport, name: &str) -> Option<(ProcessState, u32)> {
    report.processes.iter().find(|p| p.name == name).map(|p| (p.state, p.restarts))
}

#[tokio::test]
async fn processes_are_kept_running_watched_and_reached() {
    let Some(host) = Host::start(7).await else { return };
    let (pod, mut plane) = (Uuid::from_u128(30), host.connect().await);
    boot(&mut plane, pod, host.pod_address(30), 1).await;
    let mut watch = host.connect().await;
    watch.open(Command::Watch { pod }).await;

    let web = process("web", "echo serving; exec python3 -m http.server $PORT --bind 127.0.0.1", Some(8000), Some("/"));
    let crash = process("crash", "echo gone; exit 7", None, None);
    let processes = vec![web.clone(), crash];
    plane.done(Command::Processes { pod, fence: 1, processes: processes.clone(), restart: false }).await;
    plane.done(Command::Processes { pod, fence: 1, processes, restart: false }).await;
    let seen = loop {
        let Some(frame) = watch.frame().await else { panic!("the watch ended") };
        let StreamOutput::Report(report) = frame.parse().unwrap() else { panic!("{frame:?}") };
        let healthy = report.processes.iter().any(|p| p.name == "web" && p.health.as_deref() == Some("200") && p.state == ProcessState::Running);
        let backs_off = matches!(state(&report, "crash"), Some((ProcessState::BackingOff { seconds: 2.. }, 2..)));
        if healthy && backs_off && report.ports.iter().any(|port| port.port == 8000) {
            break report;
        }
    };
    assert_eq!(seen.ports.iter().find(|p| p.port == 8000).unwrap().process.as_deref(), Some("web"));
    assert_eq!(seen.processes.iter().find(|p| p.name == "crash").unwrap().exit_code, Some(7));
    assert_eq!(seen.generation, 1);

    // Through the relay to what listens on loopback alone.
    let mut get = host.connect().await;
    get.open(Command::Connect { pod, port: 8000, window: false }).await;
    get.send(b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(get.rest().await.text().contains("200 OK"));
    assert_eq!(plane.refused(Command::Connect { pod, port: 9, window: false }).await, HostErrorCode::NotFound);
    // What answers before it has read everything is heard, also by who sends on.
    let refuses = "import socket; s = socket.create_server(('127.0.0.1', 8001)); open('listens', 'w').close()\nwhile True: \
                   c = s.accept()[0]; c.recv(10); c.sendall(b'too large'); c.close()";
    run(&host, pod, &format!("python3 -c \"{refuses}\" >/dev/null 2>&1 & for i in $(seq 300); do [ -e listens ] && break; sleep 0.1; done")).await;
    for window in [false, true].repeat(5) {
        let mut early = host.connect().await;
        early.open(Command::Connect { pod, port: 8001, window }).await;
        early.send_late(16).await;
        let answer = early.rest().await;
        assert_eq!((answer.text().as_str(), answer.code()), ("too large", Some(0)), "window: {window}");
    }

    let mut plane = host.connect().await;
    let mut log = host.connect().await;
    log.open(Command::ProcessLog { pod, name: "web".into() }).await;
    assert!(log.until("GET / HTTP/1.0").await.contains("serving"));
    plane.done(Command::RestartProcess { pod, name: "web".into() }).await;
    log.until("serving").await;
    assert_eq!(plane.refused(Command::RestartProcess { pod, name: "nobody".into() }).await, HostErrorCode::NotFound);

    plane.done(Command::Processes { pod, fence: 1, processes: Vec::new(), restart: false }).await;
    run(&host, pod, "pkill -f create_serve[r]").await;
    let after = report(&mut plane, pod).await;
    assert!(after.processes.is_empty() && after.ports.is_empty(), "{after:?}");
    assert_eq!(run(&host, pod, "pgrep -fc http.serve[r]").await.text(), "0");
    assert_eq!(log.rest().await.code(), Some(0), "a log ends with its process");
    // A watch tells of the end.
    plane.done(Command::Delete { pod, fence: 2 }).await;
    watch.rest().await;
    assert_eq!(host.traces().await, "");
    host.end().await;
}

#[tokio::test]
async fn processes_start_once_however_often_they_are_asked_for_and_anew_when_that_is_wished() {
    let Some(host) = Host::start(12).await else { return };
    let (pod, mut plane) = (Uuid::from_u128(80), host.connect().await);
    boot(&mut plane, pod, host.pod_address(80), 1).await;
    let steady = process("steady", "echo $$ >>started; exec sleep 321", None, None);
    // Fails until its user has mended it.
    let needs = process("needs", "test -f mended || exit 9; exec sleep 322", None, None);
    let command = |restart| Command::Processes { pod, fence: 1, processes: vec![steady.clone(), needs.clone()], restart };

    // What takes its time to end holds up a command whose daemon is killed meanwhile; the next daemon passes it on again.
    let stubborn = process("stubborn", "trap 'touch asked' TERM; touch deaf; while true; do sleep 1; done", None, None);
    plane.done(Command::Processes { pod, fence: 1, processes: vec![stubborn], restart: false }).await;
    assert_eq!(run(&host, pod, "for i in $(seq 100); do [ ! -f deaf ] || break; sleep 0.1; done; ls").await.text(), "deaf");
    let request = Request { protocol: PROTOCOL, installation: Some(host.installation), command: command(false) };
    write_json(&mut plane.output, &request).await.unwrap();
    assert_eq!(run(&host, pod, "for i in $(seq 100); do [ ! -f asked ] || break; sleep 0.1; done; ls").await.text(), "asked\ndeaf");
    host.kill().await;
    host.serve().await;
    let mut plane = host.connect().await;
    plane.done(command(false)).await;
    // Once both have come to their end, and what they start has said so.
    let script = "for i in $(seq 100); do pgrep -f '[d]eaf' >/dev/null || break; sleep 0.1; done; sleep 1; wc -l <started; pgrep -fc '^sleep 32[1]'";
    assert_eq!(run(&host, pod, script).await.text(), "1\n1");

    // Until it would wait for longer than this test does.
    let mut watch = host.connect().await;
    watch.open(Command::Watch { pod }).await;
    loop {
        let StreamOutput::Report(report) = watch.frame().await.unwrap().parse().unwrap() else { panic!("no report") };
        if matches!(state(&report, "needs"), Some((ProcessState::BackingOff { seconds: 4.. }, _))) {
            break;
        }
    }
    run(&host, pod, "touch mended").await;
    let begun = Instant::now();
    plane.done(command(false)).await;
    let at_once = report(&mut plane, pod).await;
    assert!(!matches!(state(&at_once, "needs"), Some((ProcessState::BackingOff { .. }, _))), "{at_once:?}");
    loop {
        let StreamOutput::Report(report) = watch.frame().await.unwrap().parse().unwrap() else { panic!("no report") };
        if state(&report, "needs").is_some_and(|(state, _)| state == ProcessState::Running) {
            break;
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "it went on waiting: {:?}", begun.elapsed());
    assert_eq!(run(&host, pod, "wc -l <started").await.text(), "1", "the other goes on");

    plane.done(command(true)).await;
    let script = "for i in $(seq 100); do [ $(wc -l <started) -lt 2 ] || break; sleep 0.1; done; wc -l <started; pgrep -fc '^sleep 32[1]'";
    assert_eq!(run(&host, pod, script).await.text(), "2\n1");
    plane.done(Command::Delete { pod, fence: 2 }).await;
    assert_eq!(host.traces().await, "");
    host.end().await;
}

#[tokio::test]
async fn a_command_of_a_connection_has_a_terminal_if_it_wants_and_waits_for_who_reads() {
    let Some(host) = Host::start(17).await else { return };
    let (pod, mut plane) = (Uuid::from_u128(170), host.connect().await);
    boot(&mut plane, pod, host.pod_address(170), 1).await;
    let windowed = |script: &str| ExecSpec { window: true, ..exec_spec(&["bash", "-c", script]) };

    // A terminal of its own: size, name, a new size, and the exit code of what ran there.
    let pty = Some(PtySize { cols: 100, rows: 30, term: "xterm".into() });
    let mut shell = host.connect().await;
    shell.open(Command::Exec { pod, exec: ExecSpec { pty, ..exec_spec(&["bash", "--norc"]) } }).await;
    shell.send(b"stty size; echo $TERM; tty\n").await;
    let screen = shell.until("/dev/pts/").await;
    assert!(screen.contains("30 100") && screen.contains("xterm"), "{screen}");
    // Not at bash's prompt: what it is told just before it reads may wait for the next command, or be set back by readline.
    shell.send(b"exec bash -c 'trap \"stty size; exit 4\" WINCH; echo set-$((3*3)); while :; do sleep 0.05; done'\n").await;
    shell.until("set-9").await;
    shell.say(StreamInput::Resize { cols: 90, rows: 20 }).await;
    let last = shell.rest().await;
    assert!(last.text().contains("20 90"), "{}", last.text());
    assert_eq!(last.code(), Some(4));

    // What is not taken is not sent, and the command waits; what is sent is heard to be taken.
    let mut much = host.connect().await;
    much.open(Command::Exec { pod, exec: windowed("dd if=/dev/zero bs=1M count=3 status=none; touch finished; cat >/dev/null") }).await;
    let mut seen = 0;
    while seen < WINDOW {
        match much.frame().await.expect("a frame") {
            Frame::Data(data) => seen += data.len(),
            other => panic!("{other:?}"),
        }
    }
    assert!(seen < 2 * WINDOW, "{seen} bytes were sent that nobody took");
    assert_eq!(run(&host, pod, "test -e finished || echo waits").await.text(), "waits");
    much.send(&[0; 1000]).await;
    much.say(StreamInput::Taken { bytes: u32::try_from(seen).unwrap() }).await;
    much.say(StreamInput::Eof).await;
    let (mut taken, mut code) = (0, None);
    while let Some(frame) = much.frame().await {
        match frame {
            Frame::Data(data) => {
                seen += data.len();
                much.say(StreamInput::Taken { bytes: u32::try_from(data.len()).unwrap() }).await;
            }
            json => match json.parse().unwrap() {
                StreamOutput::Taken { bytes } => taken += bytes,
                StreamOutput::Exit { code: last, .. } => {
                    code = last;
                    break;
                }
                other => panic!("{other:?}"),
            },
        }
    }
    assert_eq!((seen, taken, code), (3 << 20, 1000, Some(0)));

    // Signals, and the hang-up: what was told to stay, stays.
    let mut asleep = host.connect().await;
    asleep.open(Command::Exec { pod, exec: windowed("echo ready; exec sleep 600") }).await;
    asleep.until("ready").await;
    asleep.say(StreamInput::Signal { signal: 15 }).await;
    assert!(matches!(asleep.rest().await.last, Some(StreamOutput::Exit { code: None, signal: Some(15), .. })));
    let mut left = host.connect().await;
    left.open(Command::Exec {
        pod,
        exec: windowed(
            "nohup bash -c 'echo >up; exec sleep 7001' >/dev/null 2>&1 & sleep 7002 & until [ -e up ]; do sleep 0.05; done; echo ready; wait",
        ),
    })
    .await;
    left.until("ready").await;
    drop(left);
    while run(&host, pod, "pgrep -fc 'sleep 700[2]'").await.text() != "0" {}
    // It goes on writing where nobody listens any more.
    let mut left = host.connect().await;
    let script = "(trap '' HUP; echo begun; until [ -e go ]; do sleep 0.05; done; echo one && echo two && touch wrote) & wait";
    left.open(Command::Exec { pod, exec: windowed(script) }).await;
    left.until("begun").await;
    drop(left);
    assert_eq!(run(&host, pod, "touch go; for wait in $(seq 300); do [ -e wrote ] && break; sleep 0.1; done; ls wrote").await.text(), "wrote");

    // Of a terminal a command has the one end alone, or it would never see that its viewer has gone.
    let mut shell = host.connect().await;
    let pty = || Some(PtySize { cols: 80, rows: 24, term: "xterm".into() });
    shell.open(Command::Exec { pod, exec: ExecSpec { pty: pty(), ..exec_spec(&["bash", "-c", "ls -l /proc/$$/fd; echo listed"]) } }).await;
    let listed = shell.until("listed").await;
    assert!(listed.contains("/dev/pts/") && !listed.contains("ptmx"), "{listed}");
    // What it showed last waits for a slow viewer, also when it has ended.
    let mut slow = host.connect().await;
    let bytes = WINDOW + 40_000;
    let script = format!("echo $$ >leader; head -c {bytes} /dev/zero | tr '\\0' x");
    slow.open(Command::Exec { pod, exec: ExecSpec { pty: pty(), ..exec_spec(&["bash", "-c", &script]) } }).await;
    let mut seen = 0;
    while seen < WINDOW {
        if let Frame::Data(data) = slow.frame().await.expect("a frame") {
            seen += data.len();
        }
    }
    assert_eq!(
        run(
            &host,
            pod,
            "for wait in $(seq 300); do kill -0 $(cat leader) || break; sleep 0.1; done 2>/dev/null; kill -0 $(cat leader) || echo ended"
        )
        .await
        .text(),
        "ended"
    );
    slow.say(StreamInput::Taken { bytes: u32::try_from(seen).unwrap() }).await;
    assert_eq!(seen + slow.rest().await.out.len(), bytes);
    // Nothing edits what is typed before tmux reads it: the line discipline would make lines of it.
    let terminal = || Command::Terminal { pod, name: "eager".into(), cols: 80, rows: 24, client: None };
    let mut first = host.connect().await;
    first.open(terminal()).await;
    first.send(b"stty raw -echo; echo ready-$((1+1)); head -c 6 | od -An -tx1; stty sane\r").await;
    first.until("ready-2").await;
    let mut eager = host.connect().await;
    eager.open(terminal()).await;
    eager.send(b"a\rb\rc\r").await;
    eager.until("61 0d 62 0d 63 0d").await;
    assert_eq!(run(&host, pod, "pgrep -fc 'sleep 700[1]'").await.text(), "1");
    assert_eq!(
        plane
            .refused(Command::Exec { pod, exec: ExecSpec { pty: Some(PtySize { cols: 0, rows: 1, term: "x".into() }), ..exec_spec(&["true"]) } })
            .await,
        HostErrorCode::Invalid
    );
    plane.done(Command::Delete { pod, fence: 2 }).await;
    host.end().await;
}
