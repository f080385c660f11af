//! The server's side of the pages: who asks, the document around the pages, cookies, status codes.

use crate::account::theme::Theme;
use crate::app::App;
use crate::backend::{Backend, Caller};
use crate::error::{AppError, AppResult};
use axum::http::{HeaderName, HeaderValue, StatusCode, header, request::Parts};
use leptos::WasmSplitManifest;
use leptos::hydration::{AutoReload, HydrationScripts};
use leptos::nonce::use_nonce;
use leptos::prelude::*;
use leptos_axum::ResponseOptions;
use leptos_meta::{HashedStylesheet, MetaTags};
use std::sync::Arc;

/// The backend, and who asks. Both are provided as context by the web layer: call this before any `.await`.
pub fn door() -> AppResult<(Arc<dyn Backend>, Caller)> {
    let backend = use_context::<Arc<dyn Backend>>().ok_or_else(AppError::internal)?;
    let caller = use_context::<Caller>().ok_or_else(AppError::unauthenticated)?;
    Ok((backend, caller))
}

/// Answers with this status instead of 200.
pub fn set_status(code: u16) {
    if let (Some(response), Ok(status)) = (use_context::<ResponseOptions>(), StatusCode::from_u16(code)) {
        response.set_status(status);
    }
}

/// A form that was sent without JavaScript, which is answered with a page and not with JSON.
pub fn wants_page() -> bool {
    let accept = use_context::<Parts>().and_then(|parts| parts.headers.get(header::ACCEPT).cloned());
    accept.is_some_and(|value| value.to_str().is_ok_and(|text| text.contains("text/html")))
}

/// Names the files of a page's part in the answer's head, so that the browser asks for them before the frame's WASM does.
pub fn announce_part(part: &str) {
    let (Some(manifest), Some(response)) = (use_context::<WasmSplitManifest>(), use_context::<ResponseOptions>()) else { return };
    let Some(manifest) = manifest.0.try_read_value() else { return };
    let (root, parts, script) = &*manifest;
    let modules = parts.get(part).map(Vec::as_slice).unwrap_or_default();
    let modules = modules.iter().map(|module| format!("<{root}/{module}.wasm>; rel=preload; as=fetch; crossorigin"));
    let links: Vec<String> = modules.chain([format!("<{root}/{script}>; rel=modulepreload")]).collect();
    if let Ok(links) = HeaderValue::from_str(&links.join(", ")) {
        response.append_header(header::LINK, links);
    }
}

/// Remembers the theme for a year; `System` forgets it.
pub fn set_theme_cookie(theme: Theme) {
    const YEAR: u32 = 365 * 24 * 3600;
    let cookie = match theme {
        Theme::System => "theme=; Path=/; Max-Age=0; SameSite=Lax".to_owned(),
        Theme::Light | Theme::Dark => format!("theme={}; Path=/; Max-Age={YEAR}; SameSite=Lax", theme.as_str()),
    };
    if let (Some(response), Ok(value)) = (use_context::<ResponseOptions>(), HeaderValue::from_str(&cookie)) {
        response.append_header(header::SET_COOKIE, value);
    }
}

fn theme_of(parts: &Parts) -> Theme {
    let cookies = parts.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let theme = cookies.flat_map(|line| line.split(';')).find_map(|pair| pair.trim().strip_prefix("theme="));
    theme.and_then(Theme::parse).unwrap_or_default()
}

/// The document around the pages, with its Content-Security-Policy.
pub fn shell(options: LeptosOptions) -> impl IntoView {
    let parts = use_context::<Parts>();
    let theme = parts.as_ref().map(theme_of).unwrap_or_default();
    provide_context(theme);
    let host = parts.as_ref().and_then(|parts| parts.headers.get(header::HOST)).and_then(|value| value.to_str().ok());
    set_policy(host.unwrap_or_default());
    view! {
        <!DOCTYPE html>
        <html lang="en" data-theme=theme.attribute()>
            <head>
                <meta charset="utf-8" />
                <meta name="viewport" content="width=device-width, initial-scale=1" />
                <meta name="color-scheme" content="light dark" />
                <link rel="icon" href="/icon.svg" type="image/svg+xml" />
                <link rel="stylesheet" href="/vendor/xterm.css" />
                <HashedStylesheet id="leptos" options=options.clone() />
                <script type="module" src="/terminal.js" nonce=use_nonce()></script>
                <AutoReload options=options.clone() />
                <HydrationScripts options />
                <MetaTags />
            </head>
            <body>
                <App />
            </body>
        </html>
    }
}

/// Scripts only from here and with this answer's nonce; style attributes because xterm.js sets them.
fn set_policy(host: &str) {
    let (Some(response), Some(nonce)) = (use_context::<ResponseOptions>(), use_nonce()) else { return };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    // Older Safari doesn't count WebSockets of the same origin as 'self'.
    let sockets = if !host.is_empty() && host.chars().all(plain) { format!(" ws://{host} wss://{host}") } else { String::new() };
    let policy = format!(
        "default-src 'self'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; connect-src 'self'{sockets}; \
         img-src 'self' data:; object-src 'none'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
    );
    if let Ok(value) = HeaderValue::from_str(&policy) {
        response.insert_header(HeaderName::from_static("content-security-policy"), value);
    }
}
