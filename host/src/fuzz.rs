//! Whatever arrives over the wire ends as a frame and a value, or as an error: no fault, no more memory than was sent.

use crate::{
    frame::{DATA_CHUNK, Frame, FrameError, FrameReader, MAX_PAYLOAD},
    protocol::{HostError, JoinRequest, PodReport, Reply, Request, StreamInput, StreamOutput},
    valid,
};
use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

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

fn samples() -> Vec<Value> {
    let pod = "0193a000-0000-7000-8000-000000000001";
    let commands = [
        json!({ "do": "hello" }),
        json!({ "do": "inventory" }),
        json!({ "do": "layer", "pod": pod, "fence": 1, "disk_bytes": 1u64 << 30, "must_exist": true }),
        json!({ "do": "network", "pod": pod, "fence": 1, "address": "10.88.1.2" }),
        json!({ "do": "sandbox", "pod": pod, "fence": 1, "generation": 1, "boot_after": 0, "hostname": "web", "cpu_milli": 500, "memory_bytes": 1u64 << 30 }),
        json!({ "do": "configure", "pod": pod, "fence": 1, "config": { "env": { "A": "b" }, "git_name": "a", "git_email": "b",
            "ssh_private_key": "-----BEGIN x", "git_credential": { "origin": "https://github.com", "username": "u", "token": "t" } } }),
        json!({ "do": "processes", "pod": pod, "fence": 1, "restart": true,
            "processes": [{ "name": "web", "command": "npm start", "cwd": "/home/dev", "port": 3000, "health_check": "/" }] }),
        json!({ "do": "restart_process", "pod": pod, "name": "web" }),
        json!({ "do": "delete", "pod": pod, "fence": 1 }),
        json!({ "do": "exec", "pod": pod, "exec": { "argv": ["true"], "env": { "A": "b" }, "cwd": "/home/dev", "timeout_seconds": 1, "kill_group_on_exit": false } }),
        json!({ "do": "terminal", "pod": pod, "name": "main", "cols": 80, "rows": 24 }),
        json!({ "do": "read_file", "pod": pod, "path": "x" }),
        json!({ "do": "write_file", "pod": pod, "path": "x", "bytes": 1 }),
        json!({ "do": "connect", "pod": pod, "port": 80 }),
    ];
    let request = |command| json!({ "protocol": 1, "installation": { "id": pod, "epoch": 1 }, "command": command });
    let mut all: Vec<Value> = commands.into_iter().map(request).collect();
    all.extend([
        json!({ "is": "done" }),
        json!({ "is": "booted", "generation": 1, "started": true }),
        json!({ "is": "error", "code": "invalid", "message": "m", "output": "o" }),
        json!({ "is": "terminals", "terminals": [{ "name": "main", "viewers": 1, "created": 1 }] }),
        json!({ "stream": "eof" }),
        json!({ "stream": "resize", "cols": 1, "rows": 1 }),
        json!({ "stream": "taken", "bytes": 1 }),
        json!({ "stream": "file_info", "bytes": 1 }),
        json!({ "stream": "exit", "code": 0, "signal": null, "timed_out": false }),
        json!({ "stream": "report", "sandbox": "running", "generation": 1, "ended": null, "usage": { "cpu_milli": 1, "memory_bytes": 1, "disk_bytes": 1 },
            "processes": [{ "name": "web", "command": "x", "port": 1, "state": { "state": "backing_off", "seconds": 1 }, "up_seconds": 1, "restarts": 1,
                "exit_code": 1, "health": "200" }], "ports": [{ "port": 1, "process": "web" }] }),
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
    if let Some(request) = spoken::<Request>(bytes)
        && let Err(error) = valid::command(&request.command)
    {
        assert!(!error.message.is_empty());
    }
    spoken::<Reply>(bytes);
    spoken::<StreamInput>(bytes);
    spoken::<StreamOutput>(bytes);
    spoken::<PodReport>(bytes);
    spoken::<HostError>(bytes);
    spoken::<JoinRequest>(bytes);
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

#[test]
fn the_samples_are_what_is_spoken() {
    for sample in samples() {
        let bytes = Bytes::from(sample.to_string());
        let understood = match (sample.get("command"), sample.get("is"), sample["stream"].as_str()) {
            (Some(_), ..) => spoken::<Request>(&bytes).is_some_and(|request| valid::command(&request.command).is_ok()),
            (_, Some(_), _) => spoken::<Reply>(&bytes).is_some(),
            (.., Some("eof" | "resize" | "taken")) => spoken::<StreamInput>(&bytes).is_some(),
            _ => spoken::<StreamOutput>(&bytes).is_some(),
        };
        assert!(understood, "{sample}");
    }
    // Nested deeper than anything that is spoken: an error, not a fault.
    let deep = format!("{}{}", "[".repeat(MAX_PAYLOAD / 2), "]".repeat(MAX_PAYLOAD / 2));
    judged(&deep.into_bytes().into());
}
