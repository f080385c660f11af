//! A pod's terminals and its processes' logs, as tabs that have addresses. What is inside of a tab is the element
//! `pinacle-terminal` of public/terminal.js.

use super::PodStatus;
use super::api::{end_terminal, list_terminals};
use super::feed::Feed;
use crate::ui::asking::ask_every;
use crate::ui::copy::Copy;
use crate::ui::dialog::{Closes, Dialog, Opens, close};
use crate::ui::icon::Icon;
use crate::ui::keys::step_tabs;
use crate::ui::refusal::bear;
use crate::ui::toast::Notice;
use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_navigate, use_query_map};
use std::time::Duration;

const MAIN: &str = "main";
const END: &str = "end-terminal";
/// How often the list of terminals is asked for: another browser may have made one.
const ASKED_EVERY: Duration = Duration::from_secs(10);

/// What a tab shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Tab {
    Terminal(String),
    Process(String),
}

impl Tab {
    fn address(&self) -> String {
        let (key, name) = match self {
            Tab::Terminal(name) => ("terminal", name),
            Tab::Process(name) => ("process", name),
        };
        url::form_urlencoded::Serializer::for_suffix("?".to_owned(), 1).append_pair(key, name).finish()
    }

    fn name(&self) -> &str {
        match self {
            Tab::Terminal(name) | Tab::Process(name) => name,
        }
    }
}

