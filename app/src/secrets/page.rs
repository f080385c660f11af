//! A team's secrets: which value a pod gets, and why. What is shown stands in the address.

use super::add::{ADD, AddDialog};
use super::api::view_secrets;
use super::change::{Changing, Dialogs};
use super::import::{IMPORT, ImportDialog};
use super::outdated::Outdated;
use super::rows::Rows;
use super::storeys::Storeys;
use super::{Reach, Reaching, SecretsView};
use crate::ids::SecretId;
use crate::pods::Pod;
use crate::teams::TeamRole;
use crate::teams::place::{secrets_of, slug_here};
use crate::ui::dialog::Opens;
use crate::ui::icon::Icon;
use crate::ui::live::listen;
use crate::ui::problem::Problem;
use crate::ui::time::{count, thousands};
use crate::ui::toast::Notice;
use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos_meta::Title;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_navigate, use_query_map};
use leptos_router::params::ParamsMap;
use std::time::Duration;
use time::OffsetDateTime;

/// News of several pods are one reading.
const GATHER: Duration = Duration::from_millis(200);
/// Names that are listed at first, and by which the list grows.
const NAMES: usize = 50;
/// Markup as text: what stands in a `noscript` is never hydrated.
const WITHOUT_SCRIPT: &str = r#"<button class="btn">Apply</button>"#;

/// What the address asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The slug of a team; the personal one if None.
    team: Option<String>,
    /// None: the server's choice. Empty: a pod without a repository.
    project: Option<String>,
    search: String,
    /// Names that are listed; `NAMES` where the address says nothing.
    names: Option<usize>,
}

impl Place {
    fn from_address(team: Option<String>, query: &ParamsMap) -> Self {
        Self {
            team,
            project: query.get("project"),
            search: query.get("q").unwrap_or_default(),
            names: query.get("names").and_then(|names| names.parse().ok()),
        }
    }

    pub fn address(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(project) = &self.project {
            query.append_pair("project", project);
        }
        if !self.search.is_empty() {
            query.append_pair("q", &self.search);
        }
        if let Some(names) = self.names {
            query.append_pair("names", &names.to_string());
        }
        let query = query.finish();
        let path = secrets_of(self.team.as_deref());
        if query.is_empty() { path } else { format!("{path}?{query}") }
    }

    pub fn of(team: &str, project: Option<&str>) -> Self {
        Self { team: Some(team.to_owned()), project: Some(project.unwrap_or_default().to_owned()), ..Self::default() }
    }

    fn listed(&self) -> usize {
        self.names.unwrap_or(NAMES)
    }

    fn longer(&self) -> Self {
        Self { names: Some(self.listed().saturating_add(NAMES)), ..self.clone() }
    }
}

#[component]
pub fn SecretsPage() -> impl IntoView {
    let (slug, query) = (slug_here(), use_query_map());
    let place = Memo::new(move |_| query.with(|query| Place::from_address(slug.get(), query)));
    // Once: what is asked for later takes the place of this without drawing the page anew, in which somebody types.
    let first = Resource::new(
        || (),
        move |()| {
            let Place { team, project, .. } = place.get_untracked();
            view_secrets(team, project)
        },
    );
    view! {
        <Title text="Secrets" />
        <Transition fallback=|| {
            view! {
                <main id="main">
                    <p class="dim">"Loading secrets…"</p>
                </main>
            }
        }>
            {move || Suspend::new(async move {
                match first.await {
                    Ok(first) => {
                        view! {
                            <main id="main">
                                <Shown first place />
                            </main>
                        }
                            .into_any()
                    }
                    Err(error) => view! { <Problem error what="The secrets" /> }.into_any(),
                }
            })}
        </Transition>
    }
}

