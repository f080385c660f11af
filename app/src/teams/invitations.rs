//! Invitations that are open or too old: sent again, revoked. No mail is sent; the link is shown once, to be passed on.

use super::api::{ResendInvitation, RevokeInvitation, resend_invitation, revoke_invitation};
use super::page::Shown;
use super::{Invitation, InvitationMade, InvitationState, TeamRole};
use crate::ui::clock::Until;
use crate::ui::copy::Copy;
use crate::ui::dialog::{Closes, Dialog, open};
use crate::ui::list::{Column, List};
use crate::ui::once::Busy;
use crate::ui::time::day;
use crate::ui::toast::Notice;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos::task::spawn_local;
use time::OffsetDateTime;

pub const LINK: &str = "invitation-link";
const AGAIN: &str = "invitation-again";
const COLUMNS: [Column; 5] = [Column::Text("Invited"), Column::Text("Role"), Column::Text("By"), Column::Text("State"), Column::Actions];

#[component]
pub fn Invitations(shown: Shown) -> impl IntoView {
    let made = RwSignal::new(None::<InvitationMade>);
    let open_now = move || shown.all.with(|all| all.invitations.iter().filter(|invitation| invitation.state == InvitationState::Open).count());
    view! {
        <section class="sec" id="invitations" aria-labelledby="h-inv">
            <header>
                <h2 id="h-inv">"Invitations"</h2>
                <span class="dim">{move || format!("{} open", open_now())}</span>
            </header>
            <List
                class="people"
                caption=Signal::derive(move || format!("Invitations to {}", shown.name()))
                columns=&COLUMNS
                foot=move || {
                    view! {
                        <Show when=move || shown.all.with(|all| all.invitations.is_empty())>
                            <div class="nothing">
                                <p>"Nobody is invited. Name a GitHub login or an e-mail address above."</p>
                            </div>
                        </Show>
                    }
                }
            >
                <For
                    each=move || shown.all.with(|all| all.invitations.clone())
                    key=|invitation| (invitation.id, invitation.expires_at, invitation.state == InvitationState::Open)
                    let:invitation
                >
                    <Row shown invitation made />
                </For>
            </List>
        </section>
        <LinkDialog made id=AGAIN />
    }
}

#[component]
fn Row(shown: Shown, invitation: Invitation, made: RwSignal<Option<InvitationMade>>) -> impl IntoView {
    let notice = Notice::here();
    let busy = Busy::default();
    let (team, id) = (shown.id(), invitation.id);
    let invited = invitation.invited().to_owned();
    let face: String = invited.chars().take(1).collect();
    let expired = invitation.state == InvitationState::Expired;
    let send = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        busy.run(async move {
            match resend_invitation(team, id).await {
                Ok(new) => {
                    made.try_set(Some(new));
                    open(AGAIN);
                    shown.changed();
                }
                Err(error) => notice.say(error.message),
            }
        });
    };
    let revoke = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let before = shown.all.with_untracked(|all| all.invitations.clone());
        shown.all.update(|all| all.invitations.retain(|one| one.id != id));
        spawn_local(async move {
            if let Err(error) = revoke_invitation(team, id).await {
                shown.all.try_update(|all| all.invitations = before);
                notice.say(error.message);
            }
        });
    };
    view! {
        <tr class:beaten=expired>
            <th scope="row" class="name">
                <span class="who">
                    <span class="face" aria-hidden="true">
                        {face}
                    </span>
                    {invited.clone()}
                </span>
            </th>
            <td data-end>{invitation.role.label()}</td>
            <td class="mid" data-label="By">
                {invitation.invited_by.clone()}
            </td>
            <td class="mid">{(!expired).then_some("ends ")} <Until at=invitation.expires_at /></td>
            <td data-end>
                <div class="acts">
                    <form method="post" action=ResendInvitation::PATH on:submit=send>
                        <input type="hidden" name="id" value=team.to_string() />
                        <input type="hidden" name="invitation" value=id.to_string() />
                        <button
                            type="submit"
                            class="btn quiet small"
                            aria-label=format!("Send the invitation of {invited} again")
                            aria-disabled=move || busy.is_busy().then_some("true")
                        >
                            {if expired { "Invite again" } else { "Send again" }}
                        </button>
                    </form>
                    <form method="post" action=RevokeInvitation::PATH on:submit=revoke>
                        <input type="hidden" name="id" value=team.to_string() />
                        <input type="hidden" name="invitation" value=id.to_string() />
                        <button type="submit" class="btn quiet small" aria-label=format!("Revoke the invitation of {invited}")>
                            "Revoke"
                        </button>
                    </form>
                </div>
            </td>
        </tr>
    }
}

/// The link, this once.
#[component]
pub fn LinkDialog(made: RwSignal<Option<InvitationMade>>, #[prop(default = LINK)] id: &'static str) -> impl IntoView {
    let url = Signal::derive(move || made.with(|made| made.as_ref().map(|made| made.url.clone()).unwrap_or_default()));
    let title = Signal::derive(move || made.with(|made| format!("Invitation of {}", made.as_ref().map_or("", |made| made.listed.invited()))));
    let about =
        Signal::derive(move || made.with(|made| made.as_ref().map(|made| good_for(made.listed.role, made.listed.expires_at)).unwrap_or_default()));
    view! {
        <Dialog id title>
            <div class="body">
                <p>"Pass this link on. No mail is sent, and the link can’t be shown again: “Send again” makes another one."</p>
                <LinkLine url about />
                <p class="acts">
                    <Closes dialog=id class="btn primary">
                        "Done"
                    </Closes>
                </p>
            </div>
        </Dialog>
    }
}

/// The link, a button that copies it, and what it is good for.
#[component]
pub fn LinkLine(url: Signal<String>, about: Signal<String>) -> impl IntoView {
    view! {
        <div>
            <div class="copyline">
                <code>{url}</code>
                <Copy text=url name="Copy the link" label="Copy" />
            </div>
            <p class="dim small">{about}</p>
        </div>
    }
}

pub fn good_for(role: TeamRole, expires_at: OffsetDateTime) -> String {
    format!("As {}, for this account alone, once, until {}.", role.label(), day(expires_at))
}
