//! One host in the list, and what may be asked of it.

use super::add::ADD;
use super::api::{TrustHostKey, change_host, rejoin_host, trust_host_key};
use super::capacity::CapacityBar;
use super::{Capacity, Host, HostState, HostVerb, JoinInvitation};
use crate::ids::HostId;
use crate::ui::clock::Ago;
use crate::ui::dialog::open;
use crate::ui::icon::Icon;
use crate::ui::status::Status;
use crate::ui::time::{cores, thousands};
use crate::ui::toast::Notice;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos::task::spawn_local;

/// The dialog that asks before a host is given up.
pub const LOSE: &str = "lose-host";

fn whole_gb(bytes: u64) -> String {
    thousands(bytes >> 30)
}

/// Shown at once, put back with a note if it is refused.
pub fn change(hosts: RwSignal<Vec<Host>>, host: &Host, verb: HostVerb, notice: Notice) {
    let before = hosts.get_untracked();
    let id = host.id;
    if verb != HostVerb::Lost {
        hosts.update(|all| {
            if let Some(one) = all.iter_mut().find(|one| one.id == id) {
                one.state = match verb {
                    HostVerb::Cordon => HostState::Cordoned,
                    HostVerb::Drain => HostState::Draining,
                    HostVerb::Activate => HostState::Active,
                    HostVerb::Lost => HostState::Lost,
                };
            }
        });
    }
    spawn_local(async move {
        match change_host(id, verb).await {
            Ok(new) => put(hosts, new),
            Err(error) => {
                hosts.try_set(before);
                notice.say(error.message);
            }
        }
    });
}

pub fn put(hosts: RwSignal<Vec<Host>>, new: Host) {
    hosts.try_update(|all| {
        if let Some(one) = all.iter_mut().find(|one| one.id == new.id) {
            *one = new;
        }
    });
}

#[component]
pub fn HostMark(state: HostState, reachable: bool) -> impl IntoView {
    let (kind, shape, word) = match state {
        HostState::Joining => ("provisioning", "s-provisioning", "Joining"),
        HostState::Lost => ("failed", "s-failed", "Lost"),
        _ if !reachable => ("slow", "s-slow", "Not heard"),
        HostState::Active => ("running", "s-running", "Active"),
        HostState::Cordoned => ("cordoned", "s-cordoned", "Cordoned"),
        HostState::Draining => ("draining", "s-draining", "Draining"),
    };
    let was = (!reachable).then_some(match state {
        HostState::Active => "was active",
        HostState::Cordoned => "was cordoned",
        HostState::Draining => "was draining",
        HostState::Joining | HostState::Lost => "",
    });
    view! {
        <span class="pairs">
            <Status kind shape word />
            <span class="dim">{was}</span>
        </span>
    }
}

/// `losing` is the host that the dialog asks about, `opened` the one whose pods are listed. Only what has changed of a row
/// is drawn again, so that an open menu and the focus stay where they are.
#[component]
pub fn HostRow(
    id: HostId,
    hosts: RwSignal<Vec<Host>>,
    losing: RwSignal<Option<Host>>,
    opened: Memo<Option<HostId>>,
    invitation: RwSignal<Option<JoinInvitation>>,
) -> impl IntoView {
    let host = Memo::new(move |_| hosts.with(|all| all.iter().find(|host| host.id == id).cloned()));
    let menu = format!("host-{id}");
    let name = Memo::new(move |_| host.with(|host| host.as_ref().map(|host| host.name.clone()).unwrap_or_default()));
    let about = move || {
        let words = |host: &Host| format!("{}:{}, pods get {}. {}", host.address, host.port, host.pod_cidr, host.software);
        host.with(|host| host.as_ref().map(words))
    };
    let state = Memo::new(move |_| host.with(|host| host.as_ref().map(|host| (host.state, host.reachable))));
    let capacity = move |of: fn(&Host) -> Capacity, show: fn(u64) -> String| {
        let of = Memo::new(move |_| host.with(|host| host.as_ref().map(of).unwrap_or_default()));
        move || view! { <CapacityBar of=of.get() show /> }
    };
    let seen = Memo::new(move |_| host.with(|host| host.as_ref().and_then(|host| host.last_seen_at)));
    let pods = Memo::new(move |_| host.with(|host| host.as_ref().map_or(0, |host| host.pods)));
    view! {
        <tr>
            <th scope="row" class="name" title=about>
                <a class="rowlink" href=move || opened_at(&name.get()) data-noscroll="true">
                    {name}
                </a>
            </th>
            <td class="c-state">{move || state.get().map(|(state, reachable)| view! { <HostMark state reachable /> })}</td>
            <td class="c-cpu" data-label="CPU">
                {capacity(|host| host.cpu, cores)}
            </td>
            <td class="c-mem" data-label="Memory, GB">
                {capacity(|host| host.memory, whole_gb)}
            </td>
            <td class="c-disk" data-label="Disk, GB">
                {capacity(|host| host.disk, whole_gb)}
            </td>
            <td class="c-pods num" data-label="Pods">
                <PodsLink name pods opened=Signal::derive(move || opened.get() == Some(id)) />
            </td>
            <td class=move || if state.get().is_some_and(|(_, reachable)| reachable) { "c-when num dim" } else { "c-when num late" }>
                {move || match seen.get() {
                    Some(at) => view! { <Ago at /> }.into_any(),
                    None => "never".into_any(),
                }}
            </td>
            <td class="c-acts">
                <div class="acts">
                    {move || state.get().map(|(state, reachable)| view! { <Quick state reachable host hosts losing /> })}
                    <button
                        type="button"
                        class="btn quiet small icon"
                        popovertarget=menu.clone()
                        aria-label=move || format!("Actions for {}", name.get())
                    >
                        <Icon name="more" />
                    </button>
                </div>
                <div class="menu" id=menu popover="auto">
                    <Rejoin host invitation />
                    <ActButton verb=HostVerb::Activate class="" host hosts losing />
                    <ActButton verb=HostVerb::Cordon class="" host hosts losing />
                    <ActButton verb=HostVerb::Drain class="" host hosts losing />
                    <hr />
                    <ActButton verb=HostVerb::Lost class="danger" host hosts losing />
                </div>
            </td>
        </tr>
    }
}

