//! Ids that are guessed: another team's where a team's own are asked for, and those of what is no more. The operations are those of the
//! tables in `rights`, which no operation is missing from, so that a new one is asked for here as well.

use crate::{
    rights::{DOORS, Door, Host, People, Right, Row, Who, World, ask, ids_of, person},
    stand::Stand,
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use std::collections::BTreeSet;

fn rows() -> impl Iterator<Item = (Door, &'static Row)> {
    DOORS.into_iter().flat_map(|(door, rows)| rows.iter().map(move |row| (door, row)))
}

/// All that an operation could have changed.
async fn digest(db: &PgPool) -> String {
    let sql = "SELECT md5(concat_ws(';',
        (SELECT string_agg(t::text, ',' ORDER BY t.id) FROM teams t),
        (SELECT string_agg(m::text, ',' ORDER BY m.team_id, m.user_id) FROM team_members m),
        (SELECT string_agg(i::text, ',' ORDER BY i.id) FROM invitations i),
        (SELECT string_agg(p::text, ',' ORDER BY p.id) FROM pods p),
        (SELECT string_agg(s::text, ',' ORDER BY s.id) FROM secrets s),
        (SELECT string_agg(concat(t.id, t.revoked_at), ',' ORDER BY t.id) FROM api_tokens t),
        (SELECT string_agg(s.id::text, ',' ORDER BY s.id) FROM sessions s),
        (SELECT string_agg(h::text, ',' ORDER BY h.id) FROM hosts h),
        (SELECT string_agg(k::text, ',' ORDER BY k.host_id, k.public_key) FROM host_keys k),
        (SELECT string_agg(m::text, ',' ORDER BY m.msg_id) FROM queue.message m),
        (SELECT count(*)::text FROM activity)))";
    sqlx::query_scalar(sql).fetch_one(db).await.expect("a digest")
}

const READ: &[u16] = &[200];
const UNKNOWN: &[u16] = &[404];
const AT_ITS_FIELD: &[u16] = &[422];
const EITHER: &[u16] = &[404, 422];

/// Of pods that are named beside a team it is said at their field that they are none of its own; everything else is not there.
fn expected(row: &Row) -> &'static [u16] {
    if row.0.ends_with("/pods/take-over") { EITHER } else { UNKNOWN }
}

