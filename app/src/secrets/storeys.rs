//! Where a secret comes from, as two storeys: the team below, the repository above it.

use super::Reach;
use leptos::prelude::*;

/// Filled is used, outlined is beaten. `of_repository` says whose the secret is.
#[component]
pub fn Storeys(of_repository: bool, reach: Reach, #[prop(into, optional)] words: String) -> impl IntoView {
    let team = match (of_repository, reach) {
        (true, Reach::Wins) | (false, Reach::Beaten) => view! { <rect class="lost" x="0.5" y="8.5" width="15" height="3.25"></rect> }.into_any(),
        (true, _) => view! { <rect x="0" y="8" width="16" height="4.25"></rect> }.into_any(),
        (false, _) => view! { <rect class="on" x="0" y="8" width="16" height="4.25"></rect> }.into_any(),
    };
    view! {
        <span class="from">
            <svg viewBox="0 0 16 14" aria-hidden="true">
                {team}
                <rect class=if of_repository { "on" } else { "" } x="4" y="1.75" width="8" height="4.25"></rect>
            </svg>
            {words}
        </span>
    }
}
