//! The SSH keys that the opened host may show: several while one is replaced.

use super::Host;
use super::api::{RetireHostKey, retire_host_key};
use super::row::put;
use crate::ids::HostId;
use crate::ui::copy::Copy;
use crate::ui::toast::Notice;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos::task::spawn_local;

#[component]
pub fn HostKeys(hosts: RwSignal<Vec<Host>>, opened: Memo<Option<HostId>>) -> impl IntoView {
    let notice = Notice::here();
    let host = Memo::new(move |_| {
        let id = opened.get()?;
        hosts.with(|all| all.iter().find(|host| host.id == id).map(|host| (id, host.name.clone(), host.trusted_keys.clone())))
    });
    move || {
        let (id, name, keys) = host.get().filter(|(.., keys)| !keys.is_empty())?;
        let several = keys.len() > 1;
        let rows = keys
            .into_iter()
            .map(|key| {
                let sent = key.clone();
                let retire = move |event: leptos::ev::SubmitEvent| {
                    event.prevent_default();
                    let key = sent.clone();
                    spawn_local(async move {
                        match retire_host_key(id, key).await {
                            Ok(new) => put(hosts, new),
                            Err(error) => notice.say(error.message),
                        }
                    });
                };
                let form = several.then(|| {
                    view! {
                        <form method="post" action=RetireHostKey::PATH on:submit=retire>
                            <input type="hidden" name="id" value=id.to_string() />
                            <input type="hidden" name="fingerprint" value=key.clone() />
                            <button type="submit" class="btn quiet small" aria-label=format!("Trust {key} no more")>
                                "Trust no more"
                            </button>
                        </form>
                    }
                });
                view! {
                    <li class="copyline">
                        <code>{key.clone()}</code>
                        {form}
                        <Copy text=key.clone() name=format!("Copy {key}") />
                    </li>
                }
            })
            .collect_view();
        Some(view! {
            <section class="sec gap" aria-labelledby="h-host-keys">
                <header>
                    <h2 id="h-host-keys">{format!("Keys that {name} may show")}</h2>
                    <p>"Compare with ssh-keygen -l there. Another key is refused, and asked about here."</p>
                </header>
                <ul>{rows}</ul>
            </section>
        })
    }
}