#[tokio::test]
async fn another_teams_ids_are_unknown_wherever_two_are_asked_for() {
    let stand = Stand::with(&[("PINACLE_OPERATORS", "operator")]).await;
    let db = PgPool::connect(&stand.database_url).await.expect("the database");
    let people = People::new(&stand, &db).await;
    let member = async || person(&stand, &db, &stand.new_account().await).await.2;
    let host = async || Host::new(&stand, &db, &people.operator.1).await;
    // Two teams of one owner and one of somebody else, each with a member who is in no other.
    let in_second = People { bystander: member().await, ..people.clone() };
    let in_third = People { owner: people.outsider.clone(), outsider: people.owner.clone(), bystander: member().await, ..people.clone() };
    let first = World::beside(&db, &people, &host().await).await;
    let second = World::beside(&db, &in_second, &host().await).await;
    let third = World::beside(&db, &in_third, &host().await).await;
    let before = digest(&db).await;

    let (mut walked, mut wrong) = (BTreeSet::new(), Vec::new());
    for (door, row) in rows() {
        let ids = ids_of(door, row);
        if ids.len() < 2 {
            continue;
        }
        walked.insert(row.0);
        let who = if row.1 == Right::Operator { Who::Operator } else { Who::Owner };
        for (other, whose) in [(&second, "another of theirs"), (&third, "somebody else's")] {
            for id in &ids {
                let answer = ask(&stand, &people, &first.with(id, other), who, door, row).send().await.expect("an answer");
                let status = answer.status().as_u16();
                if !expected(row).contains(&status) {
                    wrong.push(format!("{} with {id} of {whose}: {status}", row.0));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(walked.len() >= 18, "{walked:?}");

    let get = async |token: &str, path: String| {
        let answer = stand.api(token, Method::GET, &path).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    let (owner, operator) = (people.owner.1.as_str(), people.operator.1.as_str());
    // Beside a pod of the team's own, which is not taken over either.
    let both = json!({ "pods": [first.fill("{left}"), second.fill("{left}")] });
    let taken = stand.api(owner, Method::POST, &first.fill("/teams/{team}/pods/take-over")).json(&both).send().await.expect("an answer");
    assert_eq!(taken.status(), 422);
    // Places in a list that another list has.
    for (token, path, status) in [
        (owner, first.fill("/teams/{team}/invitations?cursor=") + &second.fill("{invitation_id}"), 422),
        (owner, third.fill("/teams?cursor={team}"), 422),
        (owner, third.fill("/secrets?cursor={secret}"), 422),
        (owner, first.fill("/secrets?team_id={team}&cursor=") + &third.fill("{secret}"), 422),
        (owner, third.fill("/secrets?team_id={team}"), 404),
        (operator, first.fill("/hosts/{host}/orphans?cursor=") + &second.fill("{orphan}"), 422),
    ] {
        let (answered, body) = get(token, path.clone()).await;
        assert_eq!(answered, status, "{path}: {body}");
    }
    // A cursor that only says how far has nothing of the one that it is of.
    for (path, other, hidden) in [
        (first.fill("/secrets?team_id={team}&cursor=") + &second.fill("{secret}"), &second, ["{secret}", "{team}"]),
        (third.fill("/tokens?cursor={token}"), &third, ["{token}", "{team}"]),
        (third.fill("/pods?team_id={team}"), &third, ["{pod}", "{left}"]),
        (third.fill("/pods?team={slug}"), &third, ["{pod}", "{left}"]),
    ] {
        let (status, body) = get(owner, path.clone()).await;
        assert_eq!(status, 200, "{path}: {body}");
        assert!(hidden.iter().all(|id| !body.to_string().contains(&other.fill(id))), "{path}: {body}");
    }
    assert_eq!(digest(&db).await, before, "nothing was changed");
}

/// What stays to be read of a deleted pod, by its team: how it ended, and what it has cost.
const RECORD: [&str; 5] = ["GET /pods/{id}/events", "GET /live/pods/{id}/events", "/fn/pods/events", "/fn/pods/usual-times", "/fn/pods/month-use"];

#[tokio::test]
async fn ids_of_what_was_deleted_revoked_or_removed_are_unknown_to_every_operation() {
    let stand = Stand::with(&[("PINACLE_OPERATORS", "operator")]).await;
    let db = PgPool::connect(&stand.database_url).await.expect("the database");
    let people = People::new(&stand, &db).await;
    let host = Host::new(&stand, &db, &people.operator.1).await;
    let world = World::beside(&db, &people, &host).await;
    let ended = World::beside(&db, &people, &host).await;
    let end = async |path: String| {
        let answer = stand.api(&people.owner.1, Method::DELETE, &path).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    };
    for path in [
        "/pods/{pod}",
        "/pods/{left}",
        "/secrets/{secret}",
        "/tokens/{token}",
        "/sessions/{session}",
        "/teams/{team}/invitations/{invitation_id}",
        "/teams/{team}/members/{user_id}",
    ] {
        end(world.fill(path)).await;
    }
    // As their jobs end them.
    sqlx::query("UPDATE pods SET status = 'deleted', seen_generation = generation WHERE desired = 'deleted'").execute(&db).await.expect("deleted");
    // The other one goes as a whole.
    end(ended.fill("/teams/{team}?with_pods_of=acme")).await;
    let before = digest(&db).await;

    let gone = ["{pod}", "{left}", "{secret}", "{token}", "{session}", "{invitation_id}", "{user_id}"];
    let of_team = ["{team}", "{slug}", "{pod}", "{left}", "{secret}", "{invitation_id}", "{user_id}"];
    let (mut walked, mut wrong) = (BTreeSet::new(), Vec::new());
    for (door, row) in rows() {
        let ids = ids_of(door, row);
        let names = |things: &[&str]| ids.iter().any(|id| things.contains(id));
        let mut asked: Vec<(&World, Who, &[u16])> = Vec::new();
        if matches!(row.1, Right::Member | Right::Owner | Right::Mine) && names(&gone) {
            let is_record = RECORD.contains(&row.0);
            asked.push((&world, Who::Owner, if is_record { READ } else { expected(row) }));
            asked.extend(is_record.then_some((&world, Who::Outsider, UNKNOWN)));
        }
        match row.1 {
            Right::Member | Right::Owner if names(&of_team) => asked.push((&ended, Who::Owner, UNKNOWN)),
            Right::Into | Right::IntoOwned => asked.push((&ended, Who::Owner, AT_ITS_FIELD)),
            _ => {}
        }
        for (world, who, expected) in asked {
            let answer = ask(&stand, &people, world, who, door, row).send().await.expect("an answer");
            let status = answer.status().as_u16();
            walked.insert(row.0);
            if !expected.contains(&status) {
                let which = if world.team == ended.team { "that went with their team" } else { "that went by themselves" };
                wrong.push(format!("{} by {who:?}, of things {which}: {status} instead of {expected:?}", row.0));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(RECORD.iter().all(|row| walked.contains(row)) && walked.len() > 60, "{walked:?}");
    assert_eq!(digest(&db).await, before, "nothing was changed");
}
