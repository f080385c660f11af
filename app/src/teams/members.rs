//! Who is in the team, with what role; inviting, removing, leaving.

use super::api::{ChangeMember, Invite, RemoveMember, change_member, list_members, remove_member};
use super::invitations::{LINK, LinkDialog};
use super::page::Shown;
use super::place::MyTeams;
use super::{InvitationMade, Member, TeamRole};
use crate::error::AppError;
use crate::ids::UserId;
use crate::pods::PodQuery;
use crate::pods::api::list_pods;
use crate::ui::clock::Ago;
use crate::ui::dialog::{Closes, Dialog, close, open};
use crate::ui::icon::Icon;
use crate::ui::list::{Column, List};
use crate::ui::once::{Busy, once};
use crate::ui::problem::FieldError;
use crate::ui::refusal::bear;
use crate::ui::time::{day, exact, machine, thousands};
use crate::ui::toast::Notice;
use leptos::form::ActionForm;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos::task::spawn_local;

const REMOVE: &str = "remove-member";
const COLUMNS: [Column; 6] =
    [Column::Text("Account"), Column::Text("Role"), Column::Figure("Pods"), Column::Text("Joined"), Column::Text("Last active"), Column::Actions];
/// Pods that the question names.
const NAMED: usize = 8;
const ROLES: [TeamRole; 2] = [TeamRole::Member, TeamRole::Owner];
/// Markup as text: what stands in a `noscript` is never hydrated.
const SAVE: &str = r#"<button class="btn quiet small">Save role</button>"#;

#[component]
pub fn Members(shown: Shown, personal: bool) -> impl IntoView {
    let leaving = RwSignal::new(None::<Member>);
    let notice = Notice::here();
    let count = move || shown.all.with(|all| thousands(all.team.members.into()));
    let ask = Callback::new(move |member: Member| {
        leaving.set(Some(member));
        open(REMOVE);
    });
    let busy = Busy::default();
    let more = move |_| {
        let Some(cursor) = shown.all.with_untracked(|all| all.members.next_cursor.clone()) else { return };
        let id = shown.id();
        busy.run(async move {
            match list_members(id, Some(cursor)).await {
                Ok(page) => drop(shown.all.try_update(|all| all.members.append(page))),
                Err(error) => notice.say(error.message),
            }
        });
    };
    view! {
        <section class="sec" id="members" aria-labelledby="h-mem">
            <header>
                <h2 id="h-mem">"Members"</h2>
                <span class="dim">{count}</span>
            </header>
            <Show when=move || shown.is_owner() && !personal>
                <InviteForm shown />
            </Show>
            <Show when=move || personal>
                <p class="dim">
                    "This is your own team: yours alone. " <a class="link" href="/teams/new">
                        "Make a team"
                    </a> " to share pods."
                </p>
            </Show>
            <List
                class="people"
                caption=Signal::derive(move || format!("Members of {}", shown.name()))
                columns=&COLUMNS
                foot=move || {
                    view! {
                        <Show when=move || shown.all.with(|all| all.members.next_cursor.is_some())>
                            <div class="more">
                                <button type="button" class="btn small" on:click=more>
                                    "Show more members"
                                </button>
                            </div>
                        </Show>
                    }
                }
            >
                <For
                    each=move || shown.all.with(|all| all.members.items.clone())
                    key=|member| (member.user_id, member.role, member.pods, member.active_at)
                    let:member
                >
                    <Row shown member personal ask />
                </For>
            </List>
        </section>
        <RemoveDialog shown leaving />
    }
}

