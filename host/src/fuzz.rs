//! Whatever arrives over the wire ends as a frame and a value, or as an error: no fault, no more memory than was sent.

#[cfg(feature = "daemon")]
use crate::daemon::admin::{Admin, AdminRequest};
use crate::{
    frame::{DATA_CHUNK, Frame, FrameError, FrameReader, MAX_PAYLOAD},
    inside::{Ask, Question, What},
    protocol::{
        Command, ExecSpec, GitCredential, GitOverSsh, HostError, Installation, JoinReply, JoinRequest, PROTOCOL, PodConfig, PodReport, ProcessSpec,
        PtySize, Reply, Request, StreamInput, StreamOutput,
    },
    valid,
};
use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};
use uuid::Uuid;

/// Bytes that begin like frames more often than chance would have it.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => (0u8..4, vec(any::<u8>(), 0..200)).prop_map(|(kind, payload)| {
            let mut bytes = (payload.len() as u32 + 1).to_be_bytes().to_vec();
            bytes.push(kind);
            bytes.extend(payload);
            bytes
        }),
        1 => vec(any::<u8>(), 0..40),
        1 => any::<u32>().prop_map(|length| length.to_be_bytes().to_vec()),
        1 => json_text().prop_map(|text| Frame::Json(text.into()).encode().map(|bytes| bytes.to_vec()).unwrap_or_default()),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// JSON that is almost what is spoken.
fn json_text() -> impl Strategy<Value = Vec<u8>> {
    (0..samples().len(), vec((any::<prop::sample::Index>(), value()), 0..3)).prop_map(|(sample, changes)| {
        let mut sample = samples()[sample].clone();
        for (place, value) in changes {
            let count = places(&mut sample).len();
            if let Some(place) = places(&mut sample).into_iter().nth(place.index(count.max(1))) {
                *place = value;
            }
        }
        sample.to_string().into_bytes()
    })
}

/// A value of any kind, and text that means something elsewhere.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[-./a-z0-9$();\0\n\u{202e}]{0,40}".prop_map(Value::from),
        (0usize..5000).prop_map(|length| Value::from("x".repeat(length))),
        vec(any::<u16>().prop_map(Value::from), 0..4).prop_map(Value::from),
        Just(json!({ "zzz": 1 })),
    ]
}

/// Every place in a value where another one could stand.
fn places(value: &mut Value) -> Vec<&mut Value> {
    if !value.is_object() && !value.is_array() {
        return vec![value];
    }
    match value {
        Value::Object(fields) => fields.values_mut().flat_map(places).collect(),
        Value::Array(items) => items.iter_mut().flat_map(places).collect(),
        _ => Vec::new(),
    }
}

/// The pod of every sample.
const POD: Uuid = Uuid::from_u128(0x0193_a000_0000_7000_8000_0000_0000_0001);

fn repository() -> GitOverSsh {
    GitOverSsh {
        host: "github.com".into(),
        port: 22,
        repository: "owner/site".into(),
        origin: "https://github.com".into(),
        host_keys: vec!["ssh-ed25519 AAAA".into()],
    }
}

/// Every command, with everything that it can carry: a field that is left out does not compile, a command is missed by a test.
fn commands() -> Vec<Command> {
    let (pod, fence, name) = (POD, 1, "web".to_owned());
    let config = PodConfig {
        env: [("A".to_owned(), "b".to_owned())].into(),
        git_name: "a".into(),
        git_email: "b".into(),
        ssh_private_key: Some("-----BEGIN x".into()),
        git_credential: Some(GitCredential { origin: "https://github.com".into(), repository: "owner/site".into() }),
        git_over_ssh: Some(repository()),
    };
    let process =
        ProcessSpec { name: name.clone(), command: "npm start".into(), cwd: "/home/dev".into(), port: Some(3000), health_check: Some("/".into()) };
    let exec = ExecSpec {
        argv: vec!["true".into()],
        env: [("A".to_owned(), "b".to_owned())].into(),
        cwd: Some("/home/dev".into()),
        timeout_seconds: 1,
        kill_group_on_exit: true,
        pty: Some(PtySize { cols: 80, rows: 24, term: "xterm-256color".into() }),
        window: true,
    };
    vec![
        Command::Hello,
        Command::Inventory,
        Command::Layer { pod, fence, disk_bytes: 1 << 30, must_exist: true },
        Command::Network { pod, fence, address: Ipv4Addr::new(10, 88, 1, 2) },
        Command::Sandbox { pod, fence, generation: 1, boot_after: 0, hostname: name.clone(), cpu_milli: 500, memory_bytes: 1 << 30 },
        Command::Configure { pod, fence, config },
        Command::Processes { pod, fence, processes: vec![process], restart: true },
        Command::RestartProcess { pod, name: name.clone() },
        Command::Stop { pod, fence },
        Command::Orphan { pod, fence },
        Command::Delete { pod, fence },
        Command::Discard { pod, fence },
        Command::Pod { pod },
        Command::Watch { pod },
        Command::Exec { pod, exec },
        Command::Terminal { pod, name: name.clone(), cols: 80, rows: 24, client: Some(pod) },
        Command::Terminals { pod },
        Command::EndTerminal { pod, name: name.clone() },
        Command::ReadFile { pod, path: "x".into() },
        Command::WriteFile { pod, path: "x".into(), bytes: 1 },
        Command::ProcessLog { pod, name },
        Command::Connect { pod, port: 80, window: true },
        Command::Questions,
    ]
}

