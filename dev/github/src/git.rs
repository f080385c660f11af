//! Git over smart HTTP through git's own `http-backend` (a CGI program), streamed both ways.

use crate::{
    api::{ApiError, Caller},
    pages,
    repositories::{self, Git},
    world::Shared,
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::{any, get},
};
use futures::StreamExt;
use std::{io, path::Path as FilePath, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

/// A clone or push takes at most this long.
const GIT_DEADLINE: Duration = Duration::from_secs(120);
const BRANCHES_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of a push.
const MOST_PUSHED: usize = 256 * 1024 * 1024;
/// Bytes and lines of the CGI answer's head.
const MOST_HEAD: u64 = 16 * 1024;
const CHUNK: usize = 64 * 1024;
/// Bytes of what a clone asks for.
const MOST_ASKED: usize = 64 * 1024;
/// Between two words of an answer without end.
const PROGRESS: Duration = Duration::from_millis(20);

pub fn router() -> Router<Shared> {
    Router::new().route("/{owner}/{name}", get(page)).route("/{owner}/{name}/{*rest}", any(serve))
}

/// Branches of a bare repository with their commits, by name.
pub async fn branches(repository: &FilePath) -> io::Result<Vec<(String, String)>> {
    let mut command = git();
    command.arg("-C").arg(repository).args(["for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads"]);
    let output = timeout(BRANCHES_DEADLINE, command.kill_on_drop(true).output()).await??;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, sha)| (name.to_owned(), sha.to_owned())).collect())
}

/// Git without anything of this machine's configuration.
pub fn git() -> Command {
    let mut command = Command::new("git");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null());
    command
}

/// What a person sees who follows a repository's link.
async fn page(State(shared): State<Shared>, Path((owner, name)): Path<(String, String)>) -> Response {
    let found = repositories::find(&shared.world(), &owner, name.trim_end_matches(".git"), &Caller::nobody());
    match found {
        Some(repository) => {
            let full_name = format!("{owner}/{}", repository.name);
            Html(pages::repository(&full_name, repository.description, &shared.config.clone_address(&full_name))).into_response()
        }
        None => (StatusCode::NOT_FOUND, Html(pages::refused("There is no such repository."))).into_response(),
    }
}

async fn serve(
    State(shared): State<Shared>,
    caller: Result<Caller, ApiError>,
    Path((owner, name, rest)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    match backend(&shared, caller, (&owner, &name, &rest), request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

/// Without good credentials, ask for them: git then tries its credential helper.
fn unauthorized() -> Response {
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"GitHub\"")], "Repository not found.").into_response()
}