#[component]
fn InviteForm(shown: Shown) -> impl IntoView {
    let action = ServerAction::<Invite>::new();
    let refused = RwSignal::new(None::<AppError>);
    let made = RwSignal::new(None::<InvitationMade>);
    let typed = RwSignal::new(String::new());
    Effect::new(move || match action.value().get() {
        Some(Ok(new)) => {
            refused.set(None);
            typed.set(String::new());
            shown.all.update(|all| all.invitations.insert(0, new.listed.clone()));
            made.set(Some(new));
            open(LINK);
        }
        Some(Err(error)) => refused.set(Some(error)),
        None => {}
    });
    let wrong =
        Signal::derive(move || refused.with(|error| error.as_ref().map(|error| error.of("github_login").unwrap_or(error.at("email")).to_owned())));
    let id = shown.id();
    view! {
        <ActionForm action=action on:submit:capture=once(action.pending()) attr:class="tools invite" attr:aria-label="Invite">
            <input type="hidden" name="id" value=id.to_string() />
            <div class="field">
                <label class="sr" for="who">
                    "GitHub login or e-mail address"
                </label>
                <input
                    type="text"
                    class="input"
                    id="who"
                    name="who"
                    required
                    maxlength="254"
                    placeholder="GitHub login or e-mail address"
                    autocomplete="off"
                    autocapitalize="none"
                    spellcheck="false"
                    prop:value=move || typed.get()
                    aria-invalid=move || wrong.get().map(|_| "true")
                    aria-describedby="who-err"
                    on:input=move |event| {
                        refused.set(None);
                        typed.set(event_target_value(&event));
                    }
                />
                <FieldError id="who-err" message=wrong />
            </div>
            <label class="sr" for="role">
                "Role"
            </label>
            <select class="select" id="role" name="role">
                {ROLES.map(|role| view! { <option value=role.as_str()>{role.label()}</option> }).collect_view()}
            </select>
            <button type="submit" class="btn primary" aria-disabled=move || action.pending().get().then_some("true")>
                <Icon name="plus" />
                {move || if action.pending().get() { "Inviting…".to_owned() } else { format!("Invite to {}", shown.name()) }}
            </button>
            <p class="dim">
                "Members create and use pods, and can read the secrets that their pods get. Owners also manage people and secrets. No mail is sent: you get a link to pass on."
            </p>
        </ActionForm>
        <LinkDialog made />
    }
}

#[component]
fn Row(shown: Shown, member: Member, personal: bool, ask: Callback<Member>) -> impl IntoView {
    let notice = Notice::here();
    let (id, user) = (shown.id(), member.user_id);
    let own = shown.me == Some(user);
    let face: String = member.login.chars().take(1).collect();
    let login = member.login.clone();
    let before = member.role;
    let change = move |event: leptos::ev::Event| {
        let role = ROLES.into_iter().find(|role| role.as_str() == event_target_value(&event));
        let Some(role) = role else { return };
        let select = event_target::<web_sys::HtmlSelectElement>(&event);
        spawn_local(async move {
            if let Err(error) = change_member(id, user, role).await {
                // What was refused goes back to what it is.
                select.set_value(before.as_str());
                notice.say(error.message);
            }
            shown.changed();
        });
    };
    let label = format!("Role of {login}");
    let role = member.role;
    let asked = member.clone();
    let removes = if own { "Leave…" } else { "Remove…" };
    let named = if own { "Leave the team".to_owned() } else { format!("Remove {login}") };
    view! {
        <tr>
            <th scope="row" class="name">
                <span class="who">
                    <span class="face" aria-hidden="true">
                        {face}
                    </span>
                    {login.clone()}
                    {own.then(|| view! { " " <span class="dim">"you"</span> })}
                </span>
            </th>
            <td data-end>
                {if personal {
                    role.label().into_any()
                } else {
                    view! {
                        <Show when=move || shown.is_owner() fallback=move || role.label()>
                            <form method="post" action=ChangeMember::PATH>
                                <input type="hidden" name="id" value=id.to_string() />
                                <input type="hidden" name="user" value=user.to_string() />
                                <select class="select bare" name="role" aria-label=label.clone() prop:value=role.as_str() on:change=change>
                                    {ROLES
                                        .map(|one| {
                                            view! {
                                                <option value=one.as_str() selected=one == role>
                                                    {one.label()}
                                                </option>
                                            }
                                        })
                                        .collect_view()}
                                </select>
                                <noscript inner_html=SAVE></noscript>
                            </form>
                        </Show>
                    }
                        .into_any()
                }}
            </td>
            <td class="num" data-label="Pods">
                {thousands(member.pods.into())}
            </td>
            <td class="mid" data-label="Joined">
                <time datetime=machine(member.joined_at) title=exact(member.joined_at)>
                    {day(member.joined_at)}
                </time>
            </td>
            <td class="mid" data-label="Active">
                {match member.active_at {
                    Some(at) => view! { <Ago at /> }.into_any(),
                    None => view! { <span class="dim">"not yet"</span> }.into_any(),
                }}
            </td>
            <td data-end>
                {if personal {
                    ().into_any()
                } else {
                    view! {
                        <Show when=move || own || shown.is_owner()>
                            <form
                                class="acts"
                                method="post"
                                action=RemoveMember::PATH
                                on:submit={
                                    let asked = asked.clone();
                                    move |event: leptos::ev::SubmitEvent| {
                                        event.prevent_default();
                                        ask.run(asked.clone());
                                    }
                                }
                            >
                                <input type="hidden" name="id" value=id.to_string() />
                                <input type="hidden" name="user" value=user.to_string() />
                                <button type="submit" class="btn quiet small" aria-label=named.clone()>
                                    {removes}
                                </button>
                            </form>
                        </Show>
                    }
                        .into_any()
                }}
            </td>
        </tr>
    }
}

