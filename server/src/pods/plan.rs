//! What of a repository will run: read from its `pinacle.yaml`, or guessed from what lies there.

use pinacle_app::{
    pods::{Plan, PlannedProcess},
    text::turns_direction,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

pub const FILE: &str = "pinacle.yaml";
/// Longest `pinacle.yaml` that is read, in bytes.
pub const MAX_FILE: usize = 64 << 10;
/// Files that a guess reads, with what each is a sign of.
pub const GUESSED_FROM: [&str; 6] = ["package.json", "pyproject.toml", "requirements.txt", "Cargo.toml", "go.mod", "Makefile"];
const VERSION: u32 = 1;
const MAX_PROCESSES: usize = 20;
const MAX_COMMAND: usize = 16 << 10;
const MAX_NAME: usize = 20;
/// Of a health check's path; hosts refuse longer ones.
const MAX_PATH: usize = 512;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    install: Option<String>,
    #[serde(default)]
    processes: Vec<FileProcess>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct FileProcess {
    name: String,
    start_command: String,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    health_check: Option<String>,
}

/// Reads a `pinacle.yaml`. The error is a sentence with line and column where there is one.
pub fn read(commit: &str, text: &str) -> Result<Plan, String> {
    if text.len() > MAX_FILE {
        return Err(format!("{FILE} is longer than {} KiB.", MAX_FILE >> 10));
    }
    let file: File = serde_saphyr::from_str(text).map_err(|error| match error.location() {
        Some(at) => format!("{FILE}, line {}, column {}: {}", at.line(), at.column(), plain(&error)),
        None => format!("{FILE}: {}", plain(&error)),
    })?;
    if file.version != VERSION {
        return Err(format!("{FILE}: version {} is not known here; write version: {VERSION}.", file.version));
    }
    let install = file.install.map(|c| command("install", c)).transpose()?;
    let processes = file.processes.into_iter().map(process).collect::<Result<Vec<_>, _>>()?;
    check_processes(&processes)?;
    Ok(plan(commit, FILE, false, install, processes))
}

/// The parser's own words without the location, which stands before them already.
fn plain(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.split_once(" at line ").map_or(line, |(before, _)| before);
    line.trim_start_matches("error: ").trim_end_matches(['.', ',', ' ']).to_owned() + "."
}

fn command(what: &str, text: String) -> Result<String, String> {
    let text = text.trim().to_owned();
    if text.is_empty() {
        return Err(format!("{FILE}: {what} is empty; leave it out instead."));
    }
    if text.len() > MAX_COMMAND || text.contains('\0') {
        return Err(format!("{FILE}: {what} is longer than {} KiB or holds a NUL.", MAX_COMMAND >> 10));
    }
    // It is read by whoever approves it.
    if text.chars().any(turns_direction) {
        return Err(format!("{FILE}: {what} holds marks that turn the direction of the text, so that it does not read as it runs."));
    }
    Ok(text)
}

fn process(p: FileProcess) -> Result<PlannedProcess, String> {
    let fits = (1..=MAX_NAME).contains(&p.name.len()) && p.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !fits {
        return Err(format!("{FILE}: the process name {:?} has to be 1–{MAX_NAME} lower-case letters and digits: it stands in host names.", p.name));
    }
    if p.port == Some(0) {
        return Err(format!("{FILE}: the port of {} has to be 1–65535.", p.name));
    }
    let path_fits = |path: &String| path.starts_with('/') && path.len() <= MAX_PATH && path.bytes().all(|b| b.is_ascii_graphic());
    if p.health_check.as_ref().is_some_and(|path| !path_fits(path)) {
        return Err(format!("{FILE}: the healthCheck of {} has to be a path such as /healthz.", p.name));
    }
    if p.health_check.is_some() && p.port.is_none() {
        return Err(format!("{FILE}: the healthCheck of {} needs a port.", p.name));
    }
    let start_command = command(&format!("the startCommand of {}", p.name), p.start_command)?;
    Ok(PlannedProcess { name: p.name, start_command, port: p.port, health_check: p.health_check })
}

fn check_processes(processes: &[PlannedProcess]) -> Result<(), String> {
    if processes.len() > MAX_PROCESSES {
        return Err(format!("{FILE}: at most {MAX_PROCESSES} processes."));
    }
    for (n, process) in processes.iter().enumerate() {
        if processes[..n].iter().any(|other| other.name == process.name) {
            return Err(format!("{FILE}: two processes are called {}.", process.name));
        }
    }
    Ok(())
}

/// Guesses from the repository's top folder: `names` lists it, `contents` has those of `GUESSED_FROM` that are there.
pub fn guess(commit: &str, names: &[String], contents: &BTreeMap<String, String>) -> Plan {
    let has = |name: &str| names.iter().any(|n| n == name);
    let web =
        |start_command: &str, port| PlannedProcess { name: "web".into(), start_command: start_command.into(), port: Some(port), health_check: None };
    if let Some(package) = contents.get("package.json") {
        let (install, process) = guess_node(package, &has);
        return plan(commit, "package.json", true, Some(install), process.into_iter().collect());
    }
    if contents.contains_key("requirements.txt") || contents.contains_key("pyproject.toml") {
        let source = if contents.contains_key("requirements.txt") { "requirements.txt" } else { "pyproject.toml" };
        let install = match source {
            // An environment without packages needs no network.
            "requirements.txt" => {
                "python3 -m venv --without-pip .venv\nif grep -qE '^[^#[:space:]]' requirements.txt; then python3 -m pip --python .venv/bin/python install -r requirements.txt; fi"
            }
            _ => "python3 -m venv .venv\n.venv/bin/pip install -e .",
        };
        let process = ["main.py", "app.py"].into_iter().find(|f| has(f)).map(|f| web(&format!(".venv/bin/python {f}"), 8000));
        let process = if has("manage.py") { Some(web(".venv/bin/python manage.py runserver 8000", 8000)) } else { process };
        return plan(commit, source, true, Some(install.into()), process.into_iter().collect());
    }
    if contents.contains_key("Cargo.toml") {
        return plan(commit, "Cargo.toml", true, Some("cargo build".into()), Vec::new());
    }
    if contents.contains_key("go.mod") {
        return plan(commit, "go.mod", true, Some("go build ./...".into()), Vec::new());
    }
    if let Some(makefile) = contents.get("Makefile") {
        let target = |name: &str| makefile.lines().any(|l| l.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(':')));
        let install = ["install", "setup", "all"].into_iter().find(|t| target(t)).map(|t| format!("make {t}"));
        let process = ["run", "dev", "serve", "start"].into_iter().find(|t| target(t));
        let process = process.map(|t| PlannedProcess { name: "web".into(), start_command: format!("make {t}"), port: None, health_check: None });
        return plan(commit, "Makefile", true, install, process.into_iter().collect());
    }
    plan(commit, "nothing that is known", true, None, Vec::new())
}

