//! Deleting a pod: asked once, by name, and shown as its own progress.

use super::wishes::ask;
use super::{Pod, Wish};
use crate::ui::dialog::{Closes, Dialog, close};
use leptos::prelude::*;

pub const DELETE: &str = "delete";

#[component]
pub fn DeleteDialog(pod: RwSignal<Pod>) -> impl IntoView {
    let name = Memo::new(move |_| pod.with(|pod| pod.name.clone()));
    let typed = RwSignal::new(String::new());
    let send = {
        let owner = Owner::current();
        move |event: leptos::ev::SubmitEvent| {
            event.prevent_default();
            if typed.get_untracked().trim() != name.get_untracked() {
                return;
            }
            close(DELETE);
            let id = pod.with_untracked(|pod| pod.id);
            let act = move || ask(id, Wish::Delete, move || pod.try_get_untracked(), move |new| drop(pod.try_set(new)));
            match &owner {
                Some(owner) => owner.with(act),
                None => act(),
            }
        }
    };
    view! {
        <Dialog id=DELETE title=Signal::derive(move || format!("Delete {}?", name.get()))>
            <form class="body" on:submit=send>
                <p>"Its disk, terminals and deploy key go with it. Work that was not pushed is lost."</p>
                <div class="field">
                    <label for="delete-name">"Type " <code>{move || name.get()}</code> " to delete it"</label>
                    <input
                        type="text"
                        class="input mono"
                        id="delete-name"
                        autofocus
                        pattern=move || name.get()
                        required
                        autocomplete="off"
                        spellcheck="false"
                        on:input=move |event| typed.set(event_target_value(&event))
                    />
                    <p class="err">"That is not its name."</p>
                </div>
                <p class="acts">
                    <button type="submit" class="btn danger">
                        {move || format!("Delete pod {}", name.get())}
                    </button>
                    <Closes dialog=DELETE class="btn quiet">
                        "Keep it"
                    </Closes>
                </p>
            </form>
        </Dialog>
    }
}