#[component]
fn Shown(first: SecretsView, place: Memo<Place>) -> impl IntoView {
    let shown = RwSignal::new(first);
    let notice = Notice::here();
    let again = Callback::new(move |()| {
        let asked = place.get_untracked();
        spawn_local(async move {
            let found = view_secrets(asked.team.clone(), asked.project.clone()).await;
            let now = place.try_get_untracked();
            // Another place has a reading of its own.
            if now.is_none_or(|now| (&now.team, &now.project) != (&asked.team, &asked.project)) {
                return;
            }
            match found {
                Ok(view) => drop(shown.try_set(view)),
                Err(error) => notice.say(error.message),
            }
        });
    });
    let where_to = Memo::new(move |_| place.with(|place| (place.team.clone(), place.project.clone())));
    Effect::new(move |before: Option<(Option<String>, Option<String>)>| {
        // Read, not only tracked: what nobody reads looks at nothing itself.
        let now = where_to.get();
        if before.is_some_and(|before| before != now) {
            again.run(());
        }
        now
    });
    let waiting = StoredValue::new(false);
    Effect::new(move || {
        listen(
            || "/live/pods".to_owned(),
            move |text| {
                let of_team = |pod: &Pod| shown.try_with_untracked(|view| view.team.id == pod.team_id).unwrap_or(false);
                if serde_json::from_str::<Pod>(text).is_ok_and(|pod| of_team(&pod)) && waiting.try_get_value() == Some(false) {
                    waiting.set_value(true);
                    set_timeout(
                        move || {
                            if waiting.try_set_value(false).is_none() {
                                again.run(());
                            }
                        },
                        GATHER,
                    );
                }
            },
        );
    });
    let owns = Memo::new(move |_| shown.with(|view| view.team.role == TeamRole::Owner));
    let changing = Changing::default();
    view! {
        <div class="head">
            <div>
                <h1>"Secrets " <span class="dim">{move || thousands(shown.with(|view| u64::from(view.total)))}</span></h1>
                <p class="sub">
                    "Values go in and never come out of these pages. Pods get them as environment variables, so members can read what their pods get."
                </p>
            </div>
            <Show
                when=move || owns.get()
                fallback=|| view! { <p class="dim small">"The team’s owners add and change them."</p> }
            >
                <div class="acts">
                    <Opens dialog=IMPORT class="btn">
                        <Icon name="up" />
                        "Import .env"
                    </Opens>
                    <Opens dialog=ADD class="btn primary">
                        <Icon name="plus" />
                        "Add secret"
                    </Opens>
                </div>
            </Show>
        </div>
        <Outdated shown again />
        <Show
            when=move || shown.with(|view| view.total > 0)
            fallback=move || view! { <Blank team=shown.with_untracked(|view| view.team.name.clone()) owns=owns.get_untracked() /> }
        >
            <Tools shown place />
            <Table shown place owns changing />
        </Show>
        <AddDialog shown again />
        <ImportDialog shown again />
        <Dialogs changing again />
    }
}

#[component]
fn Blank(team: String, owns: bool) -> impl IntoView {
    let next = if owns {
        "Add the first one, or import a .env file: pods get them as environment variables at their next start."
    } else {
        "Once an owner has added one, pods get it as an environment variable at their next start."
    };
    view! {
        <div class="nothing">
            <p>{format!("{team} has no secrets. {next}")}</p>
        </div>
    }
}

#[component]
fn Tools(shown: RwSignal<SecretsView>, place: Memo<Place>) -> impl IntoView {
    let navigate = use_navigate();
    let go = Callback::new(move |place: Place| {
        navigate(&place.address(), NavigateOptions { replace: true, scroll: false, ..NavigateOptions::default() });
    });
    let field = NodeRef::<html::Input>::new();
    let options = Memo::new(move |_| shown.with(|view| view.projects.clone()));
    let chosen = Memo::new(move |_| shown.with(|view| view.project.clone().unwrap_or_default()));
    view! {
        <form class="tools" role="search" aria-label="Filter secrets" method="get" action=move || place.with(|place| secrets_of(place.team.as_deref())) on:submit=|event| event.prevent_default()>
            <div class="search">
                <Icon name="search" />
                <label class="sr" for="q">
                    "Search names"
                </label>
                <input
                    class="input"
                    id="q"
                    name="q"
                    type="search"
                    placeholder="Name"
                    autocomplete="off"
                    node_ref=field
                    value=place.with_untracked(|place| place.search.clone())
                    on:input=move |event| {
                        go.run(Place { search: event_target_value(&event).trim().to_owned(), ..place.get_untracked() });
                    }
                />
                <kbd>"/"</kbd>
            </div>
            <p class="ask-for">
                <label for="project">"A pod of"</label>
                <select
                    class="select"
                    id="project"
                    name="project"
                    prop:value=move || chosen.get()
                    on:change=move |event| go.run(Place { project: Some(event_target_value(&event)), ..place.get_untracked() })
                >
                    {move || {
                        options
                            .get()
                            .into_iter()
                            .map(|project| {
                                let selected = project == chosen.get_untracked();
                                view! {
                                    <option value=project.clone() selected=selected>
                                        {project.clone()}
                                    </option>
                                }
                            })
                            .collect_view()
                    }}
                    <option value="" selected=chosen.with_untracked(String::is_empty)>
                        "no repository"
                    </option>
                </select>
                "gets"
            </p>
            <noscript inner_html=WITHOUT_SCRIPT></noscript>
        </form>
    }
}