fn guess_node(package: &str, has: &dyn Fn(&str) -> bool) -> (String, Option<PlannedProcess>) {
    let package: serde_json::Value = serde_json::from_str(package).unwrap_or_default();
    let install = match () {
        () if has("pnpm-lock.yaml") => "corepack enable && pnpm install --frozen-lockfile",
        () if has("yarn.lock") => "corepack enable && yarn install --frozen-lockfile",
        () if has("package-lock.json") => "npm ci",
        () => "npm install",
    };
    let script = ["dev", "start"].into_iter().find(|s| package["scripts"][s].is_string());
    let depends = |name: &str| package["dependencies"][name].is_string() || package["devDependencies"][name].is_string();
    let port = match () {
        () if depends("vite") => 5173,
        () if depends("astro") => 4321,
        () if depends("@angular/core") => 4200,
        () => 3000,
    };
    let process = script.map(|s| PlannedProcess {
        name: "web".into(),
        start_command: if s == "start" { "npm start".into() } else { format!("npm run {s}") },
        port: Some(port),
        health_check: Some("/".into()),
    });
    (install.to_owned(), process)
}

fn plan(commit: &str, source: &str, guessed: bool, install: Option<String>, processes: Vec<PlannedProcess>) -> Plan {
    let yaml = to_yaml(install.as_deref(), &processes);
    Plan { commit: commit.to_owned(), source: source.to_owned(), guessed, install, processes, yaml }
}

/// SHA-256 over everything that will run, in hex.
pub fn digest(plan: &Plan) -> String {
    let what = serde_json::json!([plan.commit, plan.install, plan.processes]);
    hex::encode(Sha256::digest(what.to_string()))
}

