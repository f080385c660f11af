//! ⌘K: pods, what can be done with them, and places, by a few letters.

use super::dialog;
use super::icon::Icon;
use super::palette_items::{Act, Item, items};
use super::refusal::bear;
use super::status::PodShape;
use super::toast::Notice;
use crate::account::Me;
use crate::error::AppError;
use crate::pods::api::{list_pods, wish_pod};
use crate::pods::{Pod, PodQuery};
use crate::teams::Team;
use crate::teams::place::MyTeams;
use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos_router::NavigateOptions;
use leptos_router::hooks::use_navigate;
use web_sys::{Event, HtmlDialogElement, ScrollIntoViewOptions, ScrollLogicalPosition};

pub const PALETTE: &str = "palette";
const PODS_ASKED: u32 = 100;

#[component]
pub fn Palette() -> impl IntoView {
    let typed = RwSignal::new(String::new());
    let chosen = RwSignal::new(0usize);
    let pods = RwSignal::new(Vec::<Pod>::new());
    let me = expect_context::<Resource<Result<Me, AppError>>>();
    let mine = MyTeams::here();
    let teams = RwSignal::new(Vec::<Team>::new());
    let operator = RwSignal::new(false);
    let found = Memo::new(move |_| pods.with(|pods| teams.with(|teams| items(&typed.read(), pods, teams, operator.get()))));
    let notice = Notice::here();
    let navigate = use_navigate();
    let field = NodeRef::<html::Input>::new();

    // Before it opens, not after: what is typed at once must not be cleared.
    let opens = move |event: Event| {
        if event_target::<HtmlDialogElement>(&event).open() {
            return;
        }
        typed.set(String::new());
        chosen.set(0);
        operator.set(me.get_untracked().is_some_and(|me| me.is_ok_and(|me| me.operator)));
        teams.set(mine.all.get_untracked().and_then(Result::ok).unwrap_or_default());
        if let Some(field) = field.get_untracked() {
            field.set_value("");
        }
        spawn_local(async move {
            let query = PodQuery { limit: Some(PODS_ASKED), ..PodQuery::default() };
            if let Ok(page) = list_pods(query).await {
                pods.try_set(page.items);
            }
        });
    };
    let act = move |item: Item, new_tab: bool| {
        dialog::close(PALETTE);
        match item.act {
            Act::Go(path) if new_tab => {
                bear("A new tab", window().open_with_url_and_target(&path, "_blank"));
            }
            Act::Go(path) => navigate(&path, NavigateOptions::default()),
            Act::Wish(id, wish) => spawn_local(async move {
                if let Err(error) = wish_pod(id, wish).await {
                    notice.say(error.message);
                }
            }),
        }
    };
    let on_key = {
        let act = act.clone();
        move |event: leptos::ev::KeyboardEvent| {
            let last = found.with(Vec::len).saturating_sub(1);
            match event.key().as_str() {
                "ArrowDown" => chosen.update(|at| *at = (*at + 1).min(last)),
                "ArrowUp" => chosen.update(|at| *at = at.saturating_sub(1)),
                "Enter" => {
                    if let Some(item) = found.with(|all| all.get(chosen.get_untracked()).cloned()) {
                        act(item, event.meta_key() || event.ctrl_key());
                    }
                }
                _ => return,
            }
            event.prevent_default();
        }
    };
    // What the arrow keys choose is in sight.
    Effect::new(move || {
        let option = document().get_element_by_id(&format!("o{}", chosen.get()));
        if let Some(option) = option {
            let nearest = ScrollIntoViewOptions::new();
            nearest.set_block(ScrollLogicalPosition::Nearest);
            option.scroll_into_view_with_scroll_into_view_options(&nearest);
        }
    });
    let groups = move || {
        let mut groups: Vec<(String, Vec<(usize, Item)>)> = Vec::new();
        for (at, item) in found.get().into_iter().enumerate() {
            match groups.last_mut() {
                Some((group, members)) if *group == item.group => members.push((at, item)),
                _ => groups.push((item.group.clone(), vec![(at, item)])),
            }
        }
        groups
    };
    view! {
        <dialog class="palette" id=PALETTE aria-label="Search or run a command" on:beforetoggle=opens>
            <label>
                <Icon name="search" />
                <span class="sr">"Search or run a command"</span>
                <input
                    type="text"
                    role="combobox"
                    aria-expanded="true"
                    aria-controls="found"
                    aria-activedescendant=move || format!("o{}", chosen.get())
                    autocomplete="off"
                    spellcheck="false"
                    autofocus
                    node_ref=field
                    on:input=move |event| {
                        typed.set(event_target_value(&event));
                        chosen.set(0);
                    }
                    on:keydown=on_key
                />
                <kbd>"Esc"</kbd>
            </label>
            <div id="found" role="listbox" aria-label="Found">
                {move || {
                    let act = act.clone();
                    groups()
                        .into_iter()
                        .enumerate()
                        .map(|(number, (group, members))| {
                            let heading = format!("found-{number}");
                            let labelled = heading.clone();
                            let act = act.clone();
                            view! {
                                <div role="group" aria-labelledby=labelled>
                                    <p id=heading>{group}</p>
                                    {members
                                        .into_iter()
                                        .map(|(at, item)| {
                                            let act = act.clone();
                                            let clicked = item.clone();
                                            view! {
                                                <div
                                                    role="option"
                                                    id=format!("o{at}")
                                                    aria-selected=move || if chosen.get() == at { "true" } else { "false" }
                                                    on:mousemove=move |_| chosen.set(at)
                                                    on:click=move |event| act(clicked.clone(), event.meta_key() || event.ctrl_key())
                                                >
                                                    {match item.status {
                                                        Some(status) => view! { <PodShape status /> }.into_any(),
                                                        None => view! { <Icon name=item.icon /> }.into_any(),
                                                    }}
                                                    <span>{item.words}</span>
                                                    <span class="dim">{item.aside}</span>
                                                    <span class="end">
                                                        {item.key.split_whitespace().map(|key| view! { <kbd>{key}</kbd> }).collect_view()}
                                                    </span>
                                                </div>
                                            }
                                        })
                                        .collect_view()}
                                </div>
                            }
                        })
                        .collect_view()
                }}
            </div>
            <div class="end-row">
                <span>
                    <kbd>"↑"</kbd>
                    " "
                    <kbd>"↓"</kbd>
                    " choose"
                </span>
                <span>
                    <kbd>"↵"</kbd>
                    " do"
                </span>
                <span class="end" role="status">
                    {move || format!("{} found", found.with(Vec::len))}
                </span>
            </div>
        </dialog>
    }
}
