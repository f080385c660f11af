//! The stand-in as Pinacle and git see it.

use crate::{config::Config, git::git, samples, serve::router, world::Shared};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, connect_info::MockConnectInfo},
    http::{Request, Response, StatusCode, header},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{net::SocketAddr, path::PathBuf};
use tower::ServiceExt;
use url::Url;

const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-long";

/// A stand-in with a folder of its own, removed at the end.
struct Stand {
    router: Router,
    folder: PathBuf,
}

impl Drop for Stand {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("{} stays behind: {error}", self.folder.display());
        }
    }
}

impl Stand {
    async fn open() -> Self {
        let folder = std::env::temp_dir().join(crate::world::secret("pinacle-github-"));
        let url = |text| Url::parse(text).expect("an address");
        let config = Config {
            listen: vec![],
            data_dir: folder.clone(),
            url: url("http://localhost:3001"),
            git_url: url("http://git.test"),
            callback: url("http://localhost:3000/auth"),
            app_id: None,
            app_key: None,
            client_id: "id".into(),
            client_secret: "secret".into(),
        };
        samples::write(&folder).await.expect("samples");
        let router = router(Shared::open(config).expect("a world")).layer(MockConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9))));
        Self { router, folder }
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.expect("infallible")
    }

    async fn get(&self, path: &str, token: Option<&str>) -> (StatusCode, Value) {
        let mut request = Request::get(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        json_of(self.send(request.body(Body::empty()).expect("a request")).await).await
    }

    async fn post(&self, path: &str, token: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::post(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()));
        json_of(self.send(request.expect("a request")).await).await
    }

    async fn code(&self, login: &str) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let path = format!(
            "/login/oauth/authorize?client_id=id&state=s1&scope=repo&redirect_uri=http%3A%2F%2Flocalhost%3A3000%2Fauth%2Fcallback&code_challenge={challenge}&code_challenge_method=S256&login={login}"
        );
        let response = self.send(Request::get(path).body(Body::empty()).expect("a request")).await;
        let location = response.headers()[header::LOCATION].to_str().expect("text");
        let location = Url::parse(location).expect("an address");
        assert_eq!(location.path(), "/auth/callback");
        assert!(location.query_pairs().any(|(name, value)| name == "state" && value == "s1"));
        location.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned()
    }

    async fn exchange(&self, code: &str, verifier: &str) -> Value {
        let body = format!("client_id=id&client_secret=secret&code={code}&code_verifier={verifier}");
        let request = Request::post("/login/oauth/access_token")
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body));
        json_of(self.send(request.expect("a request")).await).await.1
    }

    async fn token(&self, login: &str) -> String {
        let answer = self.exchange(&self.code(login).await, VERIFIER).await;
        answer["access_token"].as_str().expect("a token").to_owned()
    }
}

