//! Pages, server functions and static files. Pages and server functions find `Arc<dyn Backend>` by `use_context`,
//! and `Caller` where somebody is signed in.

use super::{AppState, BODY_DEADLINE, MOST_BODY, problem::Problem, refused};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderValue, Method, StatusCode, Uri, header::CACHE_CONTROL, request::Parts};
use leptos::prelude::*;
use leptos_axum::{LeptosRoutes, generate_route_list, render_app_async_with_context, render_route_with_context};
use pinacle_app::{App, AppError, ErrorCode, backend::Caller, server::shell, ui::toast::Refused};
use tokio::time::timeout;
use tower::ServiceExt;
use tower_http::{CompressionLevel, compression::CompressionLayer, services::ServeDir};

/// Names that carry a hash of their content.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Kept, and asked for again each time: a 304 in most cases.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");
/// Pages and answers are one person's.
const NEVER: HeaderValue = HeaderValue::from_static("no-store");
/// Of the site, with nothing but files in them.
const FOLDERS: [&str; 2] = ["/pkg/", "/vendor/"];

pub fn router(state: &AppState) -> Router<AppState> {
    let routes = generate_route_list(App);
    let document = document(state);
    let page = render_route_with_context::<AppState, _>(routes.clone(), context(state), document.clone());
    let page = async move |state: State<AppState>, request: Request| page(state, request).await;
    // What is no page is answered by the pages' own "not found", inside their frame.
    let missing = render_app_async_with_context(context(state), document);
    let missing = async move |request: Request| {
        // The frame's own way there needs a route around it, and panics without one.
        if request.extensions().get::<Caller>().is_none() {
            return Redirect::to(&sign_in(request.uri())).into_response();
        }
        let mut response = missing(request).await;
        if response.status() == StatusCode::OK {
            *response.status_mut() = StatusCode::NOT_FOUND;
        }
        response
    };
    Router::new()
        .leptos_routes_with_handler(routes, page)
        .fallback(missing)
        .layer(middleware::from_fn(refused::say))
        .layer(middleware::map_response(async |mut response: Response| {
            response.headers_mut().entry(CACHE_CONTROL).or_insert(NEVER);
            response
        }))
        // A page is drawn for one request, and packed for it: harder would cost more time than it saves on the way.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
}

/// Where somebody signs in who wanted to go there.
fn sign_in(wanted: &Uri) -> String {
    let wanted = wanted.path_and_query().map_or("/", |wanted| wanted.as_str());
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", wanted).finish();
    format!("/sign-in?{query}")
}

fn document(state: &AppState) -> impl Fn() -> AnyView + Clone + Send + Sync + 'static {
    let options = state.leptos.clone();
    move || shell(options.clone()).into_any()
}

/// What Leptos runs before each page and server function; the request stands in its context already.
fn context(state: &AppState) -> impl Fn() + Clone + Send + Sync + 'static {
    let backend = state.backend.clone();
    move || {
        provide_context(backend.clone());
        let Some(parts) = use_context::<Parts>() else { return };
        if let Some(caller) = parts.extensions.get::<Caller>() {
            provide_context(caller.clone());
        }
        if let Some(refused) = parts.extensions.get::<Refused>() {
            provide_context(refused.clone());
        }
    }
}

pub async fn server_function(State(state): State<AppState>, request: Request) -> Response {
    let known = leptos::server_fn::axum::server_fn_paths().any(|(path, method)| path == request.uri().path() && method == *request.method());
    if !known {
        return Problem(AppError::not_found()).into_response();
    }
    let (parts, body) = request.into_parts();
    // All of it first: leptos would wait for it without a limit of its own.
    let body = match timeout(BODY_DEADLINE, axum::body::to_bytes(body, MOST_BODY)).await {
        Ok(Ok(body)) => Body::from(body),
        Ok(Err(_)) | Err(_) => {
            let why = format!("The body could not be read: it has more than {} KiB, or was not there within {BODY_DEADLINE:?}.", MOST_BODY >> 10);
            return Problem(AppError::new(ErrorCode::BadRequest, why)).into_response();
        }
    };
    let request = Request::from_parts(parts, body);
    let response = leptos_axum::handle_server_fns_with_context(context(&state), request).await.into_response();
    let mut response = with_status(response).await;
    refused::out_of_the_address(&mut response);
    response.headers_mut().entry(CACHE_CONTROL).or_insert(NEVER);
    response
}

