//! Rights, everywhere the same: every operation of every door, asked for by everybody. An operation that is in no row fails the test,
//! so that whoever adds one has to say who may.
//!
//! Server functions are found from their registrations, the REST API's operations from its document, streams from the router's own list,
//! pages from their routes.

use crate::stand::{Browser, Stand, github_in_peace, location};
use reqwest::{
    Method, RequestBuilder, Response,
    header::{ACCEPT, CONNECTION, CONTENT_TYPE, COOKIE, ORIGIN, UPGRADE},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Of the team, and of the pod in it.
    Owner,
    Member,
    Outsider,
    /// Was a member, and has left.
    Former,
    Nobody,
    /// The owner, with an API token that may only read.
    ReadOnly,
    /// Operates the hosts, and is in no team but its own.
    Operator,
}

const EVERYBODY: [Who; 7] = [Who::Nobody, Who::Outsider, Who::Former, Who::Operator, Who::ReadOnly, Who::Member, Who::Owner];

/// What an operation's right hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Nothing: not even on who asks.
    Open,
    /// It is about the caller's own things, and the answer says nothing of other people's.
    Own,
    /// The thing is the owner's own: to others it is not there.
    Mine,
    /// Being in the team.
    Member,
    /// Owning the team; members are refused, to others it is not there.
    Owner,
    /// Being the account that was invited (the outsider); others are told that they are not.
    Invited,
    /// That, or owning the team that it is for.
    InvitedOrOwner,
    /// Being an operator; to others there is no such thing.
    Operator,
    /// Being in the team that a new pod is put into; others are told at the field.
    Into,
    /// Owning the team that a new secret is put into; members are refused, others are told at the field.
    IntoOwned,
    /// A token of its own kind: API tokens and sessions are worth nothing.
    JoinToken,
}

/// What a read-only token may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Reads,
    Changes,
}

use Kind::{Changes, Reads};

/// An operation, its right, its kind, and what is sent with it.
pub struct Row(pub &'static str, pub Right, pub Kind, pub &'static str);

