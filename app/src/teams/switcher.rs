//! Which team these pages are of, and the way to the others.

use super::Team;
use super::place::{pods_of, slug_here};
use crate::ui::dialog::hide;
use crate::ui::icon::Icon;
use leptos::prelude::*;

const MENU: &str = "teams";

#[component]
pub fn TeamSwitcher(teams: Vec<Team>) -> impl IntoView {
    let slug = slug_here();
    let teams = StoredValue::new(teams);
    let name = Memo::new(move |_| {
        let found = slug.with(|slug| slug.as_ref().and_then(|slug| teams.with_value(|teams| teams.iter().find(|team| team.slug == *slug).cloned())));
        found.map_or_else(|| "All teams".to_owned(), |team| team.name)
    });
    let is_here = move |team: &str| slug.with(|slug| (slug.as_deref() == Some(team)).then_some("true"));
    view! {
        <button type="button" class="btn quiet" popovertarget=MENU aria-label=move || format!("Team: {}", name.get())>
            <span class="teamname">{name}</span>
            <Icon name="updown" />
        </button>
        <div class="menu from-start" id=MENU popover="auto" on:click=|_| hide(MENU)>
            <p>"Teams"</p>
            <a href="/" aria-current=move || slug.with(Option::is_none).then_some("true")>
                "All teams"
                {move || slug.with(Option::is_none).then(check)}
            </a>
            {teams
                .get_value()
                .into_iter()
                .map(|team| {
                    let (slug, name) = (team.slug.clone(), team.name.clone());
                    let marked = slug.clone();
                    let aside = (team.personal && team.name != "Personal").then(|| view! { <span class="end dim">"personal"</span> });
                    view! {
                        <a href=pods_of(Some(&team.slug)) aria-current=move || is_here(&slug)>
                            <span class="teamname">{name}</span>
                            {aside}
                            {move || is_here(&marked).map(|_| check())}
                        </a>
                    }
                })
                .collect_view()}
            <hr />
            <a href="/teams/new">
                <Icon name="plus" />
                "New team"
            </a>
        </div>
    }
}

fn check() -> impl IntoView {
    view! {
        <span class="end">
            <Icon name="check" />
        </span>
    }
}
