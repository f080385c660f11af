//! What a browser may refuse without harm: focus, full screen, storage. It is said in its console, and the page goes on.

use wasm_bindgen::JsValue;

/// `what` is a sentence's begin, such as `The focus`.
pub fn bear<T>(what: &str, result: Result<T, JsValue>) {
    if let Err(error) = result {
        leptos::logging::warn!("{what} was refused: {error:?}");
    }
}
