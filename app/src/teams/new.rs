//! The form for a new team. It works without JavaScript.

use super::TeamName;
use super::api::CreateTeam;
use crate::error::AppError;
use crate::ui::once::once;
use crate::ui::problem::FieldError;
use leptos::form::ActionForm;
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;

#[component]
pub fn NewTeamPage() -> impl IntoView {
    let query = use_query_map();
    let (name, checked) = query.with_untracked(|query| (query.get("name").unwrap_or_default(), query.get("checked").is_some()));
    let action = ServerAction::<CreateTeam>::new();
    let typed = name.clone();
    // Sent without JavaScript and refused: what is wrong with it is found again here.
    let refused = RwSignal::new(checked.then(|| TeamName::parse(&typed).err()).flatten().map(|error| AppError::field("name", error.to_string())));
    Effect::new(move || {
        if let Some(Err(error)) = action.value().get() {
            refused.set(Some(error));
        }
    });
    let wrong = Signal::derive(move || refused.with(|error| error.as_ref().map(|error| error.at("name").to_owned())));
    view! {
        <Title text="New team" />
        <main id="main">
            <div class="head">
                <div>
                    <h1>"New team"</h1>
                    <p class="sub">"A team shares pods and secrets. You are its first owner."</p>
                </div>
            </div>
            <ActionForm action=action on:submit:capture=once(action.pending()) attr:class="narrow">
                <div class="field">
                    <label for="team-name">"Name"</label>
                    <input
                        type="text"
                        class="input"
                        id="team-name"
                        name="name"
                        required
                        maxlength=TeamName::MAX.to_string()
                        autocomplete="off"
                        value=name
                        aria-invalid=move || wrong.get().map(|_| "true")
                        aria-describedby="team-name-hint team-name-err"
                        on:input=move |_| refused.set(None)
                    />
                    <p class="hint swap" id="team-name-hint">
                        "What people call it. Its address is made of it now, and stays when the team is renamed."
                    </p>
                    <FieldError id="team-name-err" message=wrong />
                </div>
                <p class="acts under">
                    <button type="submit" class="btn primary" aria-disabled=move || action.pending().get().then_some("true")>
                        {move || if action.pending().get() { "Creating…" } else { "Create team" }}
                    </button>
                    <a class="btn quiet" href="/">
                        "Cancel"
                    </a>
                </p>
            </ActionForm>
        </main>
    }
}
