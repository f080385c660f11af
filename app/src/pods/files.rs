//! One file up or down. Downloading is a plain form, sent once the pod would give the file; uploading sends the file as it is.

use super::PodStatus;
use super::feed::Feed;
use crate::ui::icon::Icon;
use crate::ui::refusal::bear;
use crate::ui::toast::Notice;
use leptos::ev::SubmitEvent;
use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, File, RequestInit, Response};

const MOST_BYTES: f64 = 1_073_741_824.0;

#[component]
pub fn Files(feed: Feed) -> impl IntoView {
    let notice = Notice::here();
    let address = format!("/live/pods/{}/files", feed.id);
    let form = NodeRef::<html::Form>::new();
    let path = NodeRef::<html::Input>::new();
    let chosen = NodeRef::<html::Input>::new();
    let sending = RwSignal::new(None::<String>);
    let typed = move || path.get_untracked().map(|input| input.value()).unwrap_or_default();
    let download = {
        let address = address.clone();
        move |event: SubmitEvent| {
            event.prevent_default();
            let Some(form) = form.get_untracked() else { return };
            let address = with_path(&address, &typed());
            spawn_local(async move {
                match ask(&address).await {
                    // The form's own way, which asks nobody again.
                    Ok(()) => bear("The download", form.submit()),
                    Err(reason) => notice.say(reason),
                }
            });
        }
    };
    let upload = {
        let address = address.clone();
        move |_| {
            let Some(input) = chosen.get_untracked() else { return };
            let Some(file) = input.files().and_then(|files| files.get(0)) else { return };
            // Chosen again, the same file counts as chosen again.
            input.set_value("");
            if file.size() > MOST_BYTES {
                return notice.say("A file can have 1 GiB at most.");
            }
            let target = target(&typed(), &file.name());
            let address = with_path(&address, &target);
            sending.set(Some(file.name()));
            spawn_local(async move {
                let said = match put(&address, &file).await {
                    Ok(()) => format!("{target} is in the pod."),
                    Err(reason) => reason,
                };
                sending.try_set(None);
                notice.say(said);
            });
        }
    };
    view! {
        <Show when=move || feed.pod.with(|pod| pod.status == PodStatus::Running)>
            <section class="sec" aria-labelledby="h-files">
                <header>
                    <h2 id="h-files">"Files"</h2>
                </header>
                <form class="filebox" method="get" action=address.clone() on:submit=download.clone() node_ref=form>
                    <div class="field">
                        <label for="file-path">"Path in the pod"</label>
                        <input
                            class="input mono"
                            id="file-path"
                            name="path"
                            required
                            placeholder="/home/dev/notes.txt"
                            autocomplete="off"
                            spellcheck="false"
                            node_ref=path
                        />
                    </div>
                    <p class="acts under">
                        <button type="submit" class="btn small">
                            <Icon name="down" />
                            "Download"
                        </button>
                        <label class="btn small">
                            <Icon name="up" />
                            {move || sending.get().map_or_else(|| "Upload a file".to_owned(), |name| format!("Sending {name}…"))}
                            <input
                                type="file"
                                class="sr"
                                node_ref=chosen
                                prop:disabled=move || sending.get().is_some()
                                on:change=upload.clone()
                            />
                        </label>
                    </p>
                </form>
            </section>
        </Show>
    }
}

/// A path that ends in `/`, or none, gets the file's own name.
fn target(typed: &str, name: &str) -> String {
    match typed.trim() {
        "" => format!("/home/dev/{name}"),
        folder if folder.ends_with('/') => format!("{folder}{name}"),
        path => path.to_owned(),
    }
}

fn with_path(address: &str, path: &str) -> String {
    format!("{address}?{}", url::form_urlencoded::Serializer::new(String::new()).append_pair("path", path).finish())
}

/// Whether the pod gives the file, of which nothing is loaded yet: a refused download would take the place of the page.
async fn ask(address: &str) -> Result<(), String> {
    let Ok(stop) = AbortController::new() else { return Ok(()) };
    let init = RequestInit::new();
    init.set_signal(Some(&stop.signal()));
    let asked = fetch(address, &init, "The pod did not give the file. Check the path and try again.").await;
    stop.abort();
    asked
}

async fn put(address: &str, file: &File) -> Result<(), String> {
    let init = RequestInit::new();
    init.set_method("PUT");
    init.set_body(file);
    fetch(address, &init, "The pod did not take the file. Check the path and try again.").await
}

/// What the server says in a refusal, or else `refusal`.
async fn fetch(address: &str, init: &RequestInit, refusal: &str) -> Result<(), String> {
    let answer = JsFuture::from(window().fetch_with_str_and_init(address, init)).await;
    let Some(answer) = answer.ok().and_then(|answer| answer.dyn_into::<Response>().ok()) else {
        return Err("The server can't be reached. Check the connection and try again.".to_owned());
    };
    if answer.ok() {
        return Ok(());
    }
    let detail = match answer.text() {
        Ok(text) => JsFuture::from(text).await.ok().and_then(|text| text.as_string()),
        Err(_) => None,
    };
    let said = detail.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let said = said.and_then(|body| ["detail", "message"].iter().find_map(|key| body.get(key)?.as_str().map(str::to_owned)));
    Err(said.unwrap_or_else(|| refusal.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::target;

    #[test]
    fn a_folder_gets_the_files_own_name() {
        assert_eq!(target("", "a.txt"), "/home/dev/a.txt");
        assert_eq!(target("/tmp/", "a.txt"), "/tmp/a.txt");
        assert_eq!(target(" /tmp/b ", "a.txt"), "/tmp/b");
    }
}
