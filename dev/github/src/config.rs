//! Flags and environment of the stand-in.

use clap::{Args, Parser, Subcommand};
use std::{net::SocketAddr, path::PathBuf};
use url::Url;

#[derive(Parser)]
#[command(version, about)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Serve OAuth, the API and git.
    Serve(Box<Config>),
    /// Be git for whoever signed in by ssh with a deploy key: what `authorized_keys` names.
    Git(Ssh),
    /// Answer every HTTP request with the sentence that nobody should have got here.
    Decoy {
        #[arg(long, required = true)]
        listen: Vec<SocketAddr>,
    },
}

#[derive(Args, Clone)]
pub struct Ssh {
    #[arg(long)]
    pub data_dir: PathBuf,
    /// Number of the deploy key.
    #[arg(long)]
    pub key: u64,
}

#[derive(Args, Clone)]
pub struct Config {
    /// Address to listen on; may be repeated.
    #[arg(long, default_value = "127.0.0.1:3001")]
    pub listen: Vec<SocketAddr>,
    /// Folder of the repositories and of what was signed in and registered.
    #[arg(long)]
    pub data_dir: PathBuf,
    /// Base address as a browser sees it.
    #[arg(long, default_value = "http://localhost:3001")]
    pub url: Url,
    /// Base of clone addresses, as pods see it.
    #[arg(long, default_value = "http://localhost:3001")]
    pub git_url: Url,
    /// The OAuth application's callback; a redirect must be this address or below it.
    #[arg(long, default_value = "http://localhost:3000/")]
    pub callback: Url,
    /// Client id of the GitHub App, and its public key in PEM; without them there is none.
    #[arg(long, requires = "app_key")]
    pub app_id: Option<String>,
    #[arg(long)]
    pub app_key: Option<PathBuf>,
    #[arg(long, env = "PINACLE_GITHUB_CLIENT_ID", default_value = "pinacle-local")]
    pub client_id: String,
    #[arg(long, env = "PINACLE_GITHUB_CLIENT_SECRET", hide_env_values = true)]
    pub client_secret: String,
}

impl Config {
    /// An address under the browser's base, without doubling the slash between them.
    pub fn browser(&self, path: &str) -> String {
        join(&self.url, path)
    }

    pub fn clone_address(&self, full_name: &str) -> String {
        join(&self.git_url, &format!("{full_name}.git"))
    }
}

fn join(base: &Url, path: &str) -> String {
    format!("{}/{path}", base.as_str().trim_end_matches('/'))
}
