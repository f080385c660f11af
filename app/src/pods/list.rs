//! All pods that the caller may see: what needs somebody first. Filters live in the address; changes come by themselves.

use super::api::list_pods;
use super::filter::{Filter, ME, STATUSES, has_status, rank};
use super::row::PodRow;
use super::{Pod, PodStatus, Repository, Tier};
use crate::account::Me;
use crate::account::api::account_repositories;
use crate::error::{AppError, AppResult, ErrorCode};
use crate::ids::{PodId, UserId};
use crate::teams::api::list_teams;
use crate::ui::copy::Copy;
use crate::ui::icon::Icon;
use crate::ui::list::{Column, List};
use crate::ui::live::listen_again;
use crate::ui::problem::Problem;
use crate::ui::refusal::bear;
use crate::ui::time::thousands;
use crate::ui::toast::Notice;
use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos_meta::Title;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_navigate, use_params_map, use_query_map};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;

/// Up to here everything is in one page, counted and sorted in the browser; above, the server pages.
const ALL_AT_ONCE: u32 = 100;
const A_PAGE: u32 = 50;
/// Markup as text: what stands in a `noscript` is never hydrated.
const WITHOUT_SCRIPT: &str = r#"<button class="btn">Apply</button>"#;
const TYPING: Duration = Duration::from_millis(250);

