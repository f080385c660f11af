//! A short notice at the page's foot: what was refused, or done.

use super::icon::Icon;
use leptos::prelude::*;

/// What refused a form that was sent without JavaScript; a context of the server's, for the page that follows.
#[derive(Clone)]
pub struct Refused(pub String);

/// The page's one notice.
#[derive(Clone, Copy)]
pub struct Notice {
    text: RwSignal<Option<String>>,
}

impl Notice {
    /// For the whole page.
    pub fn provide() {
        let refused = SharedValue::new(|| use_context::<Refused>().map(|Refused(words)| words));
        provide_context(Self { text: RwSignal::new(refused.into_inner()) });
    }

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
