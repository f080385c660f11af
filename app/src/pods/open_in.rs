//! "Open in": the ways into a pod that runs, from the page and from outside of it.

use super::{Pod, PodStatus, RepositoryAddress};
use crate::account::Gateway;
use crate::account::api::ssh_gateway;
use crate::ui::copy::Copy;
use crate::ui::icon::Icon;
use leptos::prelude::*;
use leptos::task::spawn_local;

#[component]
pub fn OpenIn(pod: RwSignal<Pod>) -> impl IntoView {
    // The same for every pod, and nothing that the page has to wait for.
    let gateway = RwSignal::new(None::<Gateway>);
    Effect::new(move || {
        spawn_local(async move {
            // Without an answer the terminal is still there.
            if let Ok(known) = ssh_gateway().await {
                gateway.try_set(known);
            }
        });
    });
    let running = Memo::new(move |_| pod.with(|pod| pod.status == PodStatus::Running));
    let line =
        Signal::derive(move || gateway.with(|gateway| gateway.as_ref().map(|gateway| pod.with(|pod| ssh_line(pod, gateway)))).unwrap_or_default());
    let editor = move || gateway.with(|gateway| gateway.as_ref().map(|gateway| pod.with(|pod| editor_address(pod, gateway))));
    view! {
        <section class="sec" aria-labelledby="h-open" hidden=move || !running.get()>
            <header>
                <h2 id="h-open">"Open in"</h2>
            </header>
            <Show when=move || gateway.with(Option::is_some)>
                <div class="copyline">
                    <code>{line}</code>
                    <Copy text=line name="Copy the ssh command" />
                </div>
            </Show>
            <p class="acts under">
                <a class="btn small" href="#terminal" rel="external">
                    <Icon name="term" />
                    "Terminal"
                </a>
                {move || {
                    editor()
                        .map(|address| {
                            view! {
                                <a class="btn small" href=address rel="external">
                                    <Icon name="out" />
                                    "VS Code"
                                </a>
                                <a class="btn small" href="/account#keys" rel="external">
                                    <Icon name="key" />
                                    "Keys"
                                </a>
                            }
                        })
                }}
            </p>
        </section>
    }
}

fn target(pod: &Pod, gateway: &Gateway) -> String {
    format!("{}.{}@{}", pod.name, pod.owner, gateway.host)
}

fn ssh_line(pod: &Pod, gateway: &Gateway) -> String {
    let port = if gateway.port == 22 { String::new() } else { format!("-p {} ", gateway.port) };
    format!("ssh {port}{}", target(pod, gateway))
}

/// The editor's extension for SSH takes a port behind the host.
fn editor_address(pod: &Pod, gateway: &Gateway) -> String {
    let port = if gateway.port == 22 { String::new() } else { format!(":{}", gateway.port) };
    let folder = pod.repository.as_deref().and_then(|address| RepositoryAddress::parse(address).ok()).map(|address| address.folder());
    let folder = folder.map_or("/home/dev".to_owned(), |folder| format!("/home/dev/{folder}"));
    format!("vscode://vscode-remote/ssh-remote+{}{port}{folder}", target(pod, gateway))
}