fn samples() -> Vec<Value> {
    let installation = Installation { id: POD, epoch: 1 };
    let request = |command| Request { protocol: PROTOCOL, installation: Some(installation), command };
    let mut all: Vec<Value> = commands().into_iter().map(|command| json!(request(command))).collect();
    let token = "0".repeat(64);
    all.extend(commands().into_iter().map(|command| json!({ "token": token, "what": { "command": command } })));
    let report = json!({ "sandbox": "running", "generation": 1, "ended": null, "usage": { "cpu_milli": 1, "memory_bytes": 1, "disk_bytes": 1 },
        "processes": [{ "name": "web", "command": "x", "port": 1, "state": { "state": "backing_off", "seconds": 1 }, "up_seconds": 1, "restarts": 1,
            "exit_code": 1, "health": "200" }], "ports": [{ "port": 1, "process": "web" }] });
    let inventory = json!({ "version": "1", "boot_id": POD, "kernel": "6.1", "runsc_version": "1", "runsc_platform": "systrap", "cgroup": "v2",
        "image": "base 1", "cpu_milli": 1, "memory_bytes": 1, "disk_bytes": 1, "disk_free_bytes": 1,
        "pods": [{ "pod": POD, "sandbox": "stopped", "generation": 0, "fence": 1, "layer": true, "address": "10.88.1.2", "disk_bytes": 1,
            "fault": "f" }],
        "orphans": [{ "pod": POD, "set_aside": 1, "disk_bytes": 1 }] });
    let error = json!({ "code": "invalid", "message": "m", "output": "o" });
    let joined = json!({ "host_id": POD, "installation": installation, "pod_cidr": "10.88.1.0/24", "control_key": "ssh-ed25519 AAAA" });
    let named = |tag: &str, name: &str, body: &Value| {
        let mut named = body.clone();
        named[tag] = json!(name);
        named
    };
    all.extend([
        json!({ "token": token, "what": "ping" }),
        json!({ "token": token, "what": "shutdown" }),
        json!({ "token": token, "what": "questions" }),
        json!({ "id": 1 }),
        json!({ "is": "done" }),
        json!({ "is": "streaming" }),
        json!({ "is": "hello", "protocol": PROTOCOL, "version": "1", "host_id": POD, "installation": installation, "boot_id": POD }),
        named("is", "inventory", &inventory),
        json!({ "is": "booted", "generation": 1, "started": true }),
        named("is", "pod", &report),
        json!({ "is": "terminals", "terminals": [{ "name": "main", "viewers": 1, "created": 1 }] }),
        named("is", "error", &error),
        json!({ "stream": "resize", "cols": 1, "rows": 1 }),
        json!({ "stream": "eof" }),
        json!({ "stream": "taken", "bytes": 1 }),
        json!({ "stream": "signal", "signal": 2 }),
        json!({ "stream": "answer", "id": 1, "answer": { "credential": { "username": "u", "token": "t" } } }),
        json!({ "stream": "answer", "id": 1, "answer": { "refused": { "why": "w" } } }),
        json!({ "stream": "question", "id": 1, "pod": POD }),
        named("stream", "report", &report),
        json!({ "stream": "file_info", "bytes": 1 }),
        json!({ "stream": "typed", "bytes": 1 }),
        json!({ "stream": "exit", "code": 0, "signal": null, "timed_out": false }),
        named("stream", "error", &error),
        json!({ "protocol": PROTOCOL, "inventory": inventory, "host_keys": ["ssh-ed25519 AAAA"] }),
        json!({ "admin": { "do": "inventory" } }),
        json!({ "admin": { "do": "join", "reply": joined } }),
        joined,
        error,
        report,
    ]);
    all
}

