//! Browsers in which the caller is signed in.

use super::BrowserSession;
use super::api::{EndAllSessions, EndSession, end_session};
use crate::ids::SessionId;
use crate::ui::clock::{Ago, Until};
use crate::ui::list::{Column, List};
use crate::ui::toast::Notice;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos::task::spawn_local;

const COLUMNS: [Column; 6] =
    [Column::Text("Browser"), Column::Text("Address"), Column::Text("Ends"), Column::Text("Last seen"), Column::Text("Signed in"), Column::Actions];

#[component]
pub fn Browsers(sessions: Vec<BrowserSession>) -> impl IntoView {
    let sessions = RwSignal::new(sessions);
    let notice = Notice::here();
    let end = Callback::new(move |id: SessionId| {
        let before = sessions.get_untracked();
        sessions.update(|all| all.retain(|one| one.id != id));
        spawn_local(async move {
            if let Err(error) = end_session(id).await {
                sessions.try_set(before);
                notice.say(error.message);
            }
        });
    });
    view! {
        <section class="sec" id="browsers" aria-labelledby="h-br">
            <header>
                <h2 id="h-br">"Signed-in browsers"</h2>
                <span class="dim">{move || sessions.with(Vec::len)}</span>
                <p>"Signing out closes its terminals and live pages within 2 s."</p>
                <form class="acts" method="post" action=EndAllSessions::PATH>
                    <button type="submit" class="btn">
                        "Sign out everywhere"
                    </button>
                </form>
            </header>
            <List class="keys" caption="Browsers in which you are signed in" columns=&COLUMNS>
                <For each=move || sessions.get() key=|session| session.id let:session>
                    <Row session end />
                </For>
            </List>
        </section>
    }
}

#[component]
fn Row(session: BrowserSession, end: Callback<SessionId>) -> impl IntoView {
    let id = session.id;
    let name = browser(&session.agent);
    let action = if session.current {
        view! {
            <form class="acts" method="post" action="/auth/sign-out">
                <button type="submit" class="btn quiet small">
                    "Sign out here"
                </button>
            </form>
        }
        .into_any()
    } else {
        view! {
            <form
                class="acts"
                method="post"
                action=EndSession::PATH
                on:submit=move |event| {
                    event.prevent_default();
                    end.run(id);
                }
            >
                <input type="hidden" name="id" value=id.to_string() />
                <button type="submit" class="btn quiet small" aria-label=format!("Sign out {name}")>
                    "Sign out"
                </button>
            </form>
        }
        .into_any()
    };
    view! {
        <tr>
            <th scope="row" class="name" title=session.agent.clone()>
                {name.clone()}
                {session.current.then(|| view! { " " <span class="dim">"this browser"</span> })}
            </th>
            <td class="c-scope mid">{session.address.clone()}</td>
            <td class="c-ends mid" data-label="Ends">
                <Until at=session.expires_at />
            </td>
            <td class="c-used mid" data-label="Last seen">{if session.current { "now".into_any() } else { view! { <Ago at=session.seen_at /> }.into_any() }}</td>
            <td class="c-made dim">
                <Ago at=session.created_at />
            </td>
            <td class="c-acts">{action}</td>
        </tr>
    }
}

/// `Firefox on Linux`, from what the browser says of itself; the whole of it is in the title.
fn browser(agent: &str) -> String {
    let pick = |known: &[(&'static str, &'static str)]| known.iter().find(|(part, _)| agent.contains(part)).map(|(_, name)| *name);
    let program =
        pick(&[("Firefox/", "Firefox"), ("Edg/", "Edge"), ("OPR/", "Opera"), ("Chrome/", "Chrome"), ("Safari/", "Safari"), ("curl/", "curl")]);
    let system =
        pick(&[("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Mac OS X", "macOS"), ("Windows", "Windows"), ("Linux", "Linux")]);
    match (program, system) {
        (Some(program), Some(system)) => format!("{program} on {system}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => "Unknown browser".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::browser;

    #[test]
    fn a_browser_is_named_as_its_user_knows_it() {
        assert_eq!(browser("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"), "Firefox on Linux");
        assert_eq!(browser("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/131.0 Safari/537.36"), "Chrome on macOS");
        assert_eq!(browser("curl/8.5"), "curl");
        assert_eq!(browser(""), "Unknown browser");
    }
}
