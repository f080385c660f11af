//! What is not there, or not for the one who asks: word for word the same.

use super::frame::Framed;
use super::icon::Icon;
use super::problem::answer_with;
use crate::account::Me;
use crate::error::AppError;
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_location;

/// The page for an address that no route has.
#[component]
pub fn NotFoundInFrame() -> impl IntoView {
    view! {
        <Framed>
            <NotFound />
        </Framed>
    }
}

#[component]
pub fn NotFound() -> impl IntoView {
    answer_with(404);
    let path = use_location().pathname;
    let me = use_context::<Resource<Result<Me, AppError>>>();
    view! {
        <Title text="Not found" />
        <main id="main" class="lost">
            <p class="where mono">{path}</p>
            <div>
                <h1>"Nothing here that you can see"</h1>
                <p class="lead">
                    "Either there is no such page, or it belongs to a team that you are not in. Pinacle answers both the same way, so that nobody learns what exists."
                </p>
            </div>
            <p class="acts">
                <a class="btn primary" href="/">
                    "All pods"
                </a>
                <a class="btn" href="/pods/new">
                    <Icon name="plus" />
                    "New pod"
                </a>
            </p>
            <dl class="ask">
                <div>
                    <dt>"Somebody sent you this?"</dt>
                    <dd>"It may be in a team that you are not in yet. Ask them to have you invited."</dd>
                </div>
                <div>
                    <dt>"It was here before?"</dt>
                    <dd>"Then it was deleted, or you have left its team."</dd>
                </div>
                <div>
                    <dt>"Another account?"</dt>
                    <dd>
                        <Suspense>
                            {move || Suspend::new(async move {
                                let login = match me {
                                    Some(me) => me.await.ok().map(|me| me.login),
                                    None => None,
                                };
                                login.map(|login| view! { "You are signed in as " <b>{login}</b> ". " })
                            })}
                        </Suspense> "Sign out in the account menu and come back."
                    </dd>
                </div>
            </dl>
        </main>
    }
}
