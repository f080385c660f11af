//! One host in the list, and what may be asked of it.

use super::api::{TrustHostKey, change_host, trust_host_key};
use super::capacity::CapacityBar;
use super::{Host, HostState, HostVerb};
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

fn put(hosts: RwSignal<Vec<Host>>, new: Host) {
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

/// `losing` is the host that the dialog asks about.
#[component]
pub fn HostRow(host: Host, hosts: RwSignal<Vec<Host>>, losing: RwSignal<Option<Host>>) -> impl IntoView {
    let notice = Notice::here();
    let menu = format!("host-{}", host.id);
    let about = format!("{}:{}, pods get {}. {}", host.address, host.port, host.pod_cidr, host.software);
    let seen = match host.last_seen_at {
        Some(at) => view! { <Ago at /> }.into_any(),
        None => "never".into_any(),
    };
    let act = {
        let host = host.clone();
        move |verb: HostVerb, words: &'static str, class: &'static str| {
            let host = host.clone();
            let name = format!("{words} {}", host.name);
            let run = move |_| {
                if verb == HostVerb::Lost {
                    losing.set(Some(host.clone()));
                    open(LOSE);
                } else {
                    change(hosts, &host, verb, notice);
                }
            };
            let words = if verb == HostVerb::Lost { "Mark lost…" } else { words };
            view! {
                <button type="button" class=class aria-label=name on:click=run>
                    {words}
                </button>
            }
        }
    };
    let quick = match host.state {
        _ if !host.reachable && !matches!(host.state, HostState::Joining | HostState::Lost) => {
            Some(act(HostVerb::Lost, "Mark lost", "btn quiet small"))
        }
        HostState::Active => Some(act(HostVerb::Cordon, "Cordon", "btn quiet small")),
        HostState::Cordoned | HostState::Draining => Some(act(HostVerb::Activate, "Activate", "btn quiet small")),
        HostState::Joining | HostState::Lost => None,
    };
    view! {
        <tr>
            <th scope="row" class="name" title=about>
                {host.name.clone()}
            </th>
            <td class="c-state">
                <HostMark state=host.state reachable=host.reachable />
            </td>
            <td class="c-cpu" data-label="CPU">
                <CapacityBar of=host.cpu show=cores />
            </td>
            <td class="c-mem" data-label="Memory, GB">
                <CapacityBar of=host.memory show=whole_gb />
            </td>
            <td class="c-disk" data-label="Disk, GB">
                <CapacityBar of=host.disk show=whole_gb />
            </td>
            <td class="c-pods num" data-label="Pods">
                {host.pods}
            </td>
            <td class=if host.reachable { "c-when num dim" } else { "c-when num late" }>{seen}</td>
            <td class="c-acts">
                <div class="acts">
                    {quick}
                    <button
                        type="button"
                        class="btn quiet small icon"
                        popovertarget=menu.clone()
                        aria-label=format!("Actions for {}", host.name)
                    >
                        <Icon name="more" />
                    </button>
                </div>
                <div class="menu" id=menu popover="auto">
                    {act(HostVerb::Activate, "Activate", "")}
                    {act(HostVerb::Cordon, "Cordon", "")}
                    {act(HostVerb::Drain, "Drain", "")}
                    <hr />
                    {act(HostVerb::Lost, "Mark lost", "danger")}
                </div>
            </td>
        </tr>
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
