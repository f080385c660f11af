//! The few pages of the stand-in, plain HTML that says what it is.

use crate::{accounts::Account, oauth::Ask};
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:0;background:#f6f7f9;color:#1b1f24;color-scheme:light dark}\
main{max-width:23rem;margin:12vh auto;padding:24px;background:#fff;border:1px solid #d8dde3;border-radius:8px}\
h1{font-size:18px;margin:0 0 4px}p{margin:0 0 16px;color:#57606a}\
button{display:flex;gap:10px;align-items:center;width:100%;padding:8px 12px;margin:0 0 8px;font:inherit;text-align:left;background:none;color:inherit;border:1px solid #d8dde3;border-radius:6px;cursor:pointer}\
button:hover,button:focus-visible{border-color:#0969da}button small{color:#57606a;margin-left:auto}button.quiet{border:0;justify-content:center;margin:8px 0 0}\
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}main{background:#161b22}main,button{border-color:#30363d}p,button small{color:#9198a1}}";

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><link rel=icon href=\"data:,\">\
         <title>{title}</title><style>{STYLE}</style><main>{body}</main></html>"
    )
}

/// Which account to sign in with; one button each, and one that refuses.
pub fn authorize(ask: &Ask, accounts: &[Account], host: &str) -> String {
    let mut body = format!(
        "<h1>Authorize Pinacle</h1><p>Local stand-in for GitHub. Choose who signs in to {}.</p><form method=post action=\"/login/oauth/authorize\">",
        escape(host)
    );
    let fields = serde_json::to_value(ask).unwrap_or_default();
    for (name, value) in fields.as_object().into_iter().flatten() {
        if let (Some(text), true) = (value.as_str(), name != "login") {
            // Writing to a String does not fail.
            let _ = write!(body, "<input type=hidden name=\"{}\" value=\"{}\">", escape(name), escape(text));
        }
    }
    for account in accounts {
        let (login, name) = (escape(&account.login), escape(&account.name));
        let _ = write!(body, "<button name=login value=\"{login}\">{login}<small>{name}</small></button>");
    }
    body.push_str("<button class=quiet name=cancel value=1>Cancel</button></form>");
    page("Authorize Pinacle", &body)
}

pub fn refused(sentence: &str) -> String {
    page("Refused", &format!("<h1>That does not work</h1><p>{}</p>", escape(sentence)))
}

pub fn repository(full_name: &str, description: &str, clone: &str) -> String {
    let (full_name, description, clone) = (escape(full_name), escape(description), escape(clone));
    page(&full_name, &format!("<h1>{full_name}</h1><p>{description}</p><code>git clone {clone}</code>"))
}

/// A disc in a colour of the account's own.
pub fn avatar(id: u64) -> String {
    let hue = (id * 67) % 360;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 40 40\"><rect width=\"40\" height=\"40\" fill=\"hsl({hue} 45% 55%)\"/>\
         <circle cx=\"20\" cy=\"16\" r=\"7\" fill=\"#fff\"/><path d=\"M6 40a14 14 0 0 1 28 0z\" fill=\"#fff\"/></svg>"
    )
}
