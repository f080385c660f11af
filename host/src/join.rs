//! `pinacle-host join`: tells the control plane what this host is, and lets it in. It may be run again.

use crate::{
    daemon::admin::{self, Admin},
    protocol::{Inventory, JoinReply, JoinRequest, PROTOCOL, Reply},
};
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    time::Duration,
};

type Fault = Box<dyn std::error::Error>;

const DEADLINE: Duration = Duration::from_secs(30);
const MAX_TOKEN: u64 = 4096;
const MAX_ANSWER: usize = 64 << 10;
const HOST_KEYS: &str = "/etc/ssh";
/// What the control plane's key may do on this host.
const FORCED: &str = "restrict,command=\"/usr/local/bin/pinacle-host gate\"";

/// Options of `pinacle-host join`. The one-time token comes on standard input.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Address of the dashboard, such as `https://pinacle.example`.
    #[arg(long)]
    pub server: String,
    /// Where sshd looks for the keys of the user `pinacle`.
    #[arg(long, default_value = "/etc/pinacle/authorized_keys")]
    pub authorized_keys: PathBuf,
    /// Of the daemon on this host.
    #[arg(long, default_value = "/run/pinacle")]
    pub run_dir: PathBuf,
}

pub async fn join(options: Options) -> Result<(), Fault> {
    let mut token = String::new();
    io::stdin().lock().take(MAX_TOKEN).read_to_string(&mut token)?;
    let token = token.trim();
    if token.is_empty() {
        return Err("the one-time token is expected on standard input".into());
    }
    let inventory = inventory(&options.run_dir).await?;
    let request = JoinRequest { protocol: PROTOCOL, inventory, host_keys: host_keys(Path::new(HOST_KEYS))? };
    let reply = ask(&options.server, token, &request).await?;
    let key = control_key(&reply.control_key).ok_or("the server's key is not an OpenSSH public key of one line")?;
    write_keys(&options.authorized_keys, key)?;
    let host = reply.host_id;
    match admin::ask(&options.run_dir, Admin::Join { reply }).await? {
        Reply::Done => {}
        Reply::Error(error) => return Err(error.into()),
        _ => return Err("the daemon answered something else".into()),
    }
    writeln!(io::stdout(), "joined as host {host}")?;
    Ok(())
}

async fn inventory(run_dir: &Path) -> Result<Inventory, Fault> {
    let asked = admin::ask(run_dir, Admin::Inventory).await;
    match asked.map_err(|error| {
        format!("the daemon does not answer in {} (is 'pinacle-host serve' running, and are you root?): {error}", run_dir.display())
    })? {
        Reply::Inventory(inventory) => Ok(*inventory),
        Reply::Error(error) => Err(error.into()),
        _ => Err("the daemon answered something else: joining needs root".into()),
    }
}

async fn ask(server: &str, token: &str, request: &JoinRequest) -> Result<JoinReply, Fault> {
    let client = reqwest::Client::builder().timeout(DEADLINE).redirect(reqwest::redirect::Policy::none()).build()?;
    let url = format!("{}/api/v1/hosts/join", server.trim_end_matches('/'));
    let mut response = client.post(url).bearer_auth(token).json(request).send().await?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > MAX_ANSWER {
            return Err("the server's answer is too long".into());
        }
        body.extend_from_slice(&piece);
    }
    if !status.is_success() {
        return Err(format!("the server refused ({status}): {}", String::from_utf8_lossy(&body).trim()).into());
    }
    Ok(serde_json::from_slice(&body)?)
}

/// Every public key of this host's sshd, without its comment.
fn host_keys(folder: &Path) -> Result<Vec<String>, Fault> {
    let mut keys = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("ssh_host_") && name.ends_with("_key.pub") {
            let line = fs::read_to_string(path)?;
            keys.push(line.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
        }
    }
    keys.sort();
    if keys.is_empty() { Err(format!("{}: sshd has no host key yet", folder.display()).into()) } else { Ok(keys) }
}

/// Type and key of an OpenSSH line. Options, or a second line, would let the server do more than the gate does.
fn control_key(line: &str) -> Option<String> {
    let mut words = line.trim().split(' ').filter(|word| !word.is_empty());
    let (kind, key) = (words.next()?, words.next()?);
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=-@.".contains(&b));
    let known = kind.starts_with("ssh-") || kind.starts_with("ecdsa-") || kind.starts_with("sk-");
    (known && plain(kind) && plain(key) && !line.trim().contains(['\n', '\r'])).then(|| format!("{kind} {key}"))
}

fn write_keys(path: &Path, key: String) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&new).map_err(named)?;
    writeln!(file, "{FORCED} {key} pinacle-control")?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    chown(&new, Some(0), Some(0))?;
    file.sync_all()?;
    fs::rename(&new, path).map_err(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_key_can_bring_no_options_and_no_second_line() {
        assert_eq!(control_key("ssh-ed25519 AAAAC3Nz pinacle control\n").unwrap(), "ssh-ed25519 AAAAC3Nz");
        for line in ["", "ssh-ed25519", "pty ssh-ed25519 AAAA", "ssh-ed25519 AA\nssh-rsa BB", "ssh-ed25519 A\"A"] {
            assert!(control_key(line).is_none(), "{line}");
        }
    }
}
