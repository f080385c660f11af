//! What lies on a host and belongs to no pod: set aside, kept for 7 days, adopted or removed.

use super::api::{adopt_orphan, list_orphans, remove_orphan};
use super::{Host, Orphan};
use crate::error::AppError;
use crate::pods::Tier;
use crate::ui::clock::{Ago, Clock};
use crate::ui::dialog::{Closes, Dialog, close, open};
use crate::ui::list::{Column, List};
use crate::ui::once::Busy;
use crate::ui::problem::{Failed, FieldError};
use crate::ui::time::{gigabytes, millis};
use crate::ui::toast::Notice;
use leptos::prelude::*;
use leptos::task::spawn_local;

const ADOPT: &str = "adopt-orphan";
const DAY_MS: i64 = 24 * 3600 * 1000;
/// How long a host keeps what it has set aside.
const KEPT_MS: i64 = 7 * DAY_MS;
const COLUMNS: [Column; 5] = [Column::Text("Found"), Column::Text("Disk"), Column::Figure("Size"), Column::Figure("Kept for"), Column::Actions];

/// Nothing while there is nothing. Asked for again whenever the hosts say another number of them.
#[component]
pub fn Orphans(hosts: RwSignal<Vec<Host>>) -> impl IntoView {
    let number = Memo::new(move |_| hosts.with(|all| all.iter().map(|host| host.orphans).sum::<u32>()));
    let orphans = Resource::new(
        move || number.get(),
        |number| async move {
            match number {
                0 => Ok(Vec::new()),
                _ => list_orphans().await,
            }
        },
    );
    let adopting = RwSignal::new(None::<Orphan>);
    let again = Callback::new(move |()| orphans.refetch());
    view! {
        <Transition>
            {move || Suspend::new(async move {
                match orphans.await {
                    Ok(orphans) if orphans.is_empty() => ().into_any(),
                    Ok(orphans) => view! { <Section orphans adopting again /> }.into_any(),
                    Err(error) => view! { <Failed message=error.message what="What the hosts have set aside" /> }.into_any(),
                }
            })}
        </Transition>
        <AdoptDialog adopting again />
    }
}

#[component]
fn Section(orphans: Vec<Orphan>, adopting: RwSignal<Option<Orphan>>, again: Callback<()>) -> impl IntoView {
    let number = orphans.len();
    view! {
        <section class="sec gap" aria-labelledby="h-orphans">
            <header>
                <h2 id="h-orphans">"On a host, but not in Pinacle"</h2>
                <span class="dim">{number}</span>
                <p>"Stopped when found, kept for 7 days, then removed."</p>
            </header>
            <List class="orphans" caption="Disks that were found on hosts and that no pod owns" columns=&COLUMNS>
                {orphans.into_iter().map(|orphan| view! { <Row orphan adopting again /> }).collect_view()}
            </List>
        </section>
    }
}

#[component]
fn Row(orphan: Orphan, adopting: RwSignal<Option<Orphan>>, again: Callback<()>) -> impl IntoView {
    let notice = Notice::here();
    let short = orphan.pod.to_string();
    let short = format!("{}…{}", &short[..8], &short[short.len() - 4..]);
    let clock = Clock::here();
    let until = millis(orphan.set_aside_at) + KEPT_MS;
    let (host_id, pod) = (orphan.host_id, orphan.pod);
    // Asked for twice: the first press says what the second does.
    let sure = RwSignal::new(false);
    let remove = move |_| {
        if !sure.get_untracked() {
            sure.set(true);
            return;
        }
        spawn_local(async move {
            match remove_orphan(host_id, pod).await {
                Ok(()) => notice.say("It is removed as soon as its host answers."),
                Err(error) => notice.say(error.message),
            }
            again.run(());
        });
    };
    let chosen = orphan.clone();
    let adopt = move |_| {
        adopting.set(Some(chosen.clone()));
        open(ADOPT);
    };
    view! {
        <tr>
            <td class="mid">
                <Ago at=orphan.set_aside_at />
            </td>
            <th scope="row" title=orphan.pod.to_string()>
                <code>{short.clone()}</code>
                " "
                <span class="dim">{format!("on {}", orphan.host)}</span>
            </th>
            <td class="num" data-label="Size">
                {format!("{} GB", gigabytes(orphan.disk_bytes))}
            </td>
            <td class="num mid" data-label="Kept for">
                {move || format!("{} d", (until - clock.now()).max(0) / DAY_MS)}
            </td>
            <td>
                <div class="acts">
                    <button type="button" class="btn quiet small" aria-label=format!("Adopt {short}") on:click=adopt>
                        "Adopt…"
                    </button>
                    <button
                        type="button"
                        class=move || if sure.get() { "btn danger small" } else { "btn quiet small" }
                        aria-label=move || if sure.get() { format!("Remove {short} for good") } else { format!("Remove {short} now") }
                        on:click=remove
                        on:blur=move |_| sure.set(false)
                    >
                        {move || if sure.get() { "Remove for good" } else { "Remove now…" }}
                    </button>
                </div>
            </td>
        </tr>
    }
}

