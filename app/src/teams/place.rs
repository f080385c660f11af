//! The teams of whoever is signed in, and the one whose pages these are: it stands in the address.

use super::Team;
use super::api::list_teams;
use crate::error::AppError;
use leptos::prelude::*;
use leptos_router::hooks::use_location;

#[derive(Clone, Copy)]
pub struct MyTeams {
    pub all: Resource<Result<Vec<Team>, AppError>>,
    read_again: RwSignal<u32>,
}

impl MyTeams {
    /// Puts them into the context of the pages.
    pub fn provide() -> Self {
        let read_again = RwSignal::new(0);
        let all = Resource::new(move || read_again.get(), |_| list_teams());
        let teams = Self { all, read_again };
        provide_context(teams);
        teams
    }

    pub fn here() -> Self {
        expect_context()
    }

    /// One was made, renamed, left, or joined.
    pub fn changed(self) {
        self.read_again.update(|times| *times += 1);
    }
}

/// The slug of the team in the address, if it is of one.
pub fn slug_here() -> Memo<Option<String>> {
    let path = use_location().pathname;
    Memo::new(move |_| path.with(|path| slug_in(path)))
}

fn slug_in(path: &str) -> Option<String> {
    let mut parts = path.strip_prefix("/teams/")?.split('/');
    parts.next().filter(|slug| !slug.is_empty() && *slug != "new").map(str::to_owned)
}

/// Where a team's pods are listed; everybody's without one.
pub fn pods_of(slug: Option<&str>) -> String {
    slug.map_or_else(|| "/".to_owned(), |slug| format!("/teams/{slug}/pods"))
}

/// Where a team's secrets are; the personal team's without one.
pub fn secrets_of(slug: Option<&str>) -> String {
    slug.map_or_else(|| "/secrets".to_owned(), |slug| format!("/teams/{slug}/secrets"))
}

/// Where a pod is made in this team; in the personal one without.
pub fn new_pod_in(slug: Option<&str>) -> String {
    slug.map_or_else(|| "/pods/new".to_owned(), |slug| format!("/teams/{slug}/pods/new"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_team_stands_in_the_address() {
        assert_eq!(slug_in("/teams/acme/pods/new").as_deref(), Some("acme"));
        assert_eq!(slug_in("/teams/acme").as_deref(), Some("acme"));
        for other in ["/", "/pods/x", "/teams/new", "/teams/", "/teams"] {
            assert_eq!(slug_in(other), None, "{other}");
        }
    }
}
