//! RFC 9457: how an error reads as an answer.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use pinacle_app::{AppError, ErrorCode};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An error on its way out.
#[derive(Debug)]
pub struct Problem(pub AppError);

pub type Answer<T> = Result<T, Problem>;

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        Self(error)
    }
}

/// A problem (RFC 9457), as every refusal and fault is answered.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `urn:pinacle:problem:<code>`
    r#type: String,
    /// The same words for every occurrence of the code.
    title: &'static str,
    /// HTTP status.
    status: u16,
    /// What happened, and what can be done, in a sentence.
    detail: String,
    code: ErrorCode,
    /// Messages by field, where fields are what is wrong.
    errors: BTreeMap<String, Vec<String>>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let AppError { code, message, fields, retry_after } = self.0;
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let name = serde_json::to_value(code).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
        let body = ProblemBody {
            r#type: format!("urn:pinacle:problem:{name}"),
            title: code.title(),
            status: status.as_u16(),
            detail: message,
            code,
            errors: fields,
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        if code == ErrorCode::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"pinacle\""));
        }
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use serde_json::json;

    #[tokio::test]
    async fn a_problem_has_the_fields_of_rfc_9457_and_ours() {
        let response = Problem(AppError::field("name", "Give the pod a name.")).into_response();
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&body).unwrap(),
            json!({
                "type": "urn:pinacle:problem:invalid", "title": "Invalid fields", "status": 422, "detail": "Give the pod a name.",
                "code": "invalid", "errors": { "name": ["Give the pod a name."] },
            })
        );
    }

    #[test]
    fn a_refusal_says_how_to_sign_in_and_when_to_come_again() {
        assert!(Problem(AppError::unauthenticated()).into_response().headers().contains_key(WWW_AUTHENTICATE));
        let later = AppError { retry_after: Some(3), ..AppError::new(ErrorCode::RateLimited, "Later.") };
        assert_eq!(Problem(later).into_response().headers()[RETRY_AFTER], "3");
    }
}
