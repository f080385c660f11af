//! Icons, from the one sprite in public/icons.svg.

use leptos::prelude::*;

/// An icon of 16 pixels beside words that say the same.
#[component]
pub fn Icon(name: &'static str) -> impl IntoView {
    view! { <svg width="16" height="16" aria-hidden="true"><use href=format!("/icons.svg#i-{name}")></use></svg> }
}

/// A status shape of 12 pixels, by its full name in the sprite.
#[component]
pub fn Shape(name: &'static str) -> impl IntoView {
    view! { <svg width="12" height="12" aria-hidden="true"><use href=format!("/icons.svg#{name}")></use></svg> }
}

/// The product's mark.
#[component]
pub fn Mark() -> impl IntoView {
    view! { <svg width="20" height="20" aria-hidden="true"><use href="/icons.svg#mark"></use></svg> }
}

/// The patterns that the sheet fills bars with: a sheet can only point into its own document.
#[component]
pub fn Hatches() -> impl IntoView {
    view! {
        <svg class="sprite" width="0" height="0" aria-hidden="true">
            <pattern id="hatch" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
                <path d="M0 0h2.4v4H0z" fill="var(--bar)"></path>
            </pattern>
            <pattern id="hatch-slow" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
                <path d="M0 0h2.4v4H0z" fill="var(--slow)"></path>
            </pattern>
        </svg>
    }
}
