//! The timeline: all steps on one clock, machine first, then set-up; the line between carries the moment of Running.

use super::axis::{Axis, is_slow, tick_label, times_usual};
use super::summary::{Outcome, PutOff, Run};
use super::timeline::{Part, StepRun, StepState};
use crate::ui::icon::Shape;
use crate::ui::time::{seconds, short_seconds};
use leptos::prelude::*;

/// `jump` is told the step whose first log line is wanted.
#[component]
pub fn TimelineTable(run: Run, #[prop(optional)] jump: Option<Callback<&'static str>>) -> impl IntoView {
    let axis = Axis::new(run.until());
    let due = run.usual();
    let rows = |part: Part| {
        run.steps.iter().enumerate().filter(|(_, step)| step.part == part).map(|(at, step)| row(&run, at, step, axis, due, jump)).collect_view()
    };
    let has_setup = run.steps.iter().any(|step| step.part == Part::Setup);
    view! {
        <table data-ticks=axis.ticks().to_string()>
            <caption class="sr">
                "Provisioning steps: when each ran, how long it took and how long it usually takes, in seconds. Steps of the machine first, then steps of the set-up."
            </caption>
            <colgroup>
                <col class="c-step" />
                <col />
                <col class="c-num" />
                <col class="c-num" />
            </colgroup>
            <thead>
                <tr>
                    <th scope="col">"Machine" <span class="sr">" and set-up steps"</span></th>
                    <th scope="col" class="track">
                        <span class="sr">"Time line"</span>
                        <svg aria-hidden="true">{head(&run, axis, due)}</svg>
                    </th>
                    <th scope="col" class="num">
                        "Took, s"
                    </th>
                    <th scope="col" class="num">
                        "Usual, s"
                    </th>
                </tr>
            </thead>
            <tbody>{rows(Part::Machine)}</tbody>
            {has_setup
                .then(|| {
                    view! {
                        <tbody>
                            {division(&run, axis, due)}
                            {rows(Part::Setup)}
                        </tbody>
                    }
                })}
            {foot(&run, axis, due)}
        </table>
    }
}

/// Labels of the ticks; those that the "now" or the "usual" would touch give way.
fn head(run: &Run, axis: Axis, due: Option<u32>) -> impl IntoView + use<> {
    const ROOM: f64 = 9.0;
    let now = run.going.then_some(run.elapsed);
    let near = |at: u32, other: Option<u32>| other.is_some_and(|other| (axis.percent(at) - axis.percent(other)).abs() < ROOM);
    let due_hidden = due.is_some_and(|due| near(due, now));
    let labels = (0..axis.ticks())
        .map(|tick| tick * axis.tick)
        .filter(|at| *at == 0 || (!near(*at, now) && !near(*at, due)))
        .map(|at| {
            let class = match at / axis.tick {
                0 => "",
                n if n % 2 == 1 => "minor",
                n if n % 4 == 2 => "mid",
                _ => "",
            };
            let (anchor, dx) = if at == 0 { ("start", "4") } else { ("middle", "0") };
            view! {
                <text x=axis.share(at) y="18" text-anchor=anchor dx=dx class=class>
                    {tick_label(at)}
                </text>
            }
        })
        .collect_view();
    view! {
        {labels}
        {due
            .filter(|_| !due_hidden)
            .map(|due| {
                view! {
                    <text x=axis.share(due) y="18" text-anchor="middle" class="duelabel">
                        {format!("usual {}", short_seconds(due).trim_end_matches(" s"))}
                    </text>
                }
            })}
        {now
            .map(|now| {
                // At the end there is no room beside the line for half of it.
                let anchor = if axis.percent(now) + ROOM / 2.0 > 100.0 { "end" } else { "middle" };
                view! {
                    <text class="now" x=axis.share(now) y="18" text-anchor=anchor>
                        {format!("now {}", short_seconds(now).trim_end_matches(" s"))}
                    </text>
                }
            })}
    }
}

/// Lines through every row: the usual end of the whole, and now.
fn lines(run: &Run, axis: Axis, due: Option<u32>) -> (Option<impl IntoView + use<>>, Option<impl IntoView + use<>>) {
    let due = due.map(|due| view! { <line class="due" x1=axis.share(due) x2=axis.share(due) y1="0" y2="28"></line> });
    let now = run.going.then(|| view! { <line class="nowline" x1=axis.share(run.elapsed) x2=axis.share(run.elapsed) y1="0" y2="28"></line> });
    (due, now)
}

