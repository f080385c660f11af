//! A pod's log: follows until scrolled up, can be searched and copied, and keeps only a window of a long one in the page.

use super::feed::Feed;
use super::lines::Line;
use crate::ui::copy::Copy;
use crate::ui::download::Download;
use crate::ui::icon::Icon;
use crate::ui::live::LiveMark;
use crate::ui::time::{count, thousands};
use leptos::html;
use leptos::prelude::*;

/// Up to here all lines are in the page and may wrap; above, rows have one height and only those in sight are there.
const ALL_UP_TO: usize = 600;
/// Pixels, as the sheet has it: 1.25rem.
const ROW: f64 = 20.0;
/// Rows kept around those in sight.
const AROUND: usize = 60;
/// Rows by which the window moves.
const MOVED_BY: usize = 30;
/// The window that the server renders: the log's end.
const AT_FIRST: usize = 120;
/// Pixels from the end that still count as following.
const NEAR_END: i32 = 24;

#[component]
pub fn Log(feed: Feed, jump: RwSignal<Option<&'static str>>) -> impl IntoView {
    let lines = feed.lines;
    let view = NodeRef::<html::Div>::new();
    let follow = RwSignal::new(true);
    let sought = RwSignal::new(String::new());
    let top = RwSignal::new(None::<usize>);
    // How many lines were there when following stopped.
    let seen = RwSignal::new(0usize);

    let found = Memo::new(move |_| {
        let sought = sought.read().to_lowercase();
        (!sought.is_empty()).then(|| {
            lines.with(|all| {
                all.iter().enumerate().filter(|(_, line)| line.text.to_lowercase().contains(&sought)).map(|(at, _)| at).collect::<Vec<_>>()
            })
        })
    });
    let shown = move || found.with(|found| found.as_ref().map_or_else(|| lines.with(Vec::len), Vec::len));
    let many = Memo::new(move |_| shown() > ALL_UP_TO);
    let window = Memo::new(move |_| {
        let all = shown();
        if !many.get() {
            return (0, all);
        }
        match top.get() {
            Some(top) => (top.saturating_sub(AROUND).min(all), (top + 3 * AROUND).min(all)),
            None => (all.saturating_sub(AT_FIRST), all),
        }
    });

    // Width and height that it was last laid out in.
    let laid_out = StoredValue::new((0, 0));
    let to_end = move || {
        if let Some(view) = view.get_untracked() {
            laid_out.set_value((view.client_width(), view.client_height()));
            view.set_scroll_top(view.scroll_height());
        }
    };
    Effect::new(move || {
        shown();
        if follow.get() && found.with(Option::is_none) {
            top.set(None);
            request_animation_frame(to_end);
        }
    });
    // Draws the rows around those in sight; moved by many at once, so that most scrolling draws nothing anew.
    let settle = move || {
        let Some(view) = view.get_untracked() else { return };
        if many.get_untracked() {
            let row = (f64::from(view.scroll_top()) / ROW) as usize;
            top.set(Some(row / MOVED_BY * MOVED_BY));
        }
    };
    // Another search has another height: where it left the reader is found out once it is laid out.
    Effect::new(move || {
        if found.with(Option::is_some) || !follow.get_untracked() {
            request_animation_frame(settle);
        }
    });
    let scrolled = move |_| {
        let Some(view) = view.get_untracked() else { return };
        // Following is a matter of the whole log, not of what was found in it.
        if found.with_untracked(Option::is_some) {
            return settle();
        }
        // A window of another size scrolls it, too, and that is nobody's wish.
        if follow.get_untracked() && laid_out.get_value() != (view.client_width(), view.client_height()) {
            return to_end();
        }
        let left = view.scroll_height() - view.scroll_top() - view.client_height();
        if left <= NEAR_END {
            follow.set(true);
        } else if follow.get_untracked() {
            seen.set(lines.with_untracked(Vec::len));
            follow.set(false);
        }
        if !follow.get_untracked() {
            settle();
        }
    };
    Effect::new(move || {
        let Some(step) = jump.get() else { return };
        jump.set(None);
        sought.set(String::new());
        let at = lines.with_untracked(|all| all.iter().rposition(|line| line.first && line.step == step));
        let (Some(at), Some(view)) = (at, view.get_untracked()) else { return };
        seen.set(lines.with_untracked(Vec::len));
        follow.set(false);
        if many.get_untracked() {
            top.set(Some(at));
            view.set_scroll_top((at as f64 * ROW) as i32);
        }
        request_animation_frame(move || {
            if let Some(line) = document().get_element_by_id(&format!("l-{step}")) {
                line.scroll_into_view();
            }
        });
    });

    let rows = move || {
        let (from, to) = window.get();
        let sought = sought.get();
        lines.with(|all| {
            let picked: Vec<&Line> = found.with(|found| match found {
                Some(found) => found.get(from..to).unwrap_or_default().iter().filter_map(|at| all.get(*at)).collect(),
                None => all.get(from..to).unwrap_or_default().iter().collect(),
            });
            picked.into_iter().map(|line| view! { <Row line=line.clone() sought=sought.clone() /> }).collect_view()
        })
    };
    let pad = move |rows: usize| format!("block-size: {}px", rows as f64 * ROW);
    view! {
        <section class="panel" aria-labelledby="h-log" id="log">
            <header>
                <h2 id="h-log">"Log"</h2>
                <div class="search fit">
                    <Icon name="search" />
                    <label class="sr" for="find">
                        "Search the log"
                    </label>
                    <input
                        class="input small"
                        id="find"
                        type="search"
                        placeholder=move || format!("Search {} lines", thousands(lines.with(Vec::len) as u64))
                        prop:value=move || sought.get()
                        on:input=move |event| sought.set(event_target_value(&event))
                    />
                </div>
                <Copy text=feed.log_text() name="Copy log" />
                <Download text=feed.log_text() file=feed.log_file() name="Download log" />
            </header>
            <div
                class="log"
                class:many=move || many.get()
                role="log"
                aria-live="off"
                aria-labelledby="h-log"
                tabindex="0"
                node_ref=view
                on:scroll=scrolled
            >
                <Show when=move || shown() == 0>
                    <p class="nothing">
                        {move || if found.with(Option::is_some) { "No line holds that." } else { "No lines yet. They come as soon as something is done with the pod." }}
                    </p>
                </Show>
                <div style=move || pad(window.get().0)></div>
                <ol>{rows}</ol>
                <div style=move || pad(shown().saturating_sub(window.get().1))></div>
            </div>
            <div class="follow">
                <label>
                    <input
                        type="checkbox"
                        prop:checked=move || follow.get()
                        checked=true
                        on:change=move |event| {
                            seen.set(lines.with_untracked(Vec::len));
                            follow.set(event_target_checked(&event));
                        }
                    />
                    " Follow new lines"
                </label>
                {move || {
                    let new = lines.with(Vec::len).saturating_sub(seen.get());
                    (!follow.get() && new > 0)
                        .then(|| {
                            view! {
                                <button type="button" class="btn small" on:click=move |_| follow.set(true)>
                                    <Icon name="down" />
                                    {count(new as u64, "new line", "new lines")}
                                </button>
                            }
                        })
                }}
                <span role="status">
                    {move || found.with(|found| found.as_ref().map(|found| count(found.len() as u64, "line found", "lines found")))}
                </span>
                <LiveMark />
            </div>
        </section>
    }
}

/// One line, with what is sought marked.
#[component]
pub fn Row(line: Line, #[prop(optional)] sought: String) -> impl IntoView {
    let id = line.first.then(|| format!("l-{}", line.step));
    view! {
        <li class=line.class() id=id>
            <time datetime=format!("PT{}S", line.seconds())>{line.seconds()}</time>
            <span class="step">{line.step.clone()}</span>
            <span class="text">{marked(&line.text, &sought)}</span>
        </li>
    }
}

fn marked(text: &str, sought: &str) -> AnyView {
    let lower = text.to_lowercase();
    let place = if sought.is_empty() || lower.len() != text.len() { None } else { lower.find(&sought.to_lowercase()) };
    let Some(from) = place else { return text.to_owned().into_any() };
    let to = from + sought.to_lowercase().len();
    match (text.get(..from), text.get(from..to), text.get(to..)) {
        (Some(before), Some(hit), Some(after)) => view! { {before.to_owned()} <mark>{hit.to_owned()}</mark> {after.to_owned()} }.into_any(),
        _ => text.to_owned().into_any(),
    }
}
