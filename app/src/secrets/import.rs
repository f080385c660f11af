//! A `.env` file: read in the browser, looked at line by line, and only what is chosen goes up.

use super::api::{check_import, import_secrets};
use super::env_file::{self, EnvEntry};
use super::{ImportEntry, SecretName, SecretNameError, SecretValue, SecretsView, Verdict};
use crate::error::AppError;
use crate::ui::dialog::{Dialog, close};
use crate::ui::icon::Icon;
use crate::ui::once::Busy;
use crate::ui::status::Status;
use crate::ui::time::{count, thousands};
use crate::ui::toast::Notice;
use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen_futures::JsFuture;

pub const IMPORT: &str = "import-secrets";

/// One entry of the file, and what will become of it.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    line: usize,
    name: String,
    value: Option<SecretValue>,
    fate: Fate,
    take: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Fate {
    /// The server has not said yet.
    Asked,
    Will(Verdict),
    /// Never asked for: it can't be a secret. With what was probably meant.
    Refused {
        why: String,
        meant: Option<String>,
    },
    /// Nobody would want it: a name that every shell sets by itself.
    Skipped {
        why: String,
    },
}

impl Entry {
    fn new(entry: EnvEntry) -> Self {
        let EnvEntry { line, name, value } = entry;
        let fate = match (&value, SecretName::parse(&name)) {
            (Err(error), _) => Fate::Refused { why: error.to_string(), meant: None },
            (Ok(value), _) if value.check().is_err() => Fate::Refused { why: "longer than 64 KiB, or with NUL in it".to_owned(), meant: None },
            (Ok(_), Err(error @ (SecretNameError::Hijacks | SecretNameError::Shells | SecretNameError::Ours))) => {
                Fate::Skipped { why: error.to_string() }
            }
            (Ok(_), Err(error)) => Fate::Refused { why: error.to_string(), meant: SecretName::suggest(&name).map(|name| name.to_string()) },
            (Ok(_), Ok(_)) => Fate::Asked,
        };
        Self { line, name, value: value.ok(), take: fate == Fate::Asked, fate }
    }

    fn can_be_taken(&self) -> bool {
        matches!(self.fate, Fate::Will(Verdict::Created { .. } | Verdict::Changed { .. }))
    }

    fn is_taken(&self) -> bool {
        self.take && self.can_be_taken()
    }

    fn is_changed(&self) -> bool {
        matches!(self.fate, Fate::Will(Verdict::Changed { .. }))
    }
}

/// Of entries of one name the last one counts, as it does in a shell.
fn drop_doubles(entries: &mut [Entry]) {
    for at in 0..entries.len() {
        let later = entries[at + 1..].iter().find(|later| later.name == entries[at].name && later.fate == Fate::Asked).map(|later| later.line);
        if let Some(line) = later.filter(|_| entries[at].fate == Fate::Asked) {
            entries[at].fate = Fate::Skipped { why: format!("line {line} has it again") };
            entries[at].take = false;
        }
    }
}

/// The file as it was read.
#[derive(Clone, Copy)]
struct File {
    /// Its name, and how many lines it has.
    about: RwSignal<Option<(String, usize)>>,
    entries: RwSignal<Vec<Entry>>,
    into: RwSignal<String>,
    refused: RwSignal<Option<String>>,
    busy: Busy,
}

impl File {
    fn forget(self) {
        self.about.set(None);
        // The values do not stay in the page.
        self.entries.set(Vec::new());
        self.refused.set(None);
    }

    fn read(self, name: String, text: &str) {
        if text.len() > env_file::MOST_FILE {
            self.refused.set(Some(format!("{name} is longer than {} KiB: import it in parts.", env_file::MOST_FILE >> 10)));
            return;
        }
        let entries: Vec<Entry> = env_file::parse(text).into_iter().map(Entry::new).collect();
        if entries.is_empty() || entries.len() > env_file::MOST_ENTRIES {
            let why = if entries.is_empty() { "has no NAME=value".to_owned() } else { format!("has more than {} names", env_file::MOST_ENTRIES) };
            self.refused.set(Some(format!("{name} {why}.")));
            return;
        }
        self.about.set(Some((name, text.lines().count())));
        self.entries.set(entries);
        self.entries.update(|entries| drop_doubles(entries));
    }

