//! A new secret: its name, its value, and whose it is.

use super::api::CreateSecret;
use super::storeys::Storeys;
use super::{Reach, SecretsView};
use crate::error::AppError;
use crate::ui::dialog::{Closes, Dialog, close};
use crate::ui::once::once;
use crate::ui::problem::FieldError;
use crate::ui::toast::Notice;
use leptos::form::ActionForm;
use leptos::html;
use leptos::prelude::*;

pub const ADD: &str = "add-secret";

#[component]
pub fn AddDialog(shown: RwSignal<SecretsView>, again: Callback<()>) -> impl IntoView {
    let action = ServerAction::<CreateSecret>::new();
    let form = NodeRef::<html::Form>::new();
    let refused = RwSignal::new(None::<AppError>);
    let notice = Notice::here();
    Effect::new(move || match action.value().get() {
        Some(Ok(secret)) => {
            refused.set(None);
            close(ADD);
            // The value does not stay in the page.
            if let Some(form) = form.get_untracked() {
                form.reset();
            }
            action.clear();
            notice.say(format!("{} is added. Pods get it at their next start.", secret.name));
            again.run(());
        }
        Some(Err(error)) => refused.set(Some(error)),
        None => {}
    });
    let wrong =
        move |field: &'static str| Signal::derive(move || refused.with(|error| error.as_ref().and_then(|error| error.of(field).map(str::to_owned))));
    let (wrong_name, wrong_value, wrong_project) = (wrong("name"), wrong("value"), wrong("project_ref"));
    let general = move || refused.with(|error| error.as_ref().filter(|error| error.fields.is_empty()).map(|error| error.message.clone()));
    let team = move || shown.with(|view| view.team.name.clone());
    let projects = Memo::new(move |_| shown.with(|view| view.projects.clone()));
    let first = Memo::new(move |_| shown.with(|view| view.project.clone().or_else(|| view.projects.first().cloned()).unwrap_or_default()));
    view! {
        <Dialog id=ADD title="Add secret">
            <ActionForm action on:submit:capture=once(action.pending()) node_ref=form attr:class="body" attr:id="add-secret-form" attr:autocomplete="off">
                <input type="hidden" name="team" value=move || shown.with(|view| view.team.id.to_string()) />
                <div class="field">
                    <label for="secret-name">"Name"</label>
                    <input
                        type="text"
                        class="input mono"
                        id="secret-name"
                        name="name"
                        required
                        maxlength="128"
                        pattern="[A-Z_][A-Z0-9_]*"
                        title="Begin with a letter or _, then capital letters, digits and _ only."
                        placeholder="STRIPE_SECRET_KEY"
                        autocomplete="off"
                        spellcheck="false"
                        autocapitalize="characters"
                        autofocus
                        aria-invalid=move || wrong_name.get().map(|_| "true")
                        aria-describedby="secret-name-hint secret-name-err"
                    />
                    <p class="hint swap" id="secret-name-hint">
                        "Capital letters, digits and _. Names such as PATH are refused."
                    </p>
                    <FieldError id="secret-name-err" message=wrong_name />
                </div>
                <div class="field">
                    <label for="secret-value">"Value"</label>
                    <textarea
                        class="input mono masked"
                        id="secret-value"
                        name="value"
                        rows="4"
                        autocomplete="off"
                        spellcheck="false"
                        aria-invalid=move || wrong_value.get().map(|_| "true")
                        aria-describedby="secret-value-hint secret-value-err"
                    ></textarea>
                    <p class="hint" id="secret-value-hint">
                        "Up to 64 KiB of text, may have several lines. You will not see it here again; members can read it in their pods."
                    </p>
                    <FieldError id="secret-value-err" message=wrong_value />
                </div>
                <fieldset class="field">
                    <legend class="label">"For"</legend>
                    <div class="pick">
                        <label class="opt">
                            <input type="radio" name="whose" value="team" checked />
                            <Storeys of_repository=false reach=Reach::Only />
                            <span>
                                <b>{team}</b>
                                <small>"Every pod of the team"</small>
                            </span>
                        </label>
                        <div class="opt">
                            <label>
                                <input type="radio" name="whose" value="repository" />
                                <Storeys of_repository=true reach=Reach::Only />
                                <span>
                                    <b>"One repository"</b>
                                    <small>{move || format!("Pods made from it; wins over {}", team())}</small>
                                </span>
                            </label>
                            <input
                                type="text"
                                class="input end"
                                name="project"
                                list="secret-projects"
                                aria-label="Repository"
                                placeholder="owner/name"
                                autocomplete="off"
                                spellcheck="false"
                                autocapitalize="none"
                                maxlength="500"
                                value=first
                                aria-invalid=move || wrong_project.get().map(|_| "true")
                                aria-describedby="secret-project-err"
                            />
                        </div>
                    </div>
                    <datalist id="secret-projects">
                        {move || projects.get().into_iter().map(|project| view! { <option value=project></option> }).collect_view()}
                    </datalist>
                    <FieldError id="secret-project-err" message=wrong_project />
                </fieldset>
                <p class="note bad" role="alert" hidden=move || general().is_none()>
                    {general}
                </p>
            </ActionForm>
            <div class="end-row">
                <p>"Pods get it at their next start."</p>
                <Closes dialog=ADD class="btn quiet end">
                    "Cancel"
                </Closes>
                <button
                    type="submit"
                    form="add-secret-form"
                    class="btn primary"
                    aria-disabled=move || action.pending().get().then_some("true")
                >
                    {move || if action.pending().get() { "Adding…" } else { "Add secret" }}
                </button>
            </div>
        </Dialog>
    }
}
