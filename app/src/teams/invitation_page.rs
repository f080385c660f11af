//! Where an invitation's link leads: what it is for, and the one button that accepts it. Its team's owners find the link there.

use super::api::{AcceptInvitation, get_invitation};
use super::invitations::{LinkLine, good_for};
use super::{InvitationShown, PassOn, TeamRole};
use crate::error::{AppError, ErrorCode};
use crate::ui::clock::Until;
use crate::ui::once::once;
use crate::ui::problem::answer_with;
use leptos::form::ActionForm;
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_params_map;
use time::OffsetDateTime;

#[component]
pub fn InvitationPage() -> impl IntoView {
    let params = use_params_map();
    let code = Memo::new(move |_| params.with(|params| params.get("code").unwrap_or_default()));
    let shown = Resource::new(move || code.get(), get_invitation);
    view! {
        <Title text="Invitation" />
        <main id="main" class="lost">
            <Suspense fallback=|| view! { <p class="dim">"Looking at the invitation…"</p> }>
                {move || Suspend::new(async move {
                    match shown.await {
                        Ok(InvitationShown { pass_on: Some(link), role, expires_at, .. }) => view! { <Link link role expires_at /> }.into_any(),
                        Ok(shown) => view! { <Open shown code=code.get_untracked() /> }.into_any(),
                        Err(error) if error.code == ErrorCode::Unauthenticated => ().into_any(),
                        Err(error) => view! { <Closed error /> }.into_any(),
                    }
                })}
            </Suspense>
        </main>
    }
}

#[component]
fn Open(shown: InvitationShown, code: String) -> impl IntoView {
    let action = ServerAction::<AcceptInvitation>::new();
    let refused = RwSignal::new(None::<AppError>);
    Effect::new(move || {
        if let Some(Err(error)) = action.value().get() {
            refused.set(Some(error));
        }
    });
    let message = move || refused.with(|error| error.as_ref().map(|error| error.message.clone()));
    let role = match shown.role {
        TeamRole::Owner => "an owner",
        TeamRole::Member => "a member",
    };
    view! {
        <div>
            <h1>{format!("Join {}?", shown.team)}</h1>
            <p class="lead">
                <b>{shown.invited_by.clone()}</b>
                {format!(" invites you as {role}. Members create and use the team’s pods, and can read the secrets that their pods get.")}
            </p>
        </div>
        <p class="note bad" role="alert" hidden=move || refused.with(Option::is_none)>
            {message}
        </p>
        <ActionForm action=action on:submit:capture=once(action.pending())>
            <input type="hidden" name="code" value=code />
            <p class="acts">
                <button type="submit" class="btn primary large" aria-disabled=move || action.pending().get().then_some("true")>
                    {move || if action.pending().get() { "Joining…".to_owned() } else { format!("Join {}", shown.team) }}
                </button>
                <a class="btn large" href="/">
                    "Not now"
                </a>
            </p>
        </ActionForm>
        <dl class="ask">
            <div>
                <dt>"Until when?"</dt>
                <dd>"The link is good for one joining, and ends " <Until at=shown.expires_at /> "."</dd>
            </div>
            <div>
                <dt>"Another account?"</dt>
                <dd>"Only the invited account can use it. Sign out in the account menu, and come back by the link."</dd>
            </div>
        </dl>
    }
}

/// For who invites.
#[component]
fn Link(link: PassOn, role: TeamRole, expires_at: OffsetDateTime) -> impl IntoView {
    view! {
        <div>
            <h1>{format!("Invitation of {}", link.invited)}</h1>
            <p class="lead">"Pass this link on. No mail is sent, and it can’t be read anywhere else: “Send again” makes another one."</p>
        </div>
        <LinkLine url=Signal::stored(link.url) about=Signal::stored(good_for(role, expires_at)) />
        <p class="acts">
            <a class="btn primary" href=link.team_page>
                "To the team"
            </a>
        </p>
    }
}

/// Each has its own sentence.
#[component]
fn Closed(error: AppError) -> impl IntoView {
    answer_with(error.code.status());
    view! {
        <div>
            <h1>"This invitation opens nothing"</h1>
            <p class="lead">{error.message}</p>
        </div>
        <p class="acts">
            <a class="btn primary" href="/">
                "All pods"
            </a>
        </p>
    }
}
