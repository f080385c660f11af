//! People's public keys: those of their GitHub accounts, asked for again as they grow old. They say who somebody is; what
//! somebody may is `Backend`'s to say.

use super::{github_token, public_key_store as store};
use crate::{
    control::ControlPlane,
    db,
    github::GitHubError,
    pods::keys::QUEUE,
    queue::{self, NewMessage},
};
use pinacle_app::{
    AppResult,
    account::PublicKey,
    backend::{Caller, Door, Scope},
    ids::{KeyId, UserId},
};
use serde_json::json;
use sqlx::PgConnection;
use std::net::IpAddr;
use time::Duration;

/// The job that asks for somebody's keys, as messages name it.
pub const ASK_JOB: &str = "ask-public-keys";

/// GitHub is asked again for keys that were asked for longer ago: a key that was removed there is good for so long.
const FRESH: Duration = Duration::minutes(5);
/// For a key that nobody is known to have: it may have been added just now.
const ADDED: Duration = Duration::seconds(20);
/// While GitHub does not answer, keys that it had are good for so long.
const SILENT_AT_MOST: Duration = Duration::hours(24);
/// Members of a team who are asked about for one key.
const MOST_CANDIDATES: i64 = 20;
/// Keys of one account that are kept.
const MOST_KEYS: usize = 100;
const MOST_KEY: usize = 16 << 10;

/// Has somebody's keys asked for when the transaction commits, without waiting for GitHub: at the gateway, where it is not known whose a
/// key is, only a few of a large team are asked about.
pub async fn ask_soon(control: &ControlPlane, connection: &mut PgConnection, user: UserId) -> Result<(), sqlx::Error> {
    if control.gateway.is_none() {
        return Ok(());
    }
    let message = NewMessage {
        queue: QUEUE,
        key: Some(&format!("public-keys:{user}")),
        priority: 0,
        delay: std::time::Duration::ZERO,
        anew: false,
        message: json!({ "user_id": user }),
        headers: json!({ "job": ASK_JOB }),
    };
    queue::send(connection, message).await
}

/// What that job does. It is done ahead: whoever needs the keys may ask again at once, and does where GitHub did not answer, of which the
/// log tells.
pub async fn ask(control: &ControlPlane, user: UserId) -> Result<(), sqlx::Error> {
    refresh(control, user, FRESH, ADDED).await.map(drop)
}

/// Whose key this is, a line of `authorized_keys`. None: nobody's who could have a right to that pod.
pub async fn caller_of(control: &ControlPlane, public_key: &str, (name, handle): (&str, &str), address: IpAddr) -> AppResult<Option<Caller>> {
    let Some(public_key) = plain(public_key) else { return Ok(None) };
    if let Some((key, user)) = store::owner(&control.db, &public_key).await.map_err(db::fault)?
        && holds(control, user, key).await.map_err(db::fault)?
    {
        return Ok(Some(good(user, key, address)));
    }
    for user in store::candidates(&control.db, name, handle, MOST_CANDIDATES).await.map_err(db::fault)? {
        if refresh(control, user, ADDED, Duration::ZERO).await.map_err(db::fault)?
            && let Some((key, owner)) = store::owner(&control.db, &public_key).await.map_err(db::fault)?
            && owner == user
        {
            return Ok(Some(good(user, key, address)));
        }
    }
    Ok(None)
}

fn good(user: UserId, key: KeyId, address: IpAddr) -> Caller {
    // An operator's rights are for the dashboard.
    Caller { user, operator: false, scope: Scope::Write, door: Door::Key(key), address }
}

/// Whoever has come in has shown that they have the private half; a public one anybody may offer.
pub async fn was_used(control: &ControlPlane, caller: &Caller) {
    if let Door::Key(key) = caller.door
        && let Err(error) = store::was_used(&control.db, key).await
    {
        tracing::warn!(%error, "when a key was last used could not be written");
    }
}

/// Whether the key is still its user's.
pub async fn holds(control: &ControlPlane, user: UserId, key: KeyId) -> Result<bool, sqlx::Error> {
    refresh(control, user, FRESH, Duration::ZERO).await?;
    store::holds(&control.db, user, key, SILENT_AT_MOST).await
}

/// Asks GitHub where that was longer ago than `older`, and counts as asked so long `ago`. True: it was asked, and answered.
async fn refresh(control: &ControlPlane, user: UserId, older: Duration, ago: Duration) -> Result<bool, sqlx::Error> {
    let Some(github_id) = store::due(&control.db, user, older, ago).await? else { return Ok(false) };
    let asked = async {
        // Its own calls are counted for the account; without a token, for this server's address.
        let token = github_token(control, user).await.ok().flatten();
        let mut token = token.as_ref();
        let login = match control.github.login_of(token, github_id).await {
            Err(GitHubError::Unauthorized) => {
                token = None;
                control.github.login_of(token, github_id).await?
            }
            login => login?,
        };
        control.github.public_keys(token, &login).await
    };
    let keys = match asked.await {
        Ok(keys) => keys,
        // The account is gone, and its keys with it.
        Err(GitHubError::NotFound) => Vec::new(),
        Err(error) => {
            tracing::warn!(%error, %user, "a user's public keys could not be asked for");
            return Ok(false);
        }
    };
    let keys: Vec<String> = keys.iter().filter_map(|key| plain(key)).take(MOST_KEYS).collect();
    let mut tx = control.db.begin().await?;
    store::replace(&mut tx, user, &keys).await?;
    tx.commit().await?;
    Ok(true)
}

/// For the account's page. While GitHub is silent, what it had.
pub async fn list(control: &ControlPlane, user: UserId) -> AppResult<Vec<PublicKey>> {
    refresh(control, user, ADDED, Duration::ZERO).await.map_err(db::fault)?;
    let most = i64::try_from(MOST_KEYS).unwrap_or(i64::MAX);
    store::list(&control.db, user, most).await.map_err(db::fault)
}

/// Type and data, without a comment; None for what is no key.
fn plain(key: &str) -> Option<String> {
    let mut words = key.split_whitespace();
    let (kind, data) = (words.next()?, words.next()?);
    (key.len() <= MOST_KEY && crate::ssh::fingerprint_of(key).is_some()).then(|| format!("{kind} {data}"))
}

#[cfg(test)]
mod tests {
    use super::plain;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    #[test]
    fn a_key_is_its_type_and_data_and_nothing_else_is_one() {
        assert_eq!(plain(&format!("{KEY} somebody@somewhere")).as_deref(), Some(KEY));
        for none in ["", "ssh-ed25519", "ssh-ed25519 AAAA", "command=\"x\" ssh-ed25519 AAAA", "rubbish here"] {
            assert_eq!(plain(none), None, "{none}");
        }
    }
}
