//! The timeline in one line.

use super::summary::Run;
use super::timeline::StepState;
use leptos::prelude::*;

/// Gaps between steps, in per cent; the wider one is the moment of Running.
const GAP: f64 = 0.4;
const WIDE_GAP: f64 = 0.8;

/// Every step in proportion: what it took, or what it usually takes.
#[component]
pub fn Strip(run: Run) -> impl IntoView {
    let length = |at: usize| {
        let step = &run.steps[at];
        let took = step.took.or_else(|| (step.state == StepState::Now).then(|| run.elapsed.saturating_sub(step.began.unwrap_or(run.elapsed))));
        let rest = if step.state == StepState::Done { 0 } else { step.usual.unwrap_or(0) };
        let whole = if run.is_skipped(step) { 0 } else { took.unwrap_or(0).max(rest) };
        (took.unwrap_or(0), whole)
    };
    let shown: Vec<usize> = (0..run.steps.len()).filter(|at| length(*at).1 > 0).collect();
    let gap = |at: usize| if run.steps[at].step == "clone" { WIDE_GAP } else { GAP };
    let gaps: f64 = shown.iter().skip(1).map(|at| gap(*at)).sum();
    let total: u32 = shown.iter().map(|at| length(*at).1).sum();
    let scale = (100.0 - gaps) / f64::from(total.max(1));
    let mut x = 0.0;
    let mut bars = Vec::new();
    for (index, at) in shown.iter().enumerate() {
        if index > 0 {
            x += gap(*at);
        }
        let (took, whole) = length(*at);
        let class = match run.steps[*at].state {
            StepState::Now => "now",
            StepState::Failed => "failed",
            _ => "took",
        };
        bars.push(("left", x, f64::from(whole) * scale));
        if took > 0 {
            bars.push((class, x, f64::from(took) * scale));
        }
        x += f64::from(whole) * scale;
    }
    view! {
        <svg class="strip" role="img" aria-label=run.spoken()>
            {bars
                .into_iter()
                .map(|(class, x, width)| {
                    view! { <rect class=class x=format!("{x:.2}%") y="0" width=format!("{width:.2}%") height="100%"></rect> }
                })
                .collect_view()}
        </svg>
    }
}
