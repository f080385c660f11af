//! Deleting a team: asked once, by name; with its pods where it has some.

use super::api::delete_team;
use super::page::Shown;
use super::place::MyTeams;
use crate::ui::dialog::{Closes, Dialog, close};
use crate::ui::once::Busy;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::use_navigate;

pub const END: &str = "delete-team";

#[component]
pub fn EndDialog(shown: Shown) -> impl IntoView {
    let mine = MyTeams::here();
    let navigate = use_navigate();
    let typed = RwSignal::new(String::new());
    let refused = RwSignal::new(None::<String>);
    let busy = Busy::default();
    let name = Memo::new(move |_| shown.name());
    let pods = Memo::new(move |_| shown.all.with(|all| all.team.pods));
    let send = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if typed.read_untracked().trim() != name.get_untracked() {
            return;
        }
        let (id, said, navigate) = (shown.id(), name.get_untracked(), navigate.clone());
        busy.run(async move {
            shown.going.set(true);
            match delete_team(id, Some(said)).await {
                Ok(()) => {
                    close(END);
                    mine.changed();
                    navigate("/", NavigateOptions::default());
                }
                Err(error) => {
                    refused.try_set(Some(error.message));
                    shown.going.try_set(false);
                }
            }
        });
    };
    let what = move || match pods.get() {
        0 => "Its members, invitations and secrets go with it.".to_owned(),
        1 => {
            "Its pod is deleted with it, disk and all, and so are its members, invitations and secrets. Work that was not pushed is lost.".to_owned()
        }
        n => format!(
            "Its {n} pods are deleted with it, disks and all, and so are its members, invitations and secrets. Work that was not pushed is lost."
        ),
    };
    view! {
        <Dialog id=END title=Signal::derive(move || format!("Delete {}?", name.get()))>
            <form class="body" on:submit=send>
                <p>{what}</p>
                <div class="field">
                    <label for="delete-team-name">"Type " <code>{name}</code> " to delete it"</label>
                    <input
                        type="text"
                        class="input"
                        id="delete-team-name"
                        required
                        autocomplete="off"
                        spellcheck="false"
                        aria-invalid=move || refused.with(Option::is_some).then_some("true")
                        aria-describedby="delete-team-err"
                        on:input=move |event| {
                            refused.set(None);
                            typed.set(event_target_value(&event));
                        }
                    />
                    <p class="err" id="delete-team-err" aria-live="polite">
                        {move || refused.get()}
                    </p>
                </div>
                <p class="acts">
                    <button
                        type="submit"
                        class="btn danger"
                        aria-disabled=move || (busy.is_busy() || typed.with(|typed| typed.trim() != name.get())).then_some("true")
                    >
                        {move || if pods.get() == 0 { "Delete team" } else { "Delete team and pods" }}
                    </button>
                    <Closes dialog=END class="btn quiet">
                        "Keep it"
                    </Closes>
                </p>
            </form>
        </Dialog>
    }
}
