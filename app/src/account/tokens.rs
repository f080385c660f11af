//! API tokens: listed, made, revoked. A token itself is shown once.

use super::api::{CreateToken, RevokeToken, revoke_token};
use super::{ApiToken, NewTokenMade, TokenScope};
use crate::error::AppError;
use crate::ids::TokenId;
use crate::ui::clock::{Ago, Clock, Until};
use crate::ui::copy::Copy;
use crate::ui::dialog::{Closes, Dialog, Opens, close, open};
use crate::ui::icon::{Icon, Shape};
use crate::ui::list::{Column, List};
use crate::ui::once::once;
use crate::ui::problem::FieldError;
use crate::ui::time::{day, millis};
use crate::ui::toast::Notice;
use leptos::form::ActionForm;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos::task::spawn_local;

const CREATE: &str = "create-token";
const MADE: &str = "made-token";
const REVOKE: &str = "revoke-token";
const TERMS: [(u32, &str); 4] = [(7, "in 7 days"), (30, "in 30 days"), (90, "in 90 days"), (365, "in a year")];
const COLUMNS: [Column; 6] =
    [Column::Text("Name"), Column::Text("Scope"), Column::Text("Ends"), Column::Text("Last used"), Column::Text("Created"), Column::Actions];
const ENDS_SOON_MS: i64 = 7 * 24 * 3600 * 1000;

fn words(scope: TokenScope) -> &'static str {
    match scope {
        TokenScope::Read => "Read",
        TokenScope::Write => "Read and write",
    }
}

#[component]
pub fn Tokens(tokens: Vec<ApiToken>) -> impl IntoView {
    let tokens = RwSignal::new(tokens);
    let made = RwSignal::new(None::<NewTokenMade>);
    let leaving = RwSignal::new(None::<ApiToken>);
    let notice = Notice::here();
    let revoke = move |_| {
        let Some(token) = leaving.get_untracked() else { return };
        close(REVOKE);
        let before = tokens.get_untracked();
        tokens.update(|all| all.retain(|one| one.id != token.id));
        spawn_local(async move {
            if let Err(error) = revoke_token(token.id).await {
                tokens.try_set(before);
                notice.say(error.message);
            }
        });
    };
    let ask = Callback::new(move |id: TokenId| {
        leaving.set(tokens.with_untracked(|all| all.iter().find(|one| one.id == id).cloned()));
        open(REVOKE);
    });
    view! {
        <section class="sec" id="tokens" aria-labelledby="h-tok">
            <header>
                <h2 id="h-tok">"API tokens"</h2>
                <span class="dim">{move || tokens.with(Vec::len)}</span>
                <p>"For scripts. A token does what you may do, within its scope."</p>
                <div class="acts">
                    <Opens dialog=CREATE class="btn primary">
                        <Icon name="plus" />
                        "Create token"
                    </Opens>
                </div>
            </header>
            <List
                class="keys"
                caption="Your API tokens"
                columns=&COLUMNS
                foot=move || {
                    view! {
                        <Show when=move || tokens.with(Vec::is_empty)>
                            <div class="nothing">
                                <p>"No tokens. Create one to drive Pinacle from a script."</p>
                            </div>
                        </Show>
                    }
                }
            >
                <For each=move || tokens.get() key=|token| token.id let:token>
                    <Row token ask />
                </For>
            </List>
        </section>
        <Create tokens made />
        <Made made />
        <Dialog
            id=REVOKE
            title=Signal::derive(move || leaving.with(|token| format!("Revoke {}?", token.as_ref().map_or("", |token| token.name.as_str()))))
        >
            <div class="body">
                <p>"Scripts that use it stop working at once. This can’t be undone."</p>
                <p class="acts">
                    <button type="button" class="btn danger" on:click=revoke>
                        "Revoke token"
                    </button>
                    <Closes dialog=REVOKE class="btn quiet">
                        "Keep it"
                    </Closes>
                </p>
            </div>
        </Dialog>
    }
}

#[component]
fn Row(token: ApiToken, ask: Callback<TokenId>) -> impl IntoView {
    let clock = Clock::here();
    let ends = millis(token.expires_at);
    let left = move || ends - clock.now();
    let soon = Memo::new(move |_| (0..ENDS_SOON_MS).contains(&left()));
    let over = Memo::new(move |_| left() <= 0);
    let id = token.id;
    view! {
        <tr class:beaten=move || over.get()>
            <th scope="row" class="name">
                {token.name.clone()}
            </th>
            <td class="c-scope">{words(token.scope)}</td>
            <td class="c-ends mid" data-label="Ends">
                <span class=move || if soon.get() { "status slow" } else { "" }>
                    {move || soon.get().then(|| view! { <Shape name="s-slow" /> })} <Until at=token.expires_at />
                </span>
            </td>
            <td class="c-used mid" data-label="Last used">
                {match token.last_used_at {
                    Some(at) => view! { <Ago at /> }.into_any(),
                    None => view! { <span class="dim">"never"</span> }.into_any(),
                }}
            </td>
            <td class="c-made dim">
                <Ago at=token.created_at />
            </td>
            <td class="c-acts">
                <form
                    class="acts"
                    method="post"
                    action=RevokeToken::PATH
                    on:submit=move |event| {
                        event.prevent_default();
                        ask.run(id);
                    }
                >
                    <input type="hidden" name="id" value=id.to_string() />
                    <button type="submit" class="btn quiet small" aria-label=format!("Revoke {}", token.name)>
                        "Revoke…"
                    </button>
                </form>
            </td>
        </tr>
    }
}

