//! Hydrates the page that the server rendered.

use wasm_bindgen::prelude::wasm_bindgen;

/// Called once by the page's script when the WASM is there.
#[wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_body(pinacle_app::App);
    // For style and tests: from here on what is clicked is answered.
    if let Some(root) = leptos::prelude::document().document_element()
        && root.set_attribute("data-hydrated", "true").is_err()
    {
        leptos::logging::warn!("the page could not be marked as hydrated");
    }
}
