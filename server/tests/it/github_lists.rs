//! Lists of GitHub's: an account's repositories, a repository's branches. Whoever types in a search box does not ask GitHub for each letter.

use crate::stand::{Stand, github_in_peace, variable};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// What the stand-in counts requests in, by method and path.
fn counters() -> String {
    format!("{}/_dev/requests", variable("PINACLE_GITHUB_URL").trim_end_matches('/'))
}

/// How often the stand-in was asked for a path of its API.
async fn asked(stand: &Stand, path: &str) -> u64 {
    let counted: Value = stand.http.get(counters()).send().await.expect("the stand-in answers").json().await.expect("JSON");
    counted[format!("GET /api/v3{path}")].as_u64().unwrap_or(0)
}

async fn list(stand: &Stand, token: &str, path: &str) -> Value {
    let answer = stand.api(token, Method::GET, path).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer.json().await.expect("JSON")
}

#[tokio::test]
async fn a_list_that_was_just_asked_for_is_given_again_to_the_same_account_without_asking() {
    let stand = Stand::open().await;
    for login in ["owner", "member"] {
        stand.sign_in(login).await;
    }
    let (owner, member) = (stand.token("owner", "read"), stand.token("member", "read"));
    let _peace = github_in_peace().await;
    // It counts so many paths, and those of other tests may be enough.
    let forgotten = stand.http.delete(counters()).send().await.expect("the stand-in answers");
    assert!(forgotten.status().is_success());
    // GitHub takes no notice of capitals, and these are in no other test.
    let (path, at_github) = ("/repositories/oWnEr/nOdE-sItE/branches", "/repos/oWnEr/nOdE-sItE/branches");
    let first = list(&stand, &owner, path).await;
    assert!(first["items"].as_array().is_some_and(|branches| branches.iter().any(|branch| branch["name"] == "main")), "{first}");
    assert_eq!(asked(&stand, at_github).await, 1);
    assert_eq!(list(&stand, &owner, path).await, first);
    assert_eq!(asked(&stand, at_github).await, 1, "it is given again");
    list(&stand, &member, path).await;
    assert_eq!(asked(&stand, at_github).await, 2, "what one account was answered is no other's");
}

#[tokio::test]
async fn repositories_are_searched_letter_by_letter_in_what_was_asked_for_once() {
    let stand = Stand::open().await;
    let login = stand.new_account().await;
    stand.sign_in(&login).await;
    let token = stand.token(&login, "read");
    let _peace = github_in_peace().await;
    let first = list(&stand, &token, "/repositories").await;
    // From now on GitHub refuses whatever this account asks.
    stand.github(&format!("/accounts/{login}"), json!({ "revoked": true })).await;
    assert_eq!(list(&stand, &token, "/repositories").await, first);
    for typed in ["n", "no", "nod", "node"] {
        list(&stand, &token, &format!("/repositories?search={typed}")).await;
    }
    let refused = stand.api(&token, Method::GET, "/repositories/owner/node-site/branches").send().await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::FORBIDDEN, "what was not asked for before is, and refused");
}
