//! Public keys that the SSH gateway takes from the caller: those of its GitHub account.

use super::{Gateway, PublicKey};
use crate::error::AppError;
use crate::ui::clock::Ago;
use crate::ui::list::{Column, List};
use leptos::prelude::*;

const COLUMNS: [Column; 4] = [Column::Text("Key"), Column::Text("Fingerprint"), Column::Text("Last used"), Column::Text("Seen since")];

#[component]
pub fn PublicKeys(keys: Result<Vec<PublicKey>, AppError>, gateway: Option<Gateway>) -> impl IntoView {
    let Some(gateway) = gateway else { return ().into_any() };
    let port = if gateway.port == 22 { String::new() } else { format!("-p {} ", gateway.port) };
    let line = format!("ssh {port}<pod>.<owner>@{}", gateway.host);
    let body = match keys {
        Err(error) => view! { <p class="note bad">{format!("Your keys can't be shown: {}", error.message)}</p> }.into_any(),
        Ok(keys) if keys.is_empty() => view! {
            <p class="dim">
                "Your GitHub account has no public key. Add one at GitHub under Settings, SSH and GPG keys, as an authentication key; it counts here within a minute."
            </p>
        }
        .into_any(),
        Ok(keys) => view! {
            <List class="prints" caption="Public keys of your GitHub account" columns=&COLUMNS>
                {keys.into_iter().map(row).collect_view()}
            </List>
        }
        .into_any(),
    };
    view! {
        <section class="sec" id="keys" aria-labelledby="h-keys">
            <header>
                <h2 id="h-keys">"SSH keys"</h2>
                <p>"Taken from your GitHub account, for " <code>{line}</code></p>
            </header>
            {body}
            <p class="dim small">
                "The gateway shows the key "
                <code>{gateway.fingerprint}</code>
                ". A key that you remove at GitHub is refused here within five minutes, and what is open with it closes."
            </p>
        </section>
    }
    .into_any()
}

fn row(key: PublicKey) -> impl IntoView {
    view! {
        <tr>
            <th scope="row" class="name">
                {key.kind}
            </th>
            <td class="c-print">
                <code>{key.fingerprint}</code>
            </td>
            <td class="c-used mid" data-label="Last used">
                {match key.last_used_at {
                    Some(at) => view! { <Ago at /> }.into_any(),
                    None => "never".into_any(),
                }}
            </td>
            <td class="c-made dim" data-label="Seen since">
                <Ago at=key.first_seen_at />
            </td>
        </tr>
    }
}
