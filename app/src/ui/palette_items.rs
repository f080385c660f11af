//! What the palette offers for what is typed.

use crate::ids::PodId;
use crate::pods::{Pod, PodStatus, Wish};
use crate::teams::Team;

/// What an entry does.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    Go(String),
    Wish(PodId, Wish),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub group: String,
    /// An icon's name, or none for a pod, whose status stands there.
    pub icon: &'static str,
    pub status: Option<PodStatus>,
    pub words: String,
    pub aside: String,
    pub key: &'static str,
    pub act: Act,
}

const PODS_SHOWN: usize = 6;

/// Pods whose name, repository or branch holds what is typed, what can be done with the first of them, and places.
pub fn items(typed: &str, pods: &[Pod], teams: &[Team], operator: bool) -> Vec<Item> {
    let typed = typed.trim().to_lowercase();
    let holds = |text: &str| text.to_lowercase().contains(&typed);
    let mut found: Vec<&Pod> = pods
        .iter()
        .filter(|pod| holds(&pod.name) || pod.repository.as_deref().is_some_and(holds) || pod.branch.as_deref().is_some_and(holds))
        .collect();
    found.sort_by_key(|pod| (!pod.name.starts_with(&typed), pod.name.clone()));
    let mut all: Vec<Item> = found.iter().take(PODS_SHOWN).map(|pod| to_pod(pod)).collect();
    if let Some(first) = found.first().filter(|_| !typed.is_empty()) {
        all.extend(to_do_with(first));
    }
    for team in teams {
        let item = |icon: &'static str, words: String, path: String| Item {
            group: "Teams".into(),
            icon,
            status: None,
            words,
            aside: if team.personal { "your own".into() } else { team.role.label().to_lowercase() },
            key: "",
            act: Act::Go(path),
        };
        if holds(&team.name) {
            all.push(item("pod", format!("Pods of {}", team.name), format!("{}/pods", team.address())));
            all.push(item("lock", format!("Secrets of {}", team.name), format!("{}/secrets", team.address())));
            all.push(item("globe", format!("Members and activity of {}", team.name), team.address()));
        }
    }
    let places = [
        ("Make", "plus", "New pod", "n", "/pods/new"),
        ("Make", "plus", "New team", "", "/teams/new"),
        ("Go to", "pod", "All pods", "g p", "/"),
        ("Go to", "key", "API tokens", "g a", "/account#tokens"),
        ("Go to", "globe", "Signed-in browsers", "", "/account#browsers"),
        ("Go to", "server", "Hosts", "g h", "/hosts"),
    ];
    for (group, icon, words, key, path) in places {
        if holds(words) && (operator || path != "/hosts") {
            all.push(Item { group: group.into(), icon, status: None, words: words.into(), aside: String::new(), key, act: Act::Go(path.into()) });
        }
    }
    all
}

fn to_pod(pod: &Pod) -> Item {
    let aside = [pod.repository.as_deref(), pod.branch.as_deref(), Some(pod.status.label())];
    Item {
        group: "Pods".into(),
        icon: "",
        status: Some(pod.status),
        words: pod.name.clone(),
        aside: aside.into_iter().flatten().collect::<Vec<_>>().join(", "),
        key: "↵",
        act: Act::Go(pod.address()),
    }
}

fn to_do_with(pod: &Pod) -> Vec<Item> {
    let item = |icon, words: &str, key, act| Item {
        group: format!("Do with {}", pod.name),
        icon,
        status: None,
        words: words.into(),
        aside: String::new(),
        key,
        act,
    };
    match pod.status {
        PodStatus::Running => vec![
            item("term", "Open terminal", "t", Act::Go(format!("{}#terminal", pod.address()))),
            item("again", "Restart pod", "⇧R", Act::Wish(pod.id, Wish::Restart)),
            item("stop", "Stop pod", "⇧S", Act::Wish(pod.id, Wish::Stop)),
        ],
        PodStatus::Stopped | PodStatus::Stopping => vec![item("play", "Start pod", "", Act::Wish(pod.id, Wish::Start))],
        PodStatus::Failed => vec![item("again", "Retry", "", Act::Wish(pod.id, Wish::Retry))],
        _ => vec![item("stop", "Stop pod", "", Act::Wish(pod.id, Wish::Stop))],
    }
}
