//! The secrets of one pod, by name, among the facts about it.

use super::api::secrets_of_pod;
use super::outdated::enumerate;
use super::page::Place;
use crate::pods::{Desired, Pod};
use leptos::prelude::*;

/// Asked for again whenever the pod is another: it has started, or its secrets have changed.
#[component]
pub fn SecretsOfPod(pod: RwSignal<Pod>) -> impl IntoView {
    let moment = Memo::new(move |before| {
        pod.with(|pod| match before {
            // It may be gone before the question comes.
            Some(before) if pod.desired == Desired::Deleted => *before,
            _ => (pod.id, pod.status, pod.secrets_outdated, pod.updated_at),
        })
    });
    let secrets = Resource::new(move || moment.get(), |(id, ..)| secrets_of_pod(id));
    let address = pod.with_untracked(|pod| Place::of(&pod.team, pod.repository.as_deref()).address());
    view! {
        <div>
            <dt>"Secrets"</dt>
            <dd>
                <Transition>
                    {move || {
                        let address = address.clone();
                        Suspend::new(async move {
                            let Ok(secrets) = secrets.await else { return view! { <span class="dim">"could not be read"</span> }.into_any() };
                            if secrets.secrets.is_empty() {
                                return view! {
                                    <a class="link" href=address>
                                        "none yet"
                                    </a>
                                }
                                    .into_any();
                            }
                            let names: Vec<String> = secrets.secrets.into_iter().map(|secret| secret.name).collect();
                            view! {
                                <code>{enumerate(&names)}</code>
                                <br />
                                <a class="link" href=address>
                                    "which ones, and why"
                                </a>
                            }
                                .into_any()
                        })
                    }}
                </Transition>
            </dd>
        </div>
    }
}
