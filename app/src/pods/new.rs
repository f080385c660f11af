//! The form for a new pod. It works without JavaScript; with it, fields are checked while one types.

use super::api::{CreatePod, check_pod, suggest_pod_name};
use super::form::Typed;
use super::repository_field::RepositoryField;
use super::tier_field::TierField;
use super::{Branch, PodName, Repository, RepositoryAddress, Tier};
use crate::account::api::{account, account_branches, account_repositories};
use crate::account::{Allowed, consent_address};
use crate::error::{AppError, AppResult, ErrorCode};
use crate::teams::place::{pods_of, slug_here};
use crate::teams::{Team, api::list_teams};
use crate::ui::clock::Clock;
use crate::ui::problem::{FieldError, Problem};
use leptos::form::ActionForm;
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::{use_params_map, use_query_map};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const TYPING: Duration = Duration::from_millis(300);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Offer {
    repositories: Vec<Repository>,
    /// There are more than these: what is typed is searched for at GitHub.
    more: bool,
    /// Why GitHub gave none.
    silent: Option<String>,
    /// At GitHub.
    allowed: Allowed,
    teams: Vec<Team>,
    name: String,
    branches: Listed,
    /// What the values in the address would be refused for.
    refused: Option<AppError>,
}

/// Branches of the repository that is chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Listed {
    branches: Vec<Branch>,
    /// Why there are none, where there should be.
    silent: Option<String>,
}

async fn load(typed: Typed, slug: Option<String>) -> AppResult<Offer> {
    let teams = list_teams().await?;
    if slug.is_some_and(|slug| !teams.iter().any(|team| team.slug == slug)) {
        return Err(AppError::not_found());
    }
    let name = match typed.name.as_str() {
        "" => suggest_pod_name(Some(typed.repository.clone())).await?,
        name => name.to_owned(),
    };
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    let refused = match typed.checked {
        true => check_pod(name.clone(), typed.tier.clone(), given(&typed.repository), given(&typed.branch)).await.unwrap_or_else(Some),
        false => None,
    };
    // GitHub may be down: an address and an empty pod still work.
    let (repositories, more, silent) = match account_repositories(None, None).await {
        Ok(page) => (page.items, page.next_cursor.is_some(), None),
        Err(error) if error.code == ErrorCode::Unauthenticated => return Err(error),
        Err(error) => (Vec::new(), false, Some(error.message)),
    };
    // After the list, which finds out whether GitHub still accepts it.
    let allowed = account().await?.github;
    Ok(Offer { repositories, more, silent, allowed, teams, name, branches: branches_of(&typed.repository).await, refused })
}

/// Branches through GitHub's API; none for an address elsewhere, whose branch is typed.
async fn branches_of(repository: &str) -> Listed {
    let Ok(RepositoryAddress::GitHub { owner, name }) = RepositoryAddress::parse(repository) else { return Listed::default() };
    match account_branches(owner, name).await {
        Ok(branches) => Listed { branches, silent: None },
        // Whether there is such a repository is said at its field.
        Err(error) if error.code == ErrorCode::NotFound => Listed::default(),
        Err(error) => Listed { branches: Vec::new(), silent: Some(error.message) },
    }
}

#[component]
pub fn NewPodPage() -> impl IntoView {
    let query = use_query_map();
    let typed = query.with_untracked(Typed::from_address);
    let begin = typed.clone();
    let params = use_params_map();
    let offer = Resource::new(move || params.with(|params| params.get("team")), move |slug| load(begin.clone(), slug));
    view! {
        <Title text="New pod" />
        <Suspense fallback=|| {
            view! {
                <Around>
                    <p class="dim">"Asking GitHub for your repositories…"</p>
                </Around>
            }
        }>
            {move || {
                let typed = typed.clone();
                Suspend::new(async move {
                    match offer.await {
                        Ok(offer) => {
                            view! {
                                <Around>
                                    <TheForm offer typed />
                                </Around>
                            }
                                .into_any()
                        }
                        Err(error) => view! { <Problem error what="The form" /> }.into_any(),
                    }
                })
            }}
        </Suspense>
    }
}

/// The page around its form, or around what stands there until the form is known.
#[component]
fn Around(children: Children) -> impl IntoView {
    let slug = slug_here();
    view! {
        <main id="main">
            <div class="head">
                <div>
                    <h1>
                        <a href=move || pods_of(slug.get().as_deref())>"Pods"</a>
                        <span class="dim" aria-hidden="true">
                            "/"
                        </span>
                        "New pod"
                    </h1>
                </div>
            </div>
            {children()}
        </main>
    }
}

