//! Whole sessions with a client that costs next to nothing, so that what is measured is the way and not the client:
//! our own SSH client, inside this process, on every way alike.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use client::BoxStream;
use client::dial::{Dialer, HostPort, ProxyEnv};
use client::tls::{Certified, Keyring, Material};
use e2e::gate::{CLUSTER, NODE};
use model::api::cluster::TrustBundle;
use runtime::direct::Wrapped;
use ssh::Algorithms;
use ssh::channel::Received;
use ssh::client::{Config, Connected, Credential, Driver};
use ssh::keys::{PrivateKey, PublicKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wire::dial::{Class, DialHeader, Target, TraceId};
use wire::route::Route;
use wire::ssh::request::RequestKind;

use crate::bed::{Bed, Effort, Way};
use crate::report::Row;
use crate::stats::median;

/// Sessions at a time.
const AT_A_TIME: usize = 8;
/// A session takes milliseconds: one that does not end is a failure.
const DEADLINE: Duration = Duration::from_secs(20);

/// Everything a session needs, read once.
struct Kit {
    login: String,
    config: Arc<Config>,
    plain: Credential,
    certified: Option<Credential>,
    dialer: Option<Dialer>,
    ports: (u16, u16),
    gate: u16,
}

impl Kit {
    fn of(bed: &Bed) -> Result<Self> {
        let key = PrivateKey::from_openssh(&std::fs::read_to_string(bed.path("user"))?)?;
        let plain = Credential { key: key.public(), signer: Arc::new(key) };
        // What `sshd` of Debian 12 and the gate both know: one key exchange for all ways.
        let algorithms = Algorithms::named(&[], &["curve25519-sha256"], &[])?;
        let config = Config { algorithms, ..Config::default() };
        let mut kit = Self {
            login: bed.account().to_owned(),
            config: Arc::new(config),
            plain,
            certified: None,
            dialer: None,
            ports: bed.ports,
            gate: 0,
        };
        if let Some(home) = bed.person_home() {
            kit.gate = bed.gate()?.port;
            kit.enter(home.join(".msh/keys/127.0.0.1"))?;
        }
        Ok(kit)
    }

    /// Takes up a person's certificates, as `msh` keeps them.
    fn enter(&mut self, keys: PathBuf) -> Result<()> {
        let read = |name: &str| {
            let path = keys.join(name);
            std::fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        let key = PrivateKey::from_openssh(&read("bench")?)?;
        let certificate = PublicKey::from_openssh(read(&format!("bench-ssh/{CLUSTER}-cert.pub"))?.trim())?;
        self.certified = Some(Credential { key: certificate, signer: Arc::new(key) });
        let bundle: TrustBundle = serde_json::from_str(&read(&format!("cas/{CLUSTER}.json"))?)?;
        let shown = Certified::from_pem(&read("bench.crt")?, &read("bench.key")?)?;
        let keyring = Keyring::new(Material::trusting(&bundle)?.showing(shown));
        let to = HostPort::parse(&format!("127.0.0.1:{}", self.gate), self.gate)?;
        self.dialer = Some(Dialer::new(to, ProxyEnv::none(), keyring));
        Ok(())
    }

    async fn session(&self, way: &str) -> Result<()> {
        let mut hops = JoinSet::new();
        let certified = || self.certified.clone().context("a baseline has no certificate");
        let (stream, credential) = match way {
            "direct" => (tcp(self.ports.0).await?, self.plain.clone()),
            "jump" => {
                let bastion = self.greet(tcp(self.ports.1).await?, &self.login, &self.plain).await?;
                let channel = bastion.connection.open_direct_tcp("127.0.0.1", self.ports.0, ("127.0.0.1", 1));
                let stream = drive(bastion.driver, channel, &mut hops).await??;
                (Box::new(Wrapped::new(stream.into_stream())) as BoxStream, self.plain.clone())
            }
            "gatejump" => {
                let credential = certified()?;
                let gate = self.greet(tcp(self.gate).await?, "bench", &credential).await?;
                let name = format!("{NODE}.{CLUSTER}");
                let channel = gate.connection.open_direct_tcp(&name, 22, ("127.0.0.1", 1));
                let stream = drive(gate.driver, channel, &mut hops).await??;
                (Box::new(Wrapped::new(stream.into_stream())) as BoxStream, credential)
            }
            _ => (self.dial().await?, certified()?),
        };
        let target = self.greet(stream, &self.login, &credential).await?;
        drive(target.driver, run(&target.connection), &mut hops).await??;
        target.connection.disconnect("done");
        Ok(())
    }

    async fn dial(&self) -> Result<BoxStream> {
        let dialer = self.dialer.as_ref().context("a baseline has no gate")?;
        let mut stream = dialer.connect(Route::Ssh).await?;
        let mut header = Vec::new();
        let target = Target::parse(NODE, CLUSTER)?;
        DialHeader::new(target, TraceId([7; 16]), Class::Interactive).encode(&mut header);
        stream.write_all(&header).await?;
        stream.flush().await?;
        let length = stream.read_u16().await?;
        let mut reply = vec![0; usize::from(length)];
        stream.read_exact(&mut reply).await?;
        // Its version, then 0 for yes.
        ensure!(reply.get(1) == Some(&0), "the gate refused: {}", String::from_utf8_lossy(&reply));
        Ok(stream)
    }

    async fn greet(
        &self,
        stream: BoxStream,
        login: &str,
        credential: &Credential,
    ) -> Result<Connected<BoxStream>> {
        let any = |_: &PublicKey| Ok(());
        let way = [credential.clone()];
        Ok(ssh::client::connect(stream, self.config.clone(), &any, login, &way).await?)
    }
}

async fn tcp(port: u16) -> Result<BoxStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

/// Does the work while the connection's bytes move, and lets them move on.
async fn drive<T>(
    driver: Driver<BoxStream>,
    work: impl Future<Output = T>,
    hops: &mut JoinSet<()>,
) -> Result<T> {
    hops.spawn(async move {
        let _ = driver.await;
    });
    timeout(DEADLINE, work).await.context("a session did not end")
}

/// `true`, to its exit status.
async fn run(connection: &ssh::Connection) -> Result<()> {
    let channel = connection.open_session().await?;
    channel.exec("true").await?;
    loop {
        match channel.recv().await? {
            Received::Exit(status) => {
                ensure!(status == RequestKind::ExitStatus(0), "{status:?}");
                channel.close();
                return Ok(());
            }
            Received::Closed => anyhow::bail!("closed without a status"),
            Received::Data(_) | Received::Extended(..) | Received::Eof => {}
            Received::Request(request) => request.refuse(),
        }
    }
}

/// Runs sessions until `go_on`, which is asked before each, says no; how many ended well.
fn burst(
    kit: &Arc<Kit>,
    way: &'static str,
    go_on: impl Fn() -> bool + Send + Sync + 'static,
) -> Result<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (done, go_on) = (Arc::new(AtomicUsize::new(0)), Arc::new(go_on));
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..AT_A_TIME {
            let (kit, done, go_on) = (kit.clone(), done.clone(), go_on.clone());
            tasks.spawn(async move {
                while go_on() {
                    match timeout(DEADLINE, kit.session(way)).await {
                        Ok(Ok(())) => {
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(Err(error)) => eprintln!("{way}: {error:#}"),
                        Err(_) => eprintln!("{way}: a session did not end"),
                    }
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    });
    Ok(done.load(Ordering::Relaxed))
}

/// Sessions a second and their cost, on each way.
pub(crate) fn rate(bed: &Bed, effort: &Effort) -> Result<Vec<Row>> {
    let kit = Arc::new(Kit::of(bed)?);
    let mut taken: Vec<[Vec<f64>; 3]> = bed.ways().iter().map(|_| [const { Vec::new() }; 3]).collect();
    for _ in 0..effort.rounds {
        for (way, [rate, target, between]) in bed.ways().iter().zip(&mut taken) {
            let (before, start, window) = (bed.cpu(way), Instant::now(), effort.window);
            let done = burst(&kit, way.host, move || start.elapsed() < window)?;
            let (after, seconds) = (bed.cpu(way), start.elapsed().as_secs_f64());
            ensure!(done > 0, "no session ended well on the way {}", way.name);
            let done = f64::from(u32::try_from(done)?);
            rate.push(done / seconds);
            target.push((after.0 - before.0) * 1000.0 / done);
            between.push((after.1 - before.1) * 1000.0 / done);
        }
    }
    let column = |n: usize| taken.iter().map(|t| t.get(n).map(|s| median(s))).collect();
    let of = |what: &str| format!("{what}, with a client of little cost");
    Ok(vec![
        Row::new(of("whole sessions a second, 8 at a time"), "≥ 1.0x", column(0)),
        Row::new(of("CPU on the target for a session, ms"), "-", column(1)),
        Row::new(of("CPU in between for a session, ms"), "-", column(2)),
    ])
}

/// So many sessions through the gate; how many ended well.
pub(crate) fn many(bed: &Bed, way: &Way, count: usize) -> Result<usize> {
    let kit = Arc::new(Kit::of(bed)?);
    let left = AtomicUsize::new(count);
    burst(&kit, way.host, move || {
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n: usize| n.checked_sub(1)).is_ok()
    })
}
