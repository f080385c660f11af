//! Where a browser's request comes from: what changes something, and every stream, must come from our own pages.
//!
//! The session cookie is SameSite=Lax, so this is the second fence; it also holds against pages on a sibling port
//! or name, which count as the same site.

use super::{AppState, problem::Problem};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, Method,
    header::{ORIGIN, UPGRADE},
};
use pinacle_app::AppError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

pub async fn check(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if !needs_check(request.method(), request.uri().path(), request.headers()) || is_own(&state.control.config.url, request.headers()) {
        return next.run(request).await;
    }
    Problem(AppError::forbidden("This request does not come from a page of ours.")).into_response()
}

fn needs_check(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    !reads || path.starts_with("/live/") || headers.contains_key(UPGRADE)
}

/// What is said must be ours, and something must be said. `none` is a person who typed the address.
fn is_own(url: &url::Url, headers: &HeaderMap) -> bool {
    let origin = headers.get_all(ORIGIN).iter().map(|origin| origin.as_bytes() == url.origin().ascii_serialization().as_bytes());
    let site = headers.get_all(SEC_FETCH_SITE).iter().map(|site| site == "same-origin" || site == "none");
    let mut said = origin.chain(site).peekable();
    said.peek().is_some() && said.all(|ours| ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use url::Url;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn changes_streams_and_upgrades_are_checked() {
        assert!(!needs_check(&Method::GET, "/pods", &headers(&[])));
        assert!(needs_check(&Method::POST, "/fn/pods/create", &headers(&[])));
        assert!(needs_check(&Method::GET, "/live/pods", &headers(&[])));
        assert!(needs_check(&Method::GET, "/anything", &headers(&[("upgrade", "websocket")])));
    }

    #[test]
    fn only_our_own_pages_pass() {
        let url = Url::parse("http://localhost:3000").unwrap();
        for own in [
            &[("origin", "http://localhost:3000")][..],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
            &[("origin", "http://localhost:3000"), ("sec-fetch-site", "same-origin")],
        ] {
            assert!(is_own(&url, &headers(own)), "{own:?}");
        }
        for foreign in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "http://localhost:3001")],
            &[("origin", "https://localhost:3000")],
            &[("origin", "http://localhost:3000.evil.test")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site")],
            &[("origin", "http://localhost:3000"), ("sec-fetch-site", "cross-site")],
            &[("origin", "http://evil.test"), ("sec-fetch-site", "same-origin")],
        ] {
            assert!(!is_own(&url, &headers(foreign)), "{foreign:?}");
        }
    }
}
