//! Keys that work on every page, and the list of all of them. Single letters never act in a field or a
//! terminal, and can be switched off.

use super::dialog::{self, Dialog};
use super::palette::PALETTE;
use super::refusal::bear;
use crate::teams::place::{new_pod_in, pods_of, secrets_of, slug_here};
use leptos::ev;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::use_navigate;
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, KeyboardEvent};

const KEYS: &str = "all-keys";
/// The browser's own setting: absent means on.
const SWITCH: &str = "single-letter-keys";

/// Whether single letters act.
pub fn letters_act() -> bool {
    storage().and_then(|kept| kept.get_item(SWITCH).ok().flatten()).is_none_or(|value| value != "off")
}

/// Switches single letters on or off in this browser.
pub fn set_letters_act(on: bool) {
    if let Some(kept) = storage() {
        bear("Keeping the setting", if on { kept.remove_item(SWITCH) } else { kept.set_item(SWITCH, "off") });
    }
}

fn storage() -> Option<web_sys::Storage> {
    window().local_storage().ok().flatten()
}

/// Where the key was pressed.
fn target(event: &KeyboardEvent) -> Option<HtmlElement> {
    event.target().and_then(|target| target.dyn_into::<HtmlElement>().ok())
}

fn in_terminal(event: &KeyboardEvent) -> bool {
    target(event).is_some_and(|element| element.closest("pinacle-terminal").ok().flatten().is_some())
}

/// A plain letter that no field, terminal or dialog is waiting for.
pub fn is_free_letter(event: &KeyboardEvent) -> bool {
    if event.ctrl_key() || event.meta_key() || event.alt_key() || event.default_prevented() || !letters_act() {
        return false;
    }
    let taken = target(event).is_some_and(|element| {
        matches!(element.tag_name().as_str(), "INPUT" | "TEXTAREA" | "SELECT")
            || element.is_content_editable()
            || element.closest("dialog, [popover], pinacle-terminal").ok().flatten().is_some()
    });
    !taken
}

/// Adds a key listener that goes with the caller's owner.
pub fn on_key(act: impl Fn(KeyboardEvent) + 'static) {
    Effect::new({
        let act = std::rc::Rc::new(act);
        move || {
            let act = act.clone();
            let listening = window_event_listener(ev::keydown, move |event| act(event));
            on_cleanup(move || listening.remove());
        }
    });
}

/// Moves the focus among the rows of a list; `by` is 1 or -1.
fn step_rows(by: i32) {
    let Ok(rows) = document().query_selector_all(".rowlink") else { return };
    let count = i32::try_from(rows.length()).unwrap_or(0);
    if count == 0 {
        return;
    }
    let focused = document().active_element();
    let at = (0..count).find(|&i| focused.as_ref().is_some_and(|f| rows.item(i.unsigned_abs()).is_some_and(|row| row.is_same_node(Some(f)))));
    let next = match at {
        Some(at) => (at + by).clamp(0, count - 1),
        None => 0,
    };
    if let Some(row) = rows.item(next.unsigned_abs()).and_then(|row| row.dyn_into::<HtmlElement>().ok()) {
        bear("The focus", row.focus());
    }
}

/// Moves the focus among the tabs of a tab list by its arrow keys; Enter opens the one that has it.
pub fn step_tabs(event: &KeyboardEvent) {
    let list = event.current_target().and_then(|list| list.dyn_into::<HtmlElement>().ok());
    let Some(tabs) = list.and_then(|list| list.query_selector_all("[role=tab]").ok()) else { return };
    let count = tabs.length();
    let focused = document().active_element();
    let at = (0..count).find(|&at| focused.as_ref().is_some_and(|focused| tabs.item(at).is_some_and(|tab| tab.is_same_node(Some(focused)))));
    let Some(at) = at else { return };
    let next = match event.key().as_str() {
        "ArrowRight" => (at + 1) % count,
        "ArrowLeft" => (at + count - 1) % count,
        "Home" => 0,
        "End" => count - 1,
        _ => return,
    };
    event.prevent_default();
    if let Some(tab) = tabs.item(next).and_then(|tab| tab.dyn_into::<HtmlElement>().ok()) {
        bear("The focus", tab.focus());
    }
}

fn focus_search() {
    let search = document().query_selector("#q").ok().flatten();
    if let Some(search) = search.and_then(|element| element.dyn_into::<web_sys::HtmlInputElement>().ok()) {
        bear("The focus", search.focus());
        search.select();
    }
}

/// Listens for the keys of every page.
#[component]
pub fn Shortcuts() -> impl IntoView {
    let navigate = use_navigate();
    let slug = slug_here();
    let goes = StoredValue::new(false);
    on_key(move |event| {
        let key = event.key();
        // In a terminal, Ctrl K belongs to the shell.
        if key.eq_ignore_ascii_case("k") && (event.meta_key() || (event.ctrl_key() && !in_terminal(&event))) {
            event.prevent_default();
            dialog::open(PALETTE);
            return;
        }
        if !is_free_letter(&event) {
            return;
        }
        if goes.get_value() {
            goes.set_value(false);
            let path = match key.as_str() {
                "p" => pods_of(slug.get_untracked().as_deref()),
                "s" => secrets_of(slug.get_untracked().as_deref()),
                "t" => match slug.get_untracked() {
                    Some(slug) => format!("/teams/{slug}"),
                    None => return,
                },
                "h" => "/hosts".to_owned(),
                "a" => "/account".to_owned(),
                _ => return,
            };
            navigate(&path, NavigateOptions::default());
            return;
        }
        match key.as_str() {
            "g" => goes.set_value(true),
            "n" => navigate(&new_pod_in(slug.get_untracked().as_deref()), NavigateOptions::default()),
            "/" => {
                event.prevent_default();
                focus_search();
            }
            "j" => step_rows(1),
            "k" => step_rows(-1),
            "?" => dialog::open(KEYS),
            _ => {}
        }
    });
}

/// The list of all keys, and the button in the foot that opens it.
#[component]
pub fn KeysDialog() -> impl IntoView {
    const ALL: [(&str, &str); 15] = [
        ("⌘K or Ctrl K", "Search or run a command; in a terminal only ⌘K"),
        ("/", "Search this list"),
        ("g p", "Go to pods"),
        ("g t", "Go to the team"),
        ("g s", "Go to secrets"),
        ("g a", "Go to your account"),
        ("g h", "Go to hosts, for operators"),
        ("n", "New pod"),
        ("j k ↵", "Down, up and open in a list"),
        ("t", "On a pod: into the terminal"),
        ("l", "On a pod: to the log"),
        ("⇧R ⇧S", "On a pod: restart, stop"),
        ("⇧Esc", "Out of the terminal"),
        ("Esc", "Close what is open"),
        ("?", "This list"),
    ];
    view! {
        <dialog::Opens dialog=KEYS class="plain">
            "Keyboard "
            <kbd>"?"</kbd>
        </dialog::Opens>
        <Dialog id=KEYS title="Keys">
            <div class="body">
                <dl class="facts keylist">
                    {ALL
                        .into_iter()
                        .map(|(key, does)| {
                            view! {
                                <div>
                                    <dt>
                                        <kbd>{key}</kbd>
                                    </dt>
                                    <dd>{does}</dd>
                                </div>
                            }
                        })
                        .collect_view()}
                </dl>
                <p class="dim small">"Single letters never act in a field or a terminal. They can be switched off in your account."</p>
            </div>
        </Dialog>
    }
}
