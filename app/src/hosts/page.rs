//! Hosts, for operators: where is room, and who is silent?

use super::add::{ADD, AddHostDialog};
use super::api::{SetAside, list_hosts, set_aside};
use super::keys::HostKeys;
use super::orphans::Orphans;
use super::pods::HostPods;
use super::row::{HostRow, LOSE, OfferedKeys, change};
use super::{Host, HostState, HostVerb, JoinInvitation};
use crate::ids::HostId;
use crate::ui::asking::ask_every;
use crate::ui::clock::Ago;
use crate::ui::dialog::{Closes, Dialog, Opens, close, open};
use crate::ui::icon::Icon;
use crate::ui::list::{Column, List};
use crate::ui::once::Busy;
use crate::ui::problem::Problem;
use crate::ui::status::Status;
use crate::ui::time::{count, thousands};
use crate::ui::toast::Notice;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos::task::spawn_local;
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;
use std::time::Duration;

/// Hosts have no stream: the list is asked for again.
const ASKED_EVERY: Duration = Duration::from_secs(5);

const COLUMNS: [Column; 8] = [
    Column::Text("Host"),
    Column::Text("State"),
    Column::Text("CPU"),
    Column::Text("Memory, GB"),
    Column::Text("Disk, GB"),
    Column::Figure("Pods"),
    Column::Figure("Last seen"),
    Column::Actions,
];

#[component]
pub fn HostsPage() -> impl IntoView {
    let hosts = Resource::new(|| (), |()| list_hosts());
    view! {
        <Suspense fallback=|| view! { <main id="main" aria-busy="true"></main> }>
            {move || Suspend::new(async move {
                match hosts.await {
                    Ok(hosts) => view! { <TheHosts hosts /> }.into_any(),
                    Err(error) => view! { <Problem error what="Hosts" /> }.into_any(),
                }
            })}
        </Suspense>
    }
}

#[component]
fn TheHosts(hosts: Vec<Host>) -> impl IntoView {
    let hosts = RwSignal::new(hosts);
    let losing = RwSignal::new(None::<Host>);
    let invitation = RwSignal::new(None::<JoinInvitation>);
    // Whose pods are listed is in the address, by the host's name.
    let query = use_query_map();
    let opened = Memo::new(move |_| {
        let name = query.with(|query| query.get("host")).unwrap_or_default();
        hosts.with(|all| all.iter().find(|host| host.name == name).map(|host| host.id))
    });
    Effect::new(move || {
        ask_every(ASKED_EVERY, move || {
            spawn_local(async move {
                if let Ok(new) = list_hosts().await {
                    hosts.try_set(new);
                }
            });
        });
    });
    let answering = move || hosts.with(|all| all.iter().filter(|host| host.reachable).count());
    let pods = move || hosts.with(|all| all.iter().map(|host| u64::from(host.pods)).sum::<u64>());
    let memory = move || {
        hosts.with(|all| {
            let active = all.iter().filter(|host| host.state == HostState::Active);
            active.fold((0, 0), |(used, most), host| (used + (host.memory.reserved >> 30), most + (host.memory.limit >> 30)))
        })
    };
    view! {
        <Title text="Hosts" />
        <main id="main">
            <div class="head">
                <div>
                    <h1>"Hosts " <span class="dim">{move || hosts.with(Vec::len)}</span></h1>
                    <p class="sub">
                        <span>{move || format!("{} of {} answer", answering(), hosts.with(Vec::len))}</span>
                        <span>{move || count(pods(), "pod", "pods")}</span>
                        <span>
                            {move || {
                                let (used, most) = memory();
                                format!("memory {} of {} GB reserved on active hosts", thousands(used), thousands(most))
                            }}
                        </span>
                    </p>
                </div>
                <div class="acts">
                    <Opens dialog=ADD class="btn primary">
                        <Icon name="plus" />
                        "Add a host"
                    </Opens>
                </div>
            </div>
            <Warnings hosts losing />
            <List
                class="hosts"
                caption="Pod hosts: what is reserved of what may be reserved, by resource"
                columns=&COLUMNS
                foot=move || {
                    view! {
                        <Show when=move || hosts.with(Vec::is_empty)>
                            <div class="nothing">
                                <p>"No hosts yet. Pods wait until there is one."</p>
                            </div>
                        </Show>
                    }
                }
            >
                <For each=move || hosts.with(|all| all.iter().map(|host| host.id).collect::<Vec<_>>()) key=|id| *id let:id>
                    <HostRow id hosts losing opened invitation />
                </For>
            </List>
            <Legend />
            <HostPods hosts opened />
            <HostKeys hosts opened />
            <Orphans hosts />
        </main>
        <AddHostDialog hosts invitation />
        <LoseDialog hosts losing />
    }
}