/// Bodies are JSON; ids stand in braces.
pub const REST: &[Row] = &[
    Row("GET /me", Right::Own, Reads, ""),
    Row("PATCH /me", Right::Own, Changes, r#"{"handle":"{fresh}"}"#),
    Row("GET /quota", Right::Own, Reads, ""),
    Row("GET /tokens", Right::Own, Reads, ""),
    Row("POST /tokens", Right::Own, Changes, r#"{"name":"x","scope":"read","expires_days":1}"#),
    Row("DELETE /tokens/{id}", Right::Mine, Changes, ""),
    Row("GET /sessions", Right::Own, Reads, ""),
    Row("DELETE /sessions/{id}", Right::Mine, Changes, ""),
    Row("DELETE /sessions", Right::Own, Changes, ""),
    Row("GET /repositories", Right::Own, Reads, ""),
    Row("GET /repositories/{owner}/{name}/branches", Right::Own, Reads, ""),
    Row("GET /teams", Right::Own, Reads, ""),
    Row("POST /teams", Right::Own, Changes, r#"{"name":"x"}"#),
    Row("GET /teams/{id}", Right::Member, Reads, ""),
    Row("PATCH /teams/{id}", Right::Owner, Changes, r#"{"name":"y"}"#),
    Row("DELETE /teams/{id}", Right::Owner, Changes, ""),
    Row("GET /teams/{id}/members", Right::Member, Reads, ""),
    Row("PATCH /teams/{id}/members/{user_id}", Right::Owner, Changes, r#"{"role":"owner"}"#),
    Row("DELETE /teams/{id}/members/{user_id}", Right::Owner, Changes, ""),
    Row("POST /teams/{id}/pods/take-over", Right::Owner, Changes, r#"{"pods":["{left}"]}"#),
    Row("GET /teams/{id}/invitations", Right::Owner, Reads, ""),
    Row("POST /teams/{id}/invitations", Right::Owner, Changes, r#"{"email":"{fresh}@example.test","role":"member"}"#),
    Row("DELETE /teams/{id}/invitations/{invitation_id}", Right::Owner, Changes, ""),
    Row("POST /teams/{id}/invitations/{invitation_id}/resend", Right::Owner, Changes, ""),
    Row("GET /teams/{id}/activity", Right::Member, Reads, ""),
    Row("GET /invitations/{code}", Right::InvitedOrOwner, Reads, ""),
    Row("POST /invitations/{code}", Right::Invited, Changes, ""),
    Row("GET /pods", Right::Own, Reads, ""),
    Row("POST /pods", Right::Own, Changes, r#"{"name":"{fresh}","tier":"dev.small"}"#),
    Row("POST /pods", Right::Into, Changes, r#"{"name":"{fresh}","tier":"dev.small","team_id":"{team}"}"#),
    Row("GET /pods/{id}", Right::Member, Reads, ""),
    Row("PATCH /pods/{id}", Right::Member, Changes, r#"{"name":"{fresh}"}"#),
    Row("DELETE /pods/{id}", Right::Owner, Changes, ""),
    Row("POST /pods/{id}/start", Right::Member, Changes, ""),
    Row("POST /pods/{id}/stop", Right::Member, Changes, ""),
    Row("POST /pods/{id}/restart", Right::Member, Changes, ""),
    Row("POST /pods/{id}/retry", Right::Member, Changes, ""),
    Row("POST /pods/{id}/setup/approve", Right::Member, Changes, r#"{"plan_digest":"x"}"#),
    Row("POST /pods/{id}/setup/retry", Right::Member, Changes, ""),
    Row("GET /pods/{id}/events", Right::Member, Reads, ""),
    Row("GET /pods/{id}/live", Right::Member, Reads, ""),
    Row("POST /pods/{id}/exec", Right::Member, Changes, r#"{"argv":["true"]}"#),
    // What lies in a pod may be a credential, and typing is a change.
    Row("GET /pods/{id}/files", Right::Member, Changes, ""),
    Row("PUT /pods/{id}/files", Right::Member, Changes, ""),
    Row("POST /pods/{id}/processes/{name}/restart", Right::Member, Changes, ""),
    Row("GET /pods/{id}/processes/{name}/log", Right::Member, Reads, ""),
    Row("GET /pods/{id}/terminals", Right::Member, Reads, ""),
    Row("GET /pods/{id}/terminals/{name}", Right::Member, Changes, ""),
    Row("DELETE /pods/{id}/terminals/{name}", Right::Member, Changes, ""),
    Row("GET /pods/{id}/secrets", Right::Member, Reads, ""),
    Row("GET /secrets", Right::Own, Reads, ""),
    Row("POST /secrets", Right::Own, Changes, r#"{"name":"{FRESH}","value":"v"}"#),
    Row("POST /secrets", Right::IntoOwned, Changes, r#"{"name":"{FRESH}","value":"v","team_id":"{team}"}"#),
    Row("GET /secrets/{id}", Right::Member, Reads, ""),
    Row("PATCH /secrets/{id}", Right::Owner, Changes, r#"{"value":"w"}"#),
    Row("DELETE /secrets/{id}", Right::Owner, Changes, ""),
    Row("GET /hosts", Right::Operator, Reads, ""),
    Row("POST /hosts", Right::Operator, Changes, r#"{"name":"{fresh}","transport":"ssh","address":"192.0.2.1"}"#),
    Row("GET /hosts/{id}", Right::Operator, Reads, ""),
    Row("GET /hosts/{id}/pods", Right::Operator, Reads, ""),
    Row("GET /hosts/{id}/orphans", Right::Operator, Reads, ""),
    Row("DELETE /hosts/{id}/orphans/{pod}", Right::Operator, Changes, ""),
    Row("POST /hosts/{id}/orphans/{pod}/adopt", Right::Operator, Changes, r#"{"owner":"operator","name":"{fresh}","tier":"dev.small"}"#),
    Row("POST /hosts/{id}/cordon", Right::Operator, Changes, ""),
    Row("POST /hosts/{id}/drain", Right::Operator, Changes, ""),
    Row("POST /hosts/{id}/activate", Right::Operator, Changes, ""),
    Row("POST /hosts/{id}/lost", Right::Operator, Changes, ""),
    Row("POST /hosts/{id}/rejoin", Right::Operator, Changes, ""),
    Row("POST /hosts/{id}/set-aside", Right::Operator, Changes, ""),
    Row("POST /hosts/{id}/keys", Right::Operator, Changes, r#"{"fingerprint":"{offered}"}"#),
    Row("POST /hosts/{id}/keys/retire", Right::Operator, Changes, r#"{"fingerprint":"{trusted}"}"#),
    Row("POST /hosts/join", Right::JoinToken, Changes, ""),
];

/// Bodies are forms, and JSON where they begin with a brace.
pub const FUNCTIONS: &[Row] = &[
    Row("/fn/account/me", Right::Own, Reads, ""),
    Row("/fn/account/quota", Right::Own, Reads, ""),
    Row("/fn/account/tokens", Right::Own, Reads, ""),
    Row("/fn/account/create-token", Right::Own, Changes, "name=x&scope=read&expires_days=1"),
    Row("/fn/account/revoke-token", Right::Mine, Changes, "id={token}"),
    Row("/fn/account/sessions", Right::Own, Reads, ""),
    Row("/fn/account/end-session", Right::Mine, Changes, "id={session}"),
    Row("/fn/account/repositories", Right::Own, Reads, ""),
    Row("/fn/account/branches", Right::Own, Reads, "owner=owner&name=full"),
    Row("/fn/account/handle", Right::Own, Changes, "handle={fresh}"),
    Row("/fn/account/public-keys", Right::Own, Reads, ""),
    Row("/fn/account/gateway", Right::Own, Reads, ""),
    // A cookie that only the page's colours hang on.
    Row("/fn/account/theme", Right::Open, Changes, "theme=dark"),
    Row("/fn/teams/list", Right::Own, Reads, ""),
    Row("/fn/teams/view", Right::Member, Reads, "slug={slug}&kind="),
    Row("/fn/teams/create", Right::Own, Changes, "name=x"),
    Row("/fn/teams/rename", Right::Owner, Changes, "id={team}&name=y"),
    Row("/fn/teams/delete", Right::Owner, Changes, "id={team}"),
    Row("/fn/teams/members", Right::Member, Reads, "id={team}"),
    Row("/fn/teams/change-member", Right::Owner, Changes, "id={team}&user={user_id}&role=owner"),
    Row("/fn/teams/remove-member", Right::Owner, Changes, "id={team}&user={user_id}"),
    Row("/fn/teams/take-over", Right::Owner, Changes, "id={team}"),
    Row("/fn/teams/invite", Right::Owner, Changes, "id={team}&who={fresh}@example.test&role=member"),
    Row("/fn/teams/resend-invitation", Right::Owner, Changes, "id={team}&invitation={invitation_id}"),
    Row("/fn/teams/revoke-invitation", Right::Owner, Changes, "id={team}&invitation={invitation_id}"),
    Row("/fn/teams/activity", Right::Member, Reads, "id={team}"),
    Row("/fn/invitations/get", Right::InvitedOrOwner, Reads, "code={code}"),
    Row("/fn/invitations/accept", Right::Invited, Changes, "code={code}"),
    Row("/fn/pods/list", Right::Own, Reads, ""),
    Row("/fn/pods/view", Right::Member, Reads, "id={pod}"),
    Row("/fn/pods/get", Right::Member, Reads, "id={pod}"),
    Row("/fn/pods/check", Right::Own, Reads, "name=x&tier=dev.small"),
    Row("/fn/pods/suggest-name", Right::Own, Reads, ""),
    Row("/fn/pods/create", Right::Own, Changes, "name={fresh}&tier=dev.small"),
    Row("/fn/pods/create", Right::Into, Changes, "name={fresh}&tier=dev.small&team_id={team}"),
    Row("/fn/pods/update", Right::Member, Changes, "id={pod}&name={fresh}"),
    Row("/fn/pods/wish", Right::Member, Changes, "id={pod}&wish=stop"),
    Row("/fn/pods/wish", Right::Owner, Changes, "id={pod}&wish=delete"),
    Row("/fn/pods/approve-setup", Right::Member, Changes, "id={pod}&plan_digest=x"),
    Row("/fn/pods/retry-setup", Right::Member, Changes, "id={pod}"),
    Row("/fn/pods/events", Right::Member, Reads, "id={pod}&after=0&limit=10"),
    Row("/fn/pods/usual-times", Right::Member, Reads, "id={pod}"),
    Row("/fn/pods/month-use", Right::Member, Reads, "id={pod}"),
    Row("/fn/pods/live", Right::Member, Reads, "id={pod}"),
    Row("/fn/pods/restart-process", Right::Member, Changes, "id={pod}&name=web"),
    Row("/fn/pods/terminals", Right::Member, Reads, "id={pod}"),
    Row("/fn/pods/end-terminal", Right::Member, Changes, "id={pod}&name=main"),
    Row("/fn/secrets/view", Right::Own, Reads, r#"{"team":null,"project":null}"#),
    Row("/fn/secrets/view", Right::Member, Reads, r#"{"team":"{slug}","project":null}"#),
    Row("/fn/secrets/create", Right::IntoOwned, Changes, "team={team}&name={FRESH}&value=v"),
    Row("/fn/secrets/replace", Right::Owner, Changes, "id={secret}&value=w"),
    Row("/fn/secrets/rename", Right::Owner, Changes, "id={secret}&name={FRESH}"),
    Row("/fn/secrets/delete", Right::Owner, Changes, "id={secret}"),
    Row("/fn/secrets/of-pod", Right::Member, Reads, "pod={pod}"),
    Row("/fn/secrets/check-import", Right::Owner, Reads, r#"{"team":"{team}","project":null,"entries":[{"name":"{FRESH}","value":"v"}]}"#),
    Row("/fn/secrets/import", Right::Owner, Changes, r#"{"team":"{team}","project":null,"entries":[{"name":"{FRESH}","value":"v"}]}"#),
    Row("/fn/secrets/restart-pods", Right::Member, Changes, "team={team}"),
    Row("/fn/hosts/list", Right::Operator, Reads, ""),
    Row("/fn/hosts/get", Right::Operator, Reads, "id={host}"),
    Row("/fn/hosts/pods", Right::Operator, Reads, "id={host}"),
    Row("/fn/hosts/orphans", Right::Operator, Reads, ""),
    Row("/fn/hosts/remove-orphan", Right::Operator, Changes, "id={host}&pod={orphan}"),
    Row("/fn/hosts/adopt", Right::Operator, Changes, "id={host}&pod={orphan}&owner=operator&name={fresh}&tier=dev.small"),
    Row("/fn/hosts/add", Right::Operator, Changes, "name={fresh}&transport=ssh&address=192.0.2.1"),
    Row("/fn/hosts/change", Right::Operator, Changes, "id={host}&verb=cordon"),
    Row("/fn/hosts/rejoin", Right::Operator, Changes, "id={host}"),
    Row("/fn/hosts/set-aside", Right::Operator, Changes, "id={host}"),
    Row("/fn/hosts/retire-key", Right::Operator, Changes, "id={host}&fingerprint={trusted}"),
    Row("/fn/hosts/trust-key", Right::Operator, Changes, "id={host}&fingerprint={offered}"),
    // Last: everybody is signed out by it.
    Row("/fn/account/end-all-sessions", Right::Own, Changes, ""),
];

/// Streams and transfers of browsers.
pub const STREAMS: &[Row] = &[
    Row("GET /live/pods", Right::Own, Reads, ""),
    Row("GET /live/pods/{id}/events", Right::Member, Reads, ""),
    Row("GET /live/pods/{id}/terminals/{name}", Right::Member, Changes, ""),
    Row("GET /live/pods/{id}/logs/{process}", Right::Member, Reads, ""),
    Row("GET /live/pods/{id}/files", Right::Member, Changes, ""),
    Row("PUT /live/pods/{id}/files", Right::Member, Changes, ""),
    Row("GET /live/teams/{id}", Right::Member, Reads, ""),
    Row("GET /live/teams/{id}/activity.csv", Right::Member, Reads, ""),
];

/// Pages; `{team}` is a slug there.
pub const PAGES: &[Row] = &[
    Row("GET /sign-in", Right::Open, Reads, ""),
    Row("GET /", Right::Own, Reads, ""),
    Row("GET /pods/new", Right::Own, Reads, ""),
    Row("GET /pods/{id}", Right::Member, Reads, ""),
    Row("GET /teams/new", Right::Own, Reads, ""),
    Row("GET /teams/{team}", Right::Member, Reads, ""),
    Row("GET /teams/{team}/pods", Right::Member, Reads, ""),
    Row("GET /teams/{team}/pods/new", Right::Member, Reads, ""),
    Row("GET /teams/{team}/pods/{id}", Right::Member, Reads, ""),
    Row("GET /teams/{team}/secrets", Right::Member, Reads, ""),
    Row("GET /invitations/{code}", Right::InvitedOrOwner, Reads, ""),
    Row("GET /secrets", Right::Own, Reads, ""),
    Row("GET /account", Right::Own, Reads, ""),
    Row("GET /hosts", Right::Operator, Reads, ""),
];

/// Functions behind streams and pages: the last of them signs everybody out.
pub const DOORS: [(Door, &[Row]); 4] = [(Door::Stream, STREAMS), (Door::Page, PAGES), (Door::Function, FUNCTIONS), (Door::Api, REST)];

/// Of the rows about one's own things those that show a member what it has in the team: what others don't find in them is there.
const LISTS: [&str; 11] = [
    "GET /live/pods",
    "GET /",
    "/fn/teams/list",
    "/fn/pods/list",
    "/fn/account/tokens",
    "/fn/account/sessions",
    "GET /tokens",
    "GET /sessions",
    "GET /teams",
    "GET /pods",
    "GET /secrets",
];

/// The ids that a row may name.
const IDS: [&str; 13] = [
    "{team}",
    "{slug}",
    "{pod}",
    "{left}",
    "{invitation_id}",
    "{token}",
    "{session}",
    "{secret}",
    "{user_id}",
    "{host}",
    "{orphan}",
    "{offered}",
    "{trusted}",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// By an API token; the others by a session, from a page of ours.
    Api,
    Function,
    Stream,
    Page,
}

/// Of a row's operation.
fn method_and_path(row: &Row) -> (&'static str, &'static str) {
    row.0.split_once(' ').unwrap_or(("POST", row.0))
}

/// The path of a row's operation with what each of its ids is of: `{id}` is of the noun that it stands behind.
fn named_path(door: Door, row: &Row) -> String {
    let (_, path) = method_and_path(row);
    if door == Door::Page {
        return path.replace("{team}", "{slug}").replace("{id}", "{pod}");
    }
    let named = match path.trim_start_matches("/live").split('/').nth(1) {
        Some("pods") => path.replace("{id}", "{pod}"),
        Some("teams") => path.replace("{id}", "{team}"),
        Some("tokens") => path.replace("{id}", "{token}"),
        Some("sessions") => path.replace("{id}", "{session}"),
        Some("secrets") => path.replace("{id}", "{secret}"),
        Some("hosts") => path.replace("{pod}", "{orphan}").replace("{id}", "{host}"),
        _ => path.replace("/repositories/{owner}/{name}", "/repositories/owner/full"),
    };
    let query = if path.ends_with("/files") { "?path=x" } else { "" };
    named + query
}

/// The ids that a row names, in its path or in what is sent with it.
pub fn ids_of(door: Door, row: &Row) -> Vec<&'static str> {
    let text = named_path(door, row) + row.3;
    IDS.into_iter().filter(|id| text.contains(id)).collect()
}

/// What a row asks, as one of these people asks it.
pub fn ask(stand: &Stand, people: &People, world: &World, who: Who, door: Door, row: &Row) -> RequestBuilder {
    let (method, path) = method_and_path(row);
    let (at, body) = (world.fill(&named_path(door, row)), world.fill(row.3));
    let at = if door == Door::Api { format!("/api/v1{at}") } else { at };
    let request = stand.request(method.parse().expect("a method"), &at);
    let request = if door == Door::Api { request } else { request.header(ORIGIN, stand.origin()) };
    let request = match (people.browser(who), people.token(who)) {
        (Some(browser), _) if door != Door::Api => request.header(COOKIE, &browser.cookie),
        // At the browsers' doors a token is worth nothing.
        (_, Some(token)) => request.bearer_auth(token),
        (_, None) => request,
    };
    let request = upgraded(request, path);
    match (door, body.as_str()) {
        (Door::Page, _) => request.header(ACCEPT, "text/html"),
        (Door::Function, json) if json.starts_with('{') => request.header(CONTENT_TYPE, "application/json").body(body),
        (Door::Function, form) => request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.replace('+', "%2B")),
        (_, "") if path == "/hosts/join" => request.json(&crate::hosts::report()),
        (_, "") if method == "PUT" => request.body("x"),
        (_, "") => request,
        (_, _) => request.header(CONTENT_TYPE, "application/json").body(body),
    }
}

/// What the answer has to be: None is "allowed".
fn refusal(right: Right, kind: Kind, who: Who) -> Option<u16> {
    match (right, who) {
        (Right::Open, _) => None,
        (Right::JoinToken, _) | (_, Who::Nobody) => Some(401),
        (_, Who::ReadOnly) if kind == Changes => Some(403),
        // The owner, in all other things.
        (right, Who::ReadOnly) => refusal(right, kind, Who::Owner),
        (Right::Own, _) => None,
        (Right::Mine, Who::Owner) => None,
        (Right::Member, Who::Owner | Who::Member) => None,
        (Right::Owner, Who::Owner) => None,
        (Right::Owner, Who::Member) => Some(403),
        (Right::Invited | Right::InvitedOrOwner, Who::Outsider) | (Right::InvitedOrOwner, Who::Owner) => None,
        (Right::Invited | Right::InvitedOrOwner, _) => Some(403),
        (Right::Operator, Who::Operator) => None,
        (Right::Into, Who::Owner | Who::Member) => None,
        (Right::Into, _) => Some(422),
        (Right::IntoOwned, who @ (Who::Owner | Who::Member)) => refusal(Right::Owner, kind, who),
        (Right::IntoOwned, _) => Some(422),
        (Right::Mine | Right::Member | Right::Owner | Right::Operator, _) => Some(404),
    }
}

/// As `refusal`, at this door.
fn refusal_at(door: Door, row: &Row, who: Who) -> Option<u16> {
    let Row(_, right, kind, _) = *row;
    // At the browsers' doors a token is worth nothing.
    let who = if door != Door::Api && who == Who::ReadOnly { Who::Nobody } else { who };
    match refusal(right, kind, who) {
        // Pages send who is not signed in to where that is done.
        Some(401) if door == Door::Page => Some(302),
        refusal => refusal,
    }
}

/// Answers of an operation that was let through: done, or not possible as things are. A page is there.
fn is_allowed(door: Door, status: u16) -> bool {
    if door == Door::Page { status == 200 } else { matches!(status, 101 | 200..=399 | 409) }
}

/// Names of what answers about one's own things say nothing of to this one.
fn hidden_from(who: Who) -> &'static [&'static str] {
    match who {
        Who::Owner | Who::ReadOnly => &[],
        // Of the team, but not of its owner's account, nor of who is invited.
        Who::Member => &["{invitation_id}", "{code}", "{token}", "{session}", "{host}", "{orphan}"],
        Who::Operator => &["{team}", "{slug}", "{pod}", "{left}", "{invitation_id}", "{code}", "{token}", "{session}", "{secret}", "{user_id}"],
        Who::Outsider | Who::Former | Who::Nobody => &[
            "{team}",
            "{slug}",
            "{pod}",
            "{left}",
            "{invitation_id}",
            "{code}",
            "{token}",
            "{session}",
            "{secret}",
            "{user_id}",
            "{host}",
            "{orphan}",
        ],
    }
}

/// A pod that everybody has in its personal team, older than any World's.
const MINE: &str = "mine";

/// Where an answer leads, and its body; of the stream of pods what comes before the asker's own oldest pod.
async fn said(mut answer: Response) -> String {
    let oldest = (answer.url().path() == "/live/pods").then(|| format!("\"name\":\"{MINE}\""));
    let (led, mut body) = (location(&answer), Vec::new());
    while let Some(piece) = answer.chunk().await.expect("a piece") {
        body.extend_from_slice(&piece);
        if oldest.as_ref().is_some_and(|oldest| String::from_utf8_lossy(&body).contains(oldest.as_str())) {
            break;
        }
    }
    format!("{led} {}", String::from_utf8_lossy(&body))
}

#[derive(Clone)]
pub struct People {
    pub owner: (Browser, String, Uuid),
    pub member: (Browser, String, Uuid),
    pub outsider: (Browser, String, Uuid),
    pub former: (Browser, String, Uuid),
    pub operator: (Browser, String, Uuid),
    /// A member whom others remove and promote.
    pub bystander: Uuid,
    pub read_only: String,
}

impl People {
    /// Signed in at this server, where `operator` operates the hosts.
    pub async fn new(stand: &Stand, db: &PgPool) -> Self {
        let (former, bystander) = (stand.new_account().await, stand.new_account().await);
        Self {
            owner: person(stand, db, "owner").await,
            member: person(stand, db, "member").await,
            outsider: person(stand, db, "outsider").await,
            former: person(stand, db, &former).await,
            operator: person(stand, db, "operator").await,
            bystander: person(stand, db, &bystander).await.2,
            read_only: stand.token("owner", "read"),
        }
    }

    fn browser(&self, who: Who) -> Option<&Browser> {
        match who {
            Who::Owner => Some(&self.owner.0),
            Who::Member => Some(&self.member.0),
            Who::Outsider => Some(&self.outsider.0),
            Who::Former => Some(&self.former.0),
            Who::Operator => Some(&self.operator.0),
            Who::Nobody | Who::ReadOnly => None,
        }
    }

    fn token(&self, who: Who) -> Option<&str> {
        match who {
            Who::Owner => Some(&self.owner.1),
            Who::Member => Some(&self.member.1),
            Who::Outsider => Some(&self.outsider.1),
            Who::Former => Some(&self.former.1),
            Who::Operator => Some(&self.operator.1),
            Who::ReadOnly => Some(&self.read_only),
            Who::Nobody => None,
        }
    }
}

pub async fn person(stand: &Stand, db: &PgPool, login: &str) -> (Browser, String, Uuid) {
    let browser = stand.sign_in(login).await;
    let id = sqlx::query_scalar("SELECT id FROM users WHERE login = $1").bind(login).fetch_one(db).await.expect("an account");
    (browser, stand.token(login, "write"), id)
}

/// What one operation is about: all of it new, so that nothing of the one before is in the way.
pub struct World {
    names: Vec<(&'static str, String)>,
    pub team: Uuid,
}

impl World {
    async fn new(db: &PgPool, people: &People, host: &Host) -> Self {
        // What one person may have is bounded: the worlds before this one are over.
        let left = "DELETE FROM team_members m USING teams t WHERE t.id = m.team_id AND t.personal_of IS NULL";
        for end in [left, "DELETE FROM api_tokens WHERE name = 'x'"] {
            sqlx::query(end).execute(db).await.unwrap_or_else(|error| panic!("{end}: {error}"));
        }
        Self::beside(db, people, host).await
    }

    /// One more, beside those that there are.
    pub async fn beside(db: &PgPool, people: &People, host: &Host) -> Self {
        let id = Uuid::now_v7;
        let (team, pod, left, invitation, token, session, secret) = (id(), id(), id(), id(), id(), id(), id());
        let (owner, former) = (people.owner.2, people.former.2);
        let code = format!("code-{}", id().simple());
        let run = async |sql: &'static str, binds: &[Uuid]| {
            let query = binds.iter().fold(sqlx::query(sql), |query, id| query.bind(*id));
            query.execute(db).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        };
        run("INSERT INTO teams (id, slug, name) VALUES ($1, 't' || replace($1::text, '-', ''), 'acme')", &[team]).await;
        run("INSERT INTO team_members (team_id, user_id, role) VALUES ($1, $2, 'owner')", &[team, owner]).await;
        run(
            "INSERT INTO team_members (team_id, user_id, role) VALUES ($1, $2, 'member'), ($1, $3, 'member')",
            &[team, people.member.2, people.bystander],
        )
        .await;
        let insert = "INSERT INTO pods (id, team_id, owner_id, name, tier, desired, status, generation, seen_generation) VALUES ($1, $2, $3, 'p' || right(replace($1::text, '-', ''), 12), 'dev.small', 'stopped', 'stopped', 1, 1)";
        run(insert, &[pod, team, owner]).await;
        run(insert, &[left, team, former]).await;
        run("UPDATE pods SET owner_left_at = now() WHERE id = $1", &[left]).await;
        run("INSERT INTO pod_event_head (pod_id) VALUES ($1), ($2)", &[pod, left]).await;
        run("INSERT INTO api_tokens (id, user_id, name, scope, expires_at) VALUES ($1, $2, 'x', 'read', now() + interval '1 day')", &[token, owner])
            .await;
        run(
            "INSERT INTO sessions (id, id_hash, user_id, data, idle_expires_at, expires_at) VALUES ($1, uuid_send($1), $2, '{}', now() + interval '1 day', now() + interval '1 day')",
            &[session, owner],
        )
        .await;
        run("INSERT INTO secrets (id, team_id, name, sealed, carried) VALUES ($1, $2, 'S', '\\x00', 1)", &[secret, team]).await;
        let hash = Sha256::digest(&code).to_vec();
        let insert = "INSERT INTO invitations (id, team_id, github_id, github_login, role, code_hash, invited_by, expires_at)
            SELECT $1, $2, github_id, login, 'member', $3, $4, now() + interval '1 day' FROM users WHERE id = $5";
        sqlx::query(insert).bind(invitation).bind(team).bind(&hash).bind(owner).bind(people.outsider.2).execute(db).await.expect("invited");
        sqlx::query("INSERT INTO invitation_codes (code_hash, invitation_id) VALUES ($1, $2)")
            .bind(&hash)
            .bind(invitation)
            .execute(db)
            .await
            .expect("a code");
        let names = vec![
            ("{team}", team.to_string()),
            ("{pod}", pod.to_string()),
            ("{left}", left.to_string()),
            ("{invitation_id}", invitation.to_string()),
            ("{token}", token.to_string()),
            ("{session}", session.to_string()),
            ("{secret}", secret.to_string()),
            ("{slug}", format!("t{}", team.simple())),
            ("{user_id}", people.bystander.to_string()),
            ("{code}", code),
            ("{host}", host.id.clone()),
            ("{orphan}", host.orphan.clone()),
            ("{offered}", host.offered.clone()),
            ("{trusted}", host.trusted.clone()),
            ("{owner}", "owner".to_owned()),
            ("{name}", "main".to_owned()),
            ("{process}", "web".to_owned()),
        ];
        Self { names, team }
    }

    pub fn fill(&self, text: &str) -> String {
        let fresh = format!("f{:010x}", rand::random::<u64>() & 0xff_ffff_ffff);
        let text = text.replace("{FRESH}", &fresh.to_uppercase()).replace("{fresh}", &fresh);
        self.names.iter().fold(text, |text, (name, value)| text.replace(name, value))
    }

    /// As it is, but that this one thing is another World's.
    pub fn with(&self, name: &str, of: &Self) -> Self {
        let names = self.names.iter().zip(&of.names).map(|(own, theirs)| if own.0 == name { theirs.clone() } else { own.clone() });
        Self { names: names.collect(), team: self.team }
    }

    /// The names of this World's things that a text has.
    fn found_in(&self, text: &str) -> impl Iterator<Item = &'static str> {
        self.names.iter().filter(move |(_, value)| text.contains(value.as_str())).map(|(name, _)| *name)
    }

    /// Everything that a refused operation must not have touched.
    async fn digest(&self, db: &PgPool) -> String {
        let sql = "SELECT md5(concat_ws(';',
            (SELECT concat(name, deleted_at) FROM teams WHERE id = $1),
            (SELECT string_agg(concat(user_id, role), ',' ORDER BY user_id) FROM team_members WHERE team_id = $1),
            (SELECT string_agg(concat(id, code_hash, accepted_at, revoked_at), ',' ORDER BY id) FROM invitations WHERE team_id = $1),
            (SELECT string_agg(concat(id, name, owner_id, desired, generation, approved_digest, owner_left_at), ',' ORDER BY id) FROM pods WHERE team_id = $1),
            (SELECT string_agg(concat(id, name, sealed), ',' ORDER BY id) FROM secrets WHERE team_id = $1),
            (SELECT count(*)::text FROM activity WHERE team_id = $1),
            (SELECT string_agg(concat(id, state), ',' ORDER BY id) FROM hosts)))";
        sqlx::query_scalar(sql).bind(self.team).fetch_one(db).await.expect("a digest")
    }
}

/// A host that has joined, with a disk that was set aside and a key on offer.
#[derive(Clone)]
pub struct Host {
    id: String,
    orphan: String,
    offered: String,
    trusted: String,
}

impl Host {
    pub async fn new(stand: &Stand, db: &PgPool, operator: &str) -> Self {
        let json = async |request: RequestBuilder| request.send().await.expect("an answer").json::<Value>().await.expect("JSON");
        let name = format!("h{:08x}", rand::random::<u32>());
        let new = json!({ "name": name, "transport": "ssh", "address": "192.0.2.9" });
        let invited = json(stand.api(operator, Method::POST, "/hosts").json(&new)).await;
        let id = invited["host"]["id"].as_str().expect("an id").to_owned();
        let token = invited["join_token"].as_str().expect("a token");
        let joined = stand.api(token, Method::POST, "/hosts/join").json(&crate::hosts::report()).send().await.expect("an answer");
        assert_eq!(joined.status(), 200);
        // Hosts report the same key here; each gets one of its own.
        let own = "UPDATE host_keys SET public_key = overlay(public_key PLACING $2 FROM length(public_key) - 15) WHERE host_id = $1::text::uuid";
        sqlx::query(own).bind(&id).bind(&rand::random::<[u8; 8]>()[..]).execute(db).await.expect("a key of its own");
        let offer = "INSERT INTO host_keys (host_id, algorithm, public_key, state) SELECT host_id, algorithm, set_byte(public_key, length(public_key) - 1, 7), 'offered' FROM host_keys WHERE host_id = $1::text::uuid";
        sqlx::query(offer).bind(&id).execute(db).await.expect("offered");
        let host = json(stand.api(operator, Method::GET, &format!("/hosts/{id}"))).await;
        let orphans = json(stand.api(operator, Method::GET, &format!("/hosts/{id}/orphans"))).await;
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{value} is text")).to_owned();
        Self { orphan: text(&orphans["items"][0]["pod"]), offered: text(&host["offered_keys"][0]), trusted: text(&host["trusted_keys"][0]), id }
    }
}

/// A WebSocket where the operation is one.
fn upgraded(request: RequestBuilder, path: &str) -> RequestBuilder {
    if !path.contains("/terminals/{name}") && !path.contains("/logs/") {
        return request;
    }
    request
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

struct Asked<'a> {
    stand: &'a Stand,
    people: &'a People,
    db: PgPool,
    /// For operations that are not about hosts.
    host: Host,
    /// Operations about one's own things whose answers to the owner had something of the team's.
    shown: BTreeSet<&'static str>,
    wrong: Vec<String>,
}

impl Asked<'_> {
    /// Everybody asks for the operation; those who may come last, since it is done then.
    async fn row(&mut self, door: Door, row: &Row) {
        let Row(operation, right, kind, _) = *row;
        let host = if right == Right::Operator { self.host().await } else { self.host.clone() };
        let mut world = World::new(&self.db, self.people, &host).await;
        let before = world.digest(&self.db).await;
        let (refused, allowed): (Vec<Who>, Vec<Who>) = EVERYBODY.into_iter().partition(|who| refusal_at(door, row, *who).is_some());
        for who in refused {
            let expected = refusal_at(door, row, who).expect("a refusal");
            let answer = self.ask(&world, who, door, row).await;
            let status = answer.status().as_u16();
            if status != expected {
                self.wrong.push(format!("{operation} by {who:?}: {status} instead of {expected}"));
            }
            if status == 302 && !location(&answer).starts_with("/sign-in") {
                self.wrong.push(format!("{operation} by {who:?} leads to {}", location(&answer)));
            }
        }
        if world.digest(&self.db).await != before {
            self.wrong.push(format!("{operation}: somebody who was refused has changed something"));
        }
        for who in allowed {
            let answer = self.ask(&world, who, door, row).await;
            let status = answer.status().as_u16();
            if !is_allowed(door, status) {
                self.wrong.push(format!("{operation} by {who:?}: {status} instead of being let through"));
            }
            if right == Right::Own {
                self.own(&world, who, operation, answer).await;
            } else if kind == Changes {
                // The next one finds it as this one did.
                world = World::new(&self.db, self.people, &host).await;
            }
        }
    }

    /// What an answer about somebody's own things says of the team's.
    async fn own(&mut self, world: &World, who: Who, operation: &'static str, answer: Response) {
        let asked = answer.url().path().to_owned();
        let said = said(answer).await;
        for name in world.found_in(&said).filter(|name| hidden_from(who).contains(name)) {
            // What somebody typed may be said back.
            if !world.found_in(&asked).any(|typed| typed == name) {
                self.wrong.push(format!("{operation} tells {who:?} of {name}"));
            }
        }
        if who == Who::Owner && world.found_in(&said).any(|name| hidden_from(Who::Outsider).contains(&name)) {
            self.shown.insert(operation);
        }
    }

    async fn ask(&self, world: &World, who: Who, door: Door, row: &Row) -> Response {
        ask(self.stand, self.people, world, who, door, row).send().await.expect("an answer")
    }

    async fn host(&self) -> Host {
        Host::new(self.stand, &self.db, &self.people.operator.1).await
    }
}

/// The operations that a table has rows for.
fn named(rows: &[Row]) -> BTreeSet<String> {
    rows.iter().map(|row| row.0.to_owned()).collect()
}

#[tokio::test]
async fn every_operation_of_every_door_is_for_those_whom_its_row_names_and_for_nobody_else() {
    let stand = Stand::with(&[
        ("PINACLE_OPERATORS", "operator"),
        ("PINACLE_QUOTA_PODS", "1000"),
        ("PINACLE_QUOTA_CPU", "1000"),
        ("PINACLE_QUOTA_MEMORY_GB", "1000"),
        ("PINACLE_QUOTA_DISK_GB", "100000"),
    ])
    .await;
    let db = PgPool::connect(&stand.database_url).await.expect("the database");
    let people = People::new(&stand, &db).await;
    for who in [Who::Owner, Who::Member, Who::Outsider, Who::Former, Who::Operator] {
        let own = stand.api(people.token(who).expect("a token"), Method::POST, "/pods").json(&json!({ "name": MINE, "tier": "dev.small" }));
        assert_eq!(own.send().await.expect("an answer").status(), 202);
    }
    let _peace = github_in_peace().await;

    // Each door's own word on what it has, against the tables.
    let functions: BTreeSet<String> = leptos::server_fn::axum::server_fn_paths().map(|(path, _)| path.to_owned()).collect();
    assert!(functions.len() > 40, "the registrations are linked in: {functions:?}");
    assert_eq!(functions, named(FUNCTIONS), "server functions");
    let document: Value = stand.get("/api/v1/openapi.json").send().await.expect("an answer").json().await.expect("JSON");
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("operations").keys().filter(|key| key.to_uppercase().parse::<Method>().is_ok() && *key != "parameters")
        {
            operations.insert(format!("{} {}", method.to_uppercase(), path.strip_prefix("/api/v1").expect("below /api/v1")));
        }
    }
    assert_eq!(operations, named(REST), "the REST API");
    let streams: BTreeSet<String> = pinacle_server::web::streams().map(|(method, path)| format!("{method} {path}")).collect();
    assert_eq!(streams, named(STREAMS), "streams");
    let mut pages = BTreeSet::new();
    for page in leptos_axum::generate_route_list(pinacle_app::App) {
        for method in page.methods() {
            let method = format!("{method:?}").to_uppercase();
            pages.insert(format!("{method} {}", page.path()));
        }
    }
    assert_eq!(pages, named(PAGES), "pages");

    let host = Host::new(&stand, &db, &people.operator.1).await;
    let mut asked = Asked { stand: &stand, people: &people, db, host, shown: BTreeSet::new(), wrong: Vec::new() };
    for (door, rows) in DOORS {
        for row in rows {
            asked.row(door, row).await;
        }
    }
    let hiding: Vec<&str> = LISTS.into_iter().filter(|list| !asked.shown.contains(list)).collect();
    assert!(asked.wrong.is_empty() && hiding.is_empty(), "{:#?}\nshow the owner nothing: {hiding:?}", asked.wrong);
}
