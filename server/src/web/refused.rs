//! What refused a form that was sent without JavaScript: the page that the browser is led back to says it, once.
//!
//! Leptos would write it into the address, where anybody could write anything and where it would stay. It goes into a
//! cookie for that one page instead.

use axum::{extract::Request, middleware::Next, response::Response};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, LOCATION, SET_COOKIE},
};
use leptos::server_fn::error::ServerFnUrlError;
use pinacle_app::{AppError, ui::toast::Refused};
use url::Url;

/// The prefix keeps a preview's subdomain from setting it.
const NAME: &str = "__Host-pinacle_refused";
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";
/// Seconds within which that page is asked for.
const MOST_AGE: u32 = 60;
/// Of what is said, in bytes: a cookie holds 4 KiB.
const MOST_SAID: usize = 2 << 10;

/// For answers of server functions: takes the refusal out of the address that the browser is led to.
pub fn out_of_the_address(response: &mut Response) {
    let led_to = response.headers().get(LOCATION).and_then(|address| address.to_str().ok());
    let Some(mut address) = led_to.and_then(|address| Url::parse(address).ok()) else { return };
    // The last: what stood in the address before is nobody's answer.
    let Some((_, error)) = address.query_pairs().filter(|(name, _)| name == "__err").last() else { return };
    let said = words(&ServerFnUrlError::<AppError>::decode_err(&error));
    let kept: Vec<(String, String)> = address
        .query_pairs()
        .filter(|(name, _)| name != "__err" && name != "__path")
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    address.set_query(None);
    if !kept.is_empty() {
        address.query_pairs_mut().extend_pairs(kept);
    }
    let cookie = format!("{NAME}={}; {ATTRIBUTES}; Max-Age={MOST_AGE}", BASE64_URL_SAFE_NO_PAD.encode(said));
    let headers = response.headers_mut();
    if let (Ok(address), Ok(cookie)) = (HeaderValue::from_str(address.as_str()), HeaderValue::from_str(&cookie)) {
        headers.insert(LOCATION, address);
        headers.append(SET_COOKIE, cookie);
    }
}

/// Each field's first message where there are several, else the one that there is.
fn words(error: &AppError) -> String {
    let mut said = match error.fields.len() {
        0 | 1 => error.message.clone(),
        _ => error.fields.values().filter_map(|all| all.first()).map(String::as_str).collect::<Vec<_>>().join(" "),
    };
    said.truncate(said.floor_char_boundary(MOST_SAID));
    said
}

/// For pages: hands them what they are to say.
pub async fn say(mut request: Request, next: Next) -> Response {
    let Some(said) = brought(request.headers()) else { return next.run(request).await };
    request.extensions_mut().insert(Refused(said));
    let mut response = next.run(request).await;
    let forgets = HeaderValue::from_str(&format!("{NAME}=; {ATTRIBUTES}; Max-Age=0"));
    if let Ok(forgets) = forgets {
        response.headers_mut().append(SET_COOKIE, forgets);
    }
    response
}

fn brought(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    let value = all.filter_map(|one| one.trim().split_once('=')).find(|(name, _)| *name == NAME)?.1;
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(value).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use pinacle_app::error::FieldErrors;

    fn led_back(error: AppError) -> Response {
        let address = ServerFnUrlError::new("/fn/teams/invite", error).to_url("https://pinacle.example/teams/t?kind=pods&__err=old").unwrap();
        Response::builder().status(302).header(LOCATION, address.as_str()).body(Body::empty()).unwrap()
    }

    #[test]
    fn what_was_refused_is_carried_beside_the_address_and_read_again() {
        let mut response = led_back(AppError::field("github_login", "Nobody is called “ä;=” at GitHub."));
        out_of_the_address(&mut response);
        assert_eq!(response.headers()[LOCATION], "https://pinacle.example/teams/t?kind=pods");
        let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
        let pair = cookie.split(';').next().unwrap();
        let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&format!("a=b; {pair}; c=d")).unwrap())]);
        assert_eq!(brought(&headers).as_deref(), Some("Nobody is called “ä;=” at GitHub."));
    }

    #[test]
    fn it_fits_a_cookie_and_names_every_field() {
        let two = FieldErrors::default().with("a", "First.").with("b", "Second.").into_error();
        assert_eq!(words(&two), "First. Second.");
        assert!(words(&AppError::field("a", "ä".repeat(5000))).len() <= MOST_SAID);
    }

    #[test]
    fn an_answer_without_one_stays_as_it_is() {
        let mut response = Response::builder().status(302).header(LOCATION, "/teams/t").body(Body::empty()).unwrap();
        out_of_the_address(&mut response);
        assert_eq!(response.headers()[LOCATION], "/teams/t");
        assert!(!response.headers().contains_key(SET_COOKIE));
    }
}