fn row(run: &Run, at: usize, step: &StepRun, axis: Axis, due: Option<u32>, jump: Option<Callback<&'static str>>) -> impl IntoView + use<> {
    let skipped = run.is_skipped(step) || (step.state == StepState::Next && matches!(run.outcome(), Outcome::FailedMachine | Outcome::FailedSetup));
    let took = step.took.or_else(|| (step.state == StepState::Now).then(|| run.elapsed.saturating_sub(step.began.unwrap_or(0))));
    let slow = step.state == StepState::Done && took.zip(step.usual).is_some_and(|(took, usual)| is_slow(took, usual));
    let (state, shape, spoken) = match step.state {
        StepState::Done if slow => ("slow", "g-done", ", slower than usual"),
        StepState::Done => ("done", "g-done", ""),
        StepState::Now => ("now", "s-provisioning", ", under way"),
        StepState::Failed => ("failed", "s-failed", ", failed"),
        StepState::Wait => ("wait", "s-waiting", ", waits for your approval"),
        StepState::Later if run.put_off == Some(PutOff::Newer) => ("next", "g-skip", ", interrupted"),
        StepState::Later => ("later", "s-queued", ", waits and is tried again"),
        StepState::Next if skipped => ("next", "g-skip", ", not begun"),
        StepState::Next => ("next", "g-next", ", not begun"),
    };
    let (due_line, now_line) = lines(run, axis, due);
    let key = step.step;
    // Why it is this host stands in the facts and on hover.
    let what = match step.what.split_once(": ") {
        Some((host, _)) if key == "reserve" && step.state == StepState::Done => host.to_owned(),
        _ => step.what.clone(),
    };
    let label = match step.first_seq.zip(jump) {
        Some((_, jump)) => view! {
            <a href=format!("#l-{key}") rel="external" on:click=move |event| { event.prevent_default(); jump.run(key); }>
                {step.label}
            </a>
        }
        .into_any(),
        None => step.label.into_any(),
    };
    let shown_took = took.map_or_else(|| view! { <span class="dim">"–"</span> }.into_any(), |took| seconds(took).into_any());
    let shown_usual = step
        .usual
        .filter(|_| !run.is_skipped(step))
        .map_or_else(|| view! { <span class="dim">"–"</span> }.into_any(), |usual| seconds(usual).into_any());
    view! {
        <tr data-state=state>
            <th scope="row">
                <div>
                    <Shape name=shape />
                    {label}
                    <span class="sr">{spoken}</span>
                    <span class="what" title=step.what.clone()>{what}</span>
                </div>
            </th>
            <td class="track">
                <svg aria-hidden="true">{due_line} {bars(run, at, step, axis, took, slow)} {now_line}</svg>
            </td>
            <td class="num">{shown_took}</td>
            <td class="num">{shown_usual}</td>
        </tr>
    }
}

/// A step's own bars: what it took, what is usual and not used up, what goes over.
fn bars(run: &Run, at: usize, step: &StepRun, axis: Axis, took: Option<u32>, slow: bool) -> AnyView {
    let rect = |class: &'static str, x: u32, width: u32| {
        view! { <rect class=class x=axis.share(x) y="9" width=axis.share(width) height="10"></rect> }
    };
    let Some(began) = step.began else {
        return match (step.state, run.expected[at]) {
            (StepState::Wait, _) => view! {
                <text class="say" x=axis.share(run.elapsed) dx="8" y="18">
                    "waits for you"
                </text>
            }
            .into_any(),
            (StepState::Next, Some((begin, end))) if !run.is_skipped(step) => rect("will", begin, end - begin).into_any(),
            _ => ().into_any(),
        };
    };
    let took = took.unwrap_or(0);
    let usual = step.usual;
    // A failed bar is red as a whole; what is under way has no excess yet.
    let over = usual.filter(|usual| step.state == StepState::Done && took > *usual).map(|usual| took - usual);
    let rest = usual.filter(|usual| *usual > took).map(|usual| rect("left", began, usual));
    let said = match step.state {
        StepState::Done if slow => usual.map(|usual| (began + took, times_usual(took, usual))),
        StepState::Now => usual.map(|usual| {
            let end = began + usual.max(took);
            let words = if usual > took { format!("{} s left", (usual - took).div_ceil(1000)) } else { times_usual(took, usual) };
            (end, words)
        }),
        StepState::Wait => Some((began + took, "waits for you".to_owned())),
        StepState::Later => match run.put_off {
            Some(PutOff::Room(_)) => Some((began + took, "waits for room".to_owned())),
            Some(PutOff::Newer) => Some((began + took, "interrupted".to_owned())),
            _ => Some((began + took, "tried again in a moment".to_owned())),
        },
        _ => None,
    };
    view! {
        {rest}
        {rect("took", began, took - over.unwrap_or(0))}
        {(step.state == StepState::Now)
            .then(|| {
                let width = axis.end / 290;
                view! { <rect class="lead" x=axis.share((began + took).saturating_sub(width)) y="9" width=axis.share(width) height="10"></rect> }
            })}
        {over.map(|over| rect("over", began + took - over, over))}
        {usual.map(|usual| view! { <line class="tick" x1=axis.share(began + usual) x2=axis.share(began + usual) y1="6" y2="22"></line> })}
        {(step.state == StepState::Failed)
            .then(|| {
                view! {
                    <svg x=axis.share(began + took) y="8" width="12" height="12" overflow="visible">
                        <use href="/icons.svg#s-failed" x="4" width="12" height="12" color="var(--bad)"></use>
                    </svg>
                }
            })}
        {said
            .map(|(x, words)| {
                let flip = axis.percent(x) > 86.0;
                let (anchor, dx, x) = if flip { ("end", "-8", began) } else { ("start", "8", x) };
                view! {
                    <text class="say" x=axis.share(x) dx=dx y="18" text-anchor=anchor>
                        {words}
                    </text>
                }
            })}
    }
    .into_any()
}