async fn backend(
    shared: &Shared,
    caller: Result<Caller, ApiError>,
    (owner, name, rest): (&str, &str, &str),
    request: Request,
) -> Result<Response, ApiError> {
    let Ok(caller) = caller else { return Ok(unauthorized()) };
    let name = name.strip_suffix(".git").unwrap_or(name);
    let found = repositories::find(&shared.world(), owner, name, &caller);
    let Some(repository) = found else {
        // As GitHub: who is nobody is asked to sign in, who is somebody gets 404.
        return if caller.account.is_none() { Ok(unauthorized()) } else { Err(ApiError::not_found()) };
    };
    let query = request.uri().query().unwrap_or_default().to_owned();
    let pushes = rest == "git-receive-pack" || query.contains("service=git-receive-pack");
    if pushes && caller.account.is_none() {
        return Ok(unauthorized());
    }
    if pushes && !caller.writes(&repository) {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "Permission denied"));
    }
    if repository.git == Git::Silent {
        // Until the client gives up, which drops this.
        std::future::pending::<()>().await;
    }
    let (request, asks_for_objects) = looked_into(request, repository.git).await?;
    if asks_for_objects {
        return Ok(endless());
    }
    let mut command = git();
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", shared.config.data_dir.join("repositories"))
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/{}.git/{rest}", repository.id))
        .env("REQUEST_METHOD", request.method().as_str())
        .env("QUERY_STRING", query);
    for (variable, name) in [
        ("CONTENT_TYPE", "content-type"),
        ("CONTENT_LENGTH", "content-length"),
        ("HTTP_CONTENT_ENCODING", "content-encoding"),
        ("GIT_PROTOCOL", "git-protocol"),
    ] {
        if let Some(value) = request.headers().get(name).and_then(|value| value.to_str().ok()) {
            command.env(variable, value);
        }
    }
    if let (true, Some(account)) = (pushes, &caller.account) {
        command.env("REMOTE_USER", &account.login);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(ApiError::broken)?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(ApiError::broken("git has no standard input or output"));
    };
    let mut body = request.into_body().into_data_stream();
    let feeder = tokio::spawn(async move {
        let mut sent = 0;
        while let Some(Ok(chunk)) = body.next().await {
            sent += chunk.len();
            if sent > MOST_PUSHED || stdin.write_all(&chunk).await.is_err() {
                break;
            }
        }
    });
    let mut running = Running { child, stdout: BufReader::new(stdout), feeder, until: Instant::now() + GIT_DEADLINE };
    let mut response = timeout_at(running.until, head(&mut running.stdout))
        .await
        .map_err(|_| ApiError::new(StatusCode::GATEWAY_TIMEOUT, "git took too long"))?
        .map_err(ApiError::broken)?;
    *response.body_mut() = Body::from_stream(futures::stream::try_unfold(running, next_chunk));
    Ok(response)
}

/// Whether a repository whose answer has no end is asked for it (git's protocol, version 2).
async fn looked_into(request: Request, behaves: Git) -> Result<(Request, bool), ApiError> {
    if behaves != Git::Endless {
        return Ok((request, false));
    }
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MOST_ASKED).await.map_err(ApiError::broken)?;
    let asks_for_objects = body.windows(13).any(|words| words == b"command=fetch");
    Ok((Request::from_parts(parts, Body::from(body)), asks_for_objects))
}

/// Says how far it has come, for ever.
fn endless() -> Response {
    let first = futures::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"000dpackfile\n"))]);
    let progress = futures::stream::unfold((), |()| async {
        tokio::time::sleep(PROGRESS).await;
        Some((Ok(Bytes::from_static(b"0014\x02still counting\n").repeat(20).into()), ()))
    });
    ([(header::CONTENT_TYPE, "application/x-git-upload-pack-result")], Body::from_stream(first.chain(progress))).into_response()
}

/// A CGI program that answers; ended, with the task that feeds it, when its reader goes away.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    feeder: JoinHandle<()>,
    until: Instant,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.feeder.abort();
    }
}

async fn next_chunk(mut running: Running) -> io::Result<Option<(Bytes, Running)>> {
    let mut chunk = vec![0; CHUNK];
    let read = timeout_at(running.until, running.stdout.read(&mut chunk)).await??;
    if read == 0 {
        timeout_at(running.until, running.child.wait()).await??;
        return Ok(None);
    }
    chunk.truncate(read);
    Ok(Some((Bytes::from(chunk), running)))
}

/// Status and headers before the empty line (RFC 3875, 6.3).
async fn head(stdout: &mut BufReader<ChildStdout>) -> io::Result<Response> {
    let mut response = Response::new(Body::empty());
    let mut limited = stdout.take(MOST_HEAD);
    loop {
        let mut line = String::new();
        if limited.read_line(&mut line).await? == 0 {
            return Err(io::Error::other("git http-backend ended before its answer began"));
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap_or_default();
            *response.status_mut() = StatusCode::from_bytes(code.as_bytes()).map_err(io::Error::other)?;
        } else {
            let name = HeaderName::try_from(name).map_err(io::Error::other)?;
            response.headers_mut().insert(name, HeaderValue::try_from(value).map_err(io::Error::other)?);
        }
    }
    Ok(response)
}