const COLUMNS: [Column; 7] = [
    Column::Text("Name"),
    Column::Text("Status"),
    Column::Text("Repository"),
    Column::Text("Tier"),
    Column::Text("Owner"),
    Column::Figure("Changed"),
    Column::Actions,
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Listing {
    pods: Vec<Pod>,
    /// All pods are here, whatever their status.
    complete: bool,
    next_cursor: Option<String>,
    /// Offered when there is no pod at all.
    repositories: Vec<Repository>,
    /// Why GitHub gave none.
    silent: Option<String>,
}

async fn load(filter: Filter) -> AppResult<Listing> {
    if !filter.team.is_empty() && !list_teams().await?.iter().any(|team| team.slug == filter.team) {
        return Err(AppError::not_found());
    }
    let all = list_pods(filter.query(false, ALL_AT_ONCE)).await?;
    if all.next_cursor.is_none() {
        let none = all.items.is_empty() && filter.count() == 0;
        let (repositories, silent) = match none {
            true => account_repositories(None, None).await.map_or_else(|error| (Vec::new(), Some(error.message)), |page| (page.items, None)),
            false => (Vec::new(), None),
        };
        return Ok(Listing { pods: all.items, complete: true, next_cursor: None, repositories, silent });
    }
    let page = list_pods(filter.query(true, A_PAGE)).await?;
    Ok(Listing { pods: page.items, complete: false, next_cursor: page.next_cursor, repositories: Vec::new(), silent: None })
}

#[component]
pub fn PodsPage() -> impl IntoView {
    let (params, query) = (use_params_map(), use_query_map());
    let filter = Memo::new(move |_| params.with(|params| query.with(|query| Filter::from_address(params, query))));

    // Once: what is asked for later takes the place of this without drawing the page anew, in which somebody types.
    let listing = Resource::new(|| (), move |()| load(filter.get_untracked()));
    let me = expect_context::<Resource<Result<Me, AppError>>>();
    let news = RwSignal::new(HashMap::<PodId, Pod>::new());
    // Rises when the list is to be read again.
    let again = RwSignal::new(0u32);
    Effect::new(move || {
        listen_again(
            || "/live/pods".to_owned(),
            move |text| {
                if let Ok(pod) = serde_json::from_str::<Pod>(text) {
                    news.try_update(|news| news.insert(pod.id, pod));
                }
            },
            move || {
                // What went meanwhile, or is the caller's to see no more, is not told of.
                news.try_set(HashMap::new());
                again.try_update(|times| *times += 1);
            },
        );
    });
    view! {
        <Title text="Pods" />
        <Transition fallback=|| view! { <Loading /> }>
            {move || Suspend::new(async move {
                let me = me.await.ok().map(|me| me.id);
                match listing.await {
                    Ok(listing) => {
                        view! {
                            <main id="main">
                                <Listed listing news again filter me />
                            </main>
                        }
                            .into_any()
                    }
                    Err(error) => view! { <Problem error what="Pods" /> }.into_any(),
                }
            })}
        </Transition>
    }
}

#[component]
fn Listed(listing: Listing, news: RwSignal<HashMap<PodId, Pod>>, again: RwSignal<u32>, filter: Memo<Filter>, me: Option<UserId>) -> impl IntoView {
    let listing = RwSignal::new(listing);
    let notice = Notice::here();
    Effect::new(move |before: Option<(Filter, u32)>| {
        let now = (filter.get(), again.get());
        if before.is_some_and(|before| before != now) {
            let asked = now.clone();
            spawn_local(async move {
                let found = load(asked.0.clone()).await;
                // Another filter has a search of its own.
                if filter.try_get_untracked() != Some(asked.0) || again.try_get_untracked() != Some(asked.1) {
                    return;
                }
                match found {
                    Ok(new) => drop(listing.try_set(new)),
                    // The team was left, or is gone.
                    Err(error) if error.code == ErrorCode::NotFound => bear("Loading the page again", window().location().reload()),
                    Err(error) => notice.say(error.message),
                }
            });
        }
        now
    });
    // All pods are here: their status is a matter of the browser.
    let complete = Memo::new(move |_| listing.with(|listing| listing.complete));
    // What was loaded, with what has come since.
    let all = Memo::new(move |_| {
        let mut all: HashMap<PodId, Pod> = listing.with(|listing| listing.pods.iter().map(|pod| (pod.id, pod.clone())).collect());
        news.with(|news| {
            for pod in news.values() {
                let known = all.get(&pod.id);
                let belongs = known.is_some() || (complete.get() && filter.with(|filter| filter.is_of_team(pod)));
                if belongs && known.is_none_or(|known| known.updated_at <= pod.updated_at) {
                    all.insert(pod.id, pod.clone());
                }
            }
        });
        all
    });
    let hovered = RwSignal::new(false);
    let order = Memo::new(move |before: Option<&Vec<PodId>>| {
        let filter = filter.get();
        let mut shown: Vec<Pod> = all.with(|all| all.values().filter(|pod| filter.holds(pod, me)).cloned().collect());
        shown.sort_by_key(|pod| (rank(pod), std::cmp::Reverse(pod.updated_at), pod.id));
        let order: Vec<PodId> = shown.iter().map(|pod| pod.id).collect();
        // Rows never jump under the pointer: what is new goes to the end until it leaves.
        match before.filter(|_| hovered.get()) {
            Some(before) => {
                let mut kept: Vec<PodId> = before.iter().filter(|id| order.contains(id)).copied().collect();
                kept.extend(order.iter().filter(|id| !before.contains(id)));
                kept
            }
            None => order,
        }
    });
    let alive = Memo::new(move |_| all.with(|all| all.values().filter(|pod| pod.status != PodStatus::Deleted).count()));
    let nothing = Memo::new(move |_| complete.get() && alive.get() == 0 && filter.with(|filter| filter.count() == 0));
    view! {
        <div class="head">
            <h1>"Pods " <span class="dim">{move || complete.get().then(|| thousands(alive.get() as u64))}</span></h1>
            <a class="btn primary" href=move || filter.with(Filter::new_pod)>
                <Icon name="plus" />
                "New pod"
            </a>
        </div>
        <Show
            when=move || !nothing.get()
            fallback=move || listing.with(|listing| view! { <Blank new_pod=filter.with(Filter::new_pod) repositories=listing.repositories.clone() silent=listing.silent.clone() /> })
        >
            <Tools filter all complete me />
            <div on:mouseenter=move |_| hovered.set(true) on:mouseleave=move |_| hovered.set(false)>
                <List
                    class="pods"
                    caption="Pods: what needs you first, then what is under way, then newest change"
                    columns=&COLUMNS
                    foot=move || view! { <Below order all alive=alive.into() complete filter listing /> }
                >
                    <For each=move || order.get() key=|id| *id let:id>
                        <PodRow id all news />
                    </For>
                </List>
            </div>
        </Show>
    }
}

/// Below the rows: that there is none, how many there are, what they cost, and the way to the rest.
#[component]
fn Below(
    order: Memo<Vec<PodId>>,
    all: Memo<HashMap<PodId, Pod>>,
    /// How many there are, as far as is known.
    alive: Signal<usize>,
    complete: Memo<bool>,
    filter: Memo<Filter>,
    listing: RwSignal<Listing>,
) -> impl IntoView {
    let month = Memo::new(move |_| {
        all.with(|all| order.with(|order| order.iter().filter_map(|id| all.get(id)).map(|pod| u64::from(pod.tier.dollars())).sum::<u64>()))
    });
    let at = move |cursor: String| filter.with(|filter| Filter { cursor, ..filter.clone() }.address());
    view! {
        <Show when=move || order.with(Vec::is_empty)>
            <div class="nothing">
                <p>{move || filter.with(nobody)}</p>
                <a class="btn small" href=move || filter.with(Filter::base)>
                    <Icon name="x" />
                    "Clear the filters"
                </a>
            </div>
        </Show>
        <div class="more">
            <span>
                {move || {
                    let shown = order.with(Vec::len);
                    if complete.get() { format!("{shown} of {}", alive.get()) } else { format!("{shown} on this page") }
                }}
            </span>
            <span>{move || format!("${} a month", thousands(month.get()))}</span>
            <Show when=move || filter.with(|filter| !filter.cursor.is_empty())>
                <a class="link" href=move || at(String::new())>
                    "First page"
                </a>
            </Show>
            {move || {
                listing
                    .with(|listing| listing.next_cursor.clone())
                    .map(|cursor| {
                        view! {
                            <a class="link" href=at(cursor)>
                                "Next page"
                            </a>
                        }
                    })
            }}
        </div>
    }
}

/// Says which filters found nothing.
fn nobody(filter: &Filter) -> String {
    let status = STATUSES.iter().find(|(value, _)| !value.is_empty() && *value == filter.status).map(|(_, words)| format!(" is {words}"));
    let tier = (!filter.tier.is_empty()).then(|| format!(" on {}", filter.tier));
    let search = (!filter.search.is_empty()).then(|| format!(" named like “{}”", filter.search));
    let mine = (!filter.owner.is_empty()).then(|| " is yours".to_owned());
    let parts: String = [mine, status, tier, search].into_iter().flatten().collect::<Vec<_>>().join(",");
    format!("No pod{parts}.")
}

#[component]
fn Tools(filter: Memo<Filter>, all: Memo<HashMap<PodId, Pod>>, complete: Memo<bool>, me: Option<UserId>) -> impl IntoView {
    let navigate = use_navigate();
    let go = move |filter: Filter| navigate(&filter.address(), NavigateOptions { replace: true, scroll: false, ..NavigateOptions::default() });
    let field = NodeRef::<html::Input>::new();
    // What the address has of what was typed: anything else there came by a link, and the field follows it.
    let sent = StoredValue::new(filter.with_untracked(|filter| filter.search.clone()));
    let mut typed = {
        let go = go.clone();
        leptos::leptos_dom::helpers::debounce(TYPING, move |text: String| {
            let search = text.trim().to_owned();
            sent.set_value(search.clone());
            go(Filter { search, cursor: String::new(), ..filter.get_untracked() });
        })
    };
    Effect::new(move || {
        let search = filter.with(|filter| filter.search.clone());
        if search != sent.get_value() {
            if let Some(field) = field.get_untracked() {
                field.set_value(&search);
            }
            sent.set_value(search);
        }
    });
    // Who sees nobody else's pods has nothing to choose.
    let shared = Memo::new(move |_| {
        !complete.get() || filter.with(|filter| !filter.owner.is_empty()) || all.with(|all| all.values().any(|pod| Some(pod.owner_id) != me))
    });
    let by = Callback::new({
        let go = go.clone();
        move |owner: String| go(Filter { owner, cursor: String::new(), ..filter.get_untracked() })
    });
    let counted = move |status: &'static str| {
        complete.get().then(|| all.with(|all| all.values().filter(|pod| has_status(pod, status) && pod.status != PodStatus::Deleted).count()))
    };
    view! {
        <form class="tools" role="search" aria-label="Pods" method="get" action=move || filter.with(Filter::base) on:submit=|event| event.prevent_default()>
            <div class="search">
                <Icon name="search" />
                <label class="sr" for="q">
                    "Search by name, repository or owner"
                </label>
                <input
                    class="input"
                    id="q"
                    name="q"
                    type="search"
                    placeholder="Name, repository or owner"
                    autocomplete="off"
                    node_ref=field
                    value=filter.with_untracked(|filter| filter.search.clone())
                    on:input=move |event| typed(event_target_value(&event))
                />
                <kbd>"/"</kbd>
            </div>
            <nav class="seg" aria-label="Filter by status">
                {STATUSES
                    .into_iter()
                    .map(|(status, words)| {
                        view! {
                            <a
                                href=move || filter.with(|filter| filter.with_status(status).address())
                                aria-current=move || filter.with(|filter| (filter.status == status).then_some("true"))
                                data-noscroll="true"
                            >
                                {words}
                                <span>{move || counted(status).map(|count| count.to_string())}</span>
                            </a>
                        }
                    })
                    .collect_view()}
            </nav>
            <label class="sr" for="tier">
                "Tier"
            </label>
            <select
                class="select"
                id="tier"
                name="tier"
                prop:value=move || filter.with(|filter| filter.tier.clone())
                on:change=move |event| {
                    go(Filter {
                        tier: event_target_value(&event),
                        cursor: String::new(),
                        ..filter.get_untracked()
                    });
                }
            >
                <option value="" selected=filter.with_untracked(|filter| filter.tier.is_empty())>
                    "Every tier"
                </option>
                {Tier::ALL
                    .into_iter()
                    .map(|tier| {
                        view! {
                            <option value=tier.as_str() selected=filter.with_untracked(|filter| filter.tier == tier.as_str())>
                                {tier.as_str()}
                            </option>
                        }
                    })
                    .collect_view()}
            </select>
            <Show when=move || shared.get()>
                <label class="sr" for="by">
                    "Owner"
                </label>
                <select
                    class="select"
                    id="by"
                    name="owner"
                    prop:value=move || filter.with(|filter| filter.owner.clone())
                    on:change=move |event| {
                        by.run(event_target_value(&event));
                    }
                >
                    <option value="" selected=filter.with_untracked(|filter| filter.owner.is_empty())>
                        "Everyone’s"
                    </option>
                    <option value=ME selected=filter.with_untracked(|filter| !filter.owner.is_empty())>
                        "Mine"
                    </option>
                </select>
            </Show>
            // The status is chosen by links: without JavaScript the form keeps it.
            {move || {
                let status = filter.with(|filter| filter.status.clone());
                (!status.is_empty()).then(|| view! { <input type="hidden" name="status" value=status /> })
            }}
            <noscript inner_html=WITHOUT_SCRIPT></noscript>
        </form>
    }
}

