//! Hydrates the page that the server rendered.

use leptos::prelude::document;
use pinacle_app::ui::clock::HYDRATED;
use wasm_bindgen::prelude::wasm_bindgen;

/// Called once by the page's script when the WASM is there.
#[wasm_bindgen]
pub async fn hydrate() {
    console_error_panic_hook::set_once();
    let Some(body) = document().body() else {
        leptos::logging::warn!("there is no page to hydrate");
        return;
    };
    // The code of the page itself comes in a file of its own.
    leptos::mount::hydrate_from_async(body, pinacle_app::App).await.forget();
    // For style and tests: from here on what is clicked is answered.
    if let Some(root) = document().document_element()
        && root.set_attribute(HYDRATED, "true").is_err()
    {
        leptos::logging::warn!("the page could not be marked as hydrated");
    }
}
