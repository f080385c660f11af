//! One file of a pod, down and up, streamed: never a whole file in memory.

use super::{
    AppState,
    guard::{self, Reach},
    problem::{Answer, Problem},
};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE},
};
use pinacle_app::{
    AppError, ErrorCode,
    backend::{Caller, FileContent},
    ids::PodId,
};
use std::fmt::Write;

/// Bytes of one file.
pub const MOST_FILE: u64 = 1 << 30;
const MOST_PATH: usize = 4096;
const MOST_NAME: usize = 150;

pub async fn download(state: AppState, caller: Caller, id: PodId, path: Option<String>) -> Answer<Response> {
    let path = checked(path)?;
    let slot = state.streams.take(caller.user)?;
    let content = state.backend.read_file(&caller, id, &path).await?;
    if content.bytes > MOST_FILE {
        return Err(too_large().into());
    }
    let stream = content.stream.take_until(guard::out_of_time(state, caller, Reach::Pod(id))).map(move |chunk| {
        let _held = &slot;
        chunk
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (CONTENT_DISPOSITION, disposition(&path)),
        (CONTENT_LENGTH, HeaderValue::from(content.bytes)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}

/// The length is told beforehand, so that one that is too large is refused before it travels.
pub async fn upload(state: AppState, caller: Caller, id: PodId, path: Option<String>, headers: &HeaderMap, body: Body) -> Answer<Response> {
    let path = checked(path)?;
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()).and_then(|length| length.parse::<u64>().ok());
    // Without the header, and without a body, it is an empty file (RFC 9112, 6.3).
    let length = length.or_else(|| (!headers.contains_key(http::header::TRANSFER_ENCODING)).then_some(0));
    let Some(bytes) = length else {
        return Ok(unread(AppError::new(ErrorCode::BadRequest, "Say with Content-Length how many bytes the file has.")));
    };
    if bytes > MOST_FILE {
        return Ok(unread(too_large()));
    }
    let _held = state.streams.take(caller.user)?;
    let chunks = body.into_data_stream().map(|chunk| {
        chunk.map_err(|error| {
            tracing::debug!(%error, "an upload broke");
            AppError::new(ErrorCode::BadRequest, "The upload ended, or paused for too long, before the file was complete.")
        })
    });
    let content = FileContent { bytes, stream: chunks.boxed() };
    match guard::while_held(&state, &caller, Reach::Pod(id), state.backend.write_file(&caller, id, &path, content)).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error) => Ok(unread(error)),
    }
}

/// Refuses before all of the body was read: the connection says that it ends, or its client would send the next request into it.
fn unread(error: AppError) -> Response {
    ([(CONNECTION, HeaderValue::from_static("close"))], Problem(error)).into_response()
}

fn too_large() -> AppError {
    AppError::new(ErrorCode::TooLarge, "A file may have at most 1 GiB. Fetch or send larger ones from inside the pod.")
}

fn checked(path: Option<String>) -> Result<String, AppError> {
    let path = path.unwrap_or_default();
    if path.is_empty() {
        Err(AppError::field("path", "Say which file."))
    } else if path.len() > MOST_PATH {
        Err(AppError::field("path", format!("At most {MOST_PATH} bytes.")))
    } else if path.contains('\0') {
        Err(AppError::field("path", "No NUL."))
    } else {
        Ok(path)
    }
}

/// Always a download, never shown as a page; the name in ASCII for old readers and in UTF-8 (RFC 6266).
fn disposition(path: &str) -> HeaderValue {
    let name: String = path.rsplit('/').next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(MOST_NAME).collect();
    let name = if name.is_empty() || name.chars().all(|c| c == '.') { "file".to_owned() } else { name };
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ') { c } else { '_' }).collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            encoded.push(char::from(byte));
        } else if write!(encoded, "%{byte:02X}").is_err() {
            // A String takes everything.
            break;
        }
    }
    HeaderValue::try_from(format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"))
        .unwrap_or_else(|_| HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_download_under_a_name_that_can_not_break_out() {
        let shown = |path: &str| disposition(path).to_str().unwrap().to_owned();
        assert_eq!(shown("site/index.html"), "attachment; filename=\"index.html\"; filename*=UTF-8''index.html");
        assert_eq!(
            shown("a\"; evil=\"b\r\nSet-Cookie: x"),
            "attachment; filename=\"a__ evil__bSet-Cookie_ x\"; filename*=UTF-8''a%22%3B%20evil%3D%22bSet-Cookie%3A%20x"
        );
        assert_eq!(shown("größe.txt"), "attachment; filename=\"gr__e.txt\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.txt");
        assert_eq!(shown("x/.."), "attachment; filename=\"file\"; filename*=UTF-8''file");
    }

    #[test]
    fn a_path_is_said_and_bounded() {
        for bad in [None, Some(String::new()), Some("a\0".to_owned()), Some("a".repeat(MOST_PATH + 1))] {
            assert!(checked(bad).unwrap_err().of("path").is_some());
        }
        assert!(checked(Some("notes.md".to_owned())).is_ok());
    }
}
