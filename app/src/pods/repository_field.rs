//! Choosing a repository: one of the user's, any https address, or none.

use super::{Repository, RepositoryAddress};
use crate::ui::icon::Icon;
use leptos::prelude::*;

const SHOWN: usize = 8;
/// Markup as text: what stands in a `noscript` is never hydrated.
const WITHOUT_SCRIPT: &str = r#"<label>Or any https address <input class="input" name="address" autocomplete="off"></label>"#;

#[component]
pub fn RepositoryField(
    repositories: Vec<Repository>,
    /// `owner/name`, an address, or empty for none.
    repository: RwSignal<String>,
    #[prop(into)] error: Signal<Option<String>>,
) -> impl IntoView {
    let search = RwSignal::new(String::new());
    let number = repositories.len();
    let listed: Vec<String> = repositories.iter().map(|repository| repository.full_name.clone()).collect();
    // What is typed and is none of the list, yet could be a repository.
    let address = {
        let listed = listed.clone();
        Memo::new(move |_| {
            let typed = search.get();
            let typed = typed.trim();
            let value = if typed.is_empty() { repository.get() } else { typed.to_owned() };
            let full = value.starts_with("https://") || value.split('/').filter(|part| !part.is_empty()).count() == 2;
            (full && !listed.contains(&value) && RepositoryAddress::parse(&value).is_ok()).then_some(value)
        })
    };
    Effect::new(move || {
        if let Some(address) = address.get()
            && !search.with_untracked(String::is_empty)
        {
            repository.set(address);
        }
    });
    let shown = move || {
        let sought = search.get().trim().to_lowercase();
        let chosen = repository.get_untracked();
        let holds = |one: &&Repository| sought.is_empty() || one.full_name.to_lowercase().contains(&sought);
        let mut shown: Vec<Repository> = repositories.iter().filter(holds).take(SHOWN).cloned().collect();
        if let Some(missing) = repositories.iter().find(|one| one.full_name == chosen && !shown.iter().any(|other| other.full_name == chosen)) {
            shown.insert(0, missing.clone());
        }
        shown
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
                            placeholder=format!("Search your {number} repositories, or paste an https address")
                            aria-invalid=move || error.get().map(|_| "true")
                            aria-describedby="repository-err"
                            prop:value=move || search.get()
                            on:input=move |event| search.set(event_target_value(&event))
                        />
                    </div>
                    {move || address.get().map(|address| choice(repository, search, address.clone(), "globe", address, "by its address"))}
                    {move || {
                        shown()
                            .into_iter()
                            .map(|one| {
                                let icon = if one.private { "lock" } else { "repo" };
                                choice(repository, search, one.full_name.clone(), icon, one.full_name, if one.private { "private" } else { "" })
                            })
                            .collect_view()
                    }} {choice(repository, search, String::new(), "pod", "No repository".to_owned(), "an empty pod")}
                </div>
                <noscript inner_html=WITHOUT_SCRIPT></noscript>
                <p class="err" id="repository-err" aria-live="polite">
                    {move || error.get()}
                </p>
            </div>
        </fieldset>
    }
}

fn choice(
    repository: RwSignal<String>,
    search: RwSignal<String>,
    value: String,
    icon: &'static str,
    words: String,
    aside: &'static str,
) -> impl IntoView {
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
