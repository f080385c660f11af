//! One client: who it is, and the channels that it opens.

use super::{
    Gateway, MOST_A_USER, channel, held,
    program::{Asked, pod_of},
};
use crate::{account::public_keys, web::Slot};
use pinacle_app::{
    AppError,
    backend::{Caller, ProcessStart, Program},
    ids::{PodId, UserId},
    pods::Pod,
};
use russh::{
    Channel, ChannelId, ChannelMsg, ChannelOpenFailure, MethodKind, MethodSet, Pty,
    keys::PublicKey,
    server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey},
};
use std::{borrow::Cow, collections::HashMap, net::IpAddr, sync::Arc};
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// Channels of one connection at once: editors open a few, forwarded ports one a connection.
const MOST_CHANNELS: usize = 64;
const MOST_USER_NAME: usize = 64;

/// A channel on which nothing runs yet.
struct Waiting {
    asked: Asked,
    /// To the task that has the channel.
    start: oneshot::Sender<Start>,
}

/// What is to run there, or why nothing is.
type Start = Result<ProcessStart, &'static str>;

/// Somebody who is known, and the pod that was named.
struct Known {
    caller: Caller,
    /// Or why it is not theirs to use.
    pod: Result<Pod, AppError>,
    /// Ends the connection with the right to it.
    _guard: Option<AbortOnDropHandle<()>>,
    _slot: Slot<UserId>,
}

pub struct Client {
    gateway: Arc<Gateway>,
    peer: IpAddr,
    /// Held until it is known who this is.
    stranger: Option<Slot<IpAddr>>,
    /// Cancelled then.
    signed_in: CancellationToken,
    /// Told once, why the right to what is open has ended: the connection ends then.
    right_ended: Option<oneshot::Sender<String>>,
    known: Option<Known>,
    waiting: HashMap<ChannelId, Waiting>,
    /// What runs on channels; ends with the client.
    running: tokio::task::JoinSet<()>,
    /// Ends it before: a channel that takes nothing keeps the session from hearing anything.
    over: CancellationToken,
    told: bool,
}

impl Client {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        peer: IpAddr,
        stranger: Slot<IpAddr>,
        signed_in: CancellationToken,
        right_ended: oneshot::Sender<String>,
        over: CancellationToken,
    ) -> Self {
        Self {
            gateway,
            peer,
            stranger: Some(stranger),
            signed_in,
            right_ended: Some(right_ended),
            known: None,
            waiting: HashMap::new(),
            running: tokio::task::JoinSet::new(),
            over,
            told: false,
        }
    }

    async fn caller(&self, user: &str, key: &PublicKey) -> Option<Caller> {
        let named = pod_of(user).filter(|_| user.len() <= MOST_USER_NAME)?;
        let line = key.to_openssh().ok()?;
        // A fault was logged where it stood; the next try may find it mended.
        public_keys::caller_of(&self.gateway.control, &line, named, self.peer).await.ok().flatten()
    }

    /// Takes a channel that waits, to run something there.
    fn take(&mut self, channel: ChannelId, session: &mut Session) -> Result<Option<Waiting>, russh::Error> {
        let taken = self.waiting.remove(&channel);
        match taken {
            Some(_) => session.channel_success(channel)?,
            None => session.channel_failure(channel)?,
        }
        Ok(taken)
    }

    /// Whoever has the channel may have seen it closed.
    fn run(&self, waiting: Waiting, program: Program) {
        if waiting.start.send(Ok(waiting.asked.start(program))).is_err() {
            tracing::debug!("a channel was closed before something ran there");
        }
    }

    fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        let over = self.over.clone();
        self.running.spawn(async move { over.run_until_cancelled(work).await.unwrap_or_default() });
    }

    fn is_full(&mut self) -> bool {
        while self.running.try_join_next().is_some() {}
        self.running.len() >= MOST_CHANNELS
    }
}

/// One channel, from its opening to its end. It is read from the first moment: one that nobody reads holds up the connection.
async fn serve(
    gateway: Arc<Gateway>,
    caller: Caller,
    pod: Result<PodId, AppError>,
    mut channel: Channel<Msg>,
    mut started: oneshot::Receiver<Start>,
) {
    let start = loop {
        tokio::select! {
            biased;
            start = &mut started => match start {
                Ok(start) => break start,
                // Closed by the client.
                Err(_) => return,
            },
            message = channel.wait() => match message {
                None | Some(ChannelMsg::Close) => return,
                // Nobody is there yet to whom it could be meant.
                Some(_) => {}
            },
        }
    };
    let opened = match (start, pod) {
        (Ok(start), Ok(pod)) => gateway.backend.open_process(&caller, pod, start).await.map_err(|error| error.message),
        (Err(why), _) => Err(why.to_owned()),
        (Ok(_), Err(error)) => Err(error.message),
    };
    match opened {
        Ok(process) => channel::join(channel, process).await,
        Err(why) => channel::refuse(channel, &why).await,
    }
}

/// Only what is said here helps: a key can't be typed.
fn explanation(gateway: &Gateway, user: &str) -> String {
    let account = gateway.control.config.url.join("/account#keys").map(String::from).unwrap_or_default();
    match pod_of(user) {
        Some(_) => format!("Pinacle does not know your key. It takes the public keys of your GitHub account: {account}\n"),
        None => "Name a pod and its owner: ssh <pod>.<owner>@…\n".to_owned(),
    }
}

