//! One clock a page: it starts with the server's time, so that hydration finds what was rendered, and ticks after.

use super::time;
use ::time::OffsetDateTime;
use leptos::prelude::*;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An attribute of the document once the page answers to what is clicked.
pub const HYDRATED: &str = "data-hydrated";

/// Milliseconds since the Unix epoch, once a second.
#[derive(Clone, Copy)]
pub struct Clock {
    now: RwSignal<i64>,
}

impl Clock {
    /// Puts the page's clock into the context and lets it tick in the browser.
    pub fn provide() {
        let now = RwSignal::new(SharedValue::new(now_millis).into_inner());
        Effect::new(move || {
            // While the code of a page is still on its way, it is to find what was rendered.
            let tick = move || {
                if document().document_element().is_some_and(|root| root.has_attribute(HYDRATED)) {
                    now.set(now_millis());
                }
            };
            let ticking = set_interval_with_handle(tick, Duration::from_secs(1));
            on_cleanup(move || {
                if let Ok(handle) = ticking {
                    handle.clear();
                }
            });
        });
        provide_context(Clock { now });
    }

    pub fn here() -> Self {
        expect_context()
    }

    pub fn now(self) -> i64 {
        self.now.get()
    }

    pub fn now_untracked(self) -> i64 {
        self.now.get_untracked()
    }
}

/// The machine's own time, which a render must not use: see [`Clock`].
pub fn now_millis() -> i64 {
    if cfg!(target_arch = "wasm32") {
        // Whole milliseconds: far from where f64 loses them.
        return js_sys::Date::now() as i64;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(0)
}

/// How long ago, with the exact time on hover.
#[component]
pub fn Ago(at: OffsetDateTime) -> impl IntoView {
    let clock = Clock::here();
    view! {
        <time datetime=time::machine(at) title=time::exact(at)>
            {move || time::ago(clock.now(), at)}
        </time>
    }
}

/// How long until then, or how long ago it was.
#[component]
pub fn Until(at: OffsetDateTime) -> impl IntoView {
    let clock = Clock::here();
    let words = move || match (time::millis(at) - clock.now()).div_euclid(1000) {
        left if left > 0 => format!("in {}", time::span(left)),
        over => format!("ended {} ago", time::span(-over)),
    };
    view! { <time datetime=time::machine(at) title=time::exact(at)>{words}</time> }
}

/// How long it has been going on.
#[component]
pub fn Since(at: OffsetDateTime) -> impl IntoView {
    let clock = Clock::here();
    let words = move || time::long_span(u64::try_from((clock.now() - time::millis(at)) / 1000).unwrap_or(0));
    view! { <time datetime=time::machine(at) title=format!("since {}", time::exact(at))>{words}</time> }
}