#[component]
fn Table(shown: RwSignal<SecretsView>, place: Memo<Place>, owns: Memo<bool>, changing: Changing) -> impl IntoView {
    let caption = move || {
        let of = shown.with(|view| view.project.clone().unwrap_or_else(|| "no repository".to_owned()));
        format!("Secrets that a pod of {of} gets, and those that lose to another of the same name")
    };
    let found = Memo::new(move |_| {
        let search = place.with(|place| place.search.to_uppercase());
        shown.with(|view| {
            let found = view.secrets.iter().filter(|one| one.secret.name.contains(&search)).cloned().collect::<Vec<_>>();
            found.chunk_by(|one, next| one.secret.name == next.secret.name).map(<[_]>::to_vec).collect::<Vec<_>>()
        })
    });
    // A row costs its page time in the browser and on the server: a long list comes in parts.
    let groups = Memo::new(move |_| {
        let listed = place.with(Place::listed);
        found.with(|found| found.iter().take(listed).cloned().collect::<Vec<_>>())
    });
    let unlisted = Memo::new(move |_| found.with(Vec::len).saturating_sub(place.with(Place::listed)));
    let sum = move || {
        shown.with(|view| {
            let beaten = view.secrets.iter().filter(|one| one.reach == Reach::Beaten).count();
            let reach = view.secrets.len() - beaten;
            let mut parts = vec![format!("{} the pod", if reach == 1 { "1 reaches".to_owned() } else { format!("{reach} reach") })];
            if beaten > 0 {
                parts.push(format!("{beaten} {} to another of the same name", if beaten == 1 { "loses" } else { "lose" }));
            }
            parts.join(", ")
        })
    };
    let elsewhere = move || {
        shown.with(|view| {
            let (team, all) = (view.team.slug.clone(), view.elsewhere.clone());
            all.into_iter()
                .map(|(project, number)| {
                    let words = format!("{} for {project}", count(u64::from(number), "more", "more"));
                    view! {
                        <a class="link" href=Place::of(&team, Some(&project)).address()>
                            {words}
                        </a>
                    }
                })
                .collect_view()
        })
    };
    let personal = Memo::new(move |_| shown.with(|view| view.team.personal));
    view! {
        <div class="list secrets">
            <table>
                <caption class="sr">{caption}</caption>
                <thead>
                    <tr>
                        <th scope="col">"Name"</th>
                        <th scope="col">"Comes from"</th>
                        <th scope="col">"Why"</th>
                        <th scope="col">"Last used by"</th>
                        <th scope="col">"Changed"</th>
                        <th scope="col">
                            <span class="sr">"Actions"</span>
                        </th>
                    </tr>
                </thead>
                <For each=move || groups.get() key=|group| identity(group) let:group>
                    <Rows group team=shown.with_untracked(|view| view.team.name.clone()) owns changing />
                </For>
            </table>
            <Show when=move || groups.with(Vec::is_empty)>
                <div class="nothing">
                    <p>{move || if place.with(|place| place.search.is_empty()) { "No secret reaches it." } else { "No secret of that name reaches it." }}</p>
                </div>
            </Show>
            <div class="more">
                <Show when=move || unlisted.get() != 0>
                    <a class="btn small" href=move || place.with(|place| place.longer().address()) data-noscroll>
                        {move || match unlisted.get() {
                            all if all <= NAMES => format!("Show {all} more"),
                            all => format!("Show {NAMES} of {} more", thousands(all as u64)),
                        }}
                    </a>
                </Show>
                <span>{sum}</span>
                {elsewhere}
            </div>
        </div>
        <p class="legend">
            <Storeys of_repository=true reach=Reach::Only words="Repository" />
            <span class="dim">"wins over"</span>
            <Storeys of_repository=false reach=Reach::Only words="team" />
            <Show when=move || !personal.get()>
                <span class="dim">
                    "· a secret of your own belongs to your "
                    <a class="link" href="/secrets">
                        "personal team"
                    </a>
                    ", and reaches the pods made there"
                </span>
            </Show>
        </p>
    }
}

/// Two groups that look the same are the same row.
fn identity(group: &[Reaching]) -> Vec<(SecretId, OffsetDateTime, Option<OffsetDateTime>, Reach)> {
    group.iter().map(|one| (one.secret.id, one.secret.changed_at, one.secret.last_used.as_ref().map(|used| used.at), one.reach)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_stands_in_the_address() {
        assert_eq!(Place::default().address(), "/secrets");
        assert_eq!(Place::of("acme", None).address(), "/teams/acme/secrets?project=");
        let place = Place { search: "A B".into(), ..Place::of("acme", Some("acme/api")) };
        assert_eq!(place.address(), "/teams/acme/secrets?project=acme%2Fapi&q=A+B");
        assert_eq!(place.longer().longer().address(), "/teams/acme/secrets?project=acme%2Fapi&q=A+B&names=150");
    }
}