    fn project(self) -> Option<String> {
        Some(self.into.get_untracked()).filter(|project| !project.is_empty())
    }

    /// Asks what would become of the entries that may become something.
    fn check(self, shown: RwSignal<SecretsView>) {
        let team = shown.with_untracked(|view| view.team.id);
        self.entries.update(|all| {
            for entry in all.iter_mut().filter(|entry| matches!(entry.fate, Fate::Will(_))) {
                entry.fate = Fate::Asked;
            }
        });
        let asked = self.entries.with_untracked(|all| all.iter().filter(|entry| entry.fate == Fate::Asked).cloned().collect::<Vec<_>>());
        if asked.is_empty() {
            return;
        }
        let into = self.into.get_untracked();
        let entries = sent(&asked);
        spawn_local(async move {
            let answer = check_import(team, self.project(), entries).await;
            if self.into.try_get_untracked() != Some(into) {
                return;
            }
            match answer {
                Ok(verdicts) => {
                    self.refused.try_set(None);
                    self.entries.try_update(|all| {
                        for (entry, verdict) in asked.iter().zip(verdicts) {
                            if let Some(entry) = all.iter_mut().find(|one| one.line == entry.line && one.name == entry.name) {
                                entry.fate = Fate::Will(verdict);
                            }
                        }
                    });
                }
                Err(error) => drop(self.refused.try_set(Some(words(&error)))),
            }
        });
    }
}

fn sent(entries: &[Entry]) -> Vec<ImportEntry> {
    entries.iter().filter_map(|entry| Some(ImportEntry { name: entry.name.clone(), value: entry.value.clone()? })).collect()
}

fn words(error: &AppError) -> String {
    error.fields.values().flatten().next().unwrap_or(&error.message).clone()
}

#[component]
pub fn ImportDialog(shown: RwSignal<SecretsView>, again: Callback<()>) -> impl IntoView {
    let file = File {
        about: RwSignal::new(None),
        entries: RwSignal::new(Vec::new()),
        into: RwSignal::new(String::new()),
        refused: RwSignal::new(None),
        busy: Busy::default(),
    };
    let notice = Notice::here();
    let chooser = NodeRef::<html::Input>::new();
    let choose = move |_: leptos::ev::Event| {
        let Some(chosen) = chooser.get_untracked().and_then(|chooser| chooser.files()).and_then(|files| files.get(0)) else { return };
        file.forget();
        file.into.set(shown.with_untracked(|view| view.project.clone().unwrap_or_default()));
        let name = chosen.name();
        if chosen.size() > env_file::MOST_FILE as f64 {
            file.refused.set(Some(format!("{name} is longer than {} KiB: import it in parts.", env_file::MOST_FILE >> 10)));
            return;
        }
        spawn_local(async move {
            match JsFuture::from(chosen.text()).await.ok().and_then(|text| text.as_string()) {
                Some(text) => {
                    file.read(name, &text);
                    file.check(shown);
                }
                None => drop(file.refused.try_set(Some(format!("{name} could not be read.")))),
            }
        });
    };
    let clear = move || {
        file.forget();
        if let Some(chooser) = chooser.get_untracked() {
            chooser.set_value("");
        }
    };
    let send = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let taken = file.entries.with_untracked(|all| all.iter().filter(|entry| entry.is_taken()).cloned().collect::<Vec<_>>());
        if taken.is_empty() {
            return;
        }
        let team = shown.with_untracked(|view| view.team.id);
        file.busy.run(async move {
            match import_secrets(team, file.project(), sent(&taken)).await {
                Ok(done) => {
                    close(IMPORT);
                    clear();
                    notice.say(format!("{} created, {} changed. Pods get them at their next start.", done.created, done.changed));
                    again.run(());
                }
                Err(error) => drop(file.refused.try_set(Some(words(&error)))),
            }
        });
    };
    let number = Memo::new(move |_| file.entries.with(|all| all.iter().filter(|entry| entry.is_taken()).count() as u64));
    let sum = move || {
        file.entries.with(|all| {
            let changed = all.iter().filter(|entry| entry.is_taken() && entry.is_changed()).count();
            let created = all.iter().filter(|entry| entry.is_taken()).count() - changed;
            format!("{created} created, {changed} changed, {} left out", all.len() - created - changed)
        })
    };
    view! {
        <Dialog id=IMPORT title="Import .env" class="wide">
            <form class="body" id="import-form" on:submit=send>
                <div class="field" hidden=move || file.about.with(Option::is_some)>
                    <label for="env-file">"File"</label>
                    <input
                        type="file"
                        class="input"
                        id="env-file"
                        accept=".env,.env.*,text/plain,*/*"
                        node_ref=chooser
                        on:change=choose
                        aria-describedby="env-file-hint"
                    />
                    <p class="hint" id="env-file-hint">
                        "It is read in this browser. You see what would be created, changed and skipped before anything is sent to be kept."
                    </p>
                </div>
                {move || file.about.get().map(|(name, lines)| view! { <About file shown name lines /> })}
                <Show when=move || file.about.with(Option::is_some)>
                    <Preview file shown />
                </Show>
                <p class="note bad" role="alert" hidden=move || file.refused.with(Option::is_none)>
                    {move || file.refused.get()}
                </p>
            </form>
            <div class="end-row">
                <p aria-live="polite">{move || file.about.with(Option::is_some).then(sum)}</p>
                <button
                    type="button"
                    class="btn quiet end"
                    on:click=move |_| {
                        close(IMPORT);
                        clear();
                    }
                >
                    "Cancel"
                </button>
                <button
                    type="submit"
                    form="import-form"
                    class="btn primary"
                    disabled=move || number.get() == 0
                    aria-disabled=move || file.busy.is_busy().then_some("true")
                >
                    {move || if number.get() == 0 { "Import".to_owned() } else { format!("Import {}", count(number.get(), "secret", "secrets")) }}
                </button>
            </div>
        </Dialog>
    }
}

