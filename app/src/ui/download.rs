//! Text that the page holds, as a file.

use super::icon::Icon;
use super::toast::Notice;
use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};

/// A button that saves `text` under the file's name. Without `label` it is an icon named by `name`.
#[component]
pub fn Download(
    #[prop(into)] text: Signal<String>,
    #[prop(into)] file: Signal<String>,
    #[prop(into)] name: String,
    #[prop(optional)] label: Option<&'static str>,
) -> impl IntoView {
    let notice = Notice::here();
    let save_it = move |_| {
        if save(&file.get_untracked(), &text.get_untracked()).is_err() {
            notice.say("The browser did not take the file.");
        }
    };
    let class = if label.is_some() { "btn" } else { "btn quiet small icon" };
    view! {
        <button type="button" class=class aria-label=label.is_none().then_some(name) on:click=save_it>
            <Icon name="down" />
            {label}
        </button>
    }
}

fn save(file: &str, text: &str) -> Result<(), JsValue> {
    let blob = web_sys::Blob::new_with_str_sequence(&js_sys::Array::of1(&JsValue::from_str(text)))?;
    let address = web_sys::Url::create_object_url_with_blob(&blob)?;
    let link: web_sys::HtmlAnchorElement = document().create_element("a")?.dyn_into()?;
    link.set_href(&address);
    link.set_download(file);
    link.click();
    web_sys::Url::revoke_object_url(&address)
}
