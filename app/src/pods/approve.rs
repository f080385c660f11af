//! The plan of a pod: as a question while it waits for approval, as something to commit afterwards.

use super::api::{ApproveSetup, approve_setup};
use super::{Plan, Pod, PodStatus, SetupState};
use crate::error::AppError;
use crate::ui::copy::Copy;
use crate::ui::icon::{Icon, Shape};
use crate::ui::once::Busy;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;

/// Nothing of the repository has run: shows what would, and asks.
#[component]
pub fn Approve(pod: RwSignal<Pod>) -> impl IntoView {
    let busy = Busy::default();
    let refused = RwSignal::new(None::<AppError>);
    move || {
        let now = pod.get();
        if now.setup.state != SetupState::AwaitingApproval || now.status != PodStatus::Running {
            return None;
        }
        let plan = now.setup.plan.clone()?;
        let digest = now.setup.plan_digest.clone().unwrap_or_default();
        let repository = now.repository.clone().unwrap_or_default();
        let id = now.id;
        let send = {
            let digest = digest.clone();
            move |event: leptos::ev::SubmitEvent| {
                event.prevent_default();
                let digest = digest.clone();
                busy.run(async move {
                    match approve_setup(id, digest).await {
                        Ok(new) => drop(pod.try_set(new)),
                        Err(error) => drop(refused.try_set(Some(error))),
                    }
                });
            }
        };
        let commit = plan.commit.get(..7).unwrap_or(&plan.commit).to_owned();
        Some(view! {
            <section class="fail plan" aria-labelledby="h-plan">
                <header>
                    <h2 id="h-plan">
                        <Shape name="s-waiting" />
                        {format!("Nothing of {repository} has run yet")}
                    </h2>
                    <p>"The repository is not yours, so its set-up waits until you have read what it would run. The terminal is open meanwhile."</p>
                </header>
                <dl class="facts">
                    <div>
                        <dt>{if plan.guessed { "Plan guessed from" } else { "Plan from" }}</dt>
                        <dd>
                            <code>{plan.source.clone()}</code>
                            " at "
                            <span class="mono" title=plan.commit.clone()>
                                {commit}
                            </span>
                        </dd>
                    </div>
                    <div>
                        <dt>"Runs as"</dt>
                        <dd>
                            <code>"dev"</code>
                            ", inside this pod’s sandbox, with access to the internet"
                        </dd>
                    </div>
                </dl>
                <div class="inset">
                    <h3>"What will run"</h3>
                    {runs(&plan)}
                    <PlanYaml yaml=plan.yaml.clone() />
                </div>
                <footer>
                    <form method="post" action=ApproveSetup::PATH on:submit=send>
                        <input type="hidden" name="id" value=id.to_string() />
                        <input type="hidden" name="plan_digest" value=digest.clone() />
                        <button
                            type="submit"
                            class="btn primary"
                            aria-disabled=move || busy.is_busy().then_some("true")
                        >
                            <Icon name="play" />
                            {move || if busy.is_busy() { "Approving…" } else { "Approve and run" }}
                        </button>
                    </form>
                    <p>
                        "Approves exactly this plan, "
                        <code>{digest.get(..8).unwrap_or(&digest).to_owned()}</code>
                        "; if it differs later, the pod asks again. Left alone, the pod runs on without it."
                    </p>
                    <p role="alert" class="bad">
                        {move || refused.get().map(|error| error.message)}
                    </p>
                </footer>
            </section>
        })
    }
}

/// Install, then each process, as they will be run.
fn runs(plan: &Plan) -> impl IntoView + use<> {
    let install = plan.install.clone();
    let processes = plan.processes.clone();
    view! {
        <dl class="runs">
            {install
                .map(|command| {
                    view! {
                        <div>
                            <dt>"Install"</dt>
                            <dd>
                                <code>{command}</code>
                            </dd>
                        </div>
                    }
                })}
            {processes
                .into_iter()
                .map(|process| {
                    let port = process.port.map(|port| format!(" port {port}"));
                    let health = process.health_check.map(|path| format!(", healthy when GET {path} answers"));
                    view! {
                        <div>
                            <dt>{process.name}</dt>
                            <dd>
                                <code>{process.start_command}</code>
                                <span class="dim">{port}{health}</span>
                            </dd>
                        </div>
                    }
                })
                .collect_view()}
        </dl>
    }
}

/// The plan as a file, folded, to be copied and committed.
#[component]
pub fn PlanYaml(yaml: String) -> impl IntoView {
    view! {
        <details>
            <summary class="link">"As pinacle.yaml"</summary>
            <pre class="code" tabindex="0">
                <code>{yaml.clone()}</code>
            </pre>
            <p class="acts under">
                <Copy text=yaml name="Copy the plan as pinacle.yaml" label="Copy" class="line" />
            </p>
        </details>
    }
}