#[component]
fn Create(tokens: RwSignal<Vec<ApiToken>>, made: RwSignal<Option<NewTokenMade>>) -> impl IntoView {
    let action = ServerAction::<CreateToken>::new();
    let refused = RwSignal::new(None::<AppError>);
    Effect::new(move || match action.value().get() {
        Some(Ok(new)) => {
            refused.set(None);
            tokens.update(|all| all.insert(0, new.listed.clone()));
            made.set(Some(new));
            close(CREATE);
            open(MADE);
        }
        Some(Err(error)) => refused.set(Some(error)),
        None => {}
    });
    let wrong =
        move |field: &'static str| Signal::derive(move || refused.with(|error| error.as_ref().and_then(|error| error.of(field).map(str::to_owned))));
    let wrong_name = wrong("name");
    let general = move || refused.with(|error| error.as_ref().filter(|error| error.fields.is_empty()).map(|error| error.message.clone()));
    view! {
        <Dialog id=CREATE title="Create token">
            <ActionForm action=action on:submit:capture=once(action.pending()) attr:class="body">
                <div class="field">
                    <label for="token-name">"Name"</label>
                    <input
                        type="text"
                        class="input"
                        id="token-name"
                        name="name"
                        required
                        maxlength="60"
                        autocomplete="off"
                        autofocus
                        aria-invalid=move || wrong_name.get().map(|_| "true")
                        aria-describedby="token-name-err"
                    />
                    <p class="hint">"Where it will be used. Only you see it."</p>
                    <FieldError id="token-name-err" message=wrong_name />
                </div>
                <fieldset class="field">
                    <legend class="label">"Scope"</legend>
                    <div class="pick">
                        <label class="opt">
                            <input type="radio" name="scope" value="read" required checked />
                            <span>
                                <b>"Read"</b>
                                <small>"See pods and logs"</small>
                            </span>
                        </label>
                        <label class="opt">
                            <input type="radio" name="scope" value="write" />
                            <span>
                                <b>"Read and write"</b>
                                <small>"Also create, run, change and delete, as you"</small>
                            </span>
                        </label>
                    </div>
                </fieldset>
                <div class="field">
                    <label for="token-ends">"Ends"</label>
                    <select class="select" id="token-ends" name="expires_days">
                        {TERMS
                            .into_iter()
                            .map(|(days, words)| {
                                view! {
                                    <option value=days.to_string() selected=days == 30>
                                        {words}
                                    </option>
                                }
                            })
                            .collect_view()}
                    </select>
                    <p class="hint">"Every token ends."</p>
                </div>
                <p class="note bad" role="alert" hidden=move || general().is_none()>
                    {general}
                </p>
                <p class="acts">
                    <button type="submit" class="btn primary" aria-disabled=move || action.pending().get().then_some("true")>
                        {move || if action.pending().get() { "Creating…" } else { "Create token" }}
                    </button>
                    <Closes dialog=CREATE class="btn quiet">
                        "Cancel"
                    </Closes>
                </p>
            </ActionForm>
        </Dialog>
    }
}

#[component]
fn Made(made: RwSignal<Option<NewTokenMade>>) -> impl IntoView {
    const TRY: &str =
        "read -rs PINACLE_TOKEN; export PINACLE_TOKEN\ncurl \"$PINACLE/api/v1/me\" \\\n  -H @- <<<\"Authorization: Bearer $PINACLE_TOKEN\"";
    let token = Signal::derive(move || made.with(|made| made.as_ref().map(|made| made.token.clone()).unwrap_or_default()));
    let about = move || made.with(|made| made.as_ref().map(|made| format!("{}, ends on {}.", words(made.listed.scope), day(made.listed.expires_at))));
    view! {
        <Dialog
            id=MADE
            title=Signal::derive(move || made.with(|made| format!("Token {}", made.as_ref().map_or("", |made| made.listed.name.as_str()))))
        >
            <div class="body">
                <p>"Copy it now. Pinacle keeps only its id, so it can’t be shown again."</p>
                <div>
                    <div class="copyline">
                        <code id="token">{token}</code>
                        <Copy text=token name="Copy the token" label="Copy" />
                    </div>
                    <p class="dim small">{about}</p>
                </div>
                <div>
                    <h3>"Try it"</h3>
                    <pre class="code" tabindex="0">
                        <code>{TRY}</code>
                    </pre>
                </div>
                <p class="acts">
                    <button
                        type="button"
                        class="btn primary"
                        on:click=move |_| {
                            close(MADE);
                            made.set(None);
                        }
                    >
                        "Done"
                    </button>
                </p>
            </div>
        </Dialog>
    }
}
