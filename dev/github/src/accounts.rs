//! The accounts of the stand-in: fixed numbers, names that an admin call may change.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// What GitHub never changes and never reuses.
    pub id: u64,
    pub login: String,
    pub name: String,
    pub email: String,
    pub verified: bool,
    /// Its tokens are refused, until it signs in again.
    #[serde(default)]
    pub revoked: bool,
    /// Public keys that it signs in to git with.
    #[serde(default)]
    pub keys: Vec<String>,
}

/// The accounts that are there from the beginning.
pub fn initial() -> Vec<Account> {
    [
        (1001, "owner", "Olive Owner"),
        (1002, "member", "Milo Member"),
        (1003, "outsider", "Otto Outsider"),
        (1004, "operator", "Opal Operator"),
        (1005, "two-part-name", "Tova Part-Name"),
    ]
    .into_iter()
    .map(|(id, login, name)| Account {
        id,
        login: login.into(),
        name: name.into(),
        email: format!("{login}@example.test"),
        verified: true,
        revoked: false,
        keys: Vec::new(),
    })
    .collect()
}

/// GitHub's rule: 1–39 letters, digits and single hyphens, none at an end.
pub fn is_login(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 39
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--")
}
