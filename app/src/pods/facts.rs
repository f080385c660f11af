//! Facts about a pod, beside its page.

use super::feed::Feed;
use super::{Pod, PodLive, PodStatus, Tier};
use crate::account::consent_address;
use crate::secrets::SecretsOfPod;
use crate::ui::clock::Ago;
use crate::ui::copy::Copy;
use crate::ui::status::Status;
use crate::ui::time::{gigabytes, long_span};
use leptos::prelude::*;

#[component]
pub fn Facts(feed: Feed) -> impl IntoView {
    view! {
        <section class="sec" aria-labelledby="h-facts">
            <header>
                <h2 id="h-facts">"Facts"</h2>
            </header>
            <dl class="facts">
                {move || feed.pod.with(identity)}
                {move || {
                    // What was measured last is nothing that a stopped pod takes.
                    let (running, tier) = feed.pod.with(|pod| (pod.status == PodStatus::Running, pod.tier));
                    feed.live.with(|live| live.as_ref().filter(|_| running).map(|live| meters(live, tier)))
                }}
                {move || feed.pod.with(git)} {move || feed.pod.with(place)} <SecretsOfPod pod=feed.pod /> <div>
                    <dt>"This month"</dt>
                    <dd>
                        {move || format!("{} running", long_span(feed.month.read().running_seconds))} <br />
                        <span class="dim">
                            {move || {
                                let cents = feed.month.read().cents;
                                format!("${}.{:02}", cents / 100, cents % 100)
                            }}
                        </span>
                    </dd>
                </div>
            </dl>
        </section>
    }
}

fn identity(pod: &Pod) -> impl IntoView + use<> {
    let id = pod.id.to_string();
    let short = format!("{}…{}", &id[..8], &id[id.len() - 4..]);
    let tier = pod.tier;
    view! {
        <div>
            <dt>"Id"</dt>
            <dd>
                <code title=id.clone()>{short}</code>
                " "
                <Copy text=id name="Copy id" />
            </dd>
        </div>
        <div>
            <dt>"Owner"</dt>
            <dd>{pod.owner.clone()}</dd>
        </div>
        <div>
            <dt>"Tier"</dt>
            <dd>
                {format!("{} CPU, {} GB, {} GB", tier.cores(), tier.memory_gb(), tier.disk_gb())} <br />
                <span class="dim">{format!("{}, ${} a month", tier.as_str(), tier.dollars())}</span>
            </dd>
        </div>
    }
}

fn meters(live: &PodLive, tier: Tier) -> impl IntoView + use<> {
    let percent = u64::from(live.cpu_milli) * 100 / u64::from(tier.cpu_milli());
    let gauges = [
        ("CPU", percent, 100, format!("{percent} %")),
        ("Memory", live.memory_bytes >> 20, tier.memory_bytes() >> 20, format!("{} GB", gigabytes(live.memory_bytes))),
        ("Disk", live.disk_bytes >> 20, tier.disk_bytes() >> 20, format!("{} GB", gigabytes(live.disk_bytes))),
    ];
    gauges
        .into_iter()
        .map(|(name, used, most, words)| {
            view! {
                <div>
                    <dt>{name}</dt>
                    <dd class="gauge">
                        <meter min="0" max=most.to_string() value=used.to_string() aria-label=format!("{name} used")></meter>
                        {words}
                    </dd>
                </div>
            }
        })
        .collect_view()
}

/// Which way git goes, and why not another.
fn git(pod: &Pod) -> Option<impl IntoView + use<>> {
    let access = pod.git_access.clone()?;
    let why = access.why.map(|why| {
        let consent = why.consent_helps().then(|| {
            let address = consent_address(&format!("/pods/{}", pod.id));
            view! {
                " "
                <a href=address rel="external">
                    "Allow it"
                </a>
            }
        });
        view! {
            <br />
            <span class="dim">{why.words()} {consent}</span>
        }
    });
    Some(view! {
        <div>
            <dt>"Git"</dt>
            <dd title=access.way.words()>{access.way.label()} {why}</dd>
        </div>
    })
}

fn place(pod: &Pod) -> impl IntoView + use<> {
    let silent = !pod.reachable && pod.host.is_some();
    let placement = pod.placement.clone();
    let host = pod.host.clone().map(|host| {
        view! {
            <div>
                <dt>"Host"</dt>
                <dd>
                    {host} " " {silent.then(|| view! { <Status kind="slow" shape="s-slow" word="Not heard" /> })}
                    {placement
                        .map(|why| {
                            view! {
                                <details class="why">
                                    <summary class="link">"why this one"</summary>
                                    <p>{why}</p>
                                </details>
                            }
                        })}
                </dd>
            </div>
        }
    });
    let address = pod.internal_ip.clone().map(|address| {
        view! {
            <div>
                <dt>"Address"</dt>
                <dd>
                    <code>{address}</code>
                </dd>
            </div>
        }
    });
    let used = pod.last_used_at.map(|at| {
        view! {
            <div>
                <dt>"Last used"</dt>
                <dd>
                    <Ago at />
                </dd>
            </div>
        }
    });
    view! {
        {host}
        {address}
        <div>
            <dt>"Created"</dt>
            <dd>
                <Ago at=pod.created_at />
            </dd>
        </div>
        {used}
    }
}