fn to_yaml(install: Option<&str>, processes: &[PlannedProcess]) -> String {
    let mut yaml = format!("version: {VERSION}\n");
    if let Some(install) = install {
        yaml.push_str(&format!("install: {}\n", scalar(install, 1)));
    }
    if !processes.is_empty() {
        yaml.push_str("processes:\n");
    }
    for process in processes {
        yaml.push_str(&format!("  - name: {}\n    startCommand: {}\n", scalar(&process.name, 3), scalar(&process.start_command, 3)));
        if let Some(port) = process.port {
            yaml.push_str(&format!("    port: {port}\n"));
        }
        if let Some(path) = &process.health_check {
            yaml.push_str(&format!("    healthCheck: {}\n", scalar(path, 3)));
        }
    }
    yaml
}

/// A YAML scalar: plain where that is safe, a block where it has lines, else quoted.
fn scalar(text: &str, depth: usize) -> String {
    let starts_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '.'));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " -_./=+&".contains(c);
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    if starts_plain && !reserved && !text.contains(" #") && !text.ends_with(' ') && text.chars().all(is_plain) && text != "..." {
        return text.to_owned();
    }
    let is_block = text.contains('\n') && !text.starts_with([' ', '\n']) && !text.ends_with('\n') && text.chars().all(|c| c == '\n' || is_shown(c));
    if is_block {
        let indent = "  ".repeat(depth);
        let lines: Vec<String> = text.lines().map(|l| if l.is_empty() { String::new() } else { format!("{indent}{l}") }).collect();
        return format!("|-\n{}", lines.join("\n"));
    }
    quoted(text)
}

