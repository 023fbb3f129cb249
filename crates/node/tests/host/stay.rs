//! Shells that are kept when their connection breaks: by our own client, which can be cut as nothing else can.

use std::sync::Arc;
use std::time::Duration;

use model::resource::{Notice, RecordSession, Role};
use node::serve::Settings;
use runtime::Scope;
use ssh::client::{Config, Connected, Credential};
use ssh::{Channel, Pty, Received, Size};
use tokio::net::TcpStream;

use super::gate::Gate;
use super::start::me;

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_shell_whose_connection_broke_is_there_again_with_what_it_said", comes_back),
    ("nobody_else_comes_back_to_a_shell", nobody_else),
    ("a_shell_nobody_comes_back_to_ends_when_its_time_is_over", grace_ends),
    ("a_lock_ends_a_shell_that_waits", locked),
    ("who_hangs_up_leaves_nothing_behind", hangs_up),
    ("who_reads_nothing_of_what_is_told_does_not_outlive_the_end", reads_nothing),
];

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const PATIENCE: Duration = super::gate::PATIENCE;

/// A connection of a client of ours. Dropping it cuts it as a proxy's end would.
pub(crate) struct Client {
    pub(crate) connection: ssh::Connection,
    scope: Scope,
}

impl Client {
    pub(crate) async fn connect(gate: &Gate) -> Self {
        Self::with(gate, Config::default()).await
    }

    async fn with(gate: &Gate, config: Config) -> Self {
        let text = std::fs::read_to_string(gate.path("id")).unwrap();
        let certificate = std::fs::read_to_string(gate.path("id-cert.pub")).unwrap();
        let credential = Credential {
            key: ssh::PublicKey::from_openssh(certificate.trim()).unwrap(),
            signer: Arc::new(ssh::PrivateKey::from_openssh(&text).unwrap()),
        };
        let stream = TcpStream::connect(gate.address).await.unwrap();
        let any = |_: &ssh::PublicKey| Ok::<(), String>(());
        let Connected { connection, driver, .. } =
            ssh::client::connect(stream, Arc::new(config), &any, &gate.login, &[credential]).await.unwrap();
        let scope = Scope::root("client");
        scope.spawn("client", driver);
        Self { connection, scope }
    }

    /// A shell that asks to be kept.
    async fn shell(&self) -> Channel {
        let channel = self.connection.open_session().await.unwrap();
        channel.env("MOONGATE_KEEP", KEY).unwrap();
        let size = Size { columns: 80, rows: 24, width: 0, height: 0 };
        channel.request_pty(Pty { term: "dumb".to_owned(), size, modes: Vec::new() }).await.unwrap();
        channel.shell().await.unwrap();
        channel
    }

    async fn resume(&self, key: &str, seen: u64) -> Result<Channel, ssh::Error> {
        let channel = self.connection.open_session().await.unwrap();
        channel.env("MOONGATE_KEEP", key).unwrap();
        channel.env("MOONGATE_SEEN", seen.to_string()).unwrap();
        channel.subsystem("resume@moongate").await.map(|()| channel)
    }

    pub(crate) fn cut(self) {
        self.scope.cancel();
    }
}

/// Reads until what was read `holds`.
async fn read_until(channel: &Channel, holds: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut all = Vec::new();
    while !holds(&all) {
        match channel.recv().await.unwrap() {
            Received::Data(bytes) => all.extend_from_slice(&bytes),
            Received::Closed => panic!("closed after {}", String::from_utf8_lossy(&all)),
            _ => {}
        }
    }
    all
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The line that begins with this word and a digit: not the command as it was typed.
fn line<'a>(bytes: &'a [u8], word: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (whole, _) = text.rsplit_once('\n')?;
    let rest = |line: &'a str| line.trim().strip_prefix(word);
    whole.lines().filter_map(rest).find(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn with_gate<F: Future<Output = ()>>(grace: Duration, test: impl FnOnce(Arc<Gate>) -> F) {
    with_role(policy::presets::access(), grace, test);
}

fn with_role<F: Future<Output = ()>>(role: Role, grace: Duration, test: impl FnOnce(Arc<Gate>) -> F) {
    let settings = Settings { session_grace: grace, ..Settings::default() };
    let gate = Arc::new(Gate::with(me().as_str(), vec![role], settings));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let used = gate.clone();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test(used)).await.expect("in time") });
    drop(runtime);
    drop(gate);
}

const LONG: Duration = Duration::from_secs(300);

/// Waits for an event without holding up the runtime.
async fn event(gate: &Arc<Gate>, name: &'static str) -> serde_json::Value {
    let gate = gate.clone();
    tokio::task::spawn_blocking(move || gate.event(name, |_| true)).await.unwrap()
}

