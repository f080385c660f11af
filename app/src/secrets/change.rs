//! Replacing, renaming and deleting a secret: one of them at a time, each in its dialog.

use super::api::{delete_secret, rename_secret, replace_secret};
use super::{Secret, SecretValue};
use crate::error::AppError;
use crate::ui::dialog::{Closes, Dialog, close, open};
use crate::ui::once::Busy;
use crate::ui::problem::FieldError;
use crate::ui::toast::Notice;
use leptos::html;
use leptos::prelude::*;

const REPLACE: &str = "replace-secret";
const RENAME: &str = "rename-secret";
const DELETE: &str = "delete-secret";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Replace,
    Rename,
    Delete,
}

impl Verb {
    fn dialog(self) -> &'static str {
        match self {
            Self::Replace => REPLACE,
            Self::Rename => RENAME,
            Self::Delete => DELETE,
        }
    }
}

/// Which secret is being changed, and why that was refused.
#[derive(Clone, Copy, Default)]
pub struct Changing {
    secret: RwSignal<Option<Secret>>,
    refused: RwSignal<Option<AppError>>,
    busy: Busy,
}

impl Changing {
    pub fn begin(self, verb: Verb, secret: Secret) {
        self.refused.set(None);
        self.secret.set(Some(secret));
        open(verb.dialog());
    }

    fn name(self) -> String {
        self.secret.with(|secret| secret.as_ref().map(|secret| secret.name.clone()).unwrap_or_default())
    }

    /// The name, and whose it is if that is one repository's.
    fn whole_name(self) -> String {
        let of = self.secret.with(|secret| secret.as_ref().and_then(|secret| secret.project_ref.clone()));
        of.map_or_else(|| self.name(), |of| format!("{} of {of}", self.name()))
    }

    fn wrong(self, field: &'static str) -> Signal<Option<String>> {
        Signal::derive(move || self.refused.with(|error| error.as_ref().and_then(|error| error.of(field).map(str::to_owned))))
    }

    fn general(self) -> Option<String> {
        self.refused.with(|error| error.as_ref().filter(|error| error.fields.is_empty()).map(|error| error.message.clone()))
    }

    /// Does it, once at a time; `done` says what was done.
    fn send<T: 'static>(
        self,
        dialog: &'static str,
        work: impl Future<Output = Result<T, AppError>> + 'static,
        done: impl FnOnce(T) -> String + 'static,
        again: Callback<()>,
        notice: Notice,
    ) {
        self.busy.run(async move {
            match work.await {
                Ok(answer) => {
                    close(dialog);
                    notice.say(done(answer));
                    again.run(());
                }
                Err(error) => drop(self.refused.try_set(Some(error))),
            }
        });
    }
}

#[component]
pub fn Dialogs(changing: Changing, again: Callback<()>) -> impl IntoView {
    view! {
        <ReplaceDialog changing again />
        <RenameDialog changing again />
        <DeleteDialog changing again />
    }
}

#[component]
fn Refused(changing: Changing) -> impl IntoView {
    view! {
        <p class="note bad" role="alert" hidden=move || changing.general().is_none()>
            {move || changing.general()}
        </p>
    }
}

/// The one that does it, and the one that does not.
#[component]
fn Answers(changing: Changing, dialog: &'static str, class: &'static str, words: Signal<String>) -> impl IntoView {
    view! {
        <p class="acts">
            <button type="submit" class=class aria-disabled=move || changing.busy.is_busy().then_some("true")>
                {words}
            </button>
            <Closes dialog class="btn quiet">
                "Cancel"
            </Closes>
        </p>
    }
}

