//! Choosing a repository: one of the user's, any https address, or none.

use super::{Repository, RepositoryAddress};
use crate::account::api::account_repositories;
use crate::ui::clock::Ago;
use crate::ui::icon::Icon;
use crate::ui::time::count;
use leptos::prelude::*;
use leptos::task::spawn_local;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const SHOWN: usize = 8;
/// How long nothing is typed before GitHub is asked.
const TYPING: Duration = Duration::from_millis(300);
/// Markup as text: what stands in a `noscript` is never hydrated.
const WITHOUT_SCRIPT: &str = r#"<label>Or any https address <input class="input" name="address" autocomplete="off"></label>"#;

/// What the server's search says of what is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Searched {
    Nothing,
    Asking,
    Done,
    Silent(String),
}

#[component]
pub fn RepositoryField(
    /// The user's repositories, as far as they were asked for.
    known: RwSignal<Vec<Repository>>,
    /// There are others: what is typed is searched for at GitHub, too.
    more: bool,
    /// Why GitHub gave none.
    silent: Option<String>,
    /// `owner/name`, an address, or empty for none.
    repository: RwSignal<String>,
    #[prop(into)] error: Signal<Option<String>>,
) -> impl IntoView {
    let search = RwSignal::new(String::new());
    let number = known.with_untracked(Vec::len);
    let searched = RwSignal::new(silent.map_or(Searched::Nothing, Searched::Silent));
    // What is typed and is none of the list, yet could be a repository.
    let address = Memo::new(move |_| {
        let typed = search.get();
        let typed = typed.trim();
        let value = if typed.is_empty() { repository.get() } else { typed.to_owned() };
        let full = value.starts_with("https://") || value.split('/').filter(|part| !part.is_empty()).count() == 2;
        let listed = known.with(|known| known.iter().any(|one| one.full_name == value));
        (full && !listed && RepositoryAddress::parse(&value).is_ok()).then_some(value)
    });
    Effect::new(move || {
        if let Some(address) = address.get()
            && !search.with_untracked(String::is_empty)
        {
            repository.set(address);
        }
    });
    let ask = move |sought: String| {
        spawn_local(async move {
            let found = account_repositories(Some(sought.clone()), None).await;
            // What was typed meanwhile has a search of its own.
            if search.try_with_untracked(|search| search.trim() != sought).unwrap_or(true) {
                return;
            }
            match found {
                Ok(page) => {
                    known.try_update(|known| {
                        let new: Vec<Repository> =
                            page.items.into_iter().filter(|one| !known.iter().any(|old| old.full_name == one.full_name)).collect();
                        known.extend(new);
                    });
                    searched.try_set(Searched::Done);
                }
                Err(error) => drop(searched.try_set(Searched::Silent(error.message))),
            }
        });
    };
    Effect::new(move |before: Option<()>| {
        let sought = search.get().trim().to_owned();
        if before.is_none() || !more {
            return;
        }
        if sought.is_empty() || sought.starts_with("https:") {
            searched.set(Searched::Nothing);
            return;
        }
        searched.set(Searched::Asking);
        let timer = set_timeout_with_handle(move || ask(sought), TYPING);
        on_cleanup(move || {
            if let Ok(timer) = timer {
                timer.clear();
            }
        });
    });
    let shown = move || {
        let sought = search.get().trim().to_lowercase();
        let chosen = repository.get_untracked();
        known.with(|known| {
            let holds = |one: &&Repository| sought.is_empty() || one.full_name.to_lowercase().contains(&sought);
            let mut shown: Vec<Repository> = known.iter().filter(holds).take(SHOWN).cloned().collect();
            if let Some(missing) = known.iter().find(|one| one.full_name == chosen && !shown.iter().any(|other| other.full_name == chosen)) {
                shown.insert(0, missing.clone());
            }
            shown
        })
    };
    let said = move || {
        let sought = search.get().trim().to_lowercase();
        match searched.get() {
            Searched::Asking => Some("Searching GitHub…".to_owned()),
            Searched::Silent(why) => {
                Some(format!("Your repositories could not be listed: {why} An https address, or no repository, works all the same."))
            }
            Searched::Nothing | Searched::Done if sought.is_empty() || address.get().is_some() => None,
            Searched::Nothing | Searched::Done => {
                let none = known.with(|known| !known.iter().any(|one| one.full_name.to_lowercase().contains(&sought)));
                none.then(|| "None of your repositories is named like that. Write owner/name for one that is not yours.".to_owned())
            }
        }
    };
    let placeholder = match (number, more) {
        (0, _) => "owner/name, or an https address".to_owned(),
        (_, true) => "Search your repositories, or paste an https address".to_owned(),
        (number, false) => format!("Search your {}, or paste an https address", count(number as u64, "repository", "repositories")),
    };
    view! {
        <fieldset class="group">
            <legend>"Repository"</legend>
            <div class="field">
                <div class="pick">
                    <div class="find">
                        <Icon name="search" />
                        <label class="sr" for="repo-q">
                            "Search your repositories or paste an address"
                        </label>
                        <input
                            class="input"
                            id="repo-q"
                            type="search"
                            autocomplete="off"
                            spellcheck="false"
                            autocapitalize="none"
                            placeholder=placeholder
                            aria-invalid=move || error.get().map(|_| "true")
                            aria-describedby="repository-err"
                            prop:value=move || search.get()
                            on:input=move |event| search.set(event_target_value(&event))
                            on:keydown=move |event| {
                                if event.key() == "Enter" {
                                    // Of a search, not of the whole form: it chooses what it has found.
                                    event.prevent_default();
                                    let found = if search.with_untracked(String::is_empty) { None } else { shown().into_iter().next() };
                                    if let Some(one) = found {
                                        repository.set(one.full_name);
                                    }
                                }
                            }
                        />
                    </div>
                    {move || address.get().map(|address| {
                            let aside = if address.starts_with("https:") { "by its address" } else { "not among yours" };
                            choice(repository, search, address.clone(), "globe", address, aside.into_any())
                        })}
                    {move || {
                        shown()
                            .into_iter()
                            .map(|one| {
                                let icon = if one.private { "lock" } else { "repo" };
                                choice(repository, search, one.full_name.clone(), icon, one.full_name.clone(), pushed(&one))
                            })
                            .collect_view()
                    }} {choice(repository, search, String::new(), "pod", "No repository".to_owned(), "an empty pod".into_any())}
                </div>
                <noscript inner_html=WITHOUT_SCRIPT></noscript>
                <p class="hint" role="status">
                    {said}
                </p>
                <p class="err" id="repository-err" aria-live="polite">
                    {move || error.get()}
                </p>
            </div>
        </fieldset>
    }
}

/// When something was last pushed to it, as far as GitHub says.
fn pushed(repository: &Repository) -> AnyView {
    let private = repository.private.then_some("private");
    let at = repository.pushed_at.as_deref().and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok());
    match (private, at) {
        (private, Some(at)) => view! {
            {private}
            <span class="pushed">{private.map(|_| ", ")} "pushed " <Ago at /></span>
        }
        .into_any(),
        (private, None) => private.into_any(),
    }
}

fn choice(repository: RwSignal<String>, search: RwSignal<String>, value: String, icon: &'static str, words: String, aside: AnyView) -> impl IntoView {
    let chosen = {
        let value = value.clone();
        move || repository.with(|repository| *repository == value)
    };
    let checked = repository.with_untracked(|repository| *repository == value);
    let set = value.clone();
    view! {
        <label class="opt">
            <input
                type="radio"
                name="repository"
                value=value
                checked=checked
                prop:checked=chosen
                on:change=move |_| {
                    repository.set(set.clone());
                    search.set(String::new());
                }
            />
            <Icon name=icon />
            <b>{words}</b>
            <span class="end">{aside}</span>
        </label>
    }
}
