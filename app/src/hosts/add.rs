//! Adding a host: its name and address first, then the command to paste there, then waiting for it to report.

use super::api::AddHost;
use super::{Host, HostState, JoinInvitation};
use crate::error::AppError;
use crate::ui::copy::Copy;
use crate::ui::dialog::{Closes, Dialog};
use crate::ui::icon::Shape;
use crate::ui::once::once;
use crate::ui::problem::FieldError;
use crate::ui::status::Status;
use leptos::form::ActionForm;
use leptos::prelude::*;

pub const ADD: &str = "add-host";

#[component]
pub fn AddHostDialog(hosts: RwSignal<Vec<Host>>, invitation: RwSignal<Option<JoinInvitation>>) -> impl IntoView {
    let action = ServerAction::<AddHost>::new();
    // A host that has joined before joins again under its own name.
    let again =
        Memo::new(move |_| invitation.with(|new| new.as_ref().filter(|new| new.host.state != HostState::Joining).map(|new| new.host.name.clone())));
    let title = Signal::derive(move || again.get().map_or_else(|| "Add a host".to_owned(), |name| format!("Join {name} again")));
    let joins_again = move || again.with(Option::is_some);
    let refused = RwSignal::new(None::<AppError>);
    Effect::new(move || match action.value().get() {
        Some(Ok(new)) => {
            refused.set(None);
            hosts.update(|all| {
                all.retain(|host| host.id != new.host.id);
                all.push(new.host.clone());
            });
            invitation.set(Some(new));
        }
        Some(Err(error)) => refused.set(Some(error)),
        None => {}
    });
    // A token is shown once: whoever opens this again is asked for another host.
    let forget = move |_: leptos::ev::Event| {
        invitation.set(None);
        action.clear();
    };
    view! {
        <Dialog id=ADD title on:close=forget>
            <Show
                when=move || invitation.with(Option::is_some)
                fallback=move || view! { <Ask action refused /> }
            >
                {move || invitation.get().map(|invitation| view! { <Join invitation hosts /> })}
                <div class="end-row">
                    <p>"Joining goes on when you close this."</p>
                    <button type="button" class="btn quiet end" hidden=joins_again on:click=move |_| invitation.set(None)>
                        "Add another"
                    </button>
                    <Closes dialog=ADD class="btn primary">
                        "Close"
                    </Closes>
                </div>
            </Show>
        </Dialog>
    }
}

#[component]
fn Ask(action: ServerAction<AddHost>, refused: RwSignal<Option<AppError>>) -> impl IntoView {
    let wrong =
        move |field: &'static str| Signal::derive(move || refused.with(|error| error.as_ref().and_then(|error| error.of(field).map(str::to_owned))));
    let general = move || refused.with(|error| error.as_ref().filter(|error| error.fields.is_empty()).map(|error| error.message.clone()));
    let field = move |name: &'static str, label: &'static str, hint: &'static str, required: bool| {
        let message = wrong(name);
        let id = format!("host-{name}");
        view! {
            <div class="field">
                <label for=id.clone()>{label}</label>
                <input
                    type="text"
                    class="input mono"
                    id=id
                    name=name
                    required=required
                    autofocus=name == "name"
                    autocomplete="off"
                    spellcheck="false"
                    autocapitalize="none"
                    aria-invalid=move || message.get().map(|_| "true")
                    aria-describedby=format!("host-{name}-hint {name}")
                />
                <p class="hint swap" id=format!("host-{name}-hint")>
                    {hint}
                </p>
                <FieldError id=name message />
            </div>
        }
    };
    view! {
        <ActionForm action=action on:submit:capture=once(action.pending()) attr:class="body">
            <p>"Any Linux machine with gVisor. It takes pods as soon as it has reported."</p>
            <input type="hidden" name="transport" value="ssh" />
            {field("name", "Name", "Lower-case letters, digits and hyphens, such as host-g", true)}
            <div class="pair">
                {field("address", "Address", "Where the control plane reaches it", true)}
                {field("port", "Port", "Of its sshd; 22 if left empty", false)}
            </div>
            <p class="note bad" role="alert" hidden=move || general().is_none()>
                {general}
            </p>
            <p class="acts">
                <button type="submit" class="btn primary" aria-disabled=move || action.pending().get().then_some("true")>
                    {move || if action.pending().get() { "Adding…" } else { "Add host" }}
                </button>
                <Closes dialog=ADD class="btn quiet">
                    "Cancel"
                </Closes>
            </p>
        </ActionForm>
    }
}

#[component]
fn Join(invitation: JoinInvitation, hosts: RwSignal<Vec<Host>>) -> impl IntoView {
    let id = invitation.host.id;
    let name = invitation.host.name.clone();
    // Of one that joins again nothing here tells its old from its new report.
    let is_new = invitation.host.state == HostState::Joining;
    let now = Memo::new(move |_| hosts.with(|all| all.iter().find(|host| host.id == id).cloned()));
    let joined = Memo::new(move |_| now.with(|host| host.as_ref().is_some_and(|host| host.state != HostState::Joining)));
    view! {
        <div class="body">
            <p>"Run this on the machine, as a user that may use sudo. Give it the token when it asks, by standard input, so that no process list shows it."</p>
            <div>
                <h3>"Command"</h3>
                <pre class="code" tabindex="0">
                    <code>{invitation.command.clone()}</code>
                </pre>
                <p class="acts under">
                    <Copy text=invitation.command.clone() name="Copy the command" label="Copy command" class="line" />
                </p>
            </div>
            <div>
                <h3>"Token"</h3>
                <div class="copyline">
                    <code>{invitation.join_token.clone()}</code>
                    <Copy text=invitation.join_token.clone() name="Copy the token" label="Copy" />
                </div>
                <p class="dim small">"Works for one machine, for an hour."</p>
            </div>
            {is_new
                .then(|| {
                    view! {
                    <section class="joining" aria-labelledby="h-join">
                        <h3 id="h-join">"Joining " <span class="dim">{invitation.host.address.clone()}</span></h3>
                        <div role="log" aria-live="polite" aria-labelledby="h-join">
                            <ol>
                                <li>
                                    <Shape name="g-done" />
                                    <span>"Added"</span>
                                    <span class="what">{format!("as {name}")}</span>
                                </li>
                                <li class=move || if joined.get() { "" } else { "now" }>
                                    {move || {
                                        if joined.get() {
                                            view! { <Shape name="g-done" /> }.into_any()
                                        } else {
                                            view! { <Status kind="provisioning" shape="s-provisioning" word="" /> }.into_any()
                                        }
                                    }} <span>{move || if joined.get() { "Reported" } else { "Waiting for the machine to report" }}</span>
                                    <span class="what">{move || now.with(|host| host.as_ref().map(|host| host.software.clone()))}</span>
                                </li>
                                <li class=move || if joined.get() { "" } else { "next" }>
                                    {move || view! { <Shape name=if joined.get() { "g-done" } else { "g-next" } /> }} <span>"Active as " <b>{name.clone()}</b></span>
                                    <span class="what">
                                        {move || {
                                            now.with(|host| {
                                                host.as_ref().filter(|_| joined.get()).map(|host| format!("pods get addresses of {}", host.pod_cidr))
                                            })
                                        }}
                                    </span>
                                </li>
                            </ol>
                        </div>
                    </section>
                    }
                })}
        </div>
    }
}
