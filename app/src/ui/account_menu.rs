//! The menu of whoever is signed in.

use super::dialog::hide;
use super::icon::Icon;
use crate::account::{Me, ThemeForm};
use leptos::prelude::*;

const MENU: &str = "account";

#[component]
pub fn AccountMenu(me: Me) -> impl IntoView {
    let initial: String = me.login.chars().take(1).collect();
    view! {
        <button type="button" class="btn quiet icon" popovertarget=MENU aria-label=format!("Account: {}", me.login)>
            <span class="face" aria-hidden="true">
                {initial}
            </span>
        </button>
        <div class="menu" id=MENU popover="auto">
            <p>{format!("Signed in as {}", me.login)}</p>
            <a href="/account#tokens" on:click=|_| hide(MENU)>
                <Icon name="key" />
                "API tokens"
            </a>
            <a href="/account#browsers" on:click=|_| hide(MENU)>
                <Icon name="globe" />
                "Signed-in browsers"
            </a>
            <a href="/account#quota" on:click=|_| hide(MENU)>
                <Icon name="server" />
                "Quota"
            </a>
            <hr />
            <ThemeForm id="menu" />
            <hr />
            <form method="post" action="/auth/sign-out">
                <button type="submit">
                    <Icon name="out" />
                    "Sign out"
                </button>
            </form>
        </div>
    }
}
