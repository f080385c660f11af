//! The choice of a theme: at once with JavaScript, as a form without.

use super::api::SetTheme;
use super::theme::Theme;
use crate::ui::refusal::bear;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos::task::spawn_local;

/// Markup as text: what stands in a `noscript` is never hydrated.
const WITHOUT_SCRIPT: &str = r#"<button class="btn small">Apply</button>"#;

/// `id` keeps two of these on one page apart.
#[component]
pub fn ThemeForm(id: &'static str, #[prop(optional)] rows: bool) -> impl IntoView {
    let theme = expect_context::<RwSignal<Theme>>();
    let choose = move |new: Theme| {
        theme.set(new);
        if let Some(root) = document().document_element() {
            let set = match new.attribute() {
                Some(value) => root.set_attribute("data-theme", value),
                None => root.remove_attribute("data-theme"),
            };
            bear("The theme", set);
        }
        spawn_local(async move {
            // The page has it already: a theme that could not be kept is no reason to bother anybody.
            if let Err(error) = super::api::set_theme(new).await {
                leptos::logging::warn!("the theme was not kept: {error}");
            }
        });
    };
    let radios = Theme::ALL
        .into_iter()
        .map(|one| {
            let radio = view! {
                <input
                    type="radio"
                    name="theme"
                    value=one.as_str()
                    checked=theme.get_untracked() == one
                    prop:checked=move || theme.get() == one
                    on:change=move |_| choose(one)
                />
            };
            let hint = (one == Theme::System).then_some("Light by day and dark by night, if your system does so");
            if rows {
                view! {
                    <label class="opt">
                        {radio}
                        <span>
                            <b>{one.label()}</b>
                            {hint.map(|words| view! { <small>{words}</small> })}
                        </span>
                    </label>
                }
                .into_any()
            } else {
                view! { <label>{radio} {one.label()}</label> }.into_any()
            }
        })
        .collect_view();
    view! {
        <form method="post" action=SetTheme::PATH id=format!("theme-{id}")>
            <fieldset>
                <legend class="sr">"Theme"</legend>
                {if rows { view! { <div class="pick">{radios}</div> }.into_any() } else { radios.into_any() }}
            </fieldset>
            <noscript inner_html=WITHOUT_SCRIPT></noscript>
        </form>
    }
}