#[component]
fn ReplaceDialog(changing: Changing, again: Callback<()>) -> impl IntoView {
    let notice = Notice::here();
    let field = NodeRef::<html::Textarea>::new();
    let wrong = changing.wrong("value");
    let send = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let (Some(secret), Some(field)) = (changing.secret.get_untracked(), field.get_untracked()) else { return };
        let value = SecretValue::new(field.value());
        let done = move |secret: Secret| {
            // The value does not stay in the page.
            field.set_value("");
            format!("{} is replaced. Pods that run keep the older value until they are restarted.", secret.name)
        };
        changing.send(REPLACE, replace_secret(secret.id, value), done, again, notice);
    };
    view! {
        <Dialog id=REPLACE title=Signal::derive(move || format!("Replace {}", changing.whole_name()))>
            <form class="body" on:submit=send>
                <div class="field">
                    <label for="replace-value">"New value"</label>
                    <textarea
                        class="input mono masked"
                        id="replace-value"
                        rows="4"
                        autocomplete="off"
                        spellcheck="false"
                        autofocus
                        node_ref=field
                        aria-invalid=move || wrong.get().map(|_| "true")
                        aria-describedby="replace-value-hint replace-value-err"
                    ></textarea>
                    <p class="hint" id="replace-value-hint">
                        "The former value is gone for good. Pods that run keep it until they are restarted."
                    </p>
                    <FieldError id="replace-value-err" message=wrong />
                </div>
                <Refused changing />
                <Answers changing dialog=REPLACE class="btn primary" words=Signal::derive(move || format!("Replace {}", changing.name())) />
            </form>
        </Dialog>
    }
}

#[component]
fn RenameDialog(changing: Changing, again: Callback<()>) -> impl IntoView {
    let notice = Notice::here();
    let field = NodeRef::<html::Input>::new();
    let wrong = changing.wrong("name");
    let send = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let (Some(secret), Some(field)) = (changing.secret.get_untracked(), field.get_untracked()) else { return };
        let before = secret.name.clone();
        let done = move |secret: Secret| format!("{before} is {} now. Pods get it under that name at their next start.", secret.name);
        changing.send(RENAME, rename_secret(secret.id, field.value()), done, again, notice);
    };
    view! {
        <Dialog id=RENAME title=Signal::derive(move || format!("Rename {}", changing.whole_name()))>
            <form class="body" on:submit=send>
                <div class="field">
                    <label for="rename-secret-name">"Name"</label>
                    <input
                        type="text"
                        class="input mono"
                        id="rename-secret-name"
                        required
                        maxlength="128"
                        pattern="[A-Z_][A-Z0-9_]*"
                        title="Begin with a letter or _, then capital letters, digits and _ only."
                        autocomplete="off"
                        spellcheck="false"
                        autofocus
                        node_ref=field
                        prop:value=move || changing.name()
                        aria-invalid=move || wrong.get().map(|_| "true")
                        aria-describedby="rename-secret-err"
                    />
                    <p class="hint">"Its value stays. What reads the former name in your code has to be changed, too."</p>
                    <FieldError id="rename-secret-err" message=wrong />
                </div>
                <Refused changing />
                <Answers changing dialog=RENAME class="btn primary" words=Signal::derive(|| "Rename secret".to_owned()) />
            </form>
        </Dialog>
    }
}

#[component]
fn DeleteDialog(changing: Changing, again: Callback<()>) -> impl IntoView {
    let notice = Notice::here();
    let send = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let Some(secret) = changing.secret.get_untracked() else { return };
        let done = move |()| format!("{} is deleted. Pods that run keep it until they are restarted.", secret.name);
        changing.send(DELETE, delete_secret(secret.id), done, again, notice);
    };
    view! {
        <Dialog id=DELETE title=Signal::derive(move || format!("Delete {}?", changing.whole_name()))>
            <form class="body" on:submit=send>
                <p>"Its value is gone for good. Pods that run keep it until they are restarted."</p>
                <Refused changing />
                <Answers changing dialog=DELETE class="btn danger" words=Signal::derive(move || format!("Delete {}", changing.name())) />
            </form>
        </Dialog>
    }
}
