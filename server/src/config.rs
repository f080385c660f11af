//! Everything that can be configured: one clap struct, so that `--help` is the reference.

use clap::{Args, Parser, Subcommand};
use secrecy::SecretString;
use std::{net::SocketAddr, path::PathBuf};
use url::Url;

/// The control plane of Pinacle.
#[derive(Parser)]
#[command(name = "pinacle-server", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Serve the dashboard and the API, and work off the queue
    Serve {
        #[command(flatten)]
        config: Box<Config>,
        /// Leave the queue to `pinacle-server worker`
        #[arg(long, env = "PINACLE_NO_WORKER")]
        no_worker: bool,
    },
    /// Work off the queue, without serving anything
    Worker {
        #[command(flatten)]
        config: Box<Config>,
    },
    /// Bring the tables up to date and end, as the role that owns them: for servers whose role may not change tables
    Migrate {
        #[command(flatten)]
        config: Box<Config>,
    },
    /// API tokens
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Who operates the installation
    Operator {
        #[command(subcommand)]
        command: OperatorCommand,
    },
    /// The keys that seal what the database holds
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// After a restore of the database from a backup, before anything is started: begin a new epoch
    ///
    /// No host takes a command from here before it has joined again, and every fence is above those that hosts have seen.
    Restored {
        #[command(flatten)]
        config: Box<Config>,
    },
}

impl Command {
    /// The settings, whatever is to be done with them.
    pub fn config_mut(&mut self) -> &mut Config {
        match self {
            Self::Serve { config, .. } | Self::Worker { config } | Self::Migrate { config } | Self::Restored { config } => config,
            Self::Token { command: TokenCommand::Create { config, .. } } => config,
            Self::Operator { command: OperatorCommand::Grant { config, .. } | OperatorCommand::Revoke { config, .. } } => config,
            Self::Keys { command: KeysCommand::Rotate { config } } => config,
        }
    }
}

#[derive(Subcommand)]
pub enum KeysCommand {
    /// Wrap everything by the first of the master keys, while servers serve
    ///
    /// They and this command have both keys, the new one first. May be interrupted and repeated; when it has ended well, the old
    /// key opens nothing any more and can be taken away.
    Rotate {
        #[command(flatten)]
        config: Box<Config>,
    },
}

#[derive(Subcommand)]
pub enum TokenCommand {
    /// Print a new API token of a user
    Create {
        #[command(flatten)]
        config: Box<Config>,
        /// GitHub login of a user who has signed in before
        #[arg(long)]
        login: String,
        #[arg(long, default_value = "write", value_parser = ["read", "write"])]
        scope: String,
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=365))]
        expires_days: u32,
        /// What the token is listed as
        #[arg(long, default_value = "command line")]
        name: String,
    },
}

#[derive(Subcommand)]
pub enum OperatorCommand {
    /// Make a user an operator
    Grant {
        #[command(flatten)]
        config: Box<Config>,
        login: String,
    },
    /// Take that back
    Revoke {
        #[command(flatten)]
        config: Box<Config>,
        login: String,
    },
}

/// As docs.github.com publishes them ("GitHub's SSH key fingerprints").
const GITHUB_HOST_KEYS: [&str; 2] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=",
];

#[derive(Args, Clone)]
pub struct Config {
    /// Postgres, 15 or newer
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,
    /// Connections to Postgres, at most
    #[arg(long, env = "PINACLE_DATABASE_CONNECTIONS", default_value_t = 20)]
    pub database_connections: u32,
    /// Address and port to listen on
    #[arg(long, env = "PINACLE_LISTEN", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// The one address that browsers use; other Host names are answered with 421
    #[arg(long, env = "PINACLE_URL", default_value = "http://localhost:3000")]
    pub url: Url,
    /// Addresses of proxies whose X-Forwarded-For is believed, separated by commas
    #[arg(long, env = "PINACLE_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<std::net::IpAddr>,
    /// Previews live below this name
    #[arg(long, env = "PINACLE_PREVIEW_DOMAIN", default_value = "preview.localhost:3000")]
    pub preview_domain: String,
    /// Who may sign in: `invited`, `anyone` or `orgs:one,two`
    #[arg(long, env = "PINACLE_SIGN_IN", default_value = "invited")]
    pub sign_in: SignIn,
    /// GitHub logins that operate the installation, separated by commas
    #[arg(long, env = "PINACLE_OPERATORS", value_delimiter = ',')]
    pub operators: Vec<String>,
    /// File with the 32 random bytes, in base64, that seal secrets and tokens; or the bytes themselves in the variable
    /// PINACLE_MASTER_KEY. While a key is replaced: a line for each, the new one first
    #[arg(long, env = "PINACLE_MASTER_KEY_FILE")]
    pub master_key_file: Option<PathBuf>,
    /// What PINACLE_MASTER_KEY held. No argument: a command line is everybody's to read.
    #[arg(skip)]
    pub master_key: Option<SecretString>,
    /// OpenSSH private key that pod hosts know the control plane by
    #[arg(long, env = "PINACLE_SSH_KEY_FILE")]
    pub ssh_key_file: PathBuf,
    /// GitHub's pages and OAuth
    #[arg(long, env = "PINACLE_GITHUB_URL", default_value = "https://github.com")]
    pub github_url: Url,
    /// GitHub's API
    #[arg(long, env = "PINACLE_GITHUB_API_URL", default_value = "https://api.github.com")]
    pub github_api_url: Url,
    /// Where pods clone from GitHub
    #[arg(long, env = "PINACLE_GITHUB_GIT_URL", default_value = "https://github.com")]
    pub github_git_url: Url,
    /// Where pods reach GitHub's git over ssh, with their deploy keys
    #[arg(long, env = "PINACLE_GITHUB_SSH_URL", default_value = "ssh://git@github.com")]
    pub github_ssh_url: Url,
    /// The keys that GitHub's ssh shows, as lines of `known_hosts` without the name, separated by commas; another one is refused
    #[arg(long, env = "PINACLE_GITHUB_SSH_HOST_KEYS", value_delimiter = ',', default_values_t = GITHUB_HOST_KEYS.map(str::to_owned))]
    pub github_ssh_host_keys: Vec<String>,
    #[arg(long, env = "PINACLE_GITHUB_CLIENT_ID")]
    pub github_client_id: String,
    #[arg(long, env = "PINACLE_GITHUB_CLIENT_SECRET", hide_env_values = true)]
    pub github_client_secret: SecretString,
    #[command(flatten)]
    pub github_app: GitHubAppConfig,
    #[command(flatten)]
    pub gateway: GatewayConfig,
    /// What `cargo leptos build` has made
    #[arg(long, env = "PINACLE_SITE_ROOT", default_value = "site")]
    pub site_root: PathBuf,
    /// Jobs at work at the same time, in this process
    #[arg(long, env = "PINACLE_JOBS", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=512))]
    pub jobs: u32,
    /// Jobs at work at the same time on one host, of this process
    #[arg(long, env = "PINACLE_JOBS_PER_HOST", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub jobs_per_host: u32,
    /// Seconds that a job has before another worker may take it up; extended while it works
    #[arg(long, env = "PINACLE_VISIBILITY_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(2..=3600))]
    pub visibility_seconds: u32,
    #[command(flatten)]
    pub quota: QuotaConfig,
    #[command(flatten)]
    pub setup: SetupConfig,
}