#[component]
pub fn Terminals(feed: Feed) -> impl IntoView {
    let id = feed.id;
    let notice = Notice::here();
    let query = use_query_map();
    let navigate = use_navigate();
    let selected = Memo::new(move |_| {
        query.with(|query| match (query.get("process"), query.get("terminal")) {
            (Some(name), _) if !name.is_empty() => Tab::Process(name),
            (_, Some(name)) if !name.is_empty() => Tab::Terminal(name),
            _ => Tab::Terminal(MAIN.to_owned()),
        })
    });
    let known = RwSignal::new(Vec::<(String, u32)>::new());
    let running = Memo::new(move |_| feed.pod.with(|pod| pod.status == PodStatus::Running && pod.reachable));
    let ask = move || {
        spawn_local(async move {
            if let Ok(list) = list_terminals(id).await {
                known.try_set(list.into_iter().map(|terminal| (terminal.name, terminal.viewers)).collect());
            }
        });
    };
    Effect::new(move || {
        if running.get() {
            ask();
            ask_every(ASKED_EVERY, ask);
        }
    });
    let tabs = Memo::new(move |_| {
        let mut tabs = vec![Tab::Terminal(MAIN.to_owned())];
        tabs.extend(known.get().into_iter().map(|(name, _)| Tab::Terminal(name)).filter(|tab| tab.name() != MAIN));
        if let Tab::Terminal(name) = selected.get()
            && !tabs.iter().any(|tab| tab.name() == name)
        {
            tabs.push(Tab::Terminal(name));
        }
        let processes =
            feed.live.with(|live| live.as_ref().map(|live| live.processes.iter().map(|process| process.name.clone()).collect::<Vec<_>>()));
        tabs.extend(processes.unwrap_or_default().into_iter().map(Tab::Process));
        if !tabs.contains(&selected.get()) {
            tabs.push(selected.get());
        }
        tabs
    });
    let next_name = move || {
        let taken = tabs.get_untracked();
        (2..).map(|n| format!("t{n}")).find(|name| !taken.contains(&Tab::Terminal(name.clone()))).unwrap_or_else(|| MAIN.to_owned())
    };
    let add = {
        let navigate = navigate.clone();
        move |_| navigate(&Tab::Terminal(next_name()).address(), stay())
    };
    let end = move |_| {
        let Tab::Terminal(name) = selected.get_untracked() else { return };
        close(END);
        navigate("?", stay());
        spawn_local(async move {
            match end_terminal(id, name).await {
                Ok(()) => ask(),
                Err(error) => notice.say(error.message),
            }
        });
    };
    let link = Signal::derive(move || format!("{}/pods/{id}{}", location().origin().unwrap_or_default(), selected.get().address()));
    let fill = move |_| {
        if let Some(element) = document().get_element_by_id("terminal") {
            match document().fullscreen_element() {
                Some(_) => document().exit_fullscreen(),
                None => bear("Full screen", element.request_fullscreen()),
            }
        }
    };
    view! {
        <section class="term" id="terminal" aria-label="Terminals">
            <header>
                <div role="tablist" aria-label="Terminals and logs" on:keydown=move |event| step_tabs(&event)>
                    {move || {
                        tabs.get()
                            .into_iter()
                            .map(|tab| {
                                let chosen = selected.with(|selected| *selected == tab);
                                let viewers = known.with(|known| known.iter().find(|(name, _)| name == tab.name()).map_or(0, |(_, viewers)| *viewers));
                                let is_log = matches!(tab, Tab::Process(_));
                                view! {
                                    <a
                                        role="tab"
                                        href=tab.address()
                                        aria-selected=if chosen { "true" } else { "false" }
                                        aria-controls="tty"
                                        tabindex=if chosen { "0" } else { "-1" }
                                        data-noscroll="true"
                                    >
                                        {is_log.then(|| view! { <Icon name="log" /> })}
                                        {tab.name().to_owned()}
                                        {(!is_log && viewers > 1).then(|| view! { <small>{format!("{viewers} viewers")}</small> })}
                                    </a>
                                }
                            })
                            .collect_view()
                    }}
                </div>
                <button type="button" class="btn small icon" aria-label="New terminal" hidden=move || !running.get() on:click=add>
                    <Icon name="plus" />
                </button>
                <div class="acts" hidden=move || !running.get()>
                    <Show when=move || matches!(selected.get(), Tab::Terminal(name) if name != MAIN)>
                        <Opens dialog=END class="btn small icon" label="End this terminal">
                            <Icon name="x" />
                        </Opens>
                    </Show>
                    <Copy text=link name="Copy link to this terminal" class="icon" />
                    <button type="button" class="btn small icon" aria-label="Fill the window" on:click=fill>
                        <Icon name="max" />
                    </button>
                </div>
            </header>
            {move || {
                if !running.get() {
                    let (none, then) = match feed.pod.with(|pod| (pod.status, pod.reachable)) {
                        (PodStatus::Running, false) => ("No terminal: the host is not heard.", "It comes back as soon as the host does."),
                        (PodStatus::Stopped | PodStatus::Stopping, _) => ("No terminal: the pod is not running.", "It opens here when the pod is started again."),
                        _ => ("No terminal: the pod is not running.", "It opens here as soon as the sandbox is up."),
                    };
                    return view! {
                        <div class="idle">
                            <strong>{none}</strong>
                            <span>{then}</span>
                        </div>
                    }
                        .into_any();
                }
                let tab = selected.get();
                let kind = if matches!(tab, Tab::Process(_)) { "process" } else { "terminal" };
                view! {
                    <pinacle-terminal
                        id="tty"
                        role="tabpanel"
                        aria-label=format!("{kind} {}", tab.name())
                        data-pod=id.to_string()
                        data-kind=kind
                        data-name=tab.name().to_owned()
                    ></pinacle-terminal>
                }
                    .into_any()
            }}
        </section>
        <Dialog id=END title=Signal::derive(move || format!("End terminal {}?", selected.get().name()))>
            <div class="body">
                <p>"What runs in it is stopped, in every browser that looks at it."</p>
                <p class="acts">
                    <button type="button" class="btn danger" on:click=end>
                        "End terminal"
                    </button>
                    <Closes dialog=END class="btn quiet">
                        "Keep it"
                    </Closes>
                </p>
            </div>
        </Dialog>
    }
}

fn stay() -> NavigateOptions {
    NavigateOptions { scroll: false, ..NavigateOptions::default() }
}
