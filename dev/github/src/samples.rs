//! The sample repositories, written with fixed dates through `git fast-import`, so that their commits are the same on every machine.

use crate::{
    git::git,
    repositories::{Git, Repository},
};
use sha2::{Digest, Sha256};
use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{fs, io::AsyncWriteExt, time::timeout};

const IMPORT_DEADLINE: Duration = Duration::from_secs(30);
/// 2026-01-05T09:00:00Z; each commit is a day later than the one before.
const FIRST_COMMIT: u64 = 1_767_603_600;
const DAY: u64 = 86_400;

pub struct Sample {
    pub repository: Repository,
    pub commits: &'static [Commit],
}

/// A commit on top of the branch's last, or of `from` where the branch is new.
pub struct Commit {
    pub branch: &'static str,
    pub from: Option<&'static str>,
    pub message: &'static str,
    /// Path and content; `.sh` files are executable.
    pub files: &'static [(&'static str, &'static str)],
}

macro_rules! file {
    ($sample:literal, $path:literal) => {
        ($path, include_str!(concat!("../samples/", $sample, "/", $path)))
    };
}

const fn on_main(message: &'static str, files: &'static [(&'static str, &'static str)]) -> Commit {
    Commit { branch: "main", from: None, message, files }
}

const fn repository(id: u64, owner: u64, name: &'static str, description: &'static str) -> Repository {
    Repository { id, owner, name, description, private: false, empty: false, git: Git::Answers, writers: &[], takes_keys: true, has_app: false }
}

pub const SAMPLES: &[Sample] = &[
    Sample {
        repository: repository(2001, 1001, "node-site", "A Node site with hot reload"),
        commits: &[
            on_main(
                "Serve a page",
                &[
                    file!("node-site", "README.md"),
                    file!("node-site", "package.json"),
                    file!("node-site", "package-lock.json"),
                    file!("node-site", "packages/greeting/package.json"),
                    file!("node-site", "packages/greeting/index.js"),
                    file!("node-site", ".gitignore"),
                    file!("node-site", "server.js"),
                    file!("node-site", "public/index.html"),
                ],
            ),
            on_main("Give the page a style", &[file!("node-site", "public/style.css")]),
            Commit {
                branch: "feature/dark-mode",
                from: Some("main"),
                message: "Try a dark page",
                files: &[("public/style.css", "body { font: 18px system-ui; margin: 4rem; background: #101418; color: #e8eaed; }\n")],
            },
            Commit { branch: "release-1", from: Some("main"), message: "Name the release", files: &[("VERSION", "1\n")] },
        ],
    },
    Sample {
        repository: repository(2002, 1001, "python-service", "A small HTTP service in Python"),
        commits: &[on_main(
            "Answer with the time",
            &[file!("python-service", "README.md"), file!("python-service", "requirements.txt"), file!("python-service", "main.py")],
        )],
    },
    Sample {
        repository: repository(2003, 1001, "full", "Everything that pinacle.yaml can say"),
        commits: &[on_main(
            "Run a site and a worker",
            &[file!("full", "README.md"), file!("full", "pinacle.yaml"), file!("full", "web.py"), file!("full", "worker.sh")],
        )],
    },
    Sample {
        repository: repository(2004, 1001, "broken-install", "Its install fails"),
        commits: &[on_main(
            "Fail on purpose",
            &[file!("broken-install", "README.md"), file!("broken-install", "pinacle.yaml"), file!("broken-install", "install.sh")],
        )],
    },
    Sample {
        repository: repository(2008, 1001, "hanging-install", "Its install never ends"),
        commits: &[on_main(
            "Wait on purpose",
            &[
                ("README.md", "# hanging-install\n\nIts install waits for ever.\n"),
                ("pinacle.yaml", "version: 1\ninstall: |\n  echo waiting for what never comes\n  sleep infinity\n"),
            ],
        )],
    },
    Sample {
        repository: Repository { git: Git::Silent, ..repository(2009, 1001, "silent", "Its git server never answers") },
        commits: &[on_main("Say nothing", &[("README.md", "# silent\n\nNobody has cloned this.\n")])],
    },
    Sample {
        repository: Repository { git: Git::Endless, ..repository(2020, 1001, "endless", "Its git server never comes to an end") },
        commits: &[on_main("Go on and on", &[("README.md", "# endless\n\nNobody has cloned all of this.\n")])],
    },
    Sample {
        repository: repository(2021, 1001, "forking-install", "Its install forks without end"),
        commits: &[on_main(
            "Fork on purpose",
            &[
                ("README.md", "# forking-install\n\nIts install starts processes until none can be started.\n"),
                ("pinacle.yaml", "version: 1\ninstall: |\n  echo forking\n  while true; do sleep 86400 & done\n"),
            ],
        )],
    },
    Sample {
        repository: repository(2022, 1001, "loud-install", "Its install prints 100 MB"),
        commits: &[on_main(
            "Print on purpose",
            &[
                ("README.md", "# loud-install\n\nIts install says a hundred megabytes.\n"),
                (
                    "pinacle.yaml",
                    "version: 1\ninstall: |\n  echo first words\n  yes a line of a hundred megabytes | head -c 100000000\n  echo last words\n",
                ),
            ],
        )],
    },
    Sample {
        repository: repository(2023, 1001, "filling-install", "Its install fills the disk"),
        commits: &[on_main(
            "Fill the disk on purpose",
            &[
                ("README.md", "# filling-install\n\nIts install writes until the disk is full.\n"),
                // Most of it only promised, so that it takes no disk of the machine that tests it.
                (
                    "pinacle.yaml",
                    "version: 1\ninstall: |\n  free=$(df --output=avail -B1M . | tail -1)\n  fallocate -l $((free - 64))M promised\n  head -c 256M /dev/zero > written\n",
                ),
            ],
        )],
    },
    Sample {
        repository: repository(2024, 1001, "hungry-install", "Its install takes all memory"),
        commits: &[on_main(
            "Eat on purpose",
            &[
                ("README.md", "# hungry-install\n\nIts install takes more memory than the pod has.\n"),
                ("pinacle.yaml", "version: 1\ninstall: |\n  echo hungry\n  python3 -c \"x = b'x' * (4 << 30)\"\n"),
            ],
        )],
    },
    Sample { repository: Repository { empty: true, ..repository(2005, 1001, "empty", "Nothing yet") }, commits: &[] },
    Sample {
        repository: Repository { private: true, ..repository(2006, 1001, "private", "Only its owner sees this") },
        commits: &[on_main(
            "Keep a secret",
            &[("README.md", "# private\n\nOnly its owner can clone this.\n"), ("Makefile", "install:\n\t@echo nothing to install\n")],
        )],
    },
    Sample {
        repository: Repository {
            private: true,
            writers: &[1002],
            has_app: true,
            ..repository(2010, 1001, "shared", "Its owner lets a member write")
        },
        commits: &[on_main("Share it", &[("README.md", "# shared\n\nA member may push here, and is no admin.\n")])],
    },
    Sample {
        repository: Repository { private: true, takes_keys: false, has_app: true, ..repository(2011, 1001, "locked", "Takes no deploy keys") },
        commits: &[on_main("Lock it", &[("README.md", "# locked\n\nIts organisation forbids deploy keys.\n")])],
    },
    Sample {
        repository: repository(2007, 1003, "charts", "Belongs to another account"),
        commits: &[on_main("Draw a chart", &[file!("charts", "README.md"), file!("charts", "pinacle.yaml"), file!("charts", "chart.py")])],
    },
];

