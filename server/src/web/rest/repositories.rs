//! `/repositories`: what the user's GitHub account offers.

use super::{
    extract::{ListQuery, Params, PathPair},
    page_of,
};
use crate::{
    paging,
    web::{AppState, problem::Answer, session::Asker},
};
use axum::{Json, extract::State};
use pinacle_app::{
    AppResult,
    pods::{Branch, Page, Repository},
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(repositories)).routes(routes!(branches))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Search {
    /// Part of `owner/name`.
    search: Option<String>,
    /// 1–100; 100 if left out.
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Repositories of the user's GitHub account, newest push first
#[utoipa::path(get, path = "/repositories", tag = "repositories", params(Search), responses((status = 200, body = Page<Repository>)))]
async fn repositories(State(state): State<AppState>, Asker(caller): Asker, Params(query): Params<Search>) -> Answer<Json<Page<Repository>>> {
    let limit = paging::limit(query.limit, paging::MOST, paging::MOST)?;
    let (page, skipped) = place(query.cursor.as_deref())?;
    let found = state.backend.repositories(&caller, query.search, page.clone()).await?;
    Ok(Json(part(found, page, skipped, limit as usize)))
}

/// A cursor is GitHub's page (none: the first), and how many of it were given already.
fn place(cursor: Option<&str>) -> AppResult<(Option<String>, usize)> {
    let Some(cursor) = cursor else { return Ok((None, 0)) };
    let (page, skipped) = cursor.split_once('-').ok_or_else(paging::bad_cursor)?;
    let skipped = skipped.parse().map_err(|_| paging::bad_cursor())?;
    Ok(((!page.is_empty()).then(|| page.to_owned()), skipped))
}

fn part(found: Page<Repository>, page: Option<String>, skipped: usize, limit: usize) -> Page<Repository> {
    let given = skipped.saturating_add(limit);
    let next_cursor = if found.items.len() > given {
        Some(format!("{}-{given}", page.unwrap_or_default()))
    } else {
        found.next_cursor.map(|next| format!("{next}-0"))
    };
    Page { items: found.items.into_iter().skip(skipped).take(limit).collect(), next_cursor }
}

/// Branches of one of them
#[utoipa::path(get, path = "/repositories/{owner}/{name}/branches", tag = "repositories",
    params(("owner" = String, Path), ("name" = String, Path), ListQuery), responses((status = 200, body = Page<Branch>)))]
async fn branches(
    State(state): State<AppState>,
    Asker(caller): Asker,
    PathPair(owner, name): PathPair,
    Params(query): Params<ListQuery>,
) -> Answer<Json<Page<Branch>>> {
    let branches = state.backend.branches(&caller, &owner, &name).await?;
    Ok(Json(page_of(branches, &query, |branch| branch.name.clone())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn repository(number: usize) -> Repository {
        Repository { full_name: format!("owner/{number}"), url: String::new(), private: false, default_branch: "main".to_owned(), pushed_at: None }
    }

    proptest! {
        #[test]
        fn any_cursor_is_a_place_or_refused_at_its_field(text in ".{0,30}|[0-9]{0,25}-[0-9]{0,25}|[0-9]{0,2}-[0-9]", limit in 1usize..=5) {
            match place(Some(&text)) {
                // However far it says to skip, a page is given, and what comes behind it is read back.
                Ok((page, skipped)) => {
                    let found = Page { items: (0..8).map(repository).collect(), next_cursor: Some("2".to_owned()) };
                    let given = part(found, page.clone(), skipped, limit);
                    prop_assert_eq!(given.items.len(), 8usize.saturating_sub(skipped).min(limit));
                    let next = place(given.next_cursor.as_deref()).unwrap();
                    prop_assert!(next == (page, skipped.saturating_add(limit)) || next == (Some("2".to_owned()), 0));
                }
                Err(error) => prop_assert!(error.of("cursor").is_some()),
            }
        }
    }

    #[test]
    fn a_page_of_githubs_is_given_in_parts() {
        let page = || Page { items: (0..3).map(repository).collect(), next_cursor: Some("2".to_owned()) };
        let first = part(page(), None, 0, 2);
        assert_eq!((first.items.len(), first.next_cursor.as_deref()), (2, Some("-2")));
        assert_eq!(place(first.next_cursor.as_deref()).unwrap(), (None, 2));
        let second = part(page(), None, 2, 2);
        assert_eq!((second.items.len(), second.next_cursor.as_deref()), (1, Some("2-0")));
        assert_eq!(place(second.next_cursor.as_deref()).unwrap(), (Some("2".to_owned()), 0));
        assert!(place(Some("x")).is_err() && place(Some("-x")).is_err());
    }
}
