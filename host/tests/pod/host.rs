//! A daemon of the test's own on the stack's first pod host, beside the stack's: started, joined, killed and swept by the test.

use pinacle_host::{
    daemon::admin::{Admin, AdminRequest},
    frame::{Frame, FrameReader, write_frame, write_json},
    protocol::{Command, HostErrorCode, Installation, JoinReply, PROTOCOL, Reply, Request, StreamInput, StreamOutput},
};
use std::{
    path::PathBuf,
    process::{Output, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    process::{Child, Command as Program},
    time::{sleep, timeout},
};
use uuid::Uuid;

pub const API_KEY: &str = "a-key-for-tests-that-is-long-enough-0123456789";
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Host {
    number: u16,
    /// What `dev/hosts.sh` calls the host's namespaces.
    name: String,
    pub prefix: String,
    pub state: String,
    pub run: String,
    pub installation: Installation,
}

/// Where the tests of this run have pod hosts; None says, on standard error, why they are left out.
fn stack_prefix() -> Option<String> {
    let hosts: u32 = std::env::var("PINACLE_TEST_HOSTS").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    if hosts == 0 {
        eprintln!("left out: PINACLE_TEST_HOSTS says that this stack has no pod hosts (they need root and gVisor)");
        return None;
    }
    Some(format!("pinacle-{}", std::env::var("PINACLE_TEST_STACK").expect("PINACLE_TEST_STACK names the stack of this run")))
}

impl Host {
    /// `number` is the test's own: range of addresses, ports and names follow from it.
    pub async fn start(number: u16) -> Option<Self> {
        let name = format!("{}-h1", stack_prefix()?);
        let host = Self {
            number,
            prefix: format!("{name}-t{number}"),
            name,
            state: format!("/var/lib/pinacle/test-{number}"),
            run: format!("/run/pinacle-test-{number}"),
            installation: Installation { id: Uuid::from_u128(u128::from(number)), epoch: 1 },
        };
        host.sweep().await;
        host.shell("mkdir -p $1 $2 && umask 077 && printf %s \"$3\" >$1/api-key && \
            printf '[req]\\ndistinguished_name = dn\\n[dn]\\n' >$1/req && openssl req -config $1/req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=host.test -addext subjectAltName=DNS:host.test -addext basicConstraints=critical,CA:FALSE \
            -keyout $1/key.pem -out $1/cert.pem 2>/dev/null", &[&host.state, &host.run, API_KEY]).await;
        host.serve().await;
        let reply = JoinReply {
            host_id: Uuid::from_u128(1),
            installation: host.installation,
            pod_cidr: format!("10.88.{}.0/24", 200 + number),
            control_key: String::new(),
        };
        let mut connection = host.connect().await;
        write_json(&mut connection.output, &AdminRequest { admin: Admin::Join { reply } }).await.unwrap();
        assert!(matches!(connection.reply().await, Reply::Done));
        Some(host)
    }

    /// Starts the daemon and waits until it answers.
    pub async fn serve(&self) {
        let port = self.https_port().to_string();
        let mut arguments = vec!["pinacle-host".to_owned(), "serve".into()];
        let cert = |file: &str| format!("{}/{file}", self.state);
        for (name, value) in [
            ("--state-dir", self.state.clone()),
            ("--run-dir", self.run.clone()),
            ("--prefix", self.prefix.clone()),
            ("--platform", "ptrace".into()),
            ("--runsc", "/usr/local/bin/runsc".into()),
            ("--https-listen", format!("0.0.0.0:{port}")),
            ("--https-cert", cert("cert.pem")),
            ("--https-key", cert("key.pem")),
            ("--api-key-file", cert("api-key")),
        ] {
            arguments.extend([name.to_owned(), value]);
        }
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        // It ends by `kill`; what is started here only enters the host.
        self.enter(&arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let end = Instant::now() + DEADLINE;
        while !self.is_up().await {
            assert!(Instant::now() < end, "the daemon did not come up: {}", std::fs::read_to_string(self.log()).unwrap_or_default());
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn is_up(&self) -> bool {
        let mut connection = self.connect().await;
        let hello = Request { protocol: PROTOCOL, installation: None, command: Command::Hello };
        write_json(&mut connection.output, &hello).await.is_ok() && matches!(connection.input.next().await, Ok(Some(_)))
    }

    /// As a power cut would end it.
    pub async fn kill(&self) {
        self.shell("kill -KILL $(cat $1/lock) && while kill -0 $(cat $1/lock) 2>/dev/null; do sleep 0.05; done", &[&self.run]).await;
    }

    pub fn log(&self) -> PathBuf {
        std::env::temp_dir().join(format!("{}.log", self.prefix))
    }

    pub fn https_port(&self) -> u16 {
        8440 + self.number
    }

    /// Of the host itself, reachable from this machine.
    pub fn address(&self) -> String {
        let stack: u32 = std::env::var("STACK_NUMBER").expect("STACK_NUMBER").parse().unwrap();
        format!("10.77.{stack}.6")
    }

    pub fn pod_address(&self, last: u8) -> std::net::Ipv4Addr {
        format!("10.88.{}.{last}", 200 + self.number).parse().unwrap()
    }

    pub fn enter<A: AsRef<std::ffi::OsStr>>(&self, arguments: &[A]) -> Program {
        // Tests run in their package's folder, wherever this was compiled.
        let mut program = Program::new("../dev/hosts.sh");
        program.args(["run", "1"]).args(arguments);
        program
    }

    async fn output(&self, script: &str, arguments: &[&str]) -> Output {
        let mut all = vec!["sh", "-c", script, "sh"];
        all.extend(arguments);
        timeout(DEADLINE, self.enter(&all).stdin(Stdio::null()).output()).await.expect("the host answers in time").unwrap()
    }

    pub async fn shell(&self, script: &str, arguments: &[&str]) {
        let done = self.output(script, arguments).await;
        assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// What a script prints on the host.
    pub async fn text(&self, script: &str, arguments: &[&str]) -> String {
        String::from_utf8(self.output(script, arguments).await.stdout).unwrap()
    }

    pub async fn connect(&self) -> Connection<tokio::process::ChildStdout, tokio::process::ChildStdin> {
        let socket = format!("{}/host.sock", self.run);
        let mut child = self
            .enter(&["pinacle-host", "gate", "--socket", &socket])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (output, input) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Connection { input: FrameReader::new(input), output, installation: self.installation, asked: String::new(), _gate: Some(child) }
    }

    /// Everything of this daemon's that the kernel or the disk of the host knows.
    pub async fn traces(&self) -> String {
        let script = "ip netns list | grep -- \"$1-\"; find /sys/fs/cgroup -mindepth 3 -type d -path \"*/$1/*\"; \
            grep -l test-$4/ /sys/block/loop*/loop/backing_file; grep -- \"$2/pods\" /proc/self/mounts; \
            find $2/pods $3/pods -mindepth 1; find $2/runsc -name '*state'; nft list ruleset | grep elements | grep \"$5\"; ps -eo args | grep -- \"--root=\\?.\\?$2/runsc\" | grep -v grep; true";
        self.text(script, &[&self.prefix, &self.run, &self.state, &self.number.to_string(), &format!("10.88.{}.", 200 + self.number)]).await
    }

    async fn sweep(&self) {
        let script = "kill -KILL $(cat $1/lock) 2>/dev/null; for f in $(find /sys/fs/cgroup -path \"*/$2/*/cgroup.procs\"); do xargs -r kill -KILL <$f; done; sleep 0.2; \
            find /sys/fs/cgroup -depth -type d \\( -path \"*/$2\" -o -path \"*/$2/*\" \\) -exec rmdir {} +; \
            ip netns list | awk '{print $1}' | grep -- \"^$2-\" | xargs -rn1 ip netns delete; rm -rf $1 $3; true";
        self.shell(script, &[&self.run, &self.prefix, &self.state]).await;
        let _none = std::fs::remove_file(self.log());
    }

    /// Ends the daemon and removes what it kept.
    pub async fn end(self) {
        let tag = self
            .text(
                "nft list tables | grep -o 'pinacle_[0-9a-f]*' | while read t; do nft list table inet $t | grep -q \"ip saddr $1\" && echo $t; done",
                &[&format!("10.88.{}.0/24", 200 + self.number)],
            )
            .await;
        self.sweep().await;
        for table in tag.split_whitespace() {
            self.shell("nft delete table inet $1", &[table]).await;
        }
        assert!(!self.text("ip netns list", &[]).await.contains(&format!("{}-", self.prefix)), "{} is left of {}", self.prefix, self.name);
    }
}

/// Frames over any byte stream.
pub struct Connection<R, W> {
    pub input: FrameReader<R>,
    pub output: W,
    pub installation: Installation,
    /// The last command, for who waits in vain.
    pub asked: String,
    /// What carries the stream, where that is a process.
    pub _gate: Option<Child>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Connection<R, W> {
    pub async fn frame(&mut self) -> Option<Frame> {
        let next = timeout(DEADLINE, self.input.next()).await;
        next.unwrap_or_else(|_| panic!("no frame in time to: {}", self.asked)).expect("a whole frame")
    }

    pub async fn reply(&mut self) -> Reply {
        self.frame().await.expect("a reply").parse().expect("a reply")
    }

    pub async fn ask(&mut self, command: Command) -> Reply {
        self.asked = format!("{command:?}");
        let request = Request { protocol: PROTOCOL, installation: Some(self.installation), command };
        write_json(&mut self.output, &request).await.unwrap();
        self.reply().await
    }

    pub async fn done(&mut self, command: Command) {
        let name = format!("{command:?}");
        let reply = self.ask(command).await;
        assert!(matches!(reply, Reply::Done), "{name}: {reply:?}");
    }

    pub async fn refused(&mut self, command: Command) -> HostErrorCode {
        match self.ask(command).await {
            Reply::Error(error) => error.code,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub async fn open(&mut self, command: Command) {
        let reply = self.ask(command).await;
        assert!(matches!(reply, Reply::Streaming), "{reply:?}");
    }

    pub async fn send(&mut self, data: &[u8]) {
        write_frame(&mut self.output, &Frame::Data(data.to_vec().into())).await.unwrap();
    }

    /// Pieces of 32 KiB, to one who may have given up already.
    pub async fn send_late(&mut self, pieces: usize) {
        for _ in 0..pieces {
            let _late = write_frame(&mut self.output, &Frame::Data(vec![1; 32 << 10].into())).await;
        }
    }

    pub async fn say(&mut self, input: StreamInput) {
        write_json(&mut self.output, &input).await.unwrap();
    }

    /// Reads a stream to its end.
    pub async fn rest(&mut self) -> Ended {
        let mut ended = Ended { out: Vec::new(), errors: Vec::new(), last: None };
        while let Some(frame) = self.frame().await {
            match frame {
                Frame::Data(data) => {
                    ended.out.extend_from_slice(&data);
                    // Whoever has sent all of it may have gone.
                    write_json(&mut self.output, &StreamInput::Taken { bytes: data.len() as u32 }).await.unwrap_or_default();
                }
                Frame::Stderr(data) => ended.errors.extend_from_slice(&data),
                json => {
                    if let last @ (StreamOutput::Exit { .. } | StreamOutput::Error(_)) = json.parse().unwrap() {
                        ended.last = Some(last);
                    }
                }
            }
        }
        ended
    }

    /// Reads data until it contains the text.
    pub async fn until(&mut self, text: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(text) {
            match timeout(DEADLINE, self.input.next()).await.unwrap_or_else(|_| panic!("no '{text}' in {seen:?}")).unwrap() {
                Some(Frame::Data(data)) => seen.push_str(&String::from_utf8_lossy(&data)),
                Some(_) => {}
                None => panic!("ended without '{text}': {seen:?}"),
            }
        }
        seen
    }
}

pub struct Ended {
    pub out: Vec<u8>,
    pub errors: Vec<u8>,
    pub last: Option<StreamOutput>,
}

impl Ended {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).trim().to_owned()
    }

    pub fn code(&self) -> Option<i32> {
        match self.last {
            Some(StreamOutput::Exit { code, .. }) => code,
            _ => None,
        }
    }
}
