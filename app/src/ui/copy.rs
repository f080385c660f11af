//! Copying to the clipboard.

use super::icon::Icon;
use super::toast::Notice;
use leptos::prelude::*;
use leptos::task::spawn_local;
use std::time::Duration;
use wasm_bindgen_futures::JsFuture;

const SAYS_COPIED: Duration = Duration::from_secs(2);

/// A button that copies `text` and says so for two seconds. Without `label` it is an icon named by `name`.
#[component]
pub fn Copy(
    #[prop(into)] text: Signal<String>,
    #[prop(into)] name: String,
    #[prop(optional)] label: Option<&'static str>,
    #[prop(optional)] class: Option<&'static str>,
) -> impl IntoView {
    let copied = RwSignal::new(false);
    let notice = Notice::here();
    let copy = move |_| {
        let words = text.get_untracked();
        spawn_local(async move {
            let written = JsFuture::from(window().navigator().clipboard().write_text(&words)).await;
            if written.is_err() {
                notice.say("The browser did not allow copying. Select the text and copy it by hand.");
                return;
            }
            copied.set(true);
            set_timeout(
                move || {
                    copied.try_set(false);
                },
                SAYS_COPIED,
            );
        });
    };
    let class = format!("btn small {} {}", class.unwrap_or("quiet"), if label.is_none() { "icon" } else { "" });
    view! {
        <button type="button" class=class aria-label=name on:click=copy>
            {move || if copied.get() { view! { <Icon name="check" /> } } else { view! { <Icon name="copy" /> } }}
            {label.map(|words| move || if copied.get() { "Copied" } else { words })}
        </button>
    }
}
