//! `/api/v1`: everything that the product can do, for programs. Bearer tokens only: a session cookie is worth nothing here.

mod account;
mod document;
mod exec;
pub mod extract;
mod hosts;
mod pods;
mod repositories;
mod secrets;
mod teams;
mod terminals;

use super::{
    AppState, client,
    problem::{Problem, ProblemBody},
};
use crate::{
    account::{caller_for_token, may_change},
    paging,
};
use axum::{
    Json, Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use extract::ListQuery;
use http::{
    Extensions, HeaderMap, HeaderValue, Method,
    header::{AUTHORIZATION, CACHE_CONTROL},
};
use pinacle_app::{AppError, AppResult, ErrorCode, backend::Caller, pods::Page};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};
use utoipa_axum::router::OpenApiRouter;

const BEARER: &str = "bearer";
/// Operations that need a running pod.
const INSIDE: &str = "inside";

#[derive(OpenApi)]
#[openapi(
    info(title = "Pinacle", version = "1", description = "Cloud development machines. A published path changes by optional fields only."),
    components(schemas(ProblemBody)),
    modifiers(&Common)
)]
struct Document;

/// What every operation has: the bearer scheme, and problems for answers that say no.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        document.components.get_or_insert_default().add_security_scheme(BEARER, SecurityScheme::Http(scheme));
        document.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
    }
}

pub fn router(state: &AppState) -> Router<AppState> {
    let signed_in = OpenApiRouter::with_openapi(Document::openapi())
        .merge(account::router())
        .merge(teams::router())
        .merge(repositories::router())
        .merge(pods::router())
        .merge(secrets::router())
        .merge(exec::router())
        .merge(terminals::router())
        .merge(hosts::router());
    let (signed_in, mut document) = signed_in.split_for_parts();
    let (open, joining) = hosts::open_router().split_for_parts();
    document.merge(joining);
    document::add_problems(&mut document);
    let document = Arc::new(under_prefix(document));
    let signed_in = signed_in.route_layer(middleware::from_fn_with_state(state.clone(), authenticate));
    Router::new()
        .route("/openapi.json", get(async move || Json(document.as_ref().clone())))
        .merge(signed_in)
        .merge(open)
        .fallback(async || Problem(AppError::new(ErrorCode::NotFound, "The API has no such path. See /api/v1/openapi.json.")))
        .method_not_allowed_fallback(async || Problem(AppError::new(ErrorCode::MethodNotAllowed, "This path does not take that method.")))
        .layer(middleware::map_response(async |mut response: Response| {
            response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
            response
        }))
}

/// The document names paths as they are asked for.
fn under_prefix(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths.into_iter().map(|(path, item)| (format!("/api/v1{path}"), item)).collect();
    document
}

/// Who asks; whether its token may; and whether it asks too often.
async fn authenticate(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    match admit(&state, &mut request).await {
        Ok(()) => next.run(request).await,
        Err(error) => Problem(error).into_response(),
    }
}

async fn admit(state: &AppState, request: &mut Request) -> AppResult<()> {
    let caller = caller(state, request.extensions(), request.headers()).await?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        may_change(&caller)?;
        state.changes.take(caller.user)?;
    }
    request.extensions_mut().insert(caller);
    Ok(())
}

/// Whose API token a request carries.
pub(super) async fn caller(state: &AppState, extensions: &Extensions, headers: &HeaderMap) -> AppResult<Caller> {
    let token = bearer(headers).ok_or_else(|| AppError::new(ErrorCode::Unauthenticated, "Send an API token: Authorization: Bearer …"))?;
    let address = client::address(extensions, headers, &state.control.config.trusted_proxies);
    caller_for_token(&state.control, token.expose_secret(), address).await
}

/// The token of the one Authorization header.
fn bearer(headers: &HeaderMap) -> Option<SecretString> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| SecretString::from(token.trim()))
}

/// A page of a list that is short enough to be read whole; the cursor is the key of the last item before it.
fn page_of<T>(items: Vec<T>, query: &ListQuery, key: impl Fn(&T) -> String) -> AppResult<Page<T>> {
    let limit = paging::limit(query.limit, paging::DEFAULT, paging::MOST)?;
    let begin = match &query.cursor {
        None => 0,
        Some(cursor) => {
            let at = items.iter().position(|item| key(item) == *cursor);
            at.ok_or_else(paging::bad_cursor)? + 1
        }
    };
    Ok(paging::page(items.into_iter().skip(begin).collect(), limit, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_cursor_begins_a_page_or_is_refused_at_its_field(text in ".{0,30}|[0-9]{1,3}", count in 0u32..30, limit in 1u32..=100) {
            let query = |cursor: Option<String>| ListQuery { limit: Some(limit), cursor };
            let items = || (0..count).collect::<Vec<u32>>();
            match page_of(items(), &query(Some(text.clone())), u32::to_string) {
                Ok(page) => prop_assert!(page.items.iter().all(|item| *item > text.parse::<u32>().unwrap())),
                Err(error) => prop_assert!(error.of("cursor").is_some()),
            }
            // And from each page's own to the next, everything comes once.
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let page = page_of(items(), &query(cursor), u32::to_string).unwrap();
                seen.extend(page.items);
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            prop_assert_eq!(seen, items());
        }
    }

    #[test]
    fn a_list_is_read_page_by_page() {
        let items = || (1..=5).collect::<Vec<u32>>();
        let query = |limit, cursor: Option<&str>| ListQuery { limit, cursor: cursor.map(str::to_owned) };
        let page = page_of(items(), &query(Some(2), None), u32::to_string).unwrap();
        assert_eq!((page.items.as_slice(), page.next_cursor.as_deref()), (&[1, 2][..], Some("2")));
        let page = page_of(items(), &query(Some(2), Some("4")), u32::to_string).unwrap();
        assert_eq!((page.items.as_slice(), page.next_cursor), (&[5][..], None));
        assert!(page_of(items(), &query(Some(0), None), u32::to_string).unwrap_err().of("limit").is_some());
        assert!(page_of(items(), &query(None, Some("9")), u32::to_string).unwrap_err().of("cursor").is_some());
    }

    #[test]
    fn a_token_is_read_from_one_authorization_header() {
        let with = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            bearer(&headers).map(|token| token.expose_secret().to_owned())
        };
        assert_eq!(with(&["Bearer abc"]), Some("abc".to_owned()));
        assert_eq!(with(&["bearer abc"]), Some("abc".to_owned()));
        assert_eq!(with(&["Basic abc"]), None);
        assert_eq!(with(&["Bearer a", "Bearer b"]), None);
        assert_eq!(with(&[]), None);
    }
}