/// Whose pod it becomes.
#[component]
fn AdoptDialog(adopting: RwSignal<Option<Orphan>>, again: Callback<()>) -> impl IntoView {
    let (owner, name, tier) = (RwSignal::new(String::new()), RwSignal::new(String::new()), RwSignal::new(Tier::Small.as_str().to_owned()));
    let refused = RwSignal::new(None::<AppError>);
    let notice = Notice::here();
    let wrong =
        move |field: &'static str| Signal::derive(move || refused.with(|error| error.as_ref().and_then(|error| error.of(field).map(str::to_owned))));
    let general = move || refused.with(|error| error.as_ref().filter(|error| error.fields.is_empty()).map(|error| error.message.clone()));
    let wrong_tier = wrong("tier");
    let busy = Busy::default();
    let send = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let Some(orphan) = adopting.get_untracked() else { return };
        let (owner, name, tier) = (owner.get_untracked(), name.get_untracked(), tier.get_untracked());
        busy.run(async move {
            match adopt_orphan(orphan.host_id, orphan.pod, owner.trim().to_owned(), name.trim().to_owned(), tier).await {
                Ok(pod) => {
                    refused.try_set(None);
                    close(ADOPT);
                    notice.say(format!("{} is {}’s now. It is stopped; starting it brings the disk back.", pod.name, pod.owner));
                    again.run(());
                }
                Err(error) => {
                    refused.try_set(Some(error));
                }
            }
        });
    };
    let text = move |field: &'static str, label: &'static str, hint: &'static str, value: RwSignal<String>| {
        let (id, message) = (format!("adopt-{field}"), wrong(field));
        view! {
            <div class="field">
                <label for=id.clone()>{label}</label>
                <input
                    type="text"
                    class="input mono"
                    id=id
                    required
                    autocomplete="off"
                    spellcheck="false"
                    autocapitalize="none"
                    aria-invalid=move || message.get().map(|_| "true")
                    aria-describedby=format!("adopt-{field}-hint {field}-adopt")
                    prop:value=value
                    on:input=move |event| value.set(event_target_value(&event))
                />
                <p class="hint swap" id=format!("adopt-{field}-hint")>
                    {hint}
                </p>
                <FieldError id=if field == "owner" { "owner-adopt" } else { "name-adopt" } message />
            </div>
        }
    };
    let on = move || adopting.with(|orphan| orphan.as_ref().map(|orphan| format!("{} GB on {}", gigabytes(orphan.disk_bytes), orphan.host)));
    view! {
        <Dialog id=ADOPT title="Adopt a disk">
            <form class="body" on:submit=send>
                <p>"It becomes a stopped pod of whom you name. " <span class="dim">{on}</span></p>
                {text("owner", "Owner", "GitHub login of somebody who has signed in", owner)}
                {text("name", "Name", "Lower-case letters a–z and digits", name)}
                <div class="field">
                    <label for="adopt-tier">"Tier"</label>
                    <select
                        class="select"
                        id="adopt-tier"
                        aria-invalid=move || wrong_tier.get().map(|_| "true")
                        aria-describedby="tier-adopt"
                        prop:value=tier
                        on:change=move |event| tier.set(event_target_value(&event))
                    >
                        {Tier::ALL
                            .into_iter()
                            .map(|tier| view! { <option value=tier.as_str()>{format!("{}: {} GB of disk", tier.as_str(), tier.disk_gb())}</option> })
                            .collect_view()}
                    </select>
                    <FieldError id="tier-adopt" message=wrong_tier />
                </div>
                <p class="note bad" role="alert" hidden=move || general().is_none()>
                    {general}
                </p>
                <p class="acts">
                    <button type="submit" class="btn primary" aria-disabled=move || busy.is_busy().then_some("true")>
                        "Adopt"
                    </button>
                    <Closes dialog=ADOPT class="btn quiet">
                        "Cancel"
                    </Closes>
                </p>
            </form>
        </Dialog>
    }
}
