//! What is reserved: the bar is reserved, the whole width the limit, the tick what the machine really has.

use super::Capacity;
use leptos::prelude::*;

#[component]
pub fn CapacityBar(of: Capacity, show: fn(u64) -> String) -> impl IntoView {
    let share = |part: u64| if of.limit == 0 { 0.0 } else { part.min(of.limit) as f64 * 100.0 / of.limit as f64 };
    let width = |part: u64| format!("{:.2}%", share(part));
    let real = of.reserved.min(of.physical);
    let over = of.reserved.saturating_sub(of.physical);
    let tick = (of.physical < of.limit).then(|| width(of.physical));
    // Before it has reported, a host has nothing to show.
    if of.limit == 0 {
        return view! { <span class="dim">"–"</span> }.into_any();
    }
    view! {
        <span class="cap">
            <svg aria-hidden="true">
                <rect class="left" y="3" width="100%" height="10"></rect>
                <rect class="took" y="3" width=width(real) height="10"></rect>
                {(over > 0).then(|| view! { <rect class="over" x=width(of.physical) y="3" width=width(over) height="10"></rect> })}
                {tick.map(|x| view! { <line class="tick" x1=x.clone() x2=x y1="0" y2="16"></line> })}
            </svg>
            <span>{show(of.reserved)} " " <span class="dim">{format!("of {}", show(of.limit))}</span></span>
        </span>
    }
    .into_any()
}
