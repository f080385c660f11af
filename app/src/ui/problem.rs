//! What a page shows when its data could not be had.

use super::icon::Icon;
use super::not_found::NotFound;
use super::refusal::bear;
use super::status::Status;
use crate::error::{AppError, ErrorCode};
use leptos::prelude::*;

/// Sets the answer's status on the server; nothing in the browser.
pub fn answer_with(#[cfg_attr(not(feature = "ssr"), expect(unused_variables, reason = "the status is the server's"))] code: u16) {
    #[cfg(feature = "ssr")]
    crate::server::set_status(code);
}

/// In place of a page: not found, or what happened and a way to try again. Nothing for somebody who isn't signed in: on the
/// server the frame sends those on, and in the browser, where a session has ended since, the page is asked for again.
#[component]
pub fn Problem(error: AppError, #[prop(into)] what: String) -> impl IntoView {
    match error.code {
        ErrorCode::Unauthenticated => {
            Effect::new(sign_in_again);
            ().into_any()
        }
        ErrorCode::NotFound => view! { <NotFound /> }.into_any(),
        code => {
            answer_with(code.status());
            view! {
                <main id="main">
                    <Failed message=error.message what />
                </main>
            }
            .into_any()
        }
    }
}

/// The server sends who is signed in no more to where they sign in, and from there back to here.
pub fn sign_in_again() {
    bear("The way to signing in", window().location().reload());
}

/// A part of a page that could not be loaded.
#[component]
pub fn Failed(#[prop(into)] message: String, #[prop(into)] what: String) -> impl IntoView {
    view! {
        <div class="note bad" role="alert">
            <p>
                <Status kind="failed" shape="s-failed" word=format!("{what} could not be loaded.") />
                " "
                {message}
            </p>
            <div class="acts">
                <a class="btn small" href="" rel="external">
                    <Icon name="again" />
                    "Load again"
                </a>
            </div>
        </div>
    }
}

/// The message at a field, in the words that came back.
#[component]
pub fn FieldError(id: &'static str, #[prop(into)] message: Signal<Option<String>>) -> impl IntoView {
    view! {
        <p class="err" id=id aria-live="polite">
            {move || message.get()}
        </p>
    }
}