/// Parsed, it is said again the same way.
fn spoken<T: Serialize + DeserializeOwned>(bytes: &Bytes) -> Option<T> {
    let parsed: T = Frame::Json(bytes.clone()).parse().ok()?;
    let again = serde_json::to_value(&parsed).expect("what was JSON is JSON");
    let twice: T = serde_json::from_value(again.clone()).expect("what we say we understand");
    assert_eq!(serde_json::to_value(&twice).expect("JSON"), again);
    Some(parsed)
}

fn judged(bytes: &Bytes) {
    if let Some(request) = spoken::<Request>(bytes) {
        checked(&request.command);
    }
    // PID 1 checks anew what its daemon passes on.
    if let Some(Ask { what: What::Command(command), .. }) = spoken::<Ask>(bytes) {
        checked(&command);
    }
    if let Some(StreamInput::Answer { answer, .. }) = spoken::<StreamInput>(bytes)
        && let Err(error) = valid::git_answer(&answer)
    {
        assert!(!error.message.is_empty());
    }
    spoken::<Question>(bytes);
    spoken::<Reply>(bytes);
    spoken::<StreamOutput>(bytes);
    spoken::<PodReport>(bytes);
    spoken::<HostError>(bytes);
    spoken::<JoinRequest>(bytes);
    spoken::<JoinReply>(bytes);
    #[cfg(feature = "daemon")]
    spoken::<AdminRequest>(bytes);
}

/// What is refused is refused with a reason.
fn checked(command: &Command) {
    if let Err(error) = valid::command(command) {
        assert!(!error.message.is_empty());
    }
}

