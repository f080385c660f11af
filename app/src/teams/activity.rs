//! What is told of a team: who did what to what, when and from where. Written once, never changed.

use crate::ids::UserId;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// What a filter keeps together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActivityKind {
    People,
    Pods,
    Secrets,
    /// API tokens, keys, signed-in browsers.
    Access,
    Hosts,
}

impl ActivityKind {
    pub const ALL: [Self; 5] = [Self::People, Self::Pods, Self::Secrets, Self::Access, Self::Hosts];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::People => "people",
            Self::Pods => "pods",
            Self::Secrets => "secrets",
            Self::Access => "access",
            Self::Hosts => "hosts",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::People => "People",
            Self::Pods => "Pods",
            Self::Secrets => "Secrets",
            Self::Access => "Sign-ins and tokens",
            Self::Hosts => "Hosts",
        }
    }

    /// What stands before the dot in the actions of this kind.
    pub fn nouns(self) -> &'static [&'static str] {
        match self {
            Self::People => &["team", "member", "invitation", "operator", "account"],
            Self::Pods => &["pod"],
            Self::Secrets => &["secret"],
            Self::Access => &["token", "session", "key"],
            Self::Hosts => &["host", "orphan"],
        }
    }
}

macro_rules! actions {
    ($($name:ident $text:literal $words:literal),+ $(,)?) => {
        /// What can be done that is told of. A former action is never renamed: rows have its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Action { $($name),+ }

        impl Action {
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// `noun.verb`, as it is stored.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// The words that stand before the object's name.
            pub fn words(self) -> &'static str {
                match self { $(Self::$name => $words),+ }
            }
        }
    };
}

actions! {
    PodCreate "pod.create" "created pod",
    PodStart "pod.start" "started pod",
    PodStop "pod.stop" "stopped pod",
    PodRestart "pod.restart" "restarted pod",
    PodRetry "pod.retry" "tried again pod",
    PodRename "pod.rename" "renamed pod",
    PodTier "pod.tier" "changed the tier of pod",
    PodApprove "pod.approve" "approved the plan of pod",
    PodSetUp "pod.set_up" "set up again pod",
    PodDelete "pod.delete" "deleted pod",
    PodTakeOver "pod.take_over" "took over pod",
    TeamCreate "team.create" "made the team",
    TeamRename "team.rename" "renamed the team",
    TeamDelete "team.delete" "deleted the team",
    MemberJoin "member.join" "joined",
    MemberLeave "member.leave" "left the team",
    MemberRemove "member.remove" "removed",
    MemberRole "member.role" "made",
    InvitationMake "invitation.make" "invited",
    InvitationResend "invitation.resend" "invited again",
    InvitationRevoke "invitation.revoke" "revoked the invitation of",
    SecretCreate "secret.create" "added secret",
    SecretReplace "secret.replace" "replaced secret",
    SecretRename "secret.rename" "renamed secret",
    SecretDelete "secret.delete" "deleted secret",
    TokenCreate "token.create" "created API token",
    TokenRevoke "token.revoke" "revoked API token",
    SessionBegin "session.begin" "signed in",
    SessionEnd "session.end" "signed out",
    SessionEndAll "session.end_all" "signed out everywhere",
    AccountHandle "account.handle" "took the handle",
    OperatorGrant "operator.grant" "made an operator of",
    OperatorRevoke "operator.revoke" "took an operator's rights from",
    HostAdd "host.add" "added host",
    HostRejoin "host.rejoin" "let join again host",
    HostCordon "host.cordon" "cordoned host",
    HostDrain "host.drain" "drained host",
    HostActivate "host.activate" "activated host",
    HostLost "host.lost" "gave up host",
    HostSetAside "host.set_aside" "had set aside what nobody knows on host",
    HostTrustKey "host.trust_key" "trusted a key of host",
    HostRetireKey "host.retire_key" "retired a key of host",
    OrphanAdopt "orphan.adopt" "adopted the disk",
    OrphanRemove "orphan.remove" "removed the disk",
}

impl Action {
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.as_str() == text)
    }
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Activity {
    /// Rises with time.
    pub seq: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Null for the command line.
    pub actor_id: Option<UserId>,
    /// The login that the actor had then.
    pub actor: String,
    /// `noun.verb`, such as `pod.create`.
    pub action: String,
    pub object_id: Option<Uuid>,
    /// The name that the object had then.
    pub object: String,
    /// What is to be said beside it, such as `as Member`.
    pub detail: String,
    /// `web`, `api`, `ssh` or `command line`.
    pub door: String,
    /// The API token's name, where it was one.
    pub token: Option<String>,
    pub address: Option<String>,
}

impl Activity {
    /// The words before the object's name; an action of a newer server as it is stored.
    pub fn words(&self) -> &str {
        match Action::parse(&self.action) {
            Some(action) => action.words(),
            None => &self.action,
        }
    }

    /// Such as `web, 203.0.113.24`.
    pub fn origin(&self) -> String {
        let door = match (&*self.door, &self.token) {
            ("api", Some(token)) => format!("API, token {token}"),
            ("api", None) => "API".to_owned(),
            (door, _) => door.to_owned(),
        };
        match &self.address {
            Some(address) => format!("{door}, {address}"),
            None => door,
        }
    }
}

/// Which part of a team's activity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ActivityQuery {
    /// `people`, `pods`, `secrets`, `access` or `hosts`.
    pub kind: Option<String>,
    /// The login of who did it.
    pub actor: Option<String>,
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// 1–100; 50 if left out.
    pub limit: Option<u32>,
}

impl ActivityQuery {
    /// Behind this cursor; of all kinds if `kind` is empty.
    pub fn older(kind: &str, cursor: String) -> Self {
        Self { kind: Some(kind.to_owned()).filter(|kind| !kind.is_empty()), cursor: Some(cursor), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_of_one_kind() {
        for action in Action::ALL {
            let noun = action.as_str().split('.').next().unwrap();
            let kinds = ActivityKind::ALL.into_iter().filter(|kind| kind.nouns().contains(&noun)).count();
            assert_eq!(kinds, 1, "{}", action.as_str());
            assert_eq!(Action::parse(action.as_str()), Some(*action), "no two have one name");
        }
    }
}
