//! How each operation refuses: every status that it may answer with stands in the document, so that a client is never
//! surprised (and a test can tell).

use pinacle_app::ErrorCode;
use std::collections::BTreeSet;
use utoipa::openapi::{
    ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder,
    path::{Operation, ParameterIn},
};

const JSON: &str = "application/json";
/// Whoever asks for whatever.
const ALWAYS: [ErrorCode; 5] =
    [ErrorCode::Unauthenticated, ErrorCode::Forbidden, ErrorCode::RateLimited, ErrorCode::Internal, ErrorCode::Unavailable];

pub fn add_problems(document: &mut OpenApi) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    for (path, item) in &mut document.paths.paths {
        let methods = [(false, &mut item.get), (true, &mut item.put), (true, &mut item.post), (true, &mut item.delete), (true, &mut item.patch)];
        for (changes, operation) in methods {
            let Some(operation) = operation else { continue };
            for status in refusals(path, changes, operation) {
                let response = ResponseBuilder::new().description(description(status)).content("application/problem+json", content.clone()).build();
                operation.responses.responses.insert(status.to_string(), RefOr::T(response));
            }
        }
    }
}

fn refusals(path: &str, changes: bool, operation: &Operation) -> BTreeSet<u16> {
    let mut codes = ALWAYS.to_vec();
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    // To everybody but operators there are no hosts, and to who is in no such team nothing of its.
    let of_team = parameters.iter().any(|parameter| parameter.name == "team_id");
    if path.contains('{') || path.starts_with("/hosts") || of_team {
        codes.push(ErrorCode::NotFound);
    }
    if parameters.iter().any(|parameter| parameter.parameter_in != ParameterIn::Path || parameter.name == "name") {
        codes.push(ErrorCode::Invalid);
    }
    if let Some(body) = &operation.request_body {
        codes.extend([ErrorCode::BadRequest, ErrorCode::TooLarge, ErrorCode::Invalid]);
        if body.content.contains_key(JSON) {
            codes.push(ErrorCode::UnsupportedMediaType);
        }
    }
    let is_inside = operation.tags.as_deref().unwrap_or_default().iter().any(|tag| tag == super::INSIDE);
    // Names are taken, and not everything can be done in every state.
    if changes || is_inside {
        codes.push(ErrorCode::WrongState);
    }
    if operation.responses.responses.contains_key("101") {
        codes.push(ErrorCode::BadRequest);
    }
    codes.into_iter().map(ErrorCode::status).collect()
}

fn description(status: u16) -> &'static str {
    match status {
        400 => "The body or the request can't be read",
        401 => "No API token, or none that is good",
        403 => "The token's scope, the user's rights or the quota do not allow it (`forbidden`, `quota_exceeded`)",
        404 => "Unknown, or somebody else's",
        409 => "Not in this state, or a name that is taken (`wrong_state`, `taken`)",
        413 => "Too large",
        415 => "Another media type",
        422 => "Fields that break their rules: `errors` has messages by field",
        429 => "Too often, or too many at the same time: come again after Retry-After seconds",
        503 => "A part that this needs does not answer",
        _ => "A fault of ours; it has been logged",
    }
}
