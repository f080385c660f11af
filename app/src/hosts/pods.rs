//! The pods of one host, for operators: whose they are and how they are; what is in them is their owners'.

use super::api::list_host_pods;
use super::{Host, HostPod};
use crate::account::Me;
use crate::error::{AppError, AppResult};
use crate::ids::HostId;
use crate::ui::copy::Copy;
use crate::ui::list::{Column, List};
use crate::ui::problem::Failed;
use crate::ui::status::PodMark;
use leptos::prelude::*;

const COLUMNS: [Column; 5] = [Column::Text("Name"), Column::Text("Status"), Column::Text("Owner"), Column::Text("Tier"), Column::Text("Id")];

/// Below the hosts: the pods of the one that is opened, asked for again whenever its number of pods changes.
#[component]
pub fn HostPods(hosts: RwSignal<Vec<Host>>, opened: Memo<Option<HostId>>) -> impl IntoView {
    let asked = Memo::new(move |_| {
        let id = opened.get()?;
        hosts.with(|all| all.iter().find(|host| host.id == id).map(|host| (id, host.name.clone(), host.pods)))
    });
    let pods = Resource::new(
        move || asked.get(),
        |asked| async move {
            match asked {
                Some((id, name, _)) => Some((name, list_host_pods(id).await)),
                None => None,
            }
        },
    );
    let me = expect_context::<Resource<Result<Me, AppError>>>();
    view! {
        <Transition>
            {move || Suspend::new(async move {
                let handle = me.await.ok().map(|me| me.handle).unwrap_or_default();
                pods.await.map(|(name, pods)| view! { <Section name pods handle /> })
            })}
        </Transition>
    }
}

#[component]
fn Section(name: String, pods: AppResult<Vec<HostPod>>, handle: String) -> impl IntoView {
    let heading = format!("Pods on {name}");
    view! {
        <section class="sec gap" id="host-pods" aria-labelledby="h-host-pods">
            <header>
                <h2 id="h-host-pods">{heading.clone()}</h2>
                <span class="dim">{pods.as_ref().map(Vec::len).ok()}</span>
                <div class="acts">
                    <a class="btn quiet small" href="/hosts" data-noscroll="true">
                        "Hide"
                    </a>
                </div>
            </header>
            {match pods {
                Ok(pods) => view! { <Rows heading pods handle /> }.into_any(),
                Err(error) => view! { <Failed message=error.message what=heading /> }.into_any(),
            }}
        </section>
    }
}

#[component]
fn Rows(heading: String, pods: Vec<HostPod>, handle: String) -> impl IntoView {
    let none = pods.is_empty();
    let rows = pods
        .into_iter()
        .map(|pod| {
            let id = pod.id.to_string();
            let face: String = pod.owner.chars().take(1).collect();
            // An operator's own pods have a page; to those of others it has no right.
            let name = match pod.owner == handle {
                true => view! { <a href=format!("/pods/{id}")>{pod.name.clone()}</a> }.into_any(),
                false => pod.name.clone().into_any(),
            };
            view! {
                <tr>
                    <th scope="row" class="name">
                        {name}
                    </th>
                    <td data-end="">
                        <PodMark status=pod.status />
                    </td>
                    <td>
                        <span class="who">
                            <span class="face" aria-hidden="true">
                                {face}
                            </span>
                            {pod.owner}
                        </span>
                    </td>
                    <td class="mid" data-end="">
                        {pod.tier.as_str()}
                    </td>
                    <td data-full="">
                        <span class="who">
                            <code>{id.clone()}</code>
                            <Copy text=id name=format!("Copy the id of {}", pod.name) />
                        </span>
                    </td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <List
            class="on-host"
            caption=heading
            columns=&COLUMNS
            foot=move || {
                none.then(|| {
                    view! {
                        <div class="nothing">
                            <p>"No pods have their place here."</p>
                        </div>
                    }
                })
            }
        >
            {rows}
        </List>
    }
}
