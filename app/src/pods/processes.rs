//! The processes that the plan started, as they are now.

use super::api::restart_process;
use super::approve::PlanYaml;
use super::feed::Feed;
use super::{PodStatus, Process};
use crate::ui::icon::Icon;
use crate::ui::list::{Column, List};
use crate::ui::status::Status;
use crate::ui::time::long_span;
use crate::ui::toast::Notice;
use leptos::prelude::*;
use leptos::task::spawn_local;

const COLUMNS: [Column; 7] = [
    Column::Text("Name"),
    Column::Text("State"),
    Column::Text("Command"),
    Column::Figure("Port"),
    Column::Figure("Up"),
    Column::Figure("Restarts"),
    Column::Actions,
];

#[component]
pub fn Processes(feed: Feed) -> impl IntoView {
    let notice = Notice::here();
    let shown = Memo::new(move |_| {
        let running = feed.pod.with(|pod| pod.status == PodStatus::Running);
        let any = feed.live.with(|live| live.as_ref().is_some_and(|live| !live.processes.is_empty()));
        let planned = feed.pod.with(|pod| pod.setup.plan.as_ref().is_some_and(|plan| !plan.processes.is_empty()));
        running && (any || planned)
    });
    let origin = move || {
        feed.pod.with(|pod| {
            let plan = pod.setup.plan.as_ref()?;
            let words = if plan.guessed { "guessed from " } else { "from " };
            let commit = plan.commit.get(..7).unwrap_or(&plan.commit).to_owned();
            Some(view! { <p>{words} <code>{plan.source.clone()}</code> {format!(" at {commit}")}</p> })
        })
    };
    let processes = Memo::new(move |_| feed.live.with(|live| live.as_ref().map(|live| live.processes.clone()).unwrap_or_default()));
    let ports = Memo::new(move |_| {
        feed.live.with(|live| {
            let ports = live.as_ref().map(|live| live.ports.iter().map(|port| port.port.to_string()).collect::<Vec<_>>());
            ports.unwrap_or_default().join(", ")
        })
    });
    let restart = Callback::new(move |name: String| {
        spawn_local(async move {
            if let Err(error) = restart_process(feed.id, name).await {
                notice.say(error.message);
            }
        });
    });
    view! {
        <Show when=move || shown.get()>
            <section class="sec" aria-labelledby="h-proc">
                <header>
                    <h2 id="h-proc">"Processes"</h2>
                    {origin}
                </header>
                <List
                    class="procs"
                    caption="Processes of this pod"
                    columns=&COLUMNS
                    foot=move || {
                        view! {
                            <Show when=move || processes.with(Vec::is_empty)>
                                <div class="nothing">
                                    <p>"None runs yet. They start when the install is done."</p>
                                </div>
                            </Show>
                            <div class="more">
                                <span>
                                    {move || match ports.get() {
                                        ports if ports.is_empty() => "No port is listening".to_owned(),
                                        ports => format!("Listening: {ports}"),
                                    }}
                                </span>
                            </div>
                        }
                    }
                >
                    {move || processes.get().into_iter().map(|process| view! { <Row process restart /> }).collect_view()}
                </List>
                {move || feed.pod.with(|pod| pod.setup.plan.as_ref().map(|plan| view! { <div class="after"><PlanYaml yaml=plan.yaml.clone() /></div> }))}
            </section>
        </Show>
    }
}

#[component]
fn Row(process: Process, restart: Callback<String>) -> impl IntoView {
    let mark = match (process.state.as_str(), process.restart_in, process.health.as_deref()) {
        ("backing_off", Some(seconds), _) => view! { <Status kind="slow" shape="s-slow" word=format!("Restarting in {seconds} s") /> },
        ("backing_off", None, _) => view! { <Status kind="slow" shape="s-slow" word="Restarting" /> },
        ("starting", ..) => view! { <Status kind="starting" shape="s-provisioning" word="Starting" /> },
        (_, _, Some(health)) => view! { <Status kind="running" shape="s-running" word=format!("Answers {health}") /> },
        _ => view! { <Status kind="running" shape="s-running" word="Running" /> },
    };
    let name = process.name.clone();
    let log = url::form_urlencoded::Serializer::for_suffix("?".to_owned(), 1).append_pair("process", &name).finish();
    let up = process.up_seconds.map_or_else(|| "–".to_owned(), long_span);
    let port = process.port.map_or_else(|| "–".to_owned(), |port| port.to_string());
    view! {
        <tr>
            <th scope="row" class="name">
                {process.name.clone()}
            </th>
            <td data-end="">{mark}</td>
            <td data-full="">
                <code>{process.command}</code>
            </td>
            <td class="num" data-label="Port">
                {port}
            </td>
            <td class="num" data-label="Up">
                {up}
            </td>
            <td class="num" data-label="Restarts">
                {process.restarts}
            </td>
            <td data-end="">
                <div class="acts">
                    <a class="btn quiet small icon" href=log data-noscroll="true" aria-label=format!("Log of {}", process.name)>
                        <Icon name="log" />
                    </a>
                    <button
                        type="button"
                        class="btn quiet small icon"
                        aria-label=format!("Restart {}", process.name)
                        on:click=move |_| restart.run(name.clone())
                    >
                        <Icon name="again" />
                    </button>
                </div>
            </td>
        </tr>
    }
}