/// The frames of a stream that is read in pieces of these lengths, and how it ended.
fn read(bytes: &[u8], cuts: &[usize]) -> (Vec<Frame>, Option<String>) {
    let (mut buffer, mut frames, mut rest) = (BytesMut::new(), Vec::new(), bytes);
    let mut cuts = cuts.iter().copied().chain(std::iter::repeat(usize::MAX));
    loop {
        loop {
            match Frame::decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
        if rest.is_empty() {
            return (frames, None);
        }
        let (piece, after) = rest.split_at(cuts.next().unwrap_or(usize::MAX).clamp(1, rest.len()));
        buffer.extend_from_slice(piece);
        rest = after;
    }
}

proptest! {
    #[test]
    fn any_bytes_are_frames_or_an_error_however_they_are_cut(bytes in wire(), cuts in vec(1usize..50, 0..20)) {
        let whole = read(&bytes, &[]);
        prop_assert_eq!(&whole, &read(&bytes, &cuts));
        let taken: usize = whole.0.iter().map(|frame| frame.encode().unwrap().len()).sum();
        prop_assert!(taken <= bytes.len());
        for frame in &whole.0 {
            prop_assert!(matches!(frame, Frame::Json(payload) | Frame::Data(payload) | Frame::Stderr(payload) if payload.len() <= MAX_PAYLOAD));
            if let Frame::Json(payload) = frame {
                judged(payload);
            }
        }
    }

    #[test]
    fn a_reader_takes_no_more_memory_than_a_frame_may_have(bytes in wire()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut reader = FrameReader::new(bytes.as_slice());
            while let Ok(Some(_)) = reader.next().await {}
            let (_, buffer) = reader.into_parts();
            assert!(buffer.capacity() <= 2 * (MAX_PAYLOAD + DATA_CHUNK), "{}", buffer.capacity());
        });
    }

    #[test]
    fn almost_what_is_spoken_is_understood_or_refused(text in json_text()) {
        judged(&text.into());
    }

    /// Of ssh and git, which would take a line for an order, and of a shell's environment.
    #[test]
    fn what_ends_in_a_configuration_stays_on_its_line(field in 0u8..7, text in "[-a-z0-9.:/@+= \"'#;$%\\\\\n\r\t\0]{1,6}") {
        let (mut git, mut term) = (repository(), "xterm".to_owned());
        let mut credential = GitCredential { origin: git.origin.clone(), repository: git.repository.clone() };
        match field {
            0 => git.host.clone_from(&text),
            1 => git.repository = format!("owner/{text}"),
            2 => git.origin = format!("https://{text}"),
            3 => git.host_keys = vec![format!("ssh-ed25519 {text}")],
            4 => credential.repository = format!("owner/{text}"),
            5 => credential.origin = format!("https://{text}"),
            _ => term.clone_from(&text),
        }
        let config = PodConfig { git_over_ssh: Some(git), git_credential: Some(credential), ..PodConfig::default() };
        let exec = ExecSpec {
            argv: vec!["true".into()],
            env: BTreeMap::new(),
            cwd: None,
            timeout_seconds: 1,
            kill_group_on_exit: false,
            pty: Some(PtySize { cols: 80, rows: 24, term }),
            window: false,
        };
        let commands = [Command::Configure { pod: POD, fence: 1, config }, Command::Exec { pod: POD, exec }];
        let is_taken = commands.iter().all(|command| valid::command(command).is_ok());
        prop_assert!(!is_taken || text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'#;$%\\".contains(&b)), "{:?}", text);
    }

    #[test]
    fn any_text_is_understood_or_refused(text in ".{0,300}") {
        judged(&text.into_bytes().into());
    }

    #[test]
    fn what_is_sent_is_what_is_read(kind in 0u8..3, payload in vec(any::<u8>(), 0..5000)) {
        let payload = Bytes::from(payload);
        let frame = match kind {
            0 => Frame::Json(payload),
            1 => Frame::Data(payload),
            _ => Frame::Stderr(payload),
        };
        prop_assert_eq!(read(&frame.encode().unwrap(), &[]), (vec![frame], None));
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_kept(length in (MAX_PAYLOAD as u32 + 2)..=u32::MAX, rest in vec(any::<u8>(), 1..50)) {
        let mut buffer = BytesMut::from(&length.to_be_bytes()[..]);
        buffer.extend_from_slice(&rest);
        prop_assert!(matches!(Frame::decode(&mut buffer), Err(FrameError::TooLong(_))));
    }
}

/// Understood as a `T`, as it is said again.
fn again<T: Serialize + DeserializeOwned>(sample: &Value) -> Option<Value> {
    let understood: T = serde_json::from_value(sample.clone()).ok()?;
    Some(serde_json::to_value(&understood).expect("JSON"))
}

#[test]
fn the_samples_are_what_is_spoken_and_leave_nothing_out() {
    for command in commands() {
        assert!(valid::command(&command).is_ok(), "{command:?}");
    }
    for sample in samples() {
        let mut said = vec![again::<Request>(&sample), again::<Ask>(&sample), again::<Reply>(&sample), again::<StreamInput>(&sample)];
        said.extend([again::<StreamOutput>(&sample), again::<Question>(&sample), again::<PodReport>(&sample), again::<HostError>(&sample)]);
        said.extend([again::<JoinRequest>(&sample), again::<JoinReply>(&sample)]);
        #[cfg(feature = "daemon")]
        said.push(again::<AdminRequest>(&sample));
        let of_daemon = cfg!(not(feature = "daemon")) && sample["admin"].is_object();
        assert!(of_daemon || said.into_iter().flatten().any(|said| said == sample), "{sample}");
    }
    // Nested deeper than anything that is spoken: an error, not a fault.
    let deep = format!("{}{}", "[".repeat(MAX_PAYLOAD / 2), "]".repeat(MAX_PAYLOAD / 2));
    judged(&deep.into_bytes().into());
}

/// The names that a `T` may go by, as its parser lists them to who says another one.
fn names<T: DeserializeOwned>(unknown: Value) -> BTreeSet<String> {
    let error = serde_json::from_value::<T>(unknown).err().expect("no such name").to_string();
    error.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_command_answer_and_frame_of_a_stream_is_among_the_samples() {
    let all = samples();
    let sampled = |place: &str| -> BTreeSet<String> { all.iter().filter_map(|sample| sample.pointer(place)?.as_str().map(str::to_owned)).collect() };
    let streams = &names::<StreamInput>(json!({ "stream": "?" })) | &names::<StreamOutput>(json!({ "stream": "?" }));
    assert!(names::<Command>(json!({ "do": "?" })).len() > 20 && streams.len() > 6, "the parsers list what they know");
    assert_eq!(sampled("/command/do"), names::<Command>(json!({ "do": "?" })));
    assert_eq!(sampled("/what/command/do"), names::<Command>(json!({ "do": "?" })));
    assert_eq!(sampled("/is"), names::<Reply>(json!({ "is": "?" })));
    assert_eq!(sampled("/stream"), streams);
    let mut asked = sampled("/what");
    asked.insert("command".to_owned());
    assert_eq!(asked, names::<What>(json!("?")));
    #[cfg(feature = "daemon")]
    assert_eq!(sampled("/admin/do"), names::<Admin>(json!({ "do": "?" })));
}
