//! The bar above and the line below every page of somebody who is signed in.

use super::account_menu::AccountMenu;
use super::icon::{Hatches, Icon, Mark};
use super::keys::{KeysDialog, Shortcuts};
use super::live::LiveMark;
use super::palette::{PALETTE, Palette};
use super::{dialog, toast::Toast};
use crate::account::{Me, api::account};
use crate::error::{AppError, ErrorCode};
use crate::teams::TeamSwitcher;
use crate::teams::place::{MyTeams, pods_of, secrets_of, slug_here};
use leptos::prelude::*;
use leptos_router::components::{Outlet, Redirect};
use leptos_router::hooks::use_location;

/// The frame around the routes inside of it.
#[component]
pub fn Frame() -> impl IntoView {
    view! {
        <Framed>
            <Outlet />
        </Framed>
    }
}

/// The frame around anything. Who is not signed in is sent to sign in and back to where it wanted to go.
#[component]
pub fn Framed(children: Children) -> impl IntoView {
    let me: Resource<Result<Me, AppError>> = Resource::new(|| (), |()| account());
    provide_context(me);
    let mine = MyTeams::provide();
    let slug = slug_here();
    // A team that was made or joined just now is not among those that were read before.
    Effect::new(move || {
        if let Some(slug) = slug.get()
            && let Some(Ok(teams)) = mine.all.get_untracked()
            && !teams.iter().any(|team| team.slug == slug)
        {
            mine.changed();
        }
    });
    let location = use_location();
    let on_pods = {
        let path = location.pathname;
        move || {
            let of_team = slug.with(|slug| slug.as_deref().map(|slug| pods_of(Some(slug))));
            path.with(|path| path == "/" || path.starts_with("/pods") || of_team.is_some_and(|pods| path.starts_with(&pods))).then_some("page")
        }
    };
    let on_team = {
        let path = location.pathname;
        move || path.with(|path| slug.with(|slug| slug.as_deref().is_some_and(|slug| *path == format!("/teams/{slug}")))).then_some("page")
    };
    let on_secrets = {
        let path = location.pathname;
        move || path.with(|path| slug.with(|slug| *path == secrets_of(slug.as_deref()))).then_some("page")
    };
    let on_hosts = {
        let path = location.pathname;
        move || path.with(|path| path.starts_with("/hosts")).then_some("page")
    };
    let back = move || {
        let path = location.pathname.get_untracked();
        let query = location.query.with_untracked(|query| query.to_query_string());
        let target = format!("{path}{query}");
        let encoded: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
        if target == "/" { "/sign-in".to_owned() } else { format!("/sign-in?return_to={encoded}") }
    };
    view! {
        <Hatches />
        <a class="skip" href="#main" rel="external">
            "Skip to content"
        </a>
        <header class="bar">
            <a class="mark" href="/" aria-label="Pinacle, all pods">
                <Mark />
            </a>
            <Suspense>
                {move || Suspend::new(async move { mine.all.await.ok().map(|teams| view! { <TeamSwitcher teams /> }) })}
            </Suspense>
            <nav aria-label="Pinacle">
                <a href=move || pods_of(slug.get().as_deref()) aria-current=on_pods>
                    "Pods"
                </a>
                <a href=move || secrets_of(slug.get().as_deref()) aria-current=on_secrets>
                    "Secrets"
                </a>
                {move || {
                    slug.get()
                        .map(|slug| {
                            view! {
                                <a href=format!("/teams/{slug}") aria-current=on_team>
                                    "Team"
                                </a>
                            }
                        })
                }}
                <Suspense>
                    {move || Suspend::new(async move {
                        let operator = me.await.is_ok_and(|me| me.operator);
                        operator
                            .then(|| {
                                view! {
                                    <a href="/hosts" aria-current=on_hosts>
                                        "Hosts"
                                    </a>
                                }
                            })
                    })}
                </Suspense>
            </nav>
            <button
                type="button"
                class="btn find"
                aria-label="Search or run a command"
                aria-keyshortcuts="Meta+K Control+K"
                commandfor=PALETTE
                command="show-modal"
                on:click=move |_| dialog::open(PALETTE)
            >
                <Icon name="search" />
                <span>"Search or run a command"</span>
                <kbd>"⌘K"</kbd>
            </button>
            <Suspense>
                {move || Suspend::new(async move {
                    match me.await {
                        Ok(me) => view! { <AccountMenu me /> }.into_any(),
                        Err(error) if error.code == ErrorCode::Unauthenticated => view! { <Redirect path=back() /> }.into_any(),
                        Err(_) => ().into_any(),
                    }
                })}
            </Suspense>
        </header>
        {children()}
        <footer class="foot">
            <a href="/api/v1/openapi.json" rel="external">
                "API"
            </a>
            <a href="/health" rel="external">
                "Status"
            </a>
            <KeysDialog />
            <LiveMark />
        </footer>
        <Toast />
        <Palette />
        <Shortcuts />
    }
}