/// Above it the machine, below it the set-up; the disc is the moment of Running, when the terminal opens.
fn division(run: &Run, axis: Axis, due: Option<u32>) -> impl IntoView + use<> {
    let (due_line, now_line) = lines(run, axis, due);
    let usual = run.usual_of(Part::Machine);
    let up = run.running_after;
    let spoken = if up.is_some() { ", begins when the pod is running and its terminal opens" } else { ", not begun: the pod is not running" };
    let dash = || view! { <span class="dim">"–"</span> }.into_any();
    view! {
        <tr class="part" data-state=if up.is_some() { "up" } else { "next" }>
            <th scope="rowgroup">"Set-up" <span class="sr">{spoken}</span></th>
            <td class="track">
                <svg aria-hidden="true">
                    {due_line}
                    {up
                        .map(|up| {
                            view! {
                                <line class="upline" x1=axis.share(up) x2=axis.share(up) y1="0" y2="28"></line>
                                <circle class="up" cx=axis.share(up) cy="14" r="4"></circle>
                                <text class="say" x=axis.share(up) dx="12" y="18">
                                    "Running"
                                    <tspan class="more">", terminal opens"</tspan>
                                </text>
                            }
                        })}
                    {now_line}
                </svg>
            </td>
            <td class="num">{up.map_or_else(dash, |up| seconds(up).into_any())}</td>
            <td class="num">{usual.map_or_else(dash, |usual| seconds(usual).into_any())}</td>
        </tr>
    }
}

/// The whole, with a gap where each step ends.
fn foot(run: &Run, axis: Axis, due: Option<u32>) -> Option<impl IntoView + use<>> {
    let outcome = run.outcome();
    if matches!(outcome, Outcome::FailedMachine | Outcome::FailedSetup) {
        return None;
    }
    let (due_line, now_line) = lines(run, axis, due);
    let gap = axis.end / 380;
    let parts = run
        .steps
        .iter()
        .filter_map(|step| {
            let began = step.began?;
            let took = step.took.or_else(|| (step.state == StepState::Now).then(|| run.elapsed - began))?;
            Some(view! { <rect class="total" x=axis.share(began) y="11" width=axis.share(took.saturating_sub(gap)) height="6"></rect> })
        })
        .collect_view();
    let end = run.until();
    let rest = (run.going && run.left().is_some())
        .then(|| view! { <rect class="left" x=axis.share(run.elapsed) y="11" width=axis.share(end - run.elapsed) height="6"></rect> });
    let more = due.filter(|_| outcome == Outcome::Ready).map(|due| {
        let tenths = ((f64::from(run.elapsed) - f64::from(due)) / 100.0).round();
        view! {
            <text class="say" x=axis.share(run.elapsed.max(due)) dx="8" y="18">
                {match tenths {
                    0.0 => "as usual".to_owned(),
                    _ => format!("{}{:.1} s", if tenths < 0.0 { "−" } else { "+" }, tenths.abs() / 10.0),
                }}
            </text>
        }
    });
    Some(view! {
        <tfoot>
            <tr>
                <th scope="row">{if outcome == Outcome::Ready { "Ready" } else { "So far" }}</th>
                <td class="track">
                    <svg aria-hidden="true">
                        {due_line} {rest} {parts}
                        {due.map(|due| view! { <line class="tick" x1=axis.share(due) x2=axis.share(due) y1="6" y2="22"></line> })} {more}
                        {now_line}
                    </svg>
                </td>
                <td class="num">{seconds(run.elapsed)}</td>
                <td class="num">
                    {due.map_or_else(|| view! { <span class="dim">"–"</span> }.into_any(), |due| seconds(due).into_any())}
                </td>
            </tr>
        </tfoot>
    })
}