/// A GitHub App, for repositories that take no deploy key. Without one, what is private and takes none can't be cloned.
#[derive(Args, Clone)]
pub struct GitHubAppConfig {
    /// Client id of the GitHub App
    #[arg(long, env = "PINACLE_GITHUB_APP_ID", requires = "github_app_key_file")]
    pub github_app_id: Option<String>,
    /// Private key of the GitHub App, in PEM
    #[arg(long, env = "PINACLE_GITHUB_APP_KEY_FILE", requires = "github_app_id")]
    pub github_app_key_file: Option<PathBuf>,
}

/// Pods over SSH. Without an address to listen on there is none.
#[derive(Args, Clone)]
pub struct GatewayConfig {
    /// Address and port that the SSH gateway listens on
    #[arg(long, env = "PINACLE_GATEWAY_LISTEN", requires = "gateway_key_file")]
    pub gateway_listen: Option<SocketAddr>,
    /// OpenSSH private key that the SSH gateway shows
    #[arg(long, env = "PINACLE_GATEWAY_KEY_FILE")]
    pub gateway_key_file: Option<PathBuf>,
    /// Name and port that people reach the SSH gateway by, such as `ssh.pinacle.example` or `ssh.pinacle.example:2222`; the
    /// dashboard's name and the port that it listens on if left out
    #[arg(long, env = "PINACLE_GATEWAY_ADDRESS")]
    pub gateway_address: Option<String>,
}

/// How long a pod's set-up may take.
#[derive(Args, Clone, Copy)]
pub struct SetupConfig {
    /// Seconds that a clone may take
    #[arg(long, env = "PINACLE_CLONE_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=7200))]
    pub clone_seconds: u32,
    /// Seconds after which a git server that sends nothing has gone silent
    #[arg(long, env = "PINACLE_GIT_SILENCE_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub git_silence_seconds: u32,
    /// Seconds that an install may take
    #[arg(long, env = "PINACLE_INSTALL_SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u32).range(1..=7200))]
    pub install_seconds: u32,
}

/// What one user may have; DESIGN's figures.
#[derive(Args, Clone, Copy)]
pub struct QuotaConfig {
    #[arg(long, env = "PINACLE_QUOTA_PODS", default_value_t = 10)]
    pub quota_pods: u32,
    /// Cores of pods that are not stopped
    #[arg(long, env = "PINACLE_QUOTA_CPU", default_value_t = 8)]
    pub quota_cpu: u32,
    /// GB of memory of pods that are not stopped
    #[arg(long, env = "PINACLE_QUOTA_MEMORY_GB", default_value_t = 16)]
    pub quota_memory_gb: u32,
    /// GB of storage of all pods
    #[arg(long, env = "PINACLE_QUOTA_DISK_GB", default_value_t = 200)]
    pub quota_disk_gb: u32,
}

/// Who may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignIn {
    Invited,
    Anyone,
    /// Members of these GitHub organisations.
    Orgs(Vec<String>),
}

impl std::str::FromStr for SignIn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "invited" => Ok(Self::Invited),
            "anyone" => Ok(Self::Anyone),
            other => {
                let names = other.strip_prefix("orgs:").ok_or("write invited, anyone or orgs:one,two")?;
                let names: Vec<String> = names.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect();
                if names.is_empty() { Err("name at least one organisation".to_owned()) } else { Ok(Self::Orgs(names)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn who_may_come_in_is_one_of_three() {
        assert_eq!("orgs:a, b".parse(), Ok(SignIn::Orgs(vec!["a".into(), "b".into()])));
        assert_eq!("anyone".parse(), Ok(SignIn::Anyone));
        assert!("orgs:".parse::<SignIn>().is_err());
        assert!("everybody".parse::<SignIn>().is_err());
    }
}
