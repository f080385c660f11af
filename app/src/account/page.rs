//! The caller's account: tokens, signed-in browsers, appearance, quota.

use super::browsers::Browsers;
use super::github::GitHubSection;
use super::handle_form::HandleForm;
use super::public_keys::PublicKeys;
use super::quota::QuotaSection;
use super::theme_form::ThemeForm;
use super::tokens::Tokens;
use super::{ApiToken, BrowserSession, Gateway, Me, PublicKey, Quota, api};
use crate::error::{AppError, AppResult};
use crate::ui::icon::Icon;
use crate::ui::keys::{letters_act, set_letters_act};
use crate::ui::problem::Problem;
use leptos::prelude::*;
use leptos_meta::Title;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    me: Me,
    tokens: Vec<ApiToken>,
    sessions: Vec<BrowserSession>,
    quota: Quota,
    gateway: Option<Gateway>,
    /// Or why GitHub's could not be had; the rest of the page is there all the same.
    keys: Result<Vec<PublicKey>, AppError>,
}

async fn load() -> AppResult<Everything> {
    let me = api::account().await?;
    let tokens = api::list_tokens(None).await?.items;
    let sessions = api::list_sessions().await?;
    let quota = api::account_quota().await?;
    let gateway = api::ssh_gateway().await?;
    let keys = api::list_public_keys().await;
    Ok(Everything { me, tokens, sessions, quota, gateway, keys })
}

#[component]
pub fn AccountPage() -> impl IntoView {
    let everything = Resource::new(|| (), |()| load());
    view! {
        <Title text="Account" />
        <Suspense fallback=|| {
            view! {
                <main id="main">
                    <p class="dim">"Loading your account…"</p>
                </main>
            }
        }>
            {move || Suspend::new(async move {
                match everything.await {
                    Ok(all) => {
                        view! {
                            <main id="main">
                                <TheAccount all />
                            </main>
                        }
                            .into_any()
                    }
                    Err(error) => view! { <Problem error what="Your account" /> }.into_any(),
                }
            })}
        </Suspense>
    }
}

#[component]
fn TheAccount(all: Everything) -> impl IntoView {
    let Everything { me, tokens, sessions, quota, gateway, keys } = all;
    let has_gateway = gateway.is_some();
    let shown = RwSignal::new(me.clone());
    view! {
        <div class="head">
            <div>
                <h1>{me.name.clone()}</h1>
                <p class="sub">
                    <span>
                        <Icon name="github" />
                        {format!("{} on GitHub", me.login)}
                    </span>
                    <span>"handle " <code>{move || shown.with(|me| me.handle.clone())}</code></span>
                    {me.operator.then_some(view! { <span>"operates the hosts"</span> })}
                </p>
            </div>
        </div>
        <nav class="tabs" aria-label="Account">
            <a href="#tokens" rel="external">
                "API tokens"
            </a>
            <a href="#browsers" rel="external">
                "Browsers"
            </a>
            {has_gateway
                .then(|| {
                    view! {
                        <a href="#keys" rel="external">
                            "SSH keys"
                        </a>
                    }
                })} <a href="#handle" rel="external">
                "Handle"
            </a>
            <a href="#appearance" rel="external">
                "Appearance"
            </a>
            <a href="#quota" rel="external">
                "Quota"
            </a>
        </nav>
        <Tokens tokens />
        <Browsers sessions />
        <PublicKeys keys gateway />
        <div class="pair gap rooms">
            <GitHubSection allowed=me.github />
            <HandleForm me=shown />
            <Appearance />
            <QuotaSection quota />
        </div>
    }
}

#[component]
fn Appearance() -> impl IntoView {
    // Kept in the browser, so it is known only there.
    let letters = RwSignal::new(true);
    Effect::new(move || letters.set(letters_act()));
    view! {
        <section class="sec" id="appearance" aria-labelledby="h-app">
            <header>
                <h2 id="h-app">"Appearance"</h2>
            </header>
            <ThemeForm id="page" rows=true />
            <label class="tick after">
                <input
                    type="checkbox"
                    prop:checked=move || letters.get()
                    on:change=move |event| {
                        let on = event_target_checked(&event);
                        set_letters_act(on);
                        letters.set(on);
                    }
                />
                <span>
                    "Single-letter keys, "
                    <span class="dim">"such as " <kbd>"n"</kbd> " for a new pod; " <kbd>"?"</kbd> " lists them"</span>
                </span>
            </label>
        </section>
    }
}