#[component]
fn About(file: File, shown: RwSignal<SecretsView>, name: String, lines: usize) -> impl IntoView {
    let team = shown.with_untracked(|view| view.team.name.clone());
    let projects = shown.with_untracked(|view| view.projects.clone());
    // A select takes its value before it has the option for it: what it shows at first is said at the option.
    let first = file.into.get_untracked();
    let of_team = first.is_empty();
    view! {
        <p class="ask-for">
            <code>{name}</code>
            <span class="dim">{format!("{}, read in this browser", count(lines as u64, "line", "lines"))}</span>
            <label for="into">"into"</label>
            <select
                class="select"
                id="into"
                prop:value=move || file.into.get()
                on:change=move |event| {
                    file.into.set(event_target_value(&event));
                    file.check(shown);
                }
            >
                {projects
                    .into_iter()
                    .map(|project| {
                        let chosen = project == first;
                        view! { <option value=project.clone() selected=chosen>{project.clone()}</option> }
                    })
                    .collect_view()}
                <option value="" selected=of_team>{team}</option>
            </select>
        </p>
    }
}

#[component]
fn Preview(file: File, shown: RwSignal<SecretsView>) -> impl IntoView {
    let rows = Memo::new(move |_| file.entries.with(|all| (0..all.len()).collect::<Vec<_>>()));
    view! {
        <div class="list imports">
            <table>
                <caption class="sr">"What the import will do, line by line. Values are not shown."</caption>
                <thead>
                    <tr>
                        <th scope="col">
                            <span class="sr">"Take"</span>
                        </th>
                        <th scope="col" class="num">
                            "Line"
                        </th>
                        <th scope="col">"Name"</th>
                        <th scope="col">"Will be"</th>
                        <th scope="col">"Note"</th>
                    </tr>
                </thead>
                <tbody>
                    <For each=move || rows.get() key=|at| *at let:at>
                        <Row file shown at />
                    </For>
                </tbody>
            </table>
        </div>
    }
}

