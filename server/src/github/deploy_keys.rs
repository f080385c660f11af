//! Deploy keys of a repository: a key that reads and writes this one repository, whoever holds it.

use super::{GitHub, GitHubError, PER_PAGE, parse};
use reqwest::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// Keys of one repository that are looked through, in pages of a hundred.
const MOST_PAGES: u32 = 10;

#[derive(Serialize)]
struct NewKey<'a> {
    title: &'a str,
    key: &'a str,
    read_only: bool,
}

#[derive(Deserialize)]
struct WireKey {
    id: i64,
    key: String,
}

impl GitHub {
    /// Registers a key that may push. A key that is registered already is found, so that this may be repeated.
    pub async fn add_deploy_key(&self, token: &SecretString, (owner, name): (&str, &str), title: &str, key: &str) -> Result<i64, GitHubError> {
        let path = ["repos", owner, name, "keys"];
        match self.change(token, Method::POST, &path, Some(&NewKey { title, key, read_only: false })).await {
            Ok(body) => Ok(parse::<WireKey>(&body)?.id),
            Err(refused @ GitHubError::Refused(_)) => self.deploy_key(token, (owner, name), key).await?.ok_or(refused),
            Err(error) => Err(error),
        }
    }

    /// The id of a key that is registered.
    pub async fn deploy_key(&self, token: &SecretString, (owner, name): (&str, &str), key: &str) -> Result<Option<i64>, GitHubError> {
        for page in 1..=MOST_PAGES {
            let query = [("per_page", PER_PAGE.to_string()), ("page", page.to_string())];
            let answer = self.send(Some(token), &self.address(&["repos", owner, name, "keys"], &query), None).await?;
            let keys: Vec<WireKey> = parse(&answer.body)?;
            if let Some(found) = keys.iter().find(|known| same(&known.key, key)) {
                return Ok(Some(found.id));
            }
            if !super::has_next(&answer.headers) {
                break;
            }
        }
        Ok(None)
    }

    /// Gone is gone, whoever removed it. `NotFound` is what GitHub says of the keys of a repository to who is not its admin: they may
    /// be there.
    pub async fn remove_deploy_key(&self, token: &SecretString, (owner, name): (&str, &str), id: i64) -> Result<(), GitHubError> {
        match self.change::<()>(token, Method::DELETE, &["repos", owner, name, "keys", &id.to_string()], None).await {
            Ok(_) => Ok(()),
            // Who may list them is told the truth about one.
            Err(GitHubError::NotFound) => self.send(Some(token), &self.address(&["repos", owner, name, "keys"], &[]), None).await.map(drop),
            Err(error) => Err(error),
        }
    }
}

/// Type and data: GitHub keeps no comment.
fn same(one: &str, other: &str) -> bool {
    one.split_whitespace().take(2).eq(other.split_whitespace().take(2))
}
