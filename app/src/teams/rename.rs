//! Another name for a team; its address stays.

use super::TeamName;
use super::api::rename_team;
use super::page::Shown;
use super::place::MyTeams;
use crate::error::AppError;
use crate::ui::dialog::{Closes, Dialog, close};
use crate::ui::once::Busy;
use crate::ui::problem::FieldError;
use leptos::prelude::*;

pub const RENAME: &str = "rename-team";

#[component]
pub fn RenameDialog(shown: Shown) -> impl IntoView {
    let mine = MyTeams::here();
    let before = shown.all.with_untracked(|all| all.team.team.name.clone());
    let name = RwSignal::new(before.clone());
    let refused = RwSignal::new(None::<AppError>);
    let wrong = Signal::derive(move || {
        let typed = TeamName::parse(&name.read()).err().map(|error| error.to_string());
        typed.or_else(|| refused.with(|error| error.as_ref().map(|error| error.at("name").to_owned())))
    });
    let busy = Busy::default();
    let send = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let Ok(new) = TeamName::parse(&name.read_untracked()) else { return };
        let id = shown.id();
        busy.run(async move {
            match rename_team(id, new.to_string()).await {
                Ok(team) => {
                    shown.all.try_update(|all| all.team.team.name = team.name);
                    mine.changed();
                    close(RENAME);
                }
                Err(error) => drop(refused.try_set(Some(error))),
            }
        });
    };
    view! {
        <Dialog id=RENAME title="Rename the team">
            <form class="body" on:submit=send>
                <div class="field">
                    <label for="rename-team-name">"Name"</label>
                    <input
                        type="text"
                        class="input"
                        id="rename-team-name"
                        required
                        maxlength=TeamName::MAX.to_string()
                        autocomplete="off"
                        value=before
                        aria-invalid=move || wrong.get().map(|_| "true")
                        aria-describedby="rename-team-err"
                        on:input=move |event| {
                            refused.set(None);
                            name.set(event_target_value(&event));
                        }
                    />
                    <p class="hint swap">"Its address stays."</p>
                    <FieldError id="rename-team-err" message=wrong />
                </div>
                <p class="acts">
                    <button type="submit" class="btn primary">
                        "Rename team"
                    </button>
                    <Closes dialog=RENAME class="btn quiet">
                        "Cancel"
                    </Closes>
                </p>
            </form>
        </Dialog>
    }
}
