//! What failed: the cause before the remedy, the step's last lines, and the way on.

use super::api::{RetrySetup, retry_setup};
use super::feed::Feed;
use super::timeline::STEPS;
use super::wishes::WishButton;
use super::{Pod, PodStatus, SetupState, Wish};
use crate::ui::download::Download;
use crate::ui::icon::{Icon, Shape};
use crate::ui::toast::Notice;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos::task::spawn_local;

const LINES: usize = 20;

/// A machine step failed: the pod does not run.
#[component]
pub fn MachineFailed(feed: Feed) -> impl IntoView {
    let pod = feed.pod;
    move || {
        let now = pod.get();
        let failure = now.failure.clone().filter(|_| now.status == PodStatus::Failed)?;
        let kept = "The disk, if it was made, stays on its host until the pod is deleted. CPU, memory and address are released and don’t count towards the quota.";
        Some(view! {
            <section class="fail" aria-labelledby="h-fail">
                <header>
                    <h2 id="h-fail">
                        <Shape name="s-failed" />
                        {format!("{} failed: {}", label(&failure.step), cause(&failure.step, &failure.message))}
                    </h2>
                    <p>"The pod is not running. " <code>{failure.code.clone()}</code></p>
                </header>
                {last_lines(&failure.step, &failure.output)}
                <dl class="facts">
                    {fact("Likely remedy", &failure.remedy)} {fact("Tried", &failure.tried)} {fact("Kept", kept)}
                </dl>
                <footer>
                    <WishButton pod wish=Wish::Retry icon="again" words="Retry" class="btn primary" />
                    <Download text=feed.log_text() file=feed.log_file() name="Download log" label="Download log" />
                    {another(&now)}
                </footer>
            </section>
        })
    }
}

/// A set-up step failed: the pod runs all the same.
#[component]
pub fn SetupFailed(feed: Feed) -> impl IntoView {
    let pod = feed.pod;
    let notice = Notice::here();
    move || {
        let now = pod.get();
        if now.setup.state != SetupState::Failed || now.status != PodStatus::Running {
            return None;
        }
        let step = now.setup.step.clone().unwrap_or_default();
        let message = now.setup.message.clone().unwrap_or_default();
        let id = now.id;
        let retry = move |event: leptos::ev::SubmitEvent| {
            event.prevent_default();
            let before = pod.get_untracked();
            pod.update(|pod| pod.setup.state = SetupState::Running);
            spawn_local(async move {
                match retry_setup(id).await {
                    Ok(new) => drop(pod.try_set(new)),
                    Err(error) => {
                        pod.try_set(before);
                        notice.say(error.message);
                    }
                }
            });
        };
        let kept = "The clone and everything in /home/dev. A retry goes on with the files as they are then.";
        Some(view! {
            <section class="fail" aria-labelledby="h-fail">
                <header>
                    <h2 id="h-fail">
                        <Shape name="s-failed" />
                        {format!("Set-up failed: {}", named_cause(&step, &message))}
                    </h2>
                    <p>"The machine is not touched by this: the pod runs and its terminal is open. " <code>{now.setup.code.clone()}</code></p>
                </header>
                {last_lines(&step, now.setup.output.as_deref().unwrap_or_default())}
                <dl class="facts">
                    {fact("Likely remedy", now.setup.remedy.as_deref().unwrap_or_default())} {fact("Kept", kept)}
                </dl>
                <footer>
                    <form method="post" action=RetrySetup::PATH on:submit=retry>
                        <input type="hidden" name="id" value=id.to_string() />
                        <button type="submit" class="btn primary">
                            <Icon name="again" />
                            "Retry set-up"
                        </button>
                    </form>
                    <a class="btn" href="#terminal" rel="external">
                        <Icon name="term" />
                        "Go to the terminal"
                    </a>
                    <Download text=feed.log_text() file=feed.log_file() name="Download log" label="Download log" />
                </footer>
            </section>
        })
    }
}

/// A pod like this one, made of what was pushed.
fn another(pod: &Pod) -> Option<impl IntoView + use<>> {
    let repository = pod.repository.clone()?;
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("repository", &repository).append_pair("tier", pod.tier.as_str());
    if let Some(branch) = &pod.branch {
        query.append_pair("branch", branch);
    }
    let from = pod.branch.clone().unwrap_or(repository);
    let address = format!("/pods/new?{}", query.finish());
    Some(view! {
        <a class="btn" href=address>
            <Icon name="plus" />
            {format!("New pod from {from}")}
        </a>
    })
}

/// The message without the step's name, where it begins with it.
fn cause(step: &str, message: &str) -> String {
    let rest = message.strip_prefix(label(step).as_str()).map(str::trim_start);
    rest.filter(|rest| !rest.is_empty()).unwrap_or(message).trim_end_matches('.').to_owned()
}

/// `Install ended with exit code 1`, or `Clone: the repository doesn't exist`: the step is named once.
pub fn named_cause(step: &str, message: &str) -> String {
    let (label, message) = (label(step), message.trim_end_matches('.'));
    if message.starts_with(&label) || step.is_empty() { message.to_owned() } else { format!("{label}: {message}") }
}

fn label(step: &str) -> String {
    let known = STEPS.iter().find(|(key, _, _)| *key == step).map(|(_, label, _)| (*label).to_owned());
    known.unwrap_or_else(|| {
        let mut letters = step.chars();
        letters.next().map_or_else(|| "Set-up".to_owned(), |first| first.to_uppercase().chain(letters).collect())
    })
}

fn fact(name: &'static str, text: &str) -> Option<impl IntoView + use<>> {
    let text = text.to_owned();
    (!text.is_empty()).then(|| {
        view! {
            <div>
                <dt>{name}</dt>
                <dd>{text}</dd>
            </div>
        }
    })
}

fn last_lines(step: &str, output: &str) -> Option<impl IntoView + use<>> {
    let lines: Vec<String> = output.lines().map(str::to_owned).collect();
    let last: Vec<String> = lines.iter().skip(lines.len().saturating_sub(LINES)).cloned().collect();
    let shown = last.len();
    let (name, step) = (label(step), step.to_owned());
    (shown > 0).then(|| {
        view! {
            <div class="log" role="region" aria-label=format!("Last lines of {name}") tabindex="0">
                <ol>
                    {last
                        .into_iter()
                        .map(|text| {
                            view! {
                                <li class="short">
                                    <span class="step">{step.clone()}</span>
                                    <span class="text">{text}</span>
                                </li>
                            }
                        })
                        .collect_view()}
                </ol>
            </div>
            <div class="follow">
                <span>{format!("Last {shown} lines of {name}")}</span>
                <a class="link" href="#log" rel="external">
                    "Whole log"
                </a>
            </div>
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_named_once() {
        assert_eq!(named_cause("install", "Install ended with exit code 1."), "Install ended with exit code 1");
        assert_eq!(named_cause("clone", "The repository doesn't exist."), "Clone: The repository doesn't exist");
        assert_eq!(cause("sandbox", "Sandbox did not start."), "did not start");
    }
}