/// Writes each repository that is not there or was written from other samples; pushed commits are kept as long as the sample is.
pub async fn write(data_dir: &Path) -> io::Result<()> {
    for sample in SAMPLES {
        let stream = stream(sample);
        let stamp = hex::encode(Sha256::digest(&stream));
        let path = sample.repository.path(data_dir);
        let stamp_file = path.join("sample");
        if fs::read_to_string(&stamp_file).await.is_ok_and(|seen| seen == stamp) {
            continue;
        }
        if fs::try_exists(&path).await? {
            fs::remove_dir_all(&path).await?;
        }
        fs::create_dir_all(&path).await?;
        run(&path, &["init", "--quiet", "--bare", "--initial-branch=main", "."], &[]).await?;
        run(&path, &["config", "http.receivepack", "true"], &[]).await?;
        run(&path, &["fast-import", "--quiet", "--date-format=raw"], &stream).await?;
        fs::write(&stamp_file, stamp).await?;
    }
    Ok(())
}

/// The input of `git fast-import`.
fn stream(sample: &Sample) -> Vec<u8> {
    let mut text = String::new();
    for (number, commit) in (0u64..).zip(sample.commits) {
        let at = FIRST_COMMIT + number * DAY;
        let who = format!("Olive Owner <owner@example.test> {at} +0000");
        text += &format!("commit refs/heads/{}\nauthor {who}\ncommitter {who}\ndata {}\n{}\n", commit.branch, commit.message.len(), commit.message);
        // A branch that this stream has begun goes on from where it is.
        if let Some(from) = commit.from {
            text += &format!("from refs/heads/{from}\n");
        }
        for (path, content) in commit.files {
            let mode = if path.ends_with(".sh") { "100755" } else { "100644" };
            text += &format!("M {mode} inline {path}\ndata {}\n{content}\n", content.len());
        }
        text += "\n";
    }
    text.into_bytes()
}

async fn run(path: &PathBuf, arguments: &[&str], input: &[u8]) -> io::Result<()> {
    let mut child =
        git().arg("-C").arg(path).args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
    let stdin = child.stdin.take();
    let finished = async {
        if let Some(mut stdin) = stdin {
            stdin.write_all(input).await?;
        }
        child.wait_with_output().await
    };
    let output = timeout(IMPORT_DEADLINE, finished).await??;
    if output.status.success() { Ok(()) } else { Err(io::Error::other(format!("git {}: {}", arguments[0], String::from_utf8_lossy(&output.stderr)))) }
}