/// No pods yet: says what to do next.
#[component]
fn Blank(new_pod: String, repositories: Vec<Repository>, silent: Option<String>) -> impl IntoView {
    let other = new_pod.clone();
    const OFFERED: usize = 6;
    const SCRIPT: &str = "curl \"$PINACLE/api/v1/pods\" \\\n  -H \"Authorization: Bearer $PINACLE_TOKEN\" \\\n  -H \"Idempotency-Key: $(uuidgen)\" \\\n  --json '{\"name\": \"shop\", \"tier\": \"dev.small\",\n           \"repository\": \"acme/shop\", \"branch\": \"main\"}'";
    view! {
        <div class="blank">
            <div>
                <h2>"No pods yet. Start from a repository"</h2>
                <p>
                    "A pod is a development machine of its own: your branch checked out, its processes running, a terminal in the browser. The terminal opens after seconds, everything is usually ready in half a minute."
                </p>
                <div class="list offer">
                    <table>
                        <caption class="sr">"Your repositories, last pushed first"</caption>
                        <tbody>
                            {repositories
                                .into_iter()
                                .take(OFFERED)
                                .map(|repository| {
                                    let query = url::form_urlencoded::Serializer::new(String::new())
                                        .append_pair("repository", &repository.full_name)
                                        .finish();
                                    view! {
                                        <tr>
                                            <th scope="row" class="name">
                                                <span class="repo">
                                                    <Icon name=if repository.private { "lock" } else { "repo" } />
                                                    {repository.full_name.clone()}
                                                </span>
                                            </th>
                                            <td class="dim num">{if repository.private { "private" } else { "" }}</td>
                                            <td class="num">
                                                <a
                                                    class="btn small"
                                                    href=format!("{new_pod}?{query}")
                                                    aria-label=format!("Create pod from {}", repository.full_name)
                                                >
                                                    "Create pod"
                                                </a>
                                            </td>
                                        </tr>
                                    }
                                })
                                .collect_view()}
                        </tbody>
                    </table>
                    {silent
                        .map(|why| {
                            view! {
                                <div class="nothing">
                                    <p>{format!("Your repositories could not be listed: {why}")}</p>
                                </div>
                            }
                        })}
                    <div class="more">
                        <a class="link" href=other>
                            "Another repository, any https address, or an empty pod"
                        </a>
                    </div>
                </div>
            </div>
            <div>
                <h2>"Or from a script"</h2>
                <p>"Everything in these pages is in the API. The answer comes at once; the pod follows."</p>
                <pre class="code" tabindex="0">
                    <code>{SCRIPT}</code>
                </pre>
                <p class="acts">
                    <Copy text=SCRIPT.to_owned() name="Copy the command" label="Copy" class="line" />
                    <a class="btn small" href="/account#tokens">
                        <Icon name="key" />
                        "Create API token"
                    </a>
                </p>
            </div>
        </div>
    }
}

/// Rows as high as the real ones.
#[component]
fn Loading() -> impl IntoView {
    let cell = || view! { <td><div class="skeleton"></div></td> };
    view! {
        <main id="main">
            <div class="head">
                <h1>"Pods"</h1>
            </div>
            <div class="list pods" aria-busy="true">
                <table>
                    <caption class="sr">"Pods, loading"</caption>
                    <tbody>{(0..3).map(|_| view! { <tr>{cell()} {cell()} {cell()} {cell()}</tr> }).collect_view()}</tbody>
                </table>
            </div>
        </main>
    }
}