impl Handler for Client {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        Ok(match self.caller(user, offer.public_key).await {
            Some(_) => Auth::Accept,
            None => Auth::reject(),
        })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let (Some(caller), Some((name, handle))) = (self.caller(user, key.public_key).await, pod_of(user)) else { return Ok(Auth::reject()) };
        let Ok(slot) = self.gateway.users.take(caller.user) else {
            tracing::info!(user = %caller.user, most = MOST_A_USER, "a user has too many connections");
            return Ok(Auth::reject());
        };
        public_keys::was_used(&self.gateway.control, &caller).await;
        let pod = self.gateway.backend.pod_at(&caller, name, handle).await;
        self.known = Some(Known { caller, pod, _guard: None, _slot: slot });
        Ok(Auth::Accept)
    }

    /// Says why no key was good, which the protocol has no other place for; then refuses.
    async fn auth_keyboard_interactive<'a>(&'a mut self, user: &str, _: &str, _: Option<Response<'a>>) -> Result<Auth, Self::Error> {
        if std::mem::replace(&mut self.told, true) {
            return Ok(Auth::Reject { proceed_with_methods: Some(MethodSet::from(&[MethodKind::PublicKey][..])), partial_success: false });
        }
        let instructions = Cow::Owned(explanation(&self.gateway, user));
        Ok(Auth::Partial { name: Cow::Borrowed(""), instructions, prompts: Cow::Borrowed(&[]) })
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), Self::Error> {
        self.stranger = None;
        self.signed_in.cancel();
        let Some(known) = &mut self.known else { return Err(russh::Error::NotAuthenticated) };
        if let (Ok(pod), Some(tell)) = (&known.pod, self.right_ended.take()) {
            tracing::info!(user = %known.caller.user, pod = %pod.id, peer = %self.peer, "somebody has come in over SSH");
            let ended = held::ended(Arc::clone(&self.gateway), known.caller.clone(), pod.id);
            known._guard = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                if tell.send(ended.await).is_err() {
                    tracing::debug!("a client had gone before its right did");
                }
            })));
        }
        Ok(())
    }

    async fn channel_open_session(&mut self, channel: Channel<Msg>, reply: ChannelOpenHandle, _: &mut Session) -> Result<(), Self::Error> {
        if self.is_full() {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let Some(known) = &self.known else { return Ok(()) };
        let (start, started) = oneshot::channel();
        self.waiting.insert(channel.id(), Waiting { asked: Asked::default(), start });
        let (gateway, caller, pod) = (Arc::clone(&self.gateway), known.caller.clone(), known.pod.clone().map(|pod| pod.id));
        self.spawn(serve(gateway, caller, pod, channel, started));
        reply.accept().await;
        Ok(())
    }

    /// `-L`: to what listens in the pod, and nowhere else.
    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        let loopback = host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let (Some(known), Ok(port), true) = (&self.known, u16::try_from(port), loopback) else {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        };
        let (gateway, caller, pod) = (Arc::clone(&self.gateway), known.caller.clone(), known.pod.as_ref().map(|pod| pod.id));
        let Ok(pod) = pod else {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        };
        if self.is_full() {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        // Not waited for here: the client's other channels go on.
        self.spawn(async move {
            match gateway.backend.connect_port(&caller, pod, port).await {
                Ok(connection) => {
                    reply.accept().await;
                    channel::join(channel, connection).await;
                }
                Err(error) => {
                    tracing::debug!(%error, port, "a port of a pod could not be reached");
                    reply.reject(ChannelOpenFailure::ConnectFailed).await;
                }
            }
        });
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.waiting.remove(&channel);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        cols: u32,
        rows: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.waiting.get_mut(&channel) {
            Some(waiting) => {
                waiting.asked.terminal(term, cols, rows);
                session.channel_success(channel)
            }
            None => session.channel_failure(channel),
        }
    }

    /// Refused aloud: a client that hears nothing takes the next answer for this one.
    async fn x11_request(&mut self, channel: ChannelId, _: bool, _: &str, _: &str, _: u32, session: &mut Session) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn env_request(&mut self, channel: ChannelId, name: &str, value: &str, session: &mut Session) -> Result<(), Self::Error> {
        match self.waiting.get_mut(&channel).is_some_and(|waiting| waiting.asked.variable(name, value)) {
            true => session.channel_success(channel),
            false => session.channel_failure(channel),
        }
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        if let Some(waiting) = self.take(channel, session)? {
            self.run(waiting, Program::Shell);
        }
        Ok(())
    }

    async fn exec_request(&mut self, channel: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        let command = std::str::from_utf8(data).map(str::to_owned);
        if let Some(waiting) = self.take(channel, session)? {
            match command {
                Ok(command) => self.run(waiting, Program::Command(command)),
                Err(_) => drop(waiting.start.send(Err("The command is not UTF-8."))),
            }
        }
        Ok(())
    }

    async fn subsystem_request(&mut self, channel: ChannelId, name: &str, session: &mut Session) -> Result<(), Self::Error> {
        if name != "sftp" {
            return session.channel_failure(channel);
        }
        if let Some(waiting) = self.take(channel, session)? {
            self.run(waiting, Program::Sftp);
        }
        Ok(())
    }
}
