//! The one list of what the product can do. Server functions, the REST API and the streams call it and nothing
//! else; it alone authorizes, so a right that holds in one door holds in all.

mod account;
mod hosts;
mod pods;
mod secrets;
mod teams;

pub use account::Account;
pub use hosts::Hosts;
pub use pods::{
    ByteConnection, ByteControl, ByteInput, ByteOutput, FileContent, Pods, ProcessStart, Program, Pty, TerminalConnection, TerminalInput,
    TerminalOutput, TerminalSize,
};
pub use secrets::Secrets;
pub use teams::Teams;

use crate::ids::{KeyId, SessionId, TokenId, UserId};
use std::net::IpAddr;

/// Every noun's trait together.
pub trait Backend: Account + Teams + Pods + Secrets + Hosts + 'static {}

impl<T: Account + Teams + Pods + Secrets + Hosts + 'static> Backend for T {}

/// Who asks, and through which door. Made by the doors' authentication only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub user: UserId,
    pub operator: bool,
    pub scope: Scope,
    pub door: Door,
    /// Where the request came from.
    pub address: IpAddr,
}

/// What the caller's credential allows at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Read,
    Write,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// A signed-in browser.
    Session(SessionId),
    /// An API token.
    Token(TokenId),
    /// A public key at the SSH gateway.
    Key(KeyId),
}