fn comes_back() {
    with_gate(LONG, |gate| async move {
        let first = Client::connect(&gate).await;
        let shell = first.shell().await;
        let go = gate.path("go");
        let words = format!(
            "PS1=; stty -echo; kept=$$; echo begun-$kept; until [ -e {} ]; do sleep 0.05; done; echo missed\n",
            go.display()
        );
        shell.write_all(words.as_bytes()).await.unwrap();
        let seen = read_until(&shell, |all| line(all, "begun-").is_some()).await;
        first.cut();
        event(&gate, "session.leave").await;
        std::fs::write(&go, "").unwrap();

        let second = Client::connect(&gate).await;
        let shell = second.resume(KEY, seen.len() as u64).await.unwrap();
        shell.write_all(b"echo same-$kept-$$\n").await.unwrap();
        let got = read_until(&shell, |all| line(all.get(8..).unwrap_or_default(), "same-").is_some()).await;

        let (offset, rest) = got.split_first_chunk::<8>().unwrap();
        assert_eq!(u64::from_be_bytes(*offset), seen.len() as u64);
        assert!(has(rest, "missed"), "{}", String::from_utf8_lossy(rest));
        let (kept, now) = line(rest, "same-").unwrap().split_once('-').unwrap();
        assert_eq!(kept, now, "the same shell");
        assert_eq!(line(&seen, "begun-"), Some(kept));

        // Once more from the beginning, by who has seen nothing.
        let third = Client::connect(&gate).await;
        let shell = third.resume(KEY, 0).await.unwrap();
        let all = read_until(&shell, |all| line(all.get(8..).unwrap_or_default(), "same-").is_some()).await;
        assert_eq!(line(&all[8..], "begun-"), Some(kept));

        shell.write_all(b"exit 3\n").await.unwrap();
        let exit = loop {
            if let Received::Exit(how) = shell.recv().await.unwrap() {
                break how;
            }
        };
        assert_eq!(exit, ssh::RequestKind::ExitStatus(3));
        event(&gate, "session.end").await;
        assert_eq!(gate.events("session.start").len(), 1, "one session from its start to its end");
        assert_eq!(gate.events("session.join").len(), 2);
        assert!(third.resume(KEY, 0).await.is_err(), "it is over");
    });
}

fn nobody_else() {
    with_gate(LONG, |gate| async move {
        let first = Client::connect(&gate).await;
        let shell = first.shell().await;
        shell.write_all(b"echo here-$((1))\n").await.unwrap();
        read_until(&shell, |all| has(all, "here-1")).await;

        let other = Client::connect(&gate).await;
        let wrong = KEY.replace("00", "01");
        assert!(other.resume(&wrong, 0).await.is_err());
        assert!(other.resume("", 0).await.is_err());
        assert!(other.resume("zz", 0).await.is_err());

        // The rules are asked again: who may no longer have a shell does not come back to one.
        shell.write_all(b"echo still-$((2))\n").await.unwrap();
        read_until(&shell, |all| has(all, "still-2")).await;
        assert!(gate.events("session.join").is_empty());
    });
}

fn grace_ends() {
    with_gate(Duration::from_millis(300), |gate| async move {
        let first = Client::connect(&gate).await;
        let shell = first.shell().await;
        shell.write_all(b"echo here-$((1))\n").await.unwrap();
        read_until(&shell, |all| has(all, "here-1")).await;
        first.cut();

        event(&gate, "session.end").await;
        let second = Client::connect(&gate).await;
        assert!(second.resume(KEY, 0).await.is_err());
    });
}

fn locked() {
    with_gate(LONG, |gate| async move {
        let first = Client::connect(&gate).await;
        let shell = first.shell().await;
        shell.write_all(b"echo here-$((1))\n").await.unwrap();
        read_until(&shell, |all| has(all, "here-1")).await;
        first.cut();
        event(&gate, "session.leave").await;

        gate.rule(&[], &[]);

        event(&gate, "session.end").await;
    });
}

fn hangs_up() {
    with_gate(LONG, |gate| async move {
        let first = Client::connect(&gate).await;
        let shell = first.shell().await;
        shell.write_all(b"trap '' HUP; echo here-$((1))\n").await.unwrap();
        read_until(&shell, |all| has(all, "here-1")).await;

        shell.signal("HUP").unwrap();
        shell.close();

        let second = Client::connect(&gate).await;
        while second.resume(KEY, 0).await.is_ok() {}
        drop(first);
    });
}

fn reads_nothing() {
    let mut role = policy::presets::access();
    let record = RecordSession { notice: Some(Notice::Consent), ..RecordSession::default() };
    role.spec.options.record_session = Some(record);
    with_role(role, Duration::ZERO, |gate| async move {
        let mut config = Config::default();
        config.limits.window = 0;
        let client = Client::with(&gate, config).await;
        let shell = client.shell().await;
        // A letter typed and taken back is four bytes shown: until no more is kept for who takes none of it.
        let told = "This session is recorded.\r\nType `yes` to go on: ".len() + "yes".len();
        let room = ssh::Limits::default().send_buffer - told;
        assert!(room % 4 < 2, "the next line would find room");
        shell.write_all(&b"x\x08".repeat(room / 4)).await.unwrap();
        shell.write_all(b"yes\r").await.unwrap();
        assert_eq!(event(&gate, "session.consent").await["success"], true);

        let start = event(&gate, "session.start").await;
        gate.end(start["sid"].as_str().unwrap().parse().unwrap());

        let end = event(&gate, "session.end").await;
        assert_eq!(end["reason"], "ended by an administrator: enough");
        drop(client);
    });
}