/// Private repositories are asked for when somebody wants one, and not before.
fn consent(allowed: Allowed) -> Option<impl IntoView> {
    let (words, link) = match allowed {
        Allowed::Repositories => return None,
        Allowed::SignIn => ("Private ones are not listed, and pods can't push: ", "allow access to repositories"),
        Allowed::Nothing => ("GitHub no longer accepts what you allowed: ", "renew access"),
    };
    Some(view! {
        <p class="hint">
            {words}
            <a href=consent_address("/pods/new") rel="external">
                {link}
            </a>
            "."
        </p>
    })
}

#[component]
fn TheForm(offer: Offer, typed: Typed) -> impl IntoView {
    let action = ServerAction::<CreatePod>::new();
    let name = RwSignal::new(offer.name.clone());
    let suggested = RwSignal::new(offer.name);
    let tier = RwSignal::new(typed.tier);
    let repository = RwSignal::new(typed.repository);
    let branches = RwSignal::new(offer.branches);
    let refused = RwSignal::new(offer.refused);
    let key = format!("form-{}", Clock::here().now_untracked());
    let known = RwSignal::new(offer.repositories);
    // Empty for one that is not among the user's: which one is its default is found out as it is cloned.
    let default_of = move |repository: &str| {
        let found = known.with_untracked(|known| known.iter().find(|one| one.full_name == repository).map(|one| one.default_branch.clone()));
        found.unwrap_or_default()
    };
    let branch = RwSignal::new(if typed.branch.is_empty() { repository.with_untracked(|name| default_of(name)) } else { typed.branch });

    Effect::new(move || {
        if let Some(Err(error)) = action.value().get() {
            refused.set(Some(error));
        }
    });
    // Another repository: its branches, its default one, and another suggestion unless a name was typed.
    Effect::new(move |before: Option<String>| {
        let now = repository.get();
        if before.is_some_and(|before| before != now) {
            let default = default_of(&now);
            branch.set(default);
            branches.set(Listed::default());
            let asked = now.clone();
            leptos::task::spawn_local(async move {
                let untouched = move || name.try_get_untracked() == suggested.try_get_untracked();
                // Typed meanwhile, or chosen anew: what was asked for is not wanted any more.
                if untouched()
                    && let Ok(new) = suggest_pod_name(Some(asked.clone())).await
                    && repository.try_get_untracked().as_ref() == Some(&asked)
                    && untouched()
                {
                    suggested.try_set(new.clone());
                    name.try_set(new);
                }
                let found = branches_of(&asked).await;
                if repository.try_get_untracked().is_some_and(|now| now == asked) {
                    branches.try_set(found);
                }
            });
        }
        now
    });
    // As one types: what the server would say.
    Effect::new(move |first: Option<()>| {
        let (name, tier, repository, branch) = (name.get(), tier.get(), repository.get(), branch.get());
        if first.is_some() {
            let timer = set_timeout_with_handle(
                move || {
                    leptos::task::spawn_local(async move {
                        refused.try_set(check_pod(name, tier, Some(repository), Some(branch)).await.unwrap_or_else(Some));
                    });
                },
                TYPING,
            );
            on_cleanup(move || {
                if let Ok(timer) = timer {
                    timer.clear();
                }
            });
        }
    });
    let wrong =
        move |field: &'static str| Signal::derive(move || refused.with(|error| error.as_ref().and_then(|error| error.of(field).map(str::to_owned))));
    let wrong_name = Signal::derive(move || match PodName::parse(&name.read()) {
        Err(error) => Some(error.to_string()),
        Ok(_) => refused.with(|error| error.as_ref().and_then(|error| error.of("name").map(str::to_owned))),
    });
    let wrong_branch = wrong("branch");
    let general = move || refused.with(|error| error.as_ref().filter(|error| error.fields.is_empty()).map(|error| error.message.clone()));
    let machine = move || Tier::parse(&tier.read()).map(|tier| format!("{} CPU, {} GB, {} GB", tier.cores(), tier.memory_gb(), tier.disk_gb()));
    let price = move || Tier::parse(&tier.read()).map(|tier| format!("${} ", tier.dollars()));
    let source = move || match (repository.get(), branch.get()) {
        (repository, _) if repository.is_empty() => "none, an empty pod".to_owned(),
        (repository, branch) if branch.is_empty() => repository,
        (repository, branch) => format!("{repository}, {branch}"),
    };
    let slug = slug_here().get_untracked();
    let team_choice = (offer.teams.len() > 1).then(|| teams(offer.teams, &typed.team, slug.as_deref()));
    view! {
        <ActionForm action=action attr:class="split" attr:novalidate=true>
            <div class="new">
                <p class="note bad" role="alert" hidden=move || general().is_none()>
                    {general}
                </p>
                <RepositoryField known more=offer.more silent=offer.silent repository error=wrong("repository") />
                {consent(offer.allowed)}
                <div class="pair">
                    <div class="field" hidden=move || repository.with(String::is_empty)>
                        <label for="branch">"Branch"</label>
                        {move || {
                            let listed = branches.get().branches;
                            if listed.is_empty() {
                                view! {
                                    <input
                                        type="text"
                                        class="input"
                                        id="branch"
                                        name="branch"
                                        autocomplete="off"
                                        spellcheck="false"
                                        autocapitalize="none"
                                        placeholder="The default branch"
                                        value=branch.get_untracked()
                                        aria-invalid=move || wrong_branch.get().map(|_| "true")
                                        aria-describedby="branch-err"
                                        on:input=move |event| branch.set(event_target_value(&event))
                                    />
                                }
                                    .into_any()
                            } else {
                                let now = branch.get_untracked();
                                // What is chosen stands first where it is none of the list: else the browser would send the first by name.
                                let other = (!listed.iter().any(|one| one.name == now))
                                    .then(|| {
                                        let words = if now.is_empty() { "The default branch".to_owned() } else { now.clone() };
                                        view! {
                                            <option value=now.clone() selected>
                                                {words}
                                            </option>
                                        }
                                    });
                                view! {
                                    <select
                                        class="select"
                                        id="branch"
                                        name="branch"
                                        aria-invalid=move || wrong_branch.get().map(|_| "true")
                                        aria-describedby="branch-err"
                                        on:change=move |event| branch.set(event_target_value(&event))
                                    >
                                        {other}
                                        {listed
                                            .into_iter()
                                            .map(|one| {
                                                let chosen = one.name == now;
                                                view! {
                                                    <option value=one.name.clone() selected=chosen>
                                                        {one.name.clone()}
                                                    </option>
                                                }
                                            })
                                            .collect_view()}
                                    </select>
                                }
                                    .into_any()
                            }
                        }}
                        {move || {
                            branches
                                .with(|listed| listed.silent.clone())
                                .map(|why| view! { <p class="hint swap">{format!("Its branches could not be listed: {why}")}</p> })
                        }}
                        <FieldError id="branch-err" message=wrong_branch />
                    </div>
                    <div class="field">
                        <label for="name">"Name"</label>
                        <input
                            type="text"
                            class="input mono"
                            id="name"
                            name="name"
                            required
                            autocomplete="off"
                            spellcheck="false"
                            autocapitalize="none"
                            value=name.get_untracked()
                            prop:value=move || name.get()
                            aria-invalid=move || wrong_name.get().map(|_| "true")
                            aria-describedby="name-hint name-err"
                            on:input=move |event| name.set(event_target_value(&event))
                        />
                        <p class="hint swap" id="name-hint">
                            "Lower-case letters and digits, up to 20"
                        </p>
                        <FieldError id="name-err" message=wrong_name />
                    </div>
                </div>
                <TierField tier name="tier" />
                {team_choice}
                <p class="mid">
                    "The disk lives on one host: what was not pushed is lost if that machine is. A repository that is not yours waits for your approval before anything of it runs."
                </p>
                <input type="hidden" name="key" value=key />
            </div>
            <aside aria-label="Summary">
                <div class="sum">
                    <h2>{move || name.get()}</h2>
                    <dl class="facts">
                        <div>
                            <dt>"Repository"</dt>
                            <dd>{source}</dd>
                        </div>
                        <div>
                            <dt>"Machine"</dt>
                            <dd>{machine}</dd>
                        </div>
                    </dl>
                    <p class="price">{price} <small>"a month"</small></p>
                    <button type="submit" class="btn primary large" aria-disabled=move || action.pending().get().then_some("true")>
                        {move || if action.pending().get() { "Creating…".to_owned() } else { verb(&name.read()) }}
                    </button>
                    <p class="dim small">"You can stop or delete it at any time, also while it is being made."</p>
                </div>
            </aside>
        </ActionForm>
    }
}

/// What the button says: the name is left out where it is none yet, or would say the same twice.
fn verb(name: &str) -> String {
    if name == "pod" || PodName::parse(name).is_err() { "Create pod".to_owned() } else { format!("Create pod {name}") }
}

/// The one that was chosen before, else the one whose pages these are, else the personal one.
fn teams(teams: Vec<Team>, chosen: &str, slug: Option<&str>) -> impl IntoView + use<> {
    let chosen = teams.iter().find(|team| team.id.to_string() == chosen);
    let chosen = chosen.or_else(|| teams.iter().find(|team| Some(team.slug.as_str()) == slug)).map(|team| team.id);
    view! {
        <div class="field">
            <label for="team">"Team"</label>
            <select class="select" id="team" name="team_id">
                {teams
                    .into_iter()
                    .map(|team| {
                        view! {
                            <option value=team.id.to_string() selected=chosen.map_or(team.personal, |chosen| chosen == team.id)>
                                {team.name.clone()}
                            </option>
                        }
                    })
                    .collect_view()}
            </select>
        </div>
    }
}
