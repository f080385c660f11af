//! A short notice at the page's foot: what was refused, or done.

use super::icon::Icon;
use leptos::prelude::*;

/// The page's one notice.
#[derive(Clone, Copy, Default)]
pub struct Notice {
    text: RwSignal<Option<String>>,
}

impl Notice {
    pub fn here() -> Self {
        expect_context()
    }

    pub fn say(self, text: impl Into<String>) {
        self.text.set(Some(text.into()));
    }
}

/// Always in the page, so that what appears in it is announced.
#[component]
pub fn Toast() -> impl IntoView {
    let Notice { text } = Notice::here();
    view! {
        <div role="status">
            {move || {
                text.get()
                    .map(|words| {
                        view! {
                            <div class="toast">
                                {words}
                                <button class="btn quiet small icon" aria-label="Close this notice" on:click=move |_| text.set(None)>
                                    <Icon name="x" />
                                </button>
                            </div>
                        }
                    })
            }}
        </div>
    }
}
