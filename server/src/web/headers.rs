//! Headers that every answer carries. Pages bring a Content-Security-Policy of their own, with a nonce.

use super::AppState;
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS},
};

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Two years, as the preload list wants it.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=63072000");
/// Holds beside the policy that a page sets in its head: a browser obeys both.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static("frame-ancestors 'none'; base-uri 'none'; object-src 'none'");
const OTHER_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

pub async fn add(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let is_https = state.control.config.url.scheme() == "https";
    set(response.headers_mut(), is_https);
    response
}

fn set(headers: &mut HeaderMap, is_https: bool) {
    let fixed = [
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        // Not no-referrer: forms without JavaScript go back to where they came from.
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (PERMISSIONS_POLICY, HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()")),
        (CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin")),
        (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
    ];
    for (name, value) in fixed {
        headers.insert(name, value);
    }
    if is_https {
        headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
    }
    let is_page = headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(if is_page { PAGE_POLICY } else { OTHER_POLICY });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_may_not_be_framed_and_https_stays_https() {
        let mut page = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))]);
        set(&mut page, true);
        assert!(page[CONTENT_SECURITY_POLICY].to_str().unwrap().contains("frame-ancestors 'none'"));
        assert!(page.contains_key(STRICT_TRANSPORT_SECURITY));
        let mut own = HeaderMap::from_iter([(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"))]);
        set(&mut own, false);
        assert_eq!(own[CONTENT_SECURITY_POLICY], "default-src 'self'");
        assert!(!own.contains_key(STRICT_TRANSPORT_SECURITY));
    }
}
