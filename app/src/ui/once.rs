//! What is asked for is asked for once: a second press while the first is on its way does nothing.

use leptos::ev::SubmitEvent;
use leptos::prelude::*;
use leptos::task::spawn_local;

/// For `on:submit:capture` of an `ActionForm`, which leaves alone what is prevented before it hears of it.
pub fn once(pending: Memo<bool>) -> impl Fn(SubmitEvent) + Clone + 'static {
    move |event| {
        if pending.get_untracked() {
            event.prevent_default();
        }
    }
}

/// Whether what a button or a form asks for is under way.
#[derive(Clone, Copy, Default)]
pub struct Busy(RwSignal<bool>);

impl Busy {
    /// Does the work, unless other work is under way.
    pub fn run(self, work: impl Future<Output = ()> + 'static) {
        if self.0.get_untracked() {
            return;
        }
        self.0.set(true);
        spawn_local(async move {
            work.await;
            // The page may have been left.
            self.0.try_set(false);
        });
    }

    /// For `aria-disabled`.
    pub fn is_busy(self) -> bool {
        self.0.get()
    }
}