/// Hosts that are silent, and keys that nobody has trusted.
#[component]
fn Warnings(hosts: RwSignal<Vec<Host>>, losing: RwSignal<Option<Host>>) -> impl IntoView {
    let silent = move |host: &Host| !host.reachable && !matches!(host.state, HostState::Joining | HostState::Lost);
    move || {
        hosts
            .get()
            .into_iter()
            .map(|host| {
                let keys = view! { <OfferedKeys host=host.clone() hosts /> };
                let note = silent(&host).then(|| {
                    let asked = host.clone();
                    view! {
                        <div class="note bad" role="alert">
                            <p>
                                <Status kind="failed" shape="s-failed" word=format!("{} is not heard.", host.name) />
                                " Last heard "
                                {host.last_seen_at.map(|at| view! { <Ago at /> })}
                                {format!(". Its {} can’t be reached. Nothing was moved: their layers are on it.", count(u64::from(host.pods), "pod", "pods"))}
                            </p>
                            <div class="acts">
                                <button
                                    type="button"
                                    class="btn small"
                                    on:click=move |_| {
                                        losing.set(Some(asked.clone()));
                                        open(LOSE);
                                    }
                                >
                                    {format!("Mark {} lost…", host.name)}
                                </button>
                            </div>
                        </div>
                    }
                });
                let unknown = host.left_alone.then(|| {
                    let words = format!("{} has {} that nobody knows.", host.name, count(u64::from(host.unknown), "pod", "pods"));
                    view! {
                        <div class="note bad" role="alert">
                            <p>
                                <Status kind="failed" shape="s-failed" word=words />
                                " With so many, the database is more likely wrong than the host: nothing there is ended or removed. Was an older copy restored? If not, set them aside: they are stopped, and their disks are kept for 7 days."
                            </p>
                            <SetThemAside id=host.id name=host.name.clone() />
                        </div>
                    }
                });
                view! {
                    {keys}
                    {note}
                    {unknown}
                }
            })
            .collect_view()
    }
}

#[component]
fn SetThemAside(id: HostId, name: String) -> impl IntoView {
    let notice = Notice::here();
    let busy = Busy::default();
    let ask = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        busy.run(async move {
            match set_aside(id).await {
                Ok(()) => notice.say("They are being set aside."),
                Err(error) => notice.say(error.message),
            }
        });
    };
    view! {
        <form class="acts" method="post" action=SetAside::PATH on:submit=ask>
            <input type="hidden" name="id" value=id.to_string() />
            <button type="submit" class="btn small" aria-disabled=move || busy.is_busy().then_some("true")>
                {format!("Set aside what nobody knows on {name}")}
            </button>
        </form>
    }
}

#[component]
fn Legend() -> impl IntoView {
    view! {
        <p class="legend cap">
            <span>
                <svg width="20" height="8" aria-hidden="true">
                    <rect class="took" width="20" height="8"></rect>
                </svg>
                "reserved"
            </span>
            <span>
                <svg width="20" height="16" aria-hidden="true">
                    <rect class="left" y="4" width="20" height="8"></rect>
                    <line class="tick" x1="10" x2="10" y2="16"></line>
                </svg>
                "what the machine really has"
            </span>
            <span>
                <svg width="20" height="8" aria-hidden="true">
                    <rect class="over" width="20" height="8"></rect>
                </svg>
                "over-committed"
            </span>
            <span>
                <svg width="20" height="8" aria-hidden="true">
                    <rect class="left" width="20" height="8"></rect>
                </svg>
                "left until the limit"
            </span>
        </p>
    }
}

/// Giving a host up is asked for by its name.
#[component]
fn LoseDialog(hosts: RwSignal<Vec<Host>>, losing: RwSignal<Option<Host>>) -> impl IntoView {
    let notice = Notice::here();
    let name = move || losing.with(|host| host.as_ref().map(|host| host.name.clone()).unwrap_or_default());
    let typed = RwSignal::new(String::new());
    let send = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let Some(host) = losing.get_untracked().filter(|host| host.name == typed.get_untracked().trim()) else { return };
        close(LOSE);
        change(hosts, &host, HostVerb::Lost, notice);
    };
    view! {
        <Dialog id=LOSE title=Signal::derive(move || format!("Mark {} lost?", name()))>
            <form class="body" on:submit=send>
                <p>
                    {move || {
                        let pods = losing.with(|host| host.as_ref().map_or(0, |host| u64::from(host.pods)));
                        format!("Its {} can then be deleted by their owners. What was not pushed stays on the machine.", count(pods, "pod", "pods"))
                    }}
                </p>
                <div class="field">
                    <label for="lose-name">"Type " <code>{name}</code> " to mark it lost"</label>
                    <input
                        type="text"
                        class="input mono"
                        id="lose-name"
                        pattern=name
                        required
                        autocomplete="off"
                        spellcheck="false"
                        on:input=move |event| typed.set(event_target_value(&event))
                    />
                    <p class="err">"That is not its name."</p>
                </div>
                <p class="acts">
                    <button type="submit" class="btn danger">
                        {move || format!("Mark {} lost", name())}
                    </button>
                    <Closes dialog=LOSE class="btn quiet">
                        "Go on waiting"
                    </Closes>
                </p>
            </form>
        </Dialog>
    }
}