async fn json_of(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_code_is_good_once_and_only_with_its_verifier() {
    let stand = Stand::open().await;
    let code = stand.code("owner").await;
    assert_eq!(stand.exchange(&code, "another-verifier").await["error"], "bad_verification_code");
    assert_eq!(stand.exchange(&code, VERIFIER).await["error"], "bad_verification_code", "the first try used it up");
    let token = stand.token("owner").await;
    let (status, me) = stand.get("/api/v3/user", Some(&token)).await;
    assert_eq!((status, &me["id"], &me["login"]), (StatusCode::OK, &json!(1001), &json!("owner")));
    assert_eq!(stand.get("/api/v3/user", Some("gho_wrong")).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_redirect_elsewhere_is_refused() {
    let stand = Stand::open().await;
    for redirect in ["http://localhost:3000/authentic", "http://evil.test/auth", "http://localhost:3001/auth"] {
        let path = format!("/login/oauth/authorize?client_id=id&login=owner&redirect_uri={redirect}");
        let response = stand.send(Request::get(path).body(Body::empty()).expect("a request")).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{redirect}");
    }
}

#[tokio::test]
async fn what_is_private_is_not_there_for_others() {
    let stand = Stand::open().await;
    let (owner, outsider) = (stand.token("owner").await, stand.token("outsider").await);
    assert_eq!(stand.get("/api/v3/repos/owner/private", Some(&owner)).await.0, StatusCode::OK);
    for token in [None, Some(outsider.as_str())] {
        assert_eq!(stand.get("/api/v3/repos/owner/private", token).await.0, StatusCode::NOT_FOUND);
    }
    let (_, branches) = stand.get("/api/v3/repos/owner/node-site/branches", Some(&outsider)).await;
    let names: Vec<&str> = branches.as_array().expect("a list").iter().filter_map(|branch| branch["name"].as_str()).collect();
    assert_eq!(names, ["feature/dark-mode", "main", "release-1"]);
    assert_eq!(stand.get("/api/v3/repos/owner/node-site/branches/feature/dark-mode", None).await.0, StatusCode::OK);
    assert_eq!(stand.get("/api/v3/repos/owner/empty/branches", None).await.1, json!([]));
}

#[tokio::test]
async fn lists_come_in_pages_that_link_to_the_next() {
    let stand = Stand::open().await;
    let token = stand.token("owner").await;
    let request = Request::get("/api/v3/user/repos?per_page=4").header(header::AUTHORIZATION, format!("token {token}"));
    let response = stand.send(request.body(Body::empty()).expect("a request")).await;
    let link = response.headers()[header::LINK].to_str().expect("text").to_owned();
    let etag = response.headers()[header::ETAG].clone();
    assert!(link.contains("<http://localhost:3001/api/v3/user/repos?per_page=4&page=2>; rel=\"next\""), "{link}");
    assert_eq!(json_of(response).await.1.as_array().map(Vec::len), Some(4));
    let again =
        Request::get("/api/v3/user/repos?per_page=4").header(header::AUTHORIZATION, format!("token {token}")).header(header::IF_NONE_MATCH, etag);
    assert_eq!(stand.send(again.body(Body::empty()).expect("a request")).await.status(), StatusCode::NOT_MODIFIED);
    let owned = crate::repositories::all().filter(|repository| repository.owner == 1001).count();
    assert_eq!(stand.get("/api/v3/user/repos?per_page=4&page=2", Some(&token)).await.1.as_array().map(Vec::len), Some((owned - 4).min(4)));
}

#[tokio::test]
async fn a_deploy_key_is_added_once_and_removed() {
    let stand = Stand::open().await;
    let (owner, outsider) = (stand.token("owner").await, stand.token("outsider").await);
    let keys = "/api/v3/repos/owner/node-site/keys";
    let key = json!({ "title": "pod", "key": "ssh-ed25519 AAAAC3Nz pod@pinacle", "read_only": false });
    assert_eq!(stand.post(keys, &outsider, key.clone()).await.0, StatusCode::NOT_FOUND);
    let (status, made) = stand.post(keys, &owner, key.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(stand.post(keys, &owner, key).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let one = format!("{keys}/{}", made["id"]);
    let remove = || Request::delete(&one).header(header::AUTHORIZATION, format!("Bearer {owner}")).body(Body::empty()).expect("a request");
    assert_eq!(stand.send(remove()).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(stand.send(remove()).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_fault_strikes_as_often_as_it_was_told() {
    let stand = Stand::open().await;
    for (mode, status) in [("error500", 500), ("rate_limited", 403), ("revoked", 401)] {
        let (told, _) = stand.post("/_dev/fail", "", json!({ "path": "/users", "mode": mode, "times": 1 })).await;
        assert_eq!(told, StatusCode::NO_CONTENT);
        assert_eq!(stand.get("/api/v3/users/owner", None).await.0.as_u16(), status);
        assert_eq!(stand.get("/api/v3/users/owner", None).await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_renamed_account_keeps_its_number_and_its_name_goes_to_another() {
    let stand = Stand::open().await;
    let token = stand.token("member").await;
    assert_eq!(stand.post("/_dev/accounts/member", "", json!({ "login": "renamed", "verified": false })).await.0, StatusCode::OK);
    assert_eq!(stand.get("/api/v3/user", Some(&token)).await.1["id"], 1002);
    assert_eq!(stand.get("/api/v3/user/emails", Some(&token)).await.1[0]["verified"], false);
    let (_, other) = stand.post("/_dev/accounts", "", json!({ "login": "member" })).await;
    assert_eq!(other["id"], 1006);
    stand.post("/_dev/accounts/renamed", "", json!({ "revoked": true })).await;
    assert_eq!(stand.get("/api/v3/user", Some(&token)).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn only_loopback_may_switch_faults() {
    let stand = Stand::open().await;
    let mut request = Request::get("/_dev/accounts").body(Body::empty()).expect("a request");
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([10, 77, 0, 2], 9))));
    assert_eq!(stand.send(request).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn git_clones_what_it_may_and_its_owner_can_push() {
    let stand = Stand::open().await;
    let token = stand.token("owner").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    let app = stand.router.clone();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let into = |name: &str| stand.folder.join(name).display().to_string();
    let run = async |arguments: &[&str]| git().args(arguments).output().await.expect("git").status.success();

    assert!(run(&["clone", "-q", "--branch", "release-1", &format!("http://{at}/owner/node-site.git"), &into("site")]).await);
    assert!(stand.folder.join("site/VERSION").exists());
    assert!(run(&["clone", "-q", &format!("http://{at}/owner/empty"), &into("empty")]).await);
    assert!(!run(&["clone", "-q", &format!("http://{at}/owner/private.git"), &into("no")]).await);
    assert!(!run(&["clone", "-q", &format!("http://{at}/owner/missing.git"), &into("no")]).await);
    let own = format!("http://x-access-token:{token}@{at}/owner/private.git");
    assert!(run(&["clone", "-q", &own, &into("private")]).await);
    let commit = ["-C", &into("private"), "-c", "user.name=o", "-c", "user.email=o@example.test", "commit", "-q", "--allow-empty", "-m", "more"];
    assert!(run(&commit).await);
    assert!(run(&["-C", &into("private"), "push", "-q", "origin", "main"]).await);
    assert!(!run(&["-C", &into("site"), "push", "-q", "origin", "release-1:refs/heads/mine"]).await, "nobody may push without signing in");
    server.abort();
}