/// Whether a character stands for itself in YAML, whichever its version: it neither breaks a line nor is one that may not be there.
fn is_shown(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if is_shown(c) => quoted.push(c),
            c => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WHOLE: &str = "version: 1\ninstall: |\n  npm ci\n  npm run build\nprocesses:\n  - name: web\n    startCommand: npm run dev\n    port: 3000\n    healthCheck: /healthz\n";

    #[test]
    fn a_whole_file_is_read() {
        let plan = read("abc", WHOLE).unwrap();
        assert_eq!(plan.install.as_deref(), Some("npm ci\nnpm run build"));
        assert_eq!(plan.processes[0].port, Some(3000));
        assert!(!plan.guessed);
    }

    #[test]
    fn an_unknown_key_is_refused_with_line_and_column() {
        let error = read("abc", "version: 1\nprocesses:\n  - name: web\n    startCommand: x\n    prot: 3000\n").unwrap_err();
        assert!(error.starts_with("pinacle.yaml, line 5, column 5:"), "{error}");
        assert!(error.contains("prot"), "{error}");
    }

    #[test]
    fn what_can_not_be_is_refused_with_a_sentence() {
        for (text, part) in [
            ("version: 2", "version 2"),
            ("install: x", "version"),
            ("version: 1\nprocesses: [{name: My-Web, startCommand: x}]", "My-Web"),
            ("version: 1\nprocesses: [{name: web, startCommand: x, healthCheck: /}]", "needs a port"),
            ("version: 1\nprocesses: [{name: web, startCommand: x}, {name: web, startCommand: y}]", "two processes"),
            ("version: 1\nprocesses: [{name: web, startCommand: '  '}]", "empty"),
            ("version: 1\nprocesses: [{name: web, startCommand: x, port: 70000}]", "pinacle.yaml"),
            ("version: [", "pinacle.yaml"),
            ("version: 1\ninstall: \"rm -rf x \u{202e}# olleh\"", "direction"),
            ("version: 1\nprocesses: [{name: web, startCommand: \"a\u{2066}b\"}]", "direction"),
            ("version: 1\ninstall: \"a\\0b\"", "NUL"),
        ] {
            let error = read("abc", text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(read("abc", &"#".repeat(MAX_FILE + 1)).is_err());
    }

    #[test]
    fn a_guess_as_yaml_reads_back_as_the_same_plan() {
        let cases: [(&str, &str, &[&str]); 4] = [
            ("package.json", r#"{"scripts":{"dev":"vite"},"devDependencies":{"vite":"6"}}"#, &["package-lock.json"]),
            ("requirements.txt", "flask\n", &["main.py"]),
            ("Makefile", "install:\n\techo\nrun:\n\techo\n", &[]),
            ("go.mod", "module x\n", &[]),
        ];
        for (file, content, others) in cases {
            let names: Vec<String> = others.iter().copied().chain([file]).map(str::to_owned).collect();
            let guessed = guess("abc", &names, &BTreeMap::from([(file.to_owned(), content.to_owned())]));
            let again = read("abc", &guessed.yaml).unwrap_or_else(|e| panic!("{file}: {e}\n{}", guessed.yaml));
            assert_eq!((&again.install, &again.processes), (&guessed.install, &guessed.processes), "{file}");
            assert_eq!(digest(&again), digest(&guessed));
        }
    }

    #[test]
    fn a_file_that_expands_or_nests_without_end_is_an_error() {
        let mut bomb = "version: 1\na: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (one, next) in ('a'..='y').zip('b'..='z') {
            bomb.push_str(&format!("{next}: &{next} [{}]\n", vec![format!("*{one}"); 9].join(", ")));
        }
        bomb.push_str("install: *z\n");
        for text in [
            bomb,
            format!("version: 1\ninstall: {}", "[".repeat(MAX_FILE - 30)),
            format!("version: 1\ninstall: {}", "{a: ".repeat(MAX_FILE / 5)),
            format!("version: 1\nprocesses: {}", "- ".repeat(MAX_FILE / 3)),
            "a: &a [*a]\nversion: 1".to_owned(),
            "version: 1\nversion: 1".to_owned(),
        ] {
            let error = read("abc", &text).unwrap_err();
            assert!(error.starts_with(FILE) && error.len() < 1000, "{error}");
        }
    }

    /// Lines that are almost a `pinacle.yaml`.
    fn lines() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            Just("version: 1".to_owned()),
            Just("processes:".to_owned()),
            Just("  - name: web".to_owned()),
            Just("    startCommand: npm start".to_owned()),
            "(    )?(install|port|healthCheck|startCommand|name|zzz): ?.{0,20}",
            "install: [|>][-+]?\\n  .{0,20}",
            "[-:\\[\\]{}&*!|>'\"%@`, #~\\\\0-9a-z\t\0]{0,20}",
            ".{0,30}",
        ];
        prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #[test]
        fn any_file_is_a_plan_or_a_sentence(text in lines()) {
            match read("abc", &text) {
                Ok(plan) => {
                    // What its approver reads is what will run.
                    let again = read("abc", &plan.yaml).unwrap_or_else(|error| panic!("{error}\n{}", plan.yaml));
                    prop_assert_eq!((&again.install, &again.processes), (&plan.install, &plan.processes));
                    prop_assert_eq!(digest(&again), digest(&plan));
                }
                Err(error) => prop_assert!(error.starts_with(FILE) && error.len() < 2000, "{}", error),
            }
        }

        #[test]
        fn any_command_is_shown_as_it_will_run(install in "[ -~\n\tüß「\u{85}\u{2028}\r]{1,60}", start in any::<String>()) {
            let process = |command: String| PlannedProcess { name: "web".into(), start_command: command, port: None, health_check: None };
            let (Ok(install), Ok(start)) = (command("install", install), command("startCommand", start)) else { return Ok(()) };
            let shown = to_yaml(Some(&install), &[process(start.clone())]);
            let again = read("abc", &shown).unwrap_or_else(|error| panic!("{error}\n{shown}"));
            prop_assert_eq!((again.install.as_deref(), &again.processes[0].start_command), (Some(install.as_str()), &start));
        }

        #[test]
        fn any_repository_gives_a_guess_that_can_be_read(
            names in prop::collection::vec("[a-z.A-Z-]{1,20}", 0..5),
            contents in prop::collection::btree_map(prop::sample::select(GUESSED_FROM.to_vec()), ".{0,100}", 0..4),
        ) {
            let contents: BTreeMap<String, String> = contents.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
            let names: Vec<String> = names.into_iter().chain(contents.keys().cloned()).collect();
            let guessed = guess("abc", &names, &contents);
            let again = read("abc", &guessed.yaml).unwrap_or_else(|error| panic!("{error}\n{}", guessed.yaml));
            prop_assert_eq!((&again.install, &again.processes), (&guessed.install, &guessed.processes));
        }
    }

    #[test]
    fn another_commit_or_command_is_another_digest() {
        let plan = read("abc", WHOLE).unwrap();
        assert_ne!(digest(&plan), digest(&Plan { commit: "def".into(), ..plan.clone() }));
        assert_ne!(digest(&plan), digest(&Plan { install: None, ..plan.clone() }));
    }
}
