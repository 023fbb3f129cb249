//! Joins a gate as a node and gives it one long recording, to measure players with.
//!
//! `cargo run -p session --example reel -- GATE TOKEN PIN HOURS MIB`: a training run that draws progress bars, with lines
//! of its own every few seconds, MIB of output in all. Segments are sealed by the recorder's own rule: when they are full
//! or ten seconds old. Prints the session's id.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measuring program stops at the first surprise"
)]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use audit::Sign as _;
use audit::recording::{Frame, Sealed, Start, Writer};
use aws_lc_rs::signature::Ed25519KeyPair;
use bytes::Bytes;
use client::connect::Connect;
use client::dial::Dialer;
use client::host::{self, HostKeys, Joining, Verify};
use client::proxy_env::{HostPort, ProxyEnv};
use client::{Client, Keyring};
use model::api::nodes::ReportNode;
use model::{NodeId, SessionId, SystemRole, Timestamp};
use runtime::{Clock, Random, Scope};

/// Draws a second.
const DRAWS: u64 = 4;

/// A repeatable stream of numbers (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// What is written at draw `n`, at least `size` bytes: bars over bars, and sometimes lines that stay.
fn drawn(n: u64, size: usize, dice: &mut Dice) -> String {
    let second = n / DRAWS;
    let mut text = String::with_capacity(size + 300);
    if second.is_multiple_of(3_600) && n.is_multiple_of(DRAWS) {
        write!(text, "root@gpu-7:~# python train.py --resume={}\r\n", second / 3_600).unwrap();
    }
    while text.len() < size {
        let done = dice.roll(1_000);
        let bar = "█".repeat(usize::try_from(done * 60 / 1_000).unwrap());
        let (epoch, loss) = (second / 600, dice.roll(1_000_000));
        write!(
            text,
            "\r\x1b[36mepoch {epoch:>4}\x1b[0m {bar:<60} {done:>4}/1000 \x1b[32mloss\x1b[0m 0.{loss:06}"
        )
        .unwrap();
    }
    if n.is_multiple_of(DRAWS * 5) {
        let step = dice.roll(1_000_000);
        write!(text, "\r\n[{second}] 检查点 checkpoint step={step} saved to /data/run/{second:06}\r\n")
            .unwrap();
    }
    text
}

/// A node of the gate, for as long as the recording takes.
struct Node {
    id: NodeId,
    name: String,
    cluster: String,
    client: Client,
    seal: Ed25519KeyPair,
}

async fn join(gate: &str, token: &str, pin: &str, scope: &Scope, random: &Random) -> Node {
    let dir = tempfile::tempdir().unwrap();
    let keys = HostKeys::open(dir.path(), random).unwrap();
    let to = HostPort::parse(gate, 3080).unwrap();
    let id = NodeId::from_random(random.bytes());
    let joining = Joining {
        to: vec![to.clone()],
        env: ProxyEnv::from_vars(std::iter::empty::<(String, String)>()).unwrap(),
        verify: Verify::Pins(vec![pin.to_owned()]),
        token: model::Secret::new(token.to_owned()),
        id: id.clone(),
        name: format!("reel-{}", random.bytes::<2>().map(|b| b.to_string()).concat()).parse().unwrap(),
        roles: [SystemRole::Node].into(),
        principals: Vec::new(),
    };
    let identity = host::join(&joining, dir.path(), &keys, scope, random).await.unwrap();
    let keyring = Keyring::new(identity.material(&keys).unwrap());
    let dialer: Arc<dyn Connect> = Arc::new(Dialer::new(to, joining.env.clone(), keyring));
    let client = Client::new(dialer, scope, random.clone());
    let der = keys.ssh().to_pkcs8_der().unwrap();
    let seal = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).unwrap();
    let report = ReportNode {
        id: id.clone(),
        name: identity.name().clone(),
        address: String::new(),
        labels: model::Labels::new(),
        version: model::VERSION.to_owned(),
        only_login: None,
        seal_key: seal.public().to_string(),
    };
    client.call(&report).await.unwrap();
    Node { id, name: identity.name().to_string(), cluster: identity.cluster().to_string(), client, seal }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let [gate, token, pin, hours, mib] = wanted.as_slice() else { panic!("GATE TOKEN PIN HOURS MIB") };
    let (hours, mib): (u64, usize) = (hours.parse().unwrap(), mib.parse().unwrap());
    let (random, scope) = (Random::system(), Scope::root("reel"));
    let node = join(gate, token, pin, &scope, &random).await;

    let session = SessionId::from_random(random.bytes());
    let length = Duration::from_secs(hours * 3_600);
    let started = Timestamp::from_millis(Clock::system().now().millis()) - length;
    let mut writer = Writer::new(session.clone(), started);
    let start = Start {
        user: "ann".into(),
        login: "root".into(),
        node: node.id.to_string(),
        node_name: node.name.clone(),
        cluster: node.cluster.clone(),
        kind: "shell".into(),
        term: "xterm-256color".into(),
        cols: 140,
        rows: 40,
        ..Start::default()
    };
    writer.push(Duration::ZERO, &Frame::Start(start));
    let draws = hours * 3_600 * DRAWS;
    let size = mib * 1024 * 1024 / usize::try_from(draws).unwrap();
    let mut dice = Dice(7);
    let put = async |sealed: Sealed| {
        let sent = node.client.put_segment(&session, sealed.n, Bytes::from(sealed.bytes)).await;
        sent.expect("the gate takes the segment");
    };
    for n in 0..draws {
        let at = Duration::from_millis(n * 1_000 / DRAWS);
        if writer.is_due(at) {
            put(writer.seal(false, &node.seal).unwrap().unwrap()).await;
        }
        writer.push_bytes(at, drawn(n, size, &mut dice).as_bytes(), Frame::Output);
    }
    writer.push(length, &Frame::End { interrupted: false, reason: "" });
    put(writer.seal(true, &node.seal).unwrap().unwrap()).await;
    println!("{session}");
}