/// The page with this host's pods and keys.
fn opened_at(name: &str) -> String {
    format!("/hosts?{}", url::form_urlencoded::Serializer::new(String::new()).append_pair("host", name).finish())
}

/// A new token for a host that was installed anew.
#[component]
fn Rejoin(host: Memo<Option<Host>>, invitation: RwSignal<Option<JoinInvitation>>) -> impl IntoView {
    let notice = Notice::here();
    let run = move |_| {
        let Some(host) = host.get_untracked() else { return };
        spawn_local(async move {
            match rejoin_host(host.id).await {
                Ok(new) => {
                    invitation.try_set(Some(new));
                    open(ADD);
                }
                Err(error) => notice.say(error.message),
            }
        });
    };
    let gone = move || host.with(|host| host.as_ref().is_none_or(|host| host.state == HostState::Lost));
    view! {
        <button type="button" hidden=gone aria-label=move || host.with(|host| host.as_ref().map(|host| format!("Join again: {}", host.name))) on:click=run>
            "Join again…"
        </button>
    }
}

/// How many pods it has, as the way to their list and back.
#[component]
fn PodsLink(name: Memo<String>, pods: Memo<u32>, opened: Signal<bool>) -> impl IntoView {
    let href = move || match opened.get() {
        true => "/hosts".to_owned(),
        false => opened_at(&name.get()),
    };
    move || {
        let number = pods.get();
        if number == 0 && !opened.get() {
            return number.into_any();
        }
        let words = move || format!("{}: {}", name.get(), if opened.get() { "hide its pods" } else { "list its pods" });
        view! {
            <a
                class="link"
                href=href
                data-noscroll="true"
                title=words
                aria-expanded=move || if opened.get() { "true" } else { "false" }
            >
                {number}
                <span class="sr">{move || format!(" pods on {}", name.get())}</span>
            </a>
        }
        .into_any()
    }
}

/// The one thing that is most likely wanted.
#[component]
fn Quick(state: HostState, reachable: bool, host: Memo<Option<Host>>, hosts: RwSignal<Vec<Host>>, losing: RwSignal<Option<Host>>) -> impl IntoView {
    let verb = match state {
        HostState::Joining | HostState::Lost => None,
        _ if !reachable => Some(HostVerb::Lost),
        HostState::Active => Some(HostVerb::Cordon),
        HostState::Cordoned | HostState::Draining => Some(HostVerb::Activate),
    };
    verb.map(|verb| view! { <ActButton verb class="btn quiet small" host hosts losing /> })
}

#[component]
fn ActButton(
    verb: HostVerb,
    class: &'static str,
    host: Memo<Option<Host>>,
    hosts: RwSignal<Vec<Host>>,
    losing: RwSignal<Option<Host>>,
) -> impl IntoView {
    let notice = Notice::here();
    let words = match verb {
        HostVerb::Activate => "Activate",
        HostVerb::Cordon => "Cordon",
        HostVerb::Drain => "Drain: stop its pods too",
        HostVerb::Lost => "Mark lost",
    };
    let name = move || host.with(|host| host.as_ref().map(|host| format!("{words}: {}", host.name)));
    let run = move |_| {
        let Some(host) = host.get_untracked() else { return };
        if verb == HostVerb::Lost {
            losing.set(Some(host));
            open(LOSE);
        } else {
            change(hosts, &host, verb, notice);
        }
    };
    view! {
        <button type="button" class=class aria-label=name on:click=run>
            {words}
            {(verb == HostVerb::Lost).then_some("…")}
        </button>
    }
}

/// Above the list: a key that is not the pinned one waits for an operator.
#[component]
pub fn OfferedKeys(host: Host, hosts: RwSignal<Vec<Host>>) -> impl IntoView {
    let notice = Notice::here();
    let id = host.id;
    host.offered_keys
        .into_iter()
        .map(|key| {
            let sent = key.clone();
            let trust = move |event: leptos::ev::SubmitEvent| {
                event.prevent_default();
                let key = sent.clone();
                spawn_local(async move {
                    match trust_host_key(id, key).await {
                        Ok(new) => put(hosts, new),
                        Err(error) => notice.say(error.message),
                    }
                });
            };
            view! {
                <div class="note bad" role="alert">
                    <p>
                        <Status kind="failed" shape="s-failed" word=format!("{} offered another host key.", host.name) />
                        " It is refused until you trust it. "
                        <code>{key.clone()}</code>
                    </p>
                    <form class="acts" method="post" action=TrustHostKey::PATH on:submit=trust>
                        <input type="hidden" name="id" value=id.to_string() />
                        <input type="hidden" name="fingerprint" value=key.clone() />
                        <button type="submit" class="btn small">
                            "Trust this key"
                        </button>
                    </form>
                </div>
            }
        })
        .collect_view()
}
