//! What the list of pods is narrowed to, kept in the address.

use super::{Pod, PodQuery, PodStatus, SetupState, Tier};
use crate::ids::UserId;
use crate::teams::place::{new_pod_in, pods_of};
use leptos_router::params::ParamsMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The slug of the one team whose pods these are; empty for all teams.
    pub team: String,
    pub search: String,
    /// `running`, `moving`, `stopped`, `failed`, or empty.
    pub status: String,
    pub tier: String,
    /// `me`, or empty for everybody's.
    pub owner: String,
    pub cursor: String,
}

/// The one value of the owner filter.
pub const ME: &str = "me";

/// Values and words of the status filter.
pub const STATUSES: [(&str, &str); 5] = [("", "All"), ("running", "Running"), ("moving", "Under way"), ("stopped", "Stopped"), ("failed", "Failed")];

impl Filter {
    pub fn from_address(params: &ParamsMap, query: &ParamsMap) -> Self {
        let take = |key: &str| query.get(key).unwrap_or_default();
        let status = take("status");
        let tier = take("tier");
        Self {
            team: params.get("team").unwrap_or_default(),
            search: take("q").trim().to_owned(),
            status: if STATUSES.iter().any(|(value, _)| *value == status) { status } else { String::new() },
            tier: if Tier::parse(&tier).is_some() { tier } else { String::new() },
            owner: if take("owner") == ME { ME.to_owned() } else { String::new() },
            cursor: take("cursor"),
        }
    }

    pub fn address(&self) -> String {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        let all = [("q", &self.search), ("status", &self.status), ("tier", &self.tier), ("owner", &self.owner), ("cursor", &self.cursor)];
        for (key, value) in all {
            if !value.is_empty() {
                pairs.append_pair(key, value);
            }
        }
        let pairs = pairs.finish();
        let base = self.base();
        if pairs.is_empty() { base } else { format!("{base}?{pairs}") }
    }

    fn slug(&self) -> Option<&str> {
        Some(self.team.as_str()).filter(|slug| !slug.is_empty())
    }

    /// The list without any filter.
    pub fn base(&self) -> String {
        pods_of(self.slug())
    }

    pub fn new_pod(&self) -> String {
        new_pod_in(self.slug())
    }

    /// Whether the pod belongs to the team, whatever else narrows the list.
    pub fn is_of_team(&self, pod: &Pod) -> bool {
        self.team.is_empty() || pod.team == self.team
    }

    /// The same with another status, from the first page.
    pub fn with_status(&self, status: &str) -> Self {
        Self { status: status.to_owned(), cursor: String::new(), ..self.clone() }
    }

    /// How many of the filters narrow the list.
    pub fn count(&self) -> usize {
        [&self.search, &self.status, &self.tier, &self.owner].into_iter().filter(|value| !value.is_empty()).count()
    }

    /// As the server is asked; `status` is left out where all are wanted, to count them.
    pub fn query(&self, status: bool, limit: u32) -> PodQuery {
        let given = |text: &String| (!text.is_empty()).then(|| text.clone());
        PodQuery {
            team_id: None,
            team: given(&self.team),
            search: given(&self.search),
            status: if status { given(&self.status) } else { None },
            tier: given(&self.tier),
            owner: given(&self.owner),
            cursor: if status { given(&self.cursor) } else { None },
            limit: Some(limit),
        }
    }

    /// Whether a pod that the stream brought belongs to the list of `me`.
    pub fn holds(&self, pod: &Pod, me: Option<UserId>) -> bool {
        let search = self.search.to_lowercase();
        let found = |text: &str| text.to_lowercase().contains(&search);
        let named = search.is_empty() || found(&pod.name) || found(&pod.owner) || pod.repository.as_deref().is_some_and(found);
        let owned = self.owner.is_empty() || me == Some(pod.owner_id);
        named
            && owned
            && self.is_of_team(pod)
            && (self.tier.is_empty() || pod.tier.as_str() == self.tier)
            && pod.status != PodStatus::Deleted
            && has_status(pod, &self.status)
    }
}

/// Whether a pod counts as this value of the status filter.
pub fn has_status(pod: &Pod, status: &str) -> bool {
    match status {
        "running" => pod.status == PodStatus::Running,
        "moving" => pod.status.is_moving(),
        "stopped" => pod.status == PodStatus::Stopped,
        "failed" => pod.status == PodStatus::Failed,
        _ => true,
    }
}

/// What needs somebody first, then what is under way, then the rest.
pub fn rank(pod: &Pod) -> u8 {
    let waits = matches!(pod.setup.state, SetupState::Failed | SetupState::AwaitingApproval);
    match pod.status {
        PodStatus::Failed => 0,
        PodStatus::Running if waits => 1,
        PodStatus::Running if pod.setup.state == SetupState::Running => 2,
        status if status.is_moving() => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_holds_the_filters_and_nothing_else() {
        let mut query = ParamsMap::new();
        query.insert("q", "shop & co".to_owned());
        query.insert("status", "nonsense".to_owned());
        query.insert("tier", "dev.small".to_owned());
        query.insert("owner", "somebody".to_owned());
        let filter = Filter::from_address(&ParamsMap::new(), &query);
        assert_eq!(filter.address(), "/?q=shop+%26+co&tier=dev.small");
        assert_eq!(filter.with_status("failed").address(), "/?q=shop+%26+co&status=failed&tier=dev.small");
        assert_eq!(Filter::default().address(), "/");
        let mut params = ParamsMap::new();
        params.insert("team", "acme".to_owned());
        let filter = Filter::from_address(&params, &query);
        assert_eq!(filter.address(), "/teams/acme/pods?q=shop+%26+co&tier=dev.small");
        assert_eq!(filter.new_pod(), "/teams/acme/pods/new");
    }
}
