//! A value that is nobody else's, and the searches for it, in every way of writing it.

use crate::{
    fleet::{Fleet, on_host_with},
    stand::Browser,
};
use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::{Method, header::ACCEPT};
use sqlx::{AssertSqlSafe, PgPool};
use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::task::{JoinSet, spawn_blocking};

/// Between two looks at all processes.
const PAUSE: Duration = Duration::from_millis(20);
/// Longer than the test.
const WHOLE_TEST: Duration = Duration::from_secs(600);

/// A value that is nobody else's, with what has to be quoted around it.
pub struct Canary {
    pub core: String,
    pub value: String,
}

impl Canary {
    pub fn new() -> Self {
        let core = format!("cAnArY{:032x}", rand::random::<u128>());
        Self { value: format!("+/ %&<\"'{core}\nsecond é line"), core }
    }

    /// Every way in which it may be written: plain, reversed, in hexadecimal, in base64 at each of its three offsets, with every
    /// byte as in a URL.
    pub fn forms(&self) -> Vec<(&'static str, String)> {
        let reversed: String = self.core.chars().rev().collect();
        let hex = self.core.bytes().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("written");
            text
        });
        let url = self.core.bytes().fold(String::new(), |mut text, byte| {
            write!(text, "%{byte:02X}").expect("written");
            text
        });
        let mut forms = vec![
            ("plain", self.core.clone()),
            ("reversed", reversed),
            ("hexadecimal", hex.clone()),
            ("hexadecimal", hex.to_uppercase()),
            ("URL-encoded", url.to_lowercase()),
            ("URL-encoded", url),
        ];
        for offset in 0..3 {
            // Whole groups of the core alone: what stands around it changes the ends.
            let bytes = &self.core.as_bytes()[(3 - offset) % 3..];
            let bytes = &bytes[..bytes.len() / 3 * 3];
            forms.push(("base64", BASE64_STANDARD.encode(bytes)));
            forms.push(("base64", BASE64_URL_SAFE_NO_PAD.encode(bytes)));
        }
        forms
    }
}

/// What was searched, and under which name it is complained of.
pub type Place = (String, Vec<u8>);

pub fn found(place: &Place, canaries: &[&Canary]) -> Vec<String> {
    let (name, text) = place;
    let forms: Vec<(&str, String)> = canaries.iter().flat_map(|canary| canary.forms()).collect();
    // Much is searched for much: where no form's last two bytes stand, none is looked for.
    let pair = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let mut ends = vec![false; 1 << 16];
    for (_, form) in &forms {
        ends[pair(&form.as_bytes()[form.len() - 2..])] = true;
    }
    let mut there = vec![false; forms.len()];
    for (at, two) in text.windows(2).enumerate().filter(|(_, two)| ends[pair(two)]) {
        let so_far = &text[..at + two.len()];
        for ((_, form), there) in forms.iter().zip(&mut there) {
            *there |= so_far.ends_with(form.as_bytes());
        }
    }
    forms.iter().zip(there).filter(|(_, there)| *there).map(|((kind, _), _)| format!("{kind} in {name}")).collect()
}

/// Every row of every table, as text.
pub async fn tables(db: &PgPool) -> Vec<Place> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables
         WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'",
    )
    .fetch_all(db)
    .await
    .expect("tables");
    assert!(names.len() > 15, "{names:?}");
    let mut places = Vec::new();
    for name in names {
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("SELECT t::text FROM {name} t"))).fetch_all(db).await.expect("rows");
        places.push((format!("table {name}"), rows.join("\n").into_bytes()));
    }
    places
}

/// Looks at every process of this machine over and over, until it is let go of: those on hosts are among them, those in pods are not.
pub struct Looking {
    held: Arc<()>,
    thread: JoinHandle<Looked>,
}

/// What processes had, each text once.
#[derive(Default)]
pub struct Looked {
    pub rounds: u32,
    arguments: HashSet<Vec<u8>>,
    environments: HashSet<Vec<u8>>,
    /// What could not be read, and how often.
    pub unread: BTreeMap<String, u32>,
    /// Processes that were there before and are closed to this one: of the machine itself, and none of ours.
    others: HashSet<PathBuf>,
}

impl Looking {
    pub fn begin() -> Self {
        let held = Arc::new(());
        let holder = Arc::downgrade(&held);
        let thread = thread::spawn(move || {
            let others = processes().filter(|process| fs::read(process.join("environ")).is_err()).collect();
            let mut looked = Looked { others, ..Looked::default() };
            while holder.strong_count() > 0 {
                looked.once();
                thread::sleep(PAUSE);
            }
            looked
        });
        Self { held, thread }
    }

