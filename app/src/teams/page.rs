//! The page of one team: who is in it, who is asked in, what was done. It follows what others do.

use super::activity::ActivityQuery;
use super::activity_list::ActivityList;
use super::api::{list_members, team_activity, view_team};
use super::ending::EndDialog;
use super::invitations::Invitations;
use super::left::LeftPods;
use super::members::Members;
use super::rename::{RENAME, RenameDialog};
use super::{TeamDetail, TeamOverview, TeamRole};
use crate::account::Me;
use crate::error::{AppError, AppResult, ErrorCode};
use crate::ids::{TeamId, UserId};
use crate::ui::dialog::{Opens, open};
use crate::ui::icon::Icon;
use crate::ui::live::listen;
use crate::ui::problem::Problem;
use crate::ui::refusal::bear;
use crate::ui::time::thousands;
use crate::ui::toast::Notice;
use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos_meta::Title;
use leptos_router::hooks::{use_params_map, use_query_map};

/// What the page holds while it is looked at.
#[derive(Clone, Copy)]
pub struct Shown {
    pub all: RwSignal<TeamOverview>,
    pub me: Option<UserId>,
    /// Of activity; in the address as well.
    pub kind: Memo<String>,
    again: RwSignal<u32>,
    /// Whoever looks at it is about to leave it or to end it: what would be read anew is not there any more.
    pub going: RwSignal<bool>,
}

impl Shown {
    pub fn id(self) -> TeamId {
        self.all.with_untracked(|all| all.team.team.id)
    }

    pub fn is_owner(self) -> bool {
        self.all.with(|all| all.team.team.role == TeamRole::Owner)
    }

    pub fn name(self) -> String {
        self.all.with(|all| all.team.team.name.clone())
    }

    /// Reads everything again: something was done here.
    pub fn changed(self) {
        self.again.update(|times| *times += 1);
    }
}

#[component]
pub fn TeamPage() -> impl IntoView {
    let params = use_params_map();
    let query = use_query_map();
    let slug = Memo::new(move |_| params.with(|params| params.get("team").unwrap_or_default()));
    let kind = Memo::new(move |_| query.with(|query| query.get("kind").unwrap_or_default()));
    let me = expect_context::<Resource<Result<Me, AppError>>>();
    let everything = Resource::new(move || slug.get(), move |slug| view_team(slug, kind.get_untracked()));
    view! {
        <Suspense fallback=|| view! { <main id="main" aria-busy="true"></main> }>
            {move || Suspend::new(async move {
                let me = me.await.ok().map(|me| me.id);
                match everything.await {
                    Ok(all) => view! { <TheTeam all me kind /> }.into_any(),
                    Err(error) => view! { <Problem error what="This team" /> }.into_any(),
                }
            })}
        </Suspense>
    }
}

/// The team, with at least so many rows of its lists, where there are as many: what was asked for with "Show more" stays.
async fn read_as_far(slug: String, kind: String, members: usize, activity: usize) -> AppResult<TeamOverview> {
    let mut all = view_team(slug, kind.clone()).await?;
    let id = all.team.team.id;
    while all.members.items.len() < members
        && let Some(cursor) = all.members.next_cursor.take()
    {
        all.members.append(list_members(id, Some(cursor)).await?);
    }
    while all.activity.items.len() < activity
        && let Some(cursor) = all.activity.next_cursor.take()
    {
        all.activity.append(team_activity(id, ActivityQuery::older(&kind, cursor)).await?);
    }
    Ok(all)
}

#[component]
fn TheTeam(all: TeamOverview, me: Option<UserId>, kind: Memo<String>) -> impl IntoView {
    let shown = Shown { all: RwSignal::new(all), me, kind, again: RwSignal::new(0), going: RwSignal::new(false) };
    let id = shown.id();
    let notice = Notice::here();
    // What is read anew takes the place of what is there; lists keep the rows that stay.
    Effect::new(move |before: Option<(u32, String)>| {
        let now = (shown.again.get(), kind.get());
        if let Some(before) = before.filter(|before| *before != now) {
            let asked = now.clone();
            let (slug, members, activity) =
                shown.all.with_untracked(|all| (all.team.team.slug.clone(), all.members.items.len(), all.activity.items.len()));
            // Of another kind it is another list.
            let activity = if before.1 == asked.1 { activity } else { 0 };
            spawn_local(async move {
                let found = read_as_far(slug, asked.1.clone(), members, activity).await;
                // Another reading has begun since, or the page is left.
                if shown.again.try_get_untracked() != Some(asked.0) || kind.try_get_untracked() != Some(asked.1) {
                    return;
                }
                match found {
                    Ok(new) => drop(shown.all.try_set(new)),
                    // Who is in the team no more has nothing to see here.
                    Err(error) if error.code == ErrorCode::NotFound => bear("The way home", window().location().set_href("/")),
                    Err(error) => notice.say(error.message),
                }
            });
        }
        now
    });
    Effect::new(move || {
        listen(
            move || format!("/live/teams/{id}"),
            move |_| {
                if !shown.going.get_untracked() {
                    shown.changed();
                }
            },
        );
    });
    let personal = shown.all.with_untracked(|all| all.team.team.personal);
    let count = move |what: fn(&TeamDetail) -> u32, one: &'static str, many: &'static str| {
        let n = shown.all.with(|all| what(&all.team));
        format!("{} {}", thousands(n.into()), if n == 1 { one } else { many })
    };
    // The head is put together when the page's own signals may be gone: it has what they were at first.
    let title = shown.all.with_untracked(|all| all.team.team.name.clone());
    view! {
        <Title text=move || shown.all.try_with(|all| all.team.team.name.clone()).unwrap_or_else(|| title.clone()) />
        <main id="main">
            <div class="head">
                <div>
                    <h1>{move || shown.name()}</h1>
                    <p class="sub">
                        <span>{move || count(|team| team.members, "member", "members")}</span>
                        <span>{move || count(|team| team.pods, "pod", "pods")}</span>
                    </p>
                </div>
                <Show when=move || shown.is_owner() && !personal>
                    <div class="acts">
                        <Opens dialog=RENAME class="btn">
                            "Rename"
                        </Opens>
                        <button type="button" class="btn icon" popovertarget="more" aria-label="More actions">
                            <Icon name="more" />
                        </button>
                        <div class="menu" id="more" popover="auto">
                            <button
                                type="button"
                                class="danger"
                                popovertarget="more"
                                popovertargetaction="hide"
                                on:click=move |_| open(super::ending::END)
                            >
                                <Icon name="trash" />
                                "Delete team…"
                            </button>
                        </div>
                    </div>
                </Show>
            </div>
            <nav class="tabs" aria-label="Team">
                <a href="#members" rel="external">
                    "Members"
                </a>
                <Show when=move || shown.is_owner() && !personal>
                    <a href="#invitations" rel="external">
                        "Invitations"
                    </a>
                </Show>
                <a href="#activity" rel="external">
                    "Activity"
                </a>
            </nav>
            <LeftPods shown />
            <Members shown personal />
            <Show when=move || shown.is_owner() && !personal>
                <Invitations shown />
            </Show>
            <ActivityList shown />
        </main>
        <RenameDialog shown />
        <EndDialog shown />
    }
}
