//! Native dialogs. Buttons open and close them by invoker commands, with a script as the older browsers' way.

use super::icon::Icon;
use super::refusal::bear;
use leptos::html;
use leptos::prelude::*;

/// Opens the dialog of this id; for older browsers, and for what opens one without a button.
pub fn open(id: &str) {
    if let Some(dialog) = find(id).filter(|dialog| !dialog.open()) {
        bear("The dialog", dialog.show_modal());
    }
}

/// Closes it, if it is open.
pub fn close(id: &str) {
    if let Some(dialog) = find(id).filter(|dialog| dialog.open()) {
        dialog.close();
    }
}

/// Closes a menu. A link inside leads on within the document: it would stay open over the next page.
pub fn hide(id: &str) {
    use wasm_bindgen::JsCast;
    let menu = document().get_element_by_id(id).and_then(|menu| menu.dyn_into::<web_sys::HtmlElement>().ok());
    if let Some(menu) = menu {
        bear("Closing the menu", menu.hide_popover());
    }
}

fn find(id: &str) -> Option<web_sys::HtmlDialogElement> {
    use wasm_bindgen::JsCast;
    document().get_element_by_id(id)?.dyn_into().ok()
}

/// A button that opens the dialog of this id.
#[component]
pub fn Opens(dialog: &'static str, #[prop(into)] class: String, #[prop(into, optional)] label: Option<String>, children: Children) -> impl IntoView {
    view! {
        <button type="button" class=class aria-label=label commandfor=dialog command="show-modal" on:click=move |_| open(dialog)>
            {children()}
        </button>
    }
}

/// A button that closes it.
#[component]
pub fn Closes(dialog: &'static str, #[prop(into)] class: String, children: Children) -> impl IntoView {
    view! {
        <button type="button" class=class commandfor=dialog command="close" on:click=move |_| close(dialog)>
            {children()}
        </button>
    }
}

/// A dialog with its heading and a way out; `children` are its body.
#[component]
pub fn Dialog(
    id: &'static str,
    #[prop(into)] title: Signal<String>,
    #[prop(optional)] node_ref: NodeRef<html::Dialog>,
    #[prop(optional)] class: &'static str,
    children: Children,
) -> impl IntoView {
    let heading = format!("{id}-heading");
    let labelled = heading.clone();
    view! {
        <dialog class=format!("dialog {class}") id=id aria-labelledby=labelled node_ref=node_ref>
            <div class="top">
                <h2 id=heading>{title}</h2>
                <button type="button" class="btn quiet small icon" aria-label="Close" commandfor=id command="close" on:click=move |_| close(id)>
                    <Icon name="x" />
                </button>
            </div>
            {children()}
        </dialog>
    }
}