#[component]
fn Row(file: File, shown: RwSignal<SecretsView>, at: usize) -> impl IntoView {
    let entry = Memo::new(move |_| file.entries.with(|all| all.get(at).cloned()));
    let turn = move |_: leptos::ev::Event| {
        file.entries.update(|all| {
            if let Some(entry) = all.get_mut(at) {
                entry.take = !entry.take;
            }
        });
    };
    let rename = Callback::new(move |name: String| {
        file.entries.update(|all| {
            if let Some(entry) = all.get_mut(at) {
                (entry.name, entry.fate, entry.take) = (name, Fate::Asked, true);
            }
            drop_doubles(all);
        });
        file.check(shown);
    });
    let team = shown.with_untracked(|view| view.team.name.clone());
    move || {
        entry.get().map(|entry| {
            let can = entry.can_be_taken();
            let label = if can { format!("Take {}", entry.name) } else { format!("Line {} cannot be taken", entry.line) };
            let quiet = matches!(entry.fate, Fate::Skipped { .. } | Fate::Will(Verdict::Same));
            view! {
                <tr class=if quiet { "dim" } else { "" }>
                    <td>
                        <input type="checkbox" aria-label=label prop:checked=entry.is_taken() disabled=!can on:change=turn />
                    </td>
                    <td class="num dim">{entry.line}</td>
                    <th scope="row" class="name">
                        <code>{entry.name.clone()}</code>
                    </th>
                    <td>{will_be(&entry.fate)}</td>
                    <td class="mid">{note(&entry, &team, rename)}</td>
                </tr>
            }
        })
    }
}

fn will_be(fate: &Fate) -> AnyView {
    let will = |icon: &'static str, words: &'static str| {
        view! {
            <span class="will">
                <Icon name=icon />
                {words}
            </span>
        }
        .into_any()
    };
    match fate {
        Fate::Asked => view! { <span class="dim">"…"</span> }.into_any(),
        Fate::Will(Verdict::Created { .. }) => will("plus", "created"),
        Fate::Will(Verdict::Changed { .. }) => will("again", "changed"),
        Fate::Will(Verdict::Same) | Fate::Skipped { .. } => "skipped".into_any(),
        Fate::Will(Verdict::Refused { .. }) | Fate::Refused { .. } => view! { <Status kind="failed" shape="s-failed" word="refused" /> }.into_any(),
    }
}

fn note(entry: &Entry, team: &str, rename: Callback<String>) -> AnyView {
    let size = || {
        let value = entry.value.as_ref().map(SecretValue::expose).unwrap_or_default();
        let bytes = format!("{} {}", thousands(value.len() as u64), if value.len() == 1 { "byte" } else { "bytes" });
        match value.lines().count() {
            0 | 1 => bytes,
            lines => format!("{lines} lines, {bytes}"),
        }
    };
    match &entry.fate {
        Fate::Asked => ().into_any(),
        Fate::Will(Verdict::Created { wins: true }) => format!("will win over {team}’s").into_any(),
        Fate::Will(Verdict::Changed { pods }) if *pods > 0 => {
            let verb = if *pods == 1 { "has" } else { "have" };
            format!("{} {verb} the older value", count(u64::from(*pods), "running pod", "running pods")).into_any()
        }
        Fate::Will(Verdict::Created { .. } | Verdict::Changed { .. }) => size().into_any(),
        Fate::Will(Verdict::Same) => "same value as now".into_any(),
        Fate::Will(Verdict::Refused { why }) | Fate::Skipped { why } => why.clone().into_any(),
        Fate::Refused { why, meant: None } => why.clone().into_any(),
        Fate::Refused { why, meant: Some(meant) } => {
            let name = meant.clone();
            view! {
                {format!("{} Did you mean ", why.clone())}
                <button type="button" class="link" on:click=move |_| rename.run(name.clone())>
                    {meant.clone()}
                </button>
            }
            .into_any()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_a_secret_says_so_before_the_server_is_asked() {
        let mut entries: Vec<Entry> = env_file::parse("A=1\nPATH=/x\nsmtp-host=x\nB='open\nA=2").into_iter().map(Entry::new).collect();
        drop_doubles(&mut entries);
        assert!(matches!(&entries[0].fate, Fate::Skipped { why } if why.contains("line 5")), "{:?}", entries[0]);
        assert!(matches!(entries[1].fate, Fate::Skipped { .. }));
        assert!(matches!(&entries[2].fate, Fate::Refused { meant: Some(meant), .. } if meant == "SMTP_HOST"));
        assert!(matches!(entries[3].fate, Fate::Refused { meant: None, .. }));
        assert!(entries[4].fate == Fate::Asked && entries[4].take);
    }
}
