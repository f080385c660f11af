//! What the caller has allowed at GitHub, and the way to allow more or to renew it.

use super::Allowed;
use crate::ui::icon::Icon;
use leptos::prelude::*;

/// Where GitHub is asked for repositories, too; the browser comes back to `return_to`.
pub fn consent_address(return_to: &str) -> String {
    url::form_urlencoded::Serializer::new("/auth/github?".to_owned())
        .append_pair("access", "repositories")
        .append_pair("return_to", return_to)
        .finish()
}

#[component]
pub fn GitHubSection(allowed: Allowed) -> impl IntoView {
    let (state, then, action) = match allowed {
        Allowed::Nothing => (
            "Nothing that GitHub still accepts.",
            "It was withdrawn there, or has ended. Pods that have their key go on; new ones of your repositories get none, and lists stay empty.",
            Some("Renew access"),
        ),
        Allowed::SignIn => (
            "To know who you are.",
            "Private repositories are not listed, and pods get no key to push with: allow access to repositories for that. GitHub has no narrower right that includes them.",
            Some("Allow access to repositories"),
        ),
        Allowed::Repositories => (
            "To know who you are, and your repositories.",
            "Used to list them and to give each pod a key of its own for its one repository. Your access itself never enters a pod. Take it back at GitHub under Settings, Applications.",
            None,
        ),
    };
    view! {
        <section class="sec" id="github" aria-labelledby="h-gh">
            <header>
                <h2 id="h-gh">"Allowed at GitHub"</h2>
            </header>
            <p>{state}</p>
            <p class="dim small">{then}</p>
            {action
                .map(|words| {
                    view! {
                        <p class="acts under">
                            <a class="btn" href=consent_address("/account") rel="external">
                                <Icon name="github" />
                                {words}
                            </a>
                        </p>
                    }
                })}
        </section>
    }
}
