//! How git in a pod reaches its repository at GitHub.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GitWay {
    /// Over ssh, with a key of the pod's own that reads and writes this one repository.
    DeployKey,
    /// Over https, with a token for this one repository, asked for whenever git signs in.
    AppToken,
    /// Over https, without signing in: what everybody may read can be cloned, nothing can be pushed.
    Anonymous,
}

/// Why it is not the pod's own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GitWhy {
    /// The owner of the pod is no admin of the repository, or can't see it.
    NoAdmin,
    /// The repository, or the organisation that it belongs to, takes no deploy keys.
    KeysForbidden,
    /// The owner of the pod has not allowed access to repositories.
    NoConsent,
    /// GitHub no longer accepts what the owner of the pod had allowed.
    Revoked,
    /// GitHub did not answer, or has had too many requests.
    GitHubSilent,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GitAccess {
    pub way: GitWay,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<GitWhy>,
}

impl GitWay {
    /// For a line of facts.
    pub fn label(self) -> &'static str {
        match self {
            GitWay::DeployKey => "Deploy key of this pod",
            GitWay::AppToken => "https, with a token each time",
            GitWay::Anonymous => "https, without signing in",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            GitWay::DeployKey => "Clone, fetch and push over ssh. The key is good for this repository alone, and goes with the pod.",
            GitWay::AppToken => "Clone, fetch, and push where the pod's owner may. The token is good for this repository alone.",
            GitWay::Anonymous => "Clone and fetch what is public. Push is not possible.",
        }
    }
}

impl GitWhy {
    /// What stands in the way, and what helps.
    pub fn words(self) -> &'static str {
        match self {
            GitWhy::NoAdmin => "The pod's owner is no admin of the repository, so that it takes no deploy key from here.",
            GitWhy::KeysForbidden => "The repository or its organisation takes no deploy keys.",
            GitWhy::NoConsent => "Pinacle was not allowed to register a key: allow access to repositories, then set the pod up again.",
            GitWhy::Revoked => "GitHub no longer accepts what was allowed: renew it, then set the pod up again.",
            GitWhy::GitHubSilent => "GitHub did not take the pod's key at the time. Set the pod up again to have it tried once more.",
        }
    }

    /// Whether the pod's owner can help it by allowing access (again).
    pub fn consent_helps(self) -> bool {
        matches!(self, GitWhy::NoConsent | GitWhy::Revoked)
    }
}
