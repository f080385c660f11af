//! Another name, shown at once; another tier, from the next start on.

use super::api::update_pod;
use super::tier_field::TierField;
use super::{Pod, PodName, PodStatus};
use crate::error::AppError;
use crate::ui::dialog::{Closes, Dialog, close};
use crate::ui::once::Busy;
use crate::ui::problem::FieldError;
use crate::ui::toast::Notice;
use leptos::prelude::*;

pub const RENAME: &str = "rename";

#[component]
pub fn RenameDialog(pod: RwSignal<Pod>) -> impl IntoView {
    let notice = Notice::here();
    let name = RwSignal::new(pod.with_untracked(|pod| pod.name.clone()));
    let tier = RwSignal::new(pod.with_untracked(|pod| pod.tier.as_str().to_owned()));
    let refused = RwSignal::new(None::<AppError>);
    // What somebody else changes meanwhile is followed where nothing was typed: saving would undo it.
    Effect::new(move |before: Option<(String, String)>| {
        let now = pod.with(|pod| (pod.name.clone(), pod.tier.as_str().to_owned()));
        if let Some(before) = before.filter(|_| refused.with_untracked(Option::is_none)) {
            if name.get_untracked() == before.0 {
                name.set(now.0.clone());
            }
            if tier.get_untracked() == before.1 {
                tier.set(now.1.clone());
            }
        }
        now
    });
    let busy = Busy::default();
    let wrong = Signal::derive(move || {
        let typed = PodName::parse(&name.read()).err().map(|error| error.to_string());
        typed.or_else(|| refused.with(|error| error.as_ref().map(|error| error.at("name").to_owned())))
    });
    let send = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let before = pod.get_untracked();
        let (new_name, new_tier) = (name.get_untracked().trim().to_owned(), tier.get_untracked());
        if PodName::parse(&new_name).is_err() {
            return;
        }
        let changed_name = (new_name != before.name).then(|| new_name.clone());
        let changed_tier = (new_tier != before.tier.as_str()).then_some(new_tier);
        if changed_name.is_none() && changed_tier.is_none() {
            return close(RENAME);
        }
        busy.run(async move {
            pod.update(|pod| pod.name = new_name);
            let later = changed_tier.is_some() && before.status == PodStatus::Running;
            match update_pod(before.id, changed_name, changed_tier).await {
                Ok(new) => {
                    pod.try_set(new);
                    close(RENAME);
                    if later {
                        notice.say("The new tier takes effect at the next start.");
                    }
                }
                Err(error) => {
                    pod.try_set(before);
                    refused.try_set(Some(error));
                }
            }
        });
    };
    view! {
        <Dialog id=RENAME title="Rename or change tier">
            <form class="body" on:submit=send>
                <div class="field">
                    <label for="new-name">"Name"</label>
                    <input
                        type="text"
                        class="input mono"
                        id="new-name"
                        autofocus
                        required
                        autocomplete="off"
                        spellcheck="false"
                        autocapitalize="none"
                        aria-invalid=move || wrong.get().map(|_| "true")
                        aria-describedby="new-name-err"
                        prop:value=name
                        on:input=move |event| {
                            refused.set(None);
                            name.set(event_target_value(&event));
                        }
                    />
                    <FieldError id="new-name-err" message=wrong />
                </div>
                <TierField tier name="new-tier" />
                <p class="mid">"A new tier takes effect at the next start. The disk grows and never shrinks."</p>
                <p class="acts">
                    <button type="submit" class="btn primary" aria-disabled=move || busy.is_busy().then_some("true")>
                        "Save"
                    </button>
                    <Closes dialog=RENAME class="btn quiet">
                        "Cancel"
                    </Closes>
                </p>
            </form>
        </Dialog>
    }
}
