//! A form is sent once.

use leptos::ev::SubmitEvent;
use leptos::prelude::*;

/// For `on:submit:capture` of an `ActionForm`, which leaves alone what is prevented before it hears of it: a second press while the first
/// is on its way sends nothing.
pub fn once(pending: Memo<bool>) -> impl Fn(SubmitEvent) + Clone + 'static {
    move |event| {
        if pending.get_untracked() {
            event.prevent_default();
        }
    }
}
