//! Hydrates the page that the server rendered.
