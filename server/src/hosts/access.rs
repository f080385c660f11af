//! Who may do what with hosts: operators everything; to everybody else there are none.

use super::{
    adopt, join,
    store::{self, KeyState},
};
use crate::{
    account::may_change,
    activity::{self, Home},
    control::ControlPlane,
    db::fault,
    pods,
};
use async_trait::async_trait;
use pinacle_app::{
    AppError, AppResult, ErrorCode, FieldErrors,
    backend::{Caller, Hosts},
    hosts::{Adoption, Host, HostPod, HostState, HostVerb, JoinInvitation, NewHost, Orphan, Transport},
    ids::{HostId, PodId},
    teams::activity::Action,
};

const MAX_NAME: usize = 40;
const MAX_ADDRESS: usize = 253;

fn operator(caller: &Caller) -> AppResult<()> {
    if caller.operator { Ok(()) } else { Err(AppError::not_found()) }
}

fn operator_writes(caller: &Caller) -> AppResult<()> {
    operator(caller)?;
    may_change(caller)
}

/// A host name or an address: never something that an option parser would take.
fn is_address(text: &str) -> bool {
    (1..=MAX_ADDRESS).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':'))
}

fn check(new: &NewHost) -> AppResult<u16> {
    let mut errors = FieldErrors::default();
    let name_fits = (1..=MAX_NAME).contains(&new.name.len()) && new.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !name_fits {
        errors.add("name", format!("1–{MAX_NAME} lower-case letters, digits and hyphens."));
    }
    if !is_address(&new.address) {
        errors.add("address", "A host name or an IP address.");
    }
    if new.transport == Transport::Https {
        errors.add("transport", "Hosts are reached over SSH here; HTTPS is for other clients of the host's daemon.");
    }
    let port = new.port.unwrap_or(match new.transport {
        Transport::Ssh => 22,
        Transport::Https => 443,
    });
    if port == 0 {
        errors.add("port", "1–65535.");
    }
    errors.check().map(|()| port)
}

#[async_trait]
impl Hosts for ControlPlane {
    async fn hosts(&self, caller: &Caller) -> AppResult<Vec<Host>> {
        operator(caller)?;
        store::list(&self.db).await.map_err(fault)
    }

    async fn host(&self, caller: &Caller, id: HostId) -> AppResult<Host> {
        operator(caller)?;
        store::get(&self.db, id).await.map_err(fault)?.ok_or_else(AppError::not_found)
    }

    async fn host_pods(&self, caller: &Caller, id: HostId) -> AppResult<Vec<HostPod>> {
        self.host(caller, id).await?;
        store::pods_on(&self.db, id).await.map_err(fault)
    }

    async fn orphans(&self, caller: &Caller, host: Option<HostId>) -> AppResult<Vec<Orphan>> {
        operator(caller)?;
        if let Some(id) = host {
            self.host(caller, id).await?;
        }
        store::orphans(&self.db, host).await.map_err(fault)
    }

    async fn remove_orphan(&self, caller: &Caller, id: HostId, pod: PodId) -> AppResult<()> {
        operator_writes(caller)?;
        adopt::remove(self, caller, id, pod).await
    }

    async fn set_aside(&self, caller: &Caller, id: HostId) -> AppResult<()> {
        operator_writes(caller)?;
        let host = self.host(caller, id).await?;
        adopt::set_aside(self, caller, id, &host.name).await
    }

    async fn adopt_orphan(&self, caller: &Caller, id: HostId, pod: PodId, adoption: Adoption) -> AppResult<HostPod> {
        operator_writes(caller)?;
        adopt::adopt(self, caller, id, pod, adoption).await
    }

    async fn add_host(&self, caller: &Caller, new: NewHost) -> AppResult<JoinInvitation> {
        operator_writes(caller)?;
        let port = check(&new)?;
        let (token, hash) = join::new_token();
        let mut tx = self.db.begin().await.map_err(fault)?;
        let Some(id) = store::add(&mut tx, &new, port, &hash, join::TOKEN_VALID).await.map_err(fault)? else {
            let mut error = AppError::field("name", "A host of this name has joined already.");
            error.code = ErrorCode::Taken;
            return Err(error);
        };
        record(&mut tx, caller, Action::HostAdd, id, &new.name, &format!("at {}", new.address)).await?;
        tx.commit().await.map_err(fault)?;
        self.invitation(caller, id, token).await
    }

    async fn rejoin_host(&self, caller: &Caller, id: HostId) -> AppResult<JoinInvitation> {
        operator_writes(caller)?;
        let before = self.host(caller, id).await?;
        let (token, hash) = join::new_token();
        let mut tx = self.db.begin().await.map_err(fault)?;
        if !store::renew_token(&mut tx, id, &hash, join::TOKEN_VALID).await.map_err(fault)? {
            return Err(AppError::new(ErrorCode::WrongState, format!("{} was given up. Add the machine under another name.", before.name)));
        }
        record(&mut tx, caller, Action::HostRejoin, id, &before.name, "").await?;
        tx.commit().await.map_err(fault)?;
        self.invitation(caller, id, token).await
    }

