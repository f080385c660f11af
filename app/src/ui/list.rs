//! The frame of every list: what it is, a heading for each column, the rows, and what stands below them.

use leptos::prelude::*;

/// What stands at a column's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Text(&'static str),
    /// Aligned at its end, as figures and times are.
    Figure(&'static str),
    /// Buttons; named for those who do not see them.
    Actions,
}

/// `class` is the list's own in the sheet, `children` are its rows, `foot` comes below the table.
#[component]
pub fn List(
    class: &'static str,
    #[prop(into)] caption: Signal<String>,
    columns: &'static [Column],
    #[prop(optional, into)] foot: ViewFnOnce,
    children: Children,
) -> impl IntoView {
    let heads = columns.iter().map(|column| match *column {
        Column::Text(words) => view! { <th scope="col">{words}</th> }.into_any(),
        Column::Figure(words) => view! {
            <th scope="col" class="num">
                {words}
            </th>
        }
        .into_any(),
        Column::Actions => view! {
            <th scope="col">
                <span class="sr">"Actions"</span>
            </th>
        }
        .into_any(),
    });
    view! {
        <div class=format!("list {class}")>
            <table>
                <caption class="sr">{caption}</caption>
                <thead>
                    <tr>{heads.collect_view()}</tr>
                </thead>
                <tbody>{children()}</tbody>
            </table>
            {foot.run()}
        </div>
    }
}
