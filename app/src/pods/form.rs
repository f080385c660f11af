//! What was typed into the form for a new pod, kept in the address where there is no JavaScript.

use super::{NewPod, Tier};
use leptos_router::params::ParamsMap;

impl NewPod {
    /// Where the form goes on after an error: the page checks these values again and puts each message at its field.
    pub fn form_address(&self) -> String {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        pairs.append_pair("checked", "1");
        for (key, value) in
            [("name", Some(&self.name)), ("tier", Some(&self.tier)), ("repository", self.repository.as_ref()), ("branch", self.branch.as_ref())]
        {
            if let Some(value) = value {
                pairs.append_pair(key, value);
            }
        }
        if let Some(team) = self.team_id {
            pairs.append_pair("team", &team.to_string());
        }
        format!("/pods/new?{}", pairs.finish())
    }
}

/// What the form begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    pub name: String,
    pub tier: String,
    pub repository: String,
    pub branch: String,
    /// Id of the team that was chosen; empty for the one in the address, or the personal one.
    pub team: String,
    /// Sent before, and refused.
    pub checked: bool,
}

impl Typed {
    pub fn from_address(query: &ParamsMap) -> Self {
        let take = |key: &str| query.get(key).unwrap_or_default();
        let tier = Tier::parse(&take("tier")).unwrap_or(Tier::Small);
        Self {
            name: take("name"),
            tier: tier.as_str().to_owned(),
            repository: take("repository"),
            branch: take("branch"),
            team: take("team"),
            checked: query.get("checked").is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_survives_an_error() {
        let new = NewPod { name: "My Shop".into(), tier: "dev.large".into(), repository: Some("acme/shop".into()), ..NewPod::default() };
        let address = new.form_address();
        let mut query = ParamsMap::new();
        for (key, value) in url::form_urlencoded::parse(address.split_once('?').unwrap().1.as_bytes()) {
            query.insert(key.into_owned(), value.into_owned());
        }
        let typed = Typed::from_address(&query);
        assert_eq!((typed.name.as_str(), typed.tier.as_str(), typed.repository.as_str(), typed.checked), ("My Shop", "dev.large", "acme/shop", true));
    }
}