    async fn change_host(&self, caller: &Caller, id: HostId, verb: HostVerb) -> AppResult<Host> {
        operator_writes(caller)?;
        let action = match verb {
            HostVerb::Cordon => Action::HostCordon,
            HostVerb::Drain => Action::HostDrain,
            HostVerb::Activate => Action::HostActivate,
            HostVerb::Lost => Action::HostLost,
        };
        let (to, from): (_, &[_]) = match verb {
            HostVerb::Cordon => (HostState::Cordoned, &[HostState::Active, HostState::Cordoned, HostState::Draining]),
            HostVerb::Drain => (HostState::Draining, &[HostState::Active, HostState::Cordoned, HostState::Draining]),
            HostVerb::Activate => (HostState::Active, &[HostState::Active, HostState::Cordoned, HostState::Draining]),
            HostVerb::Lost => (HostState::Lost, &[HostState::Joining, HostState::Active, HostState::Cordoned, HostState::Draining, HostState::Lost]),
        };
        let before = self.host(caller, id).await?;
        let mut tx = self.db.begin().await.map_err(fault)?;
        if !store::set_state(&mut tx, id, to, from).await.map_err(fault)? {
            return Err(AppError::new(ErrorCode::WrongState, format!("{} can't do that as it is now.", before.name)));
        }
        record(&mut tx, caller, action, id, &before.name, "").await?;
        // Its pods read differently now: those of a draining host are stopped, for their disks can't be moved; those of a lost one
        // say so, or are gone where that was wished.
        for pod in pods::store::ids_on_host(&mut tx, id).await.map_err(fault)? {
            if to == HostState::Draining {
                pods::wishes::write(&mut tx, pod, pods::wishes::stop(), "stop-pod").await.map_err(fault)?;
            }
            if to == HostState::Lost {
                pods::store::look_again(&mut tx, pod).await.map_err(fault)?;
                pods::wishes::enqueue(&mut tx, pod, "host-lost", pods::wishes::SWEPT).await.map_err(fault)?;
            }
            pods::tell(&mut tx, pod).await.map_err(fault)?;
        }
        tx.commit().await.map_err(fault)?;
        self.host(caller, id).await
    }

    async fn retire_host_key(&self, caller: &Caller, id: HostId, fingerprint: &str) -> AppResult<Host> {
        operator_writes(caller)?;
        let key = self.key_of(id, KeyState::Trusted, fingerprint).await?;
        let host = self.host(caller, id).await?;
        let mut tx = self.db.begin().await.map_err(fault)?;
        if !store::retire_key(&mut tx, id, &key).await.map_err(fault)? {
            return Err(AppError::new(ErrorCode::WrongState, "It is the only key that this host may show."));
        }
        record(&mut tx, caller, Action::HostRetireKey, id, &host.name, fingerprint).await?;
        tx.commit().await.map_err(fault)?;
        self.host(caller, id).await
    }

    async fn trust_host_key(&self, caller: &Caller, id: HostId, fingerprint: &str) -> AppResult<Host> {
        operator_writes(caller)?;
        let key = self.key_of(id, KeyState::Offered, fingerprint).await?;
        let host = self.host(caller, id).await?;
        let mut tx = self.db.begin().await.map_err(fault)?;
        store::trust_key(&mut tx, id, &key, caller.user).await.map_err(fault)?;
        record(&mut tx, caller, Action::HostTrustKey, id, &host.name, fingerprint).await?;
        tx.commit().await.map_err(fault)?;
        self.host(caller, id).await
    }
}

/// Hosts belong to no team: what is done to them is told where their operator's own things are.
async fn record(tx: &mut sqlx::PgConnection, caller: &Caller, action: Action, host: HostId, name: &str, detail: &str) -> AppResult<()> {
    activity::record_by(tx, caller, Home::Personal(caller.user), action, host.0, name, detail).await
}

impl ControlPlane {
    /// The host's key of this fingerprint, if it is in this state.
    async fn key_of(&self, id: HostId, state: KeyState, fingerprint: &str) -> AppResult<Vec<u8>> {
        let keys = store::keys_in(&self.db, id, state).await.map_err(fault)?;
        keys.into_iter().find(|key| join::fingerprint(key).as_deref() == Some(fingerprint)).ok_or_else(AppError::not_found)
    }

    /// What an operator takes to the machine.
    async fn invitation(&self, caller: &Caller, id: HostId, join_token: String) -> AppResult<JoinInvitation> {
        let server = self.config.url.as_str().trim_end_matches('/');
        Ok(JoinInvitation { host: self.host(caller, id).await?, join_token, command: format!("sudo pinacle-host join --server {server}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_name_or_an_ip_and_never_an_option() {
        for good in ["10.0.0.2", "host1.example.org", "fd00::1"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "-oProxyCommand=x", "a b", "host;id", "user@host", "[::1]"] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
