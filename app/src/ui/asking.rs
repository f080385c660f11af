//! What has no stream is asked for again and again, as long as somebody looks.

use leptos::prelude::*;
use std::time::Duration;

/// Calls `ask` in the browser every so often until the caller's owner is gone: not while the page is hidden, and at once
/// when it is seen again.
pub fn ask_every(period: Duration, ask: impl Fn() + Clone + 'static) {
    let seen = {
        let ask = ask.clone();
        move || {
            if !document().hidden() {
                ask();
            }
        }
    };
    let ticking = set_interval_with_handle(seen.clone(), period);
    let shown = window_event_listener_untyped("visibilitychange", move |_| seen());
    on_cleanup(move || {
        shown.remove();
        if let Ok(handle) = ticking {
            handle.clear();
        }
    });
}
