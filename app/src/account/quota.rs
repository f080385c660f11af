//! What all of the caller's pods may take together.

use super::{Allowance, Quota};
use crate::ui::time::{cores, gigabytes};
use leptos::prelude::*;

#[component]
pub fn QuotaSection(quota: Quota) -> impl IntoView {
    let figures = |of: Allowance, show: fn(u64) -> String, unit: &str| format!("{} of {}{unit}", show(of.used), show(of.limit));
    let rows = [
        ("Pods", quota.pods, figures(quota.pods, |n| n.to_string(), "")),
        ("CPU", quota.cpu_milli, figures(quota.cpu_milli, cores, "")),
        ("Memory", quota.memory_bytes, figures(quota.memory_bytes, whole, " GB")),
        ("Disk", quota.disk_bytes, figures(quota.disk_bytes, whole, " GB")),
    ];
    view! {
        <section class="sec" id="quota" aria-labelledby="h-quo">
            <header>
                <h2 id="h-quo">"Quota"</h2>
                <p>"of all your pods; stopped ones take disk only"</p>
            </header>
            <dl class="facts">
                {rows
                    .into_iter()
                    .map(|(name, of, words)| {
                        view! {
                            <div>
                                <dt>{name}</dt>
                                <dd class="gauge">
                                    <meter min="0" max=of.limit.to_string() value=of.used.to_string() aria-label=name></meter>
                                    {words}
                                </dd>
                            </div>
                        }
                    })
                    .collect_view()}
            </dl>
        </section>
    }
}

/// Quotas are whole gigabytes; what is used mostly is.
fn whole(bytes: u64) -> String {
    const GIB: u64 = 1 << 30;
    if bytes.is_multiple_of(GIB) { (bytes / GIB).to_string() } else { gigabytes(bytes) }
}
