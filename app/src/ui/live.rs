//! Server-sent events, with a connection that mends itself and says when it is lost.

use super::clock::{Clock, now_millis};
use super::icon::Shape;
use super::problem::sign_in_again;
use super::status::Status;
use super::time;
use crate::account::api::account;
use crate::error::ErrorCode;
use leptos::prelude::*;
use leptos::task::spawn_local;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{EventSource, MessageEvent};

/// The page's connection to what is live. Times in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Nothing on this page is live.
    Idle,
    Live,
    Lost {
        last_news: i64,
    },
}

/// A loss is shown when it lasts: shorter ones mend unseen.
const SHOWN_AFTER_MS: i64 = 3000;
/// After an answer that was a refusal; twice as long after each, up to a limit.
const RETRY: Duration = Duration::from_secs(2);
const RETRY_AT_MOST: Duration = Duration::from_secs(32);

struct Source {
    source: EventSource,
    _news: Closure<dyn FnMut(MessageEvent)>,
    _open: Closure<dyn FnMut()>,
    _error: Closure<dyn FnMut()>,
}

/// Follows the stream at `url` in the browser, until the caller's owner is gone. `url` is asked at every attempt, so that it
/// can name what came last.
pub fn listen(url: impl Fn() -> String + 'static, on_news: impl Fn(&str) + 'static) {
    listen_again(url, on_news, || {});
}

/// As `listen`; `on_again` is called when a connection that was lost is there again: something may have gone by unheard.
pub fn listen_again(url: impl Fn() -> String + 'static, on_news: impl Fn(&str) + 'static, on_again: impl Fn() + 'static) {
    let link = expect_context::<RwSignal<Link>>();
    let url = Rc::new(url);
    let on_news = Rc::new(on_news);
    let opened = Cell::new(false);
    let on_open = Rc::new(move || {
        if opened.replace(true) {
            on_again();
        }
    });
    let slot = StoredValue::new_local(None::<Source>);
    on_cleanup(move || {
        slot.try_update_value(|held| {
            if let Some(held) = held.take() {
                held.source.close();
            }
        });
        link.set(Link::Idle);
    });
    connect(slot, link, url, on_news, on_open, Rc::new(Past { last_news: Cell::new(now_millis()), retry: Cell::new(RETRY) }));
}

/// Of all connections to one stream.
struct Past {
    last_news: Cell<i64>,
    /// How soon the next one is tried where the last was refused.
    retry: Cell<Duration>,
}

fn connect(
    slot: StoredValue<Option<Source>, LocalStorage>,
    link: RwSignal<Link>,
    url: Rc<impl Fn() -> String + 'static>,
    on_news: Rc<impl Fn(&str) + 'static>,
    on_open: Rc<impl Fn() + 'static>,
    past: Rc<Past>,
) {
    let Ok(source) = EventSource::new(&url()) else { return };
    let news = {
        let (on_news, past) = (on_news.clone(), past.clone());
        Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            past.last_news.set(now_millis());
            link.set(Link::Live);
            if let Some(text) = event.data().as_string() {
                on_news(&text);
            }
        })
    };
    let open = {
        let (on_open, past) = (on_open.clone(), past.clone());
        Closure::<dyn FnMut()>::new(move || {
            past.last_news.set(now_millis());
            past.retry.set(RETRY);
            link.set(Link::Live);
            on_open();
        })
    };
    let error = {
        let source = source.clone();
        Closure::<dyn FnMut()>::new(move || {
            if link.get_untracked() == Link::Live {
                past.last_news.set(now_millis());
            }
            link.set(Link::Lost { last_news: past.last_news.get() });
            // The browser tries again by itself unless the answer was an error.
            if source.ready_state() == EventSource::CLOSED {
                spawn_local(async {
                    // Which one it was is not said here.
                    if account().await.is_err_and(|error| error.code == ErrorCode::Unauthenticated) {
                        sign_in_again();
                    }
                });
                let (url, on_news, on_open, past) = (url.clone(), on_news.clone(), on_open.clone(), past.clone());
                let wait = past.retry.get();
                past.retry.set((wait * 2).min(RETRY_AT_MOST));
                set_timeout(
                    move || {
                        let gone = slot.try_with_value(|held| held.is_none()).unwrap_or(true);
                        if !gone {
                            connect(slot, link, url, on_news, on_open, past);
                        }
                    },
                    wait,
                );
            }
        })
    };
    source.set_onmessage(Some(news.as_ref().unchecked_ref()));
    source.set_onopen(Some(open.as_ref().unchecked_ref()));
    source.set_onerror(Some(error.as_ref().unchecked_ref()));
    let held = Source { source, _news: news, _open: open, _error: error };
    // The old closures must not be dropped while one of them runs: this is called from a timer.
    slot.try_update_value(|slot| *slot = Some(held));
}

/// `Live`, or that it is not and since when.
#[component]
pub fn LiveMark() -> impl IntoView {
    let link = expect_context::<RwSignal<Link>>();
    let clock = Clock::here();
    let lost = Memo::new(move |_| match link.get() {
        Link::Lost { last_news } if clock.now() - last_news > SHOWN_AFTER_MS => Some(last_news),
        _ => None,
    });
    view! {
        <span class="live" role="status">
            {move || match (link.get(), lost.get()) {
                (Link::Idle, _) => ().into_any(),
                (_, None) => view! { <Shape name="s-running" /> "Live" }.into_any(),
                (_, Some(last_news)) => {
                    view! {
                        <Status kind="slow" shape="s-slow" word="Reconnecting" />
                        // Growing figures are not read out.
                        <span aria-hidden="true">{move || format!("last news {} ago", time::span((clock.now() - last_news) / 1000))}</span>
                    }
                        .into_any()
                }
            }}
        </span>
    }
}

/// Why nothing can be changed now: the connection has been lost for longer than a moment.
pub fn offline_reason() -> Signal<Option<&'static str>> {
    let link = expect_context::<RwSignal<Link>>();
    let clock = Clock::here();
    Signal::derive(move || match link.get() {
        Link::Lost { last_news } if clock.now() - last_news > SHOWN_AFTER_MS => Some("Not while the connection is lost"),
        _ => None,
    })
}