    pub fn end(self) -> Looked {
        drop(self.held);
        self.thread.join().expect("it has looked")
    }
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let all = fs::read_dir("/proc").expect("processes").flatten();
    all.filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit()).map(|entry| entry.path())
}

impl Looked {
    fn once(&mut self) {
        /// No such file, no such process: it has ended meanwhile.
        const ENDED: [i32; 2] = [2, 3];
        self.rounds += 1;
        for process in processes().filter(|process| !self.others.contains(process)) {
            for (file, texts) in [("cmdline", &mut self.arguments), ("environ", &mut self.environments)] {
                match fs::read(process.join(file)) {
                    Ok(text) => {
                        texts.insert(text);
                    }
                    Err(error) if error.raw_os_error().is_some_and(|code| ENDED.contains(&code)) => {}
                    Err(error) => {
                        let name = fs::read_to_string(process.join("comm")).unwrap_or_else(|error| error.to_string());
                        *self.unread.entry(format!("{file} of {}: {error}", name.trim())).or_default() += 1;
                    }
                }
            }
        }
    }

    pub fn places(&self) -> [Place; 2] {
        let joined = |texts: &HashSet<Vec<u8>>| texts.iter().map(Vec::as_slice).collect::<Vec<_>>().join(&b'\n');
        [("the processes' arguments".to_owned(), joined(&self.arguments)), ("the processes' environments".to_owned(), joined(&self.environments))]
    }
}

/// What streams say to a page.
#[derive(Default)]
pub struct Streams {
    heard: Vec<(String, Arc<Mutex<Vec<u8>>>)>,
    following: JoinSet<()>,
}

impl Streams {
    pub async fn follow(&mut self, fleet: &Fleet, browser: &Browser, path: &str) {
        let request = fleet.page(browser, Method::GET, path).header(ACCEPT, "text/event-stream").timeout(WHOLE_TEST);
        let mut answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}");
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        self.heard.push((format!("stream {path}"), heard.clone()));
        self.following.spawn(async move {
            while let Ok(Some(piece)) = answer.chunk().await {
                heard.lock().expect("heard").extend_from_slice(&piece);
            }
        });
    }

    pub fn places(&self) -> impl Iterator<Item = Place> {
        self.heard.iter().map(|(name, heard)| (name.clone(), heard.lock().expect("heard").clone()))
    }
}

/// What `grep` finds of these texts in the files that are a host's own, and in the disks of its pods, whose holes are left out.
///
/// On a thread of its own: meanwhile the server closes connections that are idle, and the client has to notice.
pub async fn in_files(host: usize, texts: &[String]) -> String {
    let script = "sync; exec 3<&0; texts=\"$(cat <&3)\"
        grep -rlaF -f <(printf %s \"$texts\") /etc /run /tmp /dev/shm /var/lib/pinacle --exclude=layer.img 2>/dev/null
        for disk in /var/lib/pinacle/pods/*/layer.img; do
          [ -e \"$disk\" ] || continue
          tar -cSf - \"$disk\" 2>/dev/null | grep -qaF -f <(printf %s \"$texts\") && echo \"$disk\"
        done
        true";
    let texts = texts.join("\n");
    spawn_blocking(move || on_host_with(host, script, &texts)).await.expect("it ends")
}

/// And in files that were written since `begun`, in seconds since the Unix epoch, in folders that the stack's hosts have of this machine.
/// What is built and downloaded there is left out.
pub async fn in_shared_files(begun: u64, texts: &[String]) -> String {
    let script = format!(
        "exec 3<&0; texts=\"$(cat <&3)\"
        find /root /home /var/log /var/tmp -xdev \\( -path '*/.cache/pinacle' -o -path '*/.cargo' -o -path '*/.rustup' \\) -prune \
            -o -type f -size -32M -newermt @{begun} -print0 2>/dev/null | while IFS= read -r -d '' file; do
          grep -qaF -f <(printf %s \"$texts\") -- \"$file\" 2>/dev/null && echo \"$file\"
        done
        true"
    );
    let texts = texts.join("\n");
    spawn_blocking(move || on_host_with(1, &script, &texts)).await.expect("it ends")
}

/// Forms that are the same in both alphabets of base64.
pub fn is_twice(canary: &Canary, form: &str) -> bool {
    canary.forms().iter().filter(|(_, other)| other == form).count() > 1
}