/// Asked once, by name; what becomes of the pods is said and chosen here.
#[component]
fn RemoveDialog(shown: Shown, leaving: RwSignal<Option<Member>>) -> impl IntoView {
    let mine = MyTeams::here();
    let typed = RwSignal::new(String::new());
    let take_over = RwSignal::new(true);
    let refused = RwSignal::new(None::<String>);
    let busy = Busy::default();
    let pods = RwSignal::new(Vec::<String>::new());
    let login = Memo::new(move |_| leaving.with(|member| member.as_ref().map(|member| member.login.clone()).unwrap_or_default()));
    let own = Memo::new(move |_| leaving.with(|member| member.as_ref().map(|member| member.user_id)) == shown.me);
    // Which pods it is about is asked when the question is.
    Effect::new(move || {
        let Some(user) = leaving.with(|member| member.as_ref().map(|member| member.user_id)) else { return };
        typed.set(String::new());
        refused.set(None);
        pods.set(Vec::new());
        let id = shown.id();
        spawn_local(async move {
            let found = names_of(id, user).await;
            if leaving.try_with_untracked(|member| member.as_ref().is_some_and(|member| member.user_id == user)) == Some(true) {
                pods.try_set(found);
            }
        });
    });
    let send = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let Some(member) = leaving.get_untracked() else { return };
        if !own.get_untracked() && typed.read_untracked().trim() != member.login {
            return;
        }
        let id = shown.id();
        let (takes, leaves) = (take_over.get_untracked() && !own.get_untracked(), own.get_untracked());
        busy.run(async move {
            shown.going.set(leaves);
            match remove_member(id, member.user_id, takes).await {
                Ok(()) if leaves => {
                    mine.changed();
                    // Nothing of the team's is left on the page.
                    bear("The way home", window().location().set_href("/"));
                }
                Ok(()) => {
                    close(REMOVE);
                    shown.changed();
                }
                Err(error) => {
                    refused.try_set(Some(error.message));
                    shown.going.try_set(false);
                }
            }
        });
    };
    let title = Signal::derive(move || match own.get() {
        true => format!("Leave {}?", shown.name()),
        false => format!("Remove {} from {}?", login.get(), shown.name()),
    });
    let what = move || {
        let whose = if own.get() { "yours".to_owned() } else { login.get() };
        let team = shown.name();
        format!("Open terminals and streams of {whose} in {team} end within 2 seconds, and API tokens no longer reach it. Pods stay with the team.")
    };
    let named = move || {
        pods.with(|pods| {
            let more = pods.len().saturating_sub(NAMED);
            let named = pods.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            if more > 0 { format!("{named} and {more} more") } else { named }
        })
    };
    view! {
        <Dialog id=REMOVE title>
            <form class="body" on:submit=send>
                <p>{what}</p>
                <Show when=move || !pods.with(Vec::is_empty) && !own.get()>
                    <label class="tick">
                        <input
                            type="checkbox"
                            prop:checked=move || take_over.get()
                            on:change=move |event| take_over.set(event_target_checked(&event))
                        />
                        <span>"Take over " {named}</span>
                    </label>
                </Show>
                <Show when=move || !own.get()>
                    <div class="field">
                        <label for="remove-name">"Type " <code>{login}</code> " to remove"</label>
                        <input
                            type="text"
                            class="input mono"
                            id="remove-name"
                            required
                            autocomplete="off"
                            spellcheck="false"
                            autocapitalize="none"
                            prop:value=move || typed.get()
                            on:input=move |event| typed.set(event_target_value(&event))
                        />
                    </div>
                </Show>
                <p class="note bad" role="alert" hidden=move || refused.with(Option::is_none)>
                    {move || refused.get()}
                </p>
                <p class="acts">
                    <button
                        type="submit"
                        class="btn danger"
                        aria-disabled=move || {
                            (busy.is_busy() || (!own.get() && typed.with(|typed| typed.trim() != login.get()))).then_some("true")
                        }
                    >
                        {move || if own.get() { "Leave team".to_owned() } else { format!("Remove {}", login.get()) }}
                    </button>
                    <Closes dialog=REMOVE class="btn quiet">
                        "Keep"
                    </Closes>
                </p>
            </form>
        </Dialog>
    }
}

/// Names of the pods that the member has in the team, as far as one page of them goes.
async fn names_of(team: crate::ids::TeamId, user: UserId) -> Vec<String> {
    const MOST: u32 = 100;
    let query = PodQuery { team_id: Some(team), limit: Some(MOST), ..PodQuery::default() };
    // Without them the question is asked all the same.
    let found = list_pods(query).await.map(|page| page.items).unwrap_or_default();
    found.into_iter().filter(|pod| pod.owner_id == user).map(|pod| pod.name).collect()
}
