//! The handle, and another one in its place. Works as a plain form, too.

use super::Me;
use super::api::SetHandle;
use crate::error::AppError;
use crate::ui::once::once;
use crate::ui::problem::FieldError;
use leptos::form::ActionForm;
use leptos::prelude::*;

#[component]
pub fn HandleForm(me: RwSignal<Me>) -> impl IntoView {
    let action = ServerAction::<SetHandle>::new();
    let refused = RwSignal::new(None::<AppError>);
    Effect::new(move || match action.value().get() {
        Some(Ok(new)) => {
            refused.set(None);
            me.set(new);
        }
        Some(Err(error)) => refused.set(Some(error)),
        None => {}
    });
    let wrong = Signal::derive(move || refused.with(|error| error.as_ref().map(|error| error.at("handle").to_owned())));
    view! {
        <section class="sec" id="handle" aria-labelledby="h-handle">
            <header>
                <h2 id="h-handle">"Handle"</h2>
            </header>
            <ActionForm action=action on:submit:capture=once(action.pending())>
                <div class="field">
                    <label for="my-handle">"Stands in the addresses of your previews"</label>
                    <input
                        type="text"
                        class="input mono"
                        id="my-handle"
                        name="handle"
                        required
                        maxlength="39"
                        autocomplete="off"
                        spellcheck="false"
                        autocapitalize="none"
                        value=me.get_untracked().handle
                        aria-invalid=move || wrong.get().map(|_| "true")
                        aria-describedby="my-handle-hint handle-wrong"
                    />
                    <p class="hint swap" id="my-handle-hint">
                        "Lower-case letters, digits and hyphens. A handle that you give up is kept for you; nobody else gets it."
                    </p>
                    <FieldError id="handle-wrong" message=wrong />
                </div>
                <p class="acts under">
                    <button type="submit" class="btn" aria-disabled=move || action.pending().get().then_some("true")>
                        {move || if action.pending().get() { "Changing…" } else { "Change handle" }}
                    </button>
                </p>
            </ActionForm>
        </section>
    }
}
