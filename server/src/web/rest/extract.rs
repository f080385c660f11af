//! How the API reads what it is sent: every way to get it wrong has its status and its message at the field.

use crate::web::{BODY_DEADLINE, MOST_BODY, problem::Problem};
use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::request::Parts,
};
use bytes::BytesMut;
use futures::StreamExt;
use http::header::CONTENT_TYPE;
use pinacle_app::{AppError, ErrorCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::Segment;
use std::str::FromStr;
use tokio::time::timeout;
use utoipa::IntoParams;

/// Bytes of a body that are read to tell its sender that it is too large.
const MOST_DROPPED: usize = 16 << 20;

/// A JSON body. 415 for another type, 413 over the limit, 400 for what is not JSON, 422 for the wrong fields.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(&request) {
            return Err(AppError::new(ErrorCode::UnsupportedMediaType, "Send JSON, with Content-Type: application/json.").into());
        }
        let bytes = timeout(BODY_DEADLINE, read(request.into_body())).await.map_err(|_| too_slow())??;
        Ok(Self(parse(&bytes)?))
    }
}

/// A body that is too large is read to its end all the same, if that is not too far: a client that is cut off while it
/// writes does not see why.
async fn read(body: Body) -> Result<BytesMut, AppError> {
    let (mut stream, mut bytes, mut length) = (body.into_data_stream(), BytesMut::new(), 0);
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|_| AppError::new(ErrorCode::BadRequest, "The body could not be read."))?;
        length += piece.len();
        if length <= MOST_BODY {
            bytes.extend_from_slice(&piece);
        } else if length > MOST_DROPPED {
            break;
        }
    }
    if length > MOST_BODY {
        return Err(AppError::new(ErrorCode::TooLarge, format!("A body may have at most {} KiB.", MOST_BODY >> 10)));
    }
    Ok(bytes)
}

fn is_json(request: &Request) -> bool {
    let said = request.headers().get(CONTENT_TYPE).and_then(|said| said.to_str().ok()).unwrap_or_default();
    let kind = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, AppError> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| AppError::new(ErrorCode::BadRequest, format!("The body is not JSON: {error}.")))?;
    // As a list, fields would go by their order.
    if !value.is_object() {
        return Err(AppError::field("body", "Send a JSON object."));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let message = error.inner().to_string();
        // The field whose value is wrong, or the one that the message of an unknown or a missing one names.
        let field = match error.path().iter().next() {
            Some(Segment::Map { key }) => Some(key.as_str()),
            _ => named_field(&message),
        };
        AppError::field(field.unwrap_or("body"), sentence(&message))
    })
}

fn too_slow() -> AppError {
    AppError::new(ErrorCode::BadRequest, format!("The body did not arrive within {} s.", BODY_DEADLINE.as_secs()))
}

/// The field that the message of an unknown or a missing one names.
fn named_field(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("unknown field `").or_else(|| message.strip_prefix("missing field `"))?;
    rest.split('`').next()
}

fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// The query of an address. 422 with the message at the field.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => {
                let message = rejection.body_text();
                let message = message.split_once("query string: ").map_or(message.as_str(), |(_, cause)| cause);
                let (field, message) = match message.split_once(": ") {
                    Some((field, cause)) if !field.contains(' ') => (field, cause),
                    _ => (named_field(message).unwrap_or("query"), message),
                };
                Err(AppError::field(field, sentence(message)).into())
            }
        }
    }
}

/// The one id in a path. What is no id is as unknown as an unknown one: 404.
pub struct PathId<T>(pub T);

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = Path::<String>::from_request_parts(parts, state).await.ok().and_then(|Path(id)| id.parse().ok());
        id.map(Self).ok_or(Problem(AppError::not_found()))
    }
}

/// Two names in a path. What is no text is nobody's name: 404.
pub struct PathPair(pub String, pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathPair {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let pair = Path::<(String, String)>::from_request_parts(parts, state).await;
        pair.map(|Path((one, other))| Self(one, other)).map_err(|_| Problem(AppError::not_found()))
    }
}

/// Which part of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// 1–100; 50 if left out.
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinacle_app::{account::NewToken, pods::NewPod};

    fn fields<T: DeserializeOwned>(text: &str) -> Vec<String> {
        let error = parse::<T>(text.as_bytes()).err().unwrap();
        assert_eq!(error.code, ErrorCode::Invalid, "{text}");
        error.fields.into_keys().collect()
    }

    #[test]
    fn what_is_wrong_with_a_body_stands_at_its_field() {
        assert_eq!(parse::<NewToken>(b"{").err().unwrap().code, ErrorCode::BadRequest);
        assert_eq!(fields::<NewToken>(r#"{"name":"x","scope":"read","expires_days":1,"admin":true}"#), ["admin"]);
        assert_eq!(fields::<NewToken>(r#"{"name":"x","scope":"read"}"#), ["expires_days"]);
        assert_eq!(fields::<NewToken>(r#"{"name":"x","scope":"root","expires_days":1}"#), ["scope"]);
        assert_eq!(fields::<NewToken>(r#"{"name":7,"scope":"read","expires_days":1}"#), ["name"]);
        assert_eq!(fields::<NewToken>(r#"{"name":"x","scope":"read","expires_days":-1}"#), ["expires_days"]);
        assert_eq!(fields::<NewPod>(r#"{"name":"x","tier":"dev.small","team_id":"no"}"#), ["team_id"]);
        for no_object in ["[1]", "[]", r#"["x","dev.small"]"#, "null", "7", r#""x""#] {
            assert_eq!(fields::<NewPod>(no_object), ["body"]);
        }
    }

    #[tokio::test]
    async fn another_media_type_is_refused() {
        for (kind, status) in [("text/plain", 415), ("application/x-www-form-urlencoded", 415), ("application/json; charset=utf-8", 422)] {
            let request = Request::post("/").header(CONTENT_TYPE, kind).body(Body::from("{}")).unwrap();
            let problem = JsonBody::<NewToken>::from_request(request, &()).await.err().unwrap();
            assert_eq!(problem.0.code.status(), status, "{kind}");
        }
        assert!(JsonBody::<NewToken>::from_request(Request::post("/").body(Body::empty()).unwrap(), &()).await.is_err());
    }

    #[tokio::test]
    async fn a_query_is_read_strictly() {
        let read = async |uri: &str| {
            let (mut parts, ()) = Request::get(uri).body(()).unwrap().into_parts();
            Params::<ListQuery>::from_request_parts(&mut parts, &()).await.map_err(|problem| problem.0.fields.into_keys().collect::<Vec<_>>())
        };
        assert_eq!(read("/?limit=5").await.ok().unwrap().0.limit, Some(5));
        assert_eq!(read("/?limit=many").await.err().unwrap(), ["limit"]);
        assert_eq!(read("/?page=2").await.err().unwrap(), ["page"]);
    }
}