/// Leptos answers every error with 500; the error itself knows its status.
async fn with_status(response: Response) -> Response {
    if response.status() != StatusCode::INTERNAL_SERVER_ERROR {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MOST_BODY).await else { return Problem(AppError::internal()).into_response() };
    let status = serde_json::from_slice::<AppError>(&body).ok().and_then(|error| StatusCode::from_u16(error.code.status()).ok());
    parts.status = status.unwrap_or(parts.status);
    Response::from_parts(parts, Body::from(body))
}

/// A file of the site where there is one. Before the session, so that a file costs no query.
pub async fn site_file(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if !is_file(&request) {
        return next.run(request).await;
    }
    let mut ask = Request::new(Body::empty());
    *ask.method_mut() = request.method().clone();
    *ask.uri_mut() = request.uri().clone();
    *ask.headers_mut() = request.headers().clone();
    let files = ServeDir::new(&state.control.config.site_root).append_index_html_on_directories(false).precompressed_br().precompressed_gzip();
    // Compressed while it is sent, where the build has left no compressed copy.
    let files = tower::ServiceBuilder::new().layer(CompressionLayer::new()).service(files);
    let answer = match files.oneshot(ask).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    let path = request.uri().path();
    let missing = answer.status() == StatusCode::NOT_FOUND;
    // No page lies among the files: what an older release called by that name is gone, and no way to sign in.
    if missing && !FOLDERS.iter().any(|folder| path.starts_with(folder)) {
        return next.run(request).await;
    }
    let mut answer = answer.map(Body::new);
    let cached = if missing {
        NEVER
    } else if has_hash(path) {
        FOR_EVER
    } else {
        ASK_AGAIN
    };
    answer.headers_mut().insert(CACHE_CONTROL, cached);
    answer
}

/// Files have an extension; pages and doors have none.
fn is_file(request: &Request) -> bool {
    let path = request.uri().path();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    reads && !path.starts_with("/live/") && path.rsplit('/').next().is_some_and(|name| name.contains('.') && !name.starts_with('.'))
}

/// `pinacle.3mW0y2mJ5rYl9Yd0B7tq1w.js`, as `cargo leptos build` names files with `hash-files`.
fn has_hash(path: &str) -> bool {
    const HASH: usize = 22;
    path.rsplit('/').next().is_some_and(|name| {
        let parts: Vec<&str> = name.split('.').collect();
        parts.len() >= 3
            && parts[1..parts.len() - 1]
                .iter()
                .any(|part| part.len() == HASH && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_function_has_its_place_in_the_list_and_the_list_no_other() {
        let mut registered: Vec<&str> = leptos::server_fn::axum::server_fn_paths().map(|(path, _)| path).collect();
        let mut listed = pinacle_app::endpoints::endpoints();
        registered.sort_unstable();
        listed.sort_unstable();
        assert_eq!(registered, listed);
        assert!(listed.iter().all(|path| path.starts_with("/fn/")));
    }

    #[test]
    fn only_a_name_with_a_hash_is_kept_for_ever() {
        assert!(has_hash("/pkg/pinacle.3mW0y2mJ5rYl9Yd0B7tq1w.js"));
        for path in ["/pkg/pinacle.js", "/pkg/pinacle_bg.wasm", "/vendor/xterm.min.js", "/"] {
            assert!(!has_hash(path), "{path}");
        }
    }
}
