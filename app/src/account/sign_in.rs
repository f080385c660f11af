//! Signing in, and why it did not work. Each reason has its sentence and a way on.

use crate::pods::TimelineExample;
use crate::pods::timeline::{Part, STEPS, StepRun, StepState, Timeline};
use crate::ui::icon::{Hatches, Icon, Mark};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;

#[component]
pub fn SignInPage() -> impl IntoView {
    let query = use_query_map();
    let error = move || query.with(|query| query.get("error"));
    let way_in = Signal::derive(move || {
        let back = query.with(|query| query.get("return_to")).filter(|path| path.starts_with('/') && !path.starts_with("//"));
        match back {
            Some(path) => format!("/auth/github?{}", url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", &path).finish()),
            None => "/auth/github".to_owned(),
        }
    });
    view! {
        <Hatches />
        {move || match error() {
            Some(code) => view! { <Halt code way_in /> }.into_any(),
            None => view! { <Gate way_in /> }.into_any(),
        }}
    }
}

#[component]
fn Gate(way_in: Signal<String>) -> impl IntoView {
    view! {
        <Title text="Sign in" />
        <div class="gate">
            <main id="main">
                <a class="mark" href="/sign-in">
                    <Mark />
                    "Pinacle"
                </a>
                <div>
                    <h1>"Your branch, running, in half a minute."</h1>
                    <p class="lead">
                        "Pinacle makes a development machine from a repository: checked out, installed, started, with a terminal in the browser."
                    </p>
                    <Enter way_in words="Continue with GitHub" icon="github" />
                    <h2 class="sr">"What Pinacle asks GitHub for"</h2>
                    <dl class="ask">
                        <div>
                            <dt>"To sign you in"</dt>
                            <dd>"Your login and your verified e-mail address."</dd>
                        </div>
                        <div>
                            <dt>"Later, when you want it"</dt>
                            <dd>
                                "Access to your repositories, for private ones and for pushing: GitHub has no narrower right that includes them. Pinacle lists them, and gives each pod one deploy key for its repository, which goes when the pod goes."
                            </dd>
                        </div>
                        <div>
                            <dt>"Never"</dt>
                            <dd>"Your password, or the code of a repository that you don’t pick."</dd>
                        </div>
                    </dl>
                </div>
                <p class="dim small">
                    <a href="/health" rel="external">
                        "Status"
                    </a>
                </p>
            </main>
            <aside aria-label="Example: how a pod is made">
                <p>
                    <b>"acme/shop"</b>
                    ", 847 packages, on dev.medium"
                </p>
                <div class="panel timeline">
                    <TimelineExample timeline=example() />
                </div>
                <p>
                    "The terminal opens as soon as the machine runs. Every pod shows what it did, how long each step took, and how long it usually takes."
                </p>
            </aside>
        </div>
    }
}

/// Signing in leaves the pages, so it is a plain link.
#[component]
fn Enter(way_in: Signal<String>, words: &'static str, icon: &'static str) -> impl IntoView {
    view! {
        <a class="btn primary large" href=way_in rel="external">
            <Icon name=icon />
            {words}
        </a>
    }
}

/// Heading, sentence, what to do, words and icon of the way on.
fn reason(code: &str) -> (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str, &'static str) {
    match code {
        "consent_refused" => (
            "GitHub says that you declined",
            "Pinacle got no right and stored nothing. It needs your login and your verified e-mail address to sign you in; access to your repositories is asked for when you want it.",
            &[],
            "Continue with GitHub",
            "github",
        ),
        "stale_state" => (
            "This sign-in was begun too long ago",
            "Or it was begun in another browser. Nothing was stored; begin again here.",
            &[],
            "Begin again",
            "again",
        ),
        "github_down" => (
            "GitHub does not answer",
            "Browsers that are signed in go on working, and so do all pods.",
            &[("What to do?", "Try again in a minute. Nothing was stored.")],
            "Try again",
            "again",
        ),
        "no_verified_email" => (
            "Your GitHub account has no verified e-mail address",
            "Pinacle needs one to sign you in. Verify an address at GitHub, under Settings, Emails, then come back.",
            &[("Have another account?", "Sign out at GitHub first: it would answer with the same account again.")],
            "Look again",
            "again",
        ),
        "not_invited" => (
            "This account is not invited",
            "This Pinacle lets in people who were invited; nothing was stored about you.",
            &[
                ("Have a team here?", "Ask one of its owners to invite your GitHub login, then come back to this page."),
                ("Have another account?", "Sign out at GitHub first: it would answer with the same account again."),
            ],
            "Look again",
            "again",
        ),
        "invitation_foreign" => (
            "This invitation is for another account",
            "Nothing was stored about you. An invitation lets in the GitHub account, or the holder of the address, that it was made for.",
            &[
                ("Have another account?", "Sign out at GitHub first: it would answer with the same account again."),
                ("An address of yours?", "Verify it at GitHub, under Settings, Emails, then come back by the same link."),
            ],
            "Look again",
            "again",
        ),
        "invitation_over" => (
            "This invitation is good no more",
            "It was used, revoked, sent again with another link, or is too old. Nothing was stored about you.",
            &[("Want to come in?", "Ask an owner of the team to send it again, and use the newest link.")],
            "Look again",
            "again",
        ),
        _ => (
            "Signing in did not work",
            "Something failed on our side or at GitHub. It has been logged, and nothing was stored.",
            &[],
            "Try again",
            "again",
        ),
    }
}

#[component]
fn Halt(code: String, way_in: Signal<String>) -> impl IntoView {
    let (heading, sentence, asks, words, icon) = reason(&code);
    view! {
        <Title text="Sign in did not work" />
        <div class="halts">
            <main id="main">
                <a class="mark" href="/sign-in">
                    <Mark />
                    "Pinacle"
                </a>
                <section class="halt" aria-labelledby="h-1">
                    <h1 id="h-1">{heading}</h1>
                    <p class="lead">{sentence}</p>
                    {(!asks.is_empty())
                        .then(|| {
                            view! {
                                <dl class="ask">
                                    {asks
                                        .iter()
                                        .map(|(question, answer)| {
                                            view! {
                                                <div>
                                                    <dt>{*question}</dt>
                                                    <dd>{*answer}</dd>
                                                </div>
                                            }
                                        })
                                        .collect_view()}
                                </dl>
                            }
                        })}
                    <p class="acts">
                        <Enter way_in words icon />
                        <a class="btn large" href="/sign-in">
                            "What it asks for, and when"
                        </a>
                    </p>
                    <p class="ref">
                        <code>{code}</code>
                    </p>
                </section>
            </main>
        </div>
    }
}

/// A run as it might be, for who has none yet: took and usual in milliseconds.
fn example() -> Timeline {
    const RUN: [(&str, u32, u32); 9] = [
        ("host-b", 40, 50),
        ("10.64.3.18", 310, 300),
        ("base 2026.11", 620, 700),
        ("1 CPU, 2 GB", 860, 800),
        ("GitHub slow", 2630, 1100),
        ("main at 4f1c9e2", 2800, 3100),
        ("npm ci", 20_310, 19_600),
        ("web, worker", 1120, 1000),
        ("web answers 200", 2050, 2400),
    ];
    let mut began = 0;
    let mut running_after = None;
    let steps = STEPS
        .iter()
        .zip(RUN)
        .map(|(&(step, label, part), (what, took, usual))| {
            if part == Part::Setup && running_after.is_none() {
                running_after = Some(began);
            }
            let run = StepRun {
                step,
                label,
                part,
                state: StepState::Done,
                what: what.to_owned(),
                began: Some(began),
                took: Some(took),
                usual: Some(usual),
                first_seq: None,
            };
            began += took;
            run
        })
        .collect();
    Timeline { began_at: Some(0), steps, running_after }
}
