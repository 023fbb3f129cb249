//! Agents, one proxy, and links between them that the test cuts; time is paused and moves when all wait.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use model::{Identity, NodeId, Subject, SystemRole, Timestamp};
use runtime::{Clock, Random, Scope, Service};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::watch;
use wire::dial::{Class, DialHeader, Target, TraceId};

use crate::{Agent, Arrivals, BoxError, BoxFuture, BoxIo, Connect, DialError, Link, Proxy, Registry, Stream};

/// How long certificates last here.
pub(crate) const LIFE: Duration = Duration::from_secs(86_400);

/// What happened to a cable.
#[derive(Default)]
pub(crate) struct Damage {
    /// Bytes vanish and nothing is said.
    cut: AtomicBool,
    /// Both ends are told.
    broken: AtomicBool,
}

impl Damage {
    fn none_heard(&self) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

/// A cable that comes to harm when the test wants it.
pub(crate) struct Cable {
    inner: DuplexStream,
    damage: Arc<Damage>,
}

impl runtime::Direct for Cable {}

impl AsyncRead for Cable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.damage.none_heard()?;
        let before = out.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, out);
        if self.damage.cut.load(Ordering::SeqCst) {
            out.set_filled(before);
            return Poll::Pending;
        }
        read
    }
}

impl AsyncWrite for Cable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.damage.none_heard()?;
        if self.damage.cut.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

pub(crate) fn cable(size: usize) -> (Cable, Cable, Arc<Damage>) {
    let (near, far) = tokio::io::duplex(size);
    let damage = Arc::new(Damage::default());
    (Cable { inner: near, damage: damage.clone() }, Cable { inner: far, damage: damage.clone() }, damage)
}

/// What stands between an agent and the proxy.
pub(crate) struct Road {
    address: &'static str,
    registry: Mutex<Registry>,
    scope: Scope,
    identity: Identity,
    open: AtomicBool,
    dials: AtomicUsize,
    lifting: AtomicBool,
    lifts: AtomicUsize,
    cables: Mutex<Vec<Arc<Damage>>>,
}

impl Road {
    pub(crate) fn new(address: &'static str, registry: &Registry, scope: &Scope, identity: Identity) -> Self {
        Self {
            address,
            registry: Mutex::new(registry.clone()),
            scope: scope.clone(),
            identity,
            open: AtomicBool::new(true),
            dials: AtomicUsize::new(0),
            lifting: AtomicBool::new(true),
            lifts: AtomicUsize::new(0),
            cables: Mutex::default(),
        }
    }

    pub(crate) fn dials(&self) -> usize {
        self.dials.load(Ordering::SeqCst)
    }

    /// Nobody gets through any more, and who did is told.
    pub(crate) fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
        for cable in self.cables.lock().unwrap().drain(..) {
            cable.broken.store(true, Ordering::SeqCst);
        }
    }
}

impl Connect for Arc<Road> {
    fn connect(&self) -> BoxFuture<'_, Result<BoxIo, BoxError>> {
        Box::pin(async move {
            self.dials.fetch_add(1, Ordering::SeqCst);
            if !self.open.load(Ordering::SeqCst) {
                return Err("connection refused".into());
            }
            let (near, far, damage) = cable(256 * 1024);
            self.cables.lock().unwrap().push(damage);
            let (registry, identity) = (self.registry.lock().unwrap().clone(), self.identity.clone());
            self.scope.spawn("serve", async move { registry.serve(far, &identity, "tls", LIFE).await });
            Ok(Box::new(near) as BoxIo)
        })
    }

    fn connect_for_one(&self) -> BoxFuture<'_, Result<BoxIo, BoxError>> {
        Box::pin(async move {
            self.lifts.fetch_add(1, Ordering::SeqCst);
            if !self.lifting.load(Ordering::SeqCst) {
                return Err("connection refused".into());
            }
            let (near, far) = tokio::io::duplex(64 * 1024);
            let (registry, identity) = (self.registry.lock().unwrap().clone(), self.identity.clone());
            self.scope.spawn("claim", async move {
                let _ = registry.claim(Box::new(far), &identity).await;
            });
            Ok(Box::new(near) as BoxIo)
        })
    }

    fn name(&self) -> String {
        self.address.into()
    }

    fn carrier(&self) -> String {
        "tls".into()
    }
}

pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) scope: Scope,
    roads: BTreeMap<NodeId, Arc<Road>>,
    agents: BTreeMap<NodeId, Scope>,
    clock: Clock,
}

pub(crate) fn id(n: u8) -> NodeId {
    NodeId::from_random([n; 16])
}

pub(crate) fn host(n: u8, name: &str) -> Identity {
    Identity {
        subject: Subject::Host { id: id(n), name: name.parse().unwrap(), roles: [SystemRole::Node].into() },
        cluster: "gate.example".parse().unwrap(),
        expires_at: Timestamp::from_secs(1 << 40),
        login_ip: None,
        pin_ip: false,
        mfa_at: None,
        impersonator: None,
        disallow_reissue: false,
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            registry: Registry::new(Random::seeded(99)),
            scope: Scope::root("world"),
            roads: BTreeMap::new(),
            agents: BTreeMap::new(),
            clock: Clock::manual(Timestamp::from_secs(1_000_000)),
        }
    }

    /// Starts an agent whose streams echo.
    pub(crate) fn echoing(&mut self, n: u8, name: &str) -> watch::Receiver<Vec<Link>> {
        let (links, mut arrivals) = self.agent(n, name);
        let scope = self.scope.clone();
        self.scope.spawn("echo", async move {
            while let Some(arrival) = arrivals.next().await {
                scope.spawn("echo stream", async move {
                    let (mut from, mut to) = tokio::io::split(arrival.stream);
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                    let _ = to.shutdown().await;
                });
            }
        });
        links
    }

    pub(crate) fn agent(&mut self, n: u8, name: &str) -> (watch::Receiver<Vec<Link>>, Arrivals) {
        let road = Arc::new(Road::new("gate.example:3080", &self.registry, &self.scope, host(n, name)));
        self.roads.insert(id(n), road.clone());
        let proxy = Proxy { key: "gate".into(), ways: vec![Arc::new(road)] };
        self.follow(n, watch::channel(vec![proxy]).1)
    }

    /// Starts an agent with tunnels to the proxies that it is told of.
    pub(crate) fn follow(
        &mut self,
        n: u8,
        proxies: watch::Receiver<Vec<Proxy>>,
    ) -> (watch::Receiver<Vec<Link>>, Arrivals) {
        let (agent, arrivals) = Agent::new(proxies, &self.clock, &Random::seeded(u64::from(n)));
        let links = agent.links();
        let scope = self.scope.child("agent");
        self.agents.insert(id(n), scope.clone());
        self.scope.spawn("agent", async move { agent.run(scope).await.unwrap() });
        (links, arrivals)
    }

    fn road(&self, n: u8) -> &Road {
        &self.roads[&id(n)]
    }

    pub(crate) fn cut_cables(&self, n: u8) {
        for cable in self.road(n).cables.lock().unwrap().drain(..) {
            cable.cut.store(true, Ordering::SeqCst);
        }
    }

    pub(crate) fn break_cables(&self, n: u8) {
        for cable in self.road(n).cables.lock().unwrap().drain(..) {
            cable.broken.store(true, Ordering::SeqCst);
        }
    }

    /// The agent goes: its tunnels are closed, what its streams are for goes on.
    pub(crate) fn stop_agent(&self, n: u8) {
        self.agents[&id(n)].cancel();
    }

    /// Waits until the only agent's tunnel is gone and it has another; one that was stopped is started anew.
    pub(crate) async fn until_replaced(&mut self, n: u8, name: &str) {
        self.until_agents(0).await;
        if self.agents[&id(n)].is_cancelled() {
            self.echoing(n, name);
        }
        self.until_agents(1).await;
    }

    pub(crate) fn close_road(&self, n: u8) {
        self.road(n).open.store(false, Ordering::SeqCst);
    }

    pub(crate) fn open_road(&self, n: u8) {
        self.road(n).open.store(true, Ordering::SeqCst);
    }

    /// Connections asked for single streams.
    pub(crate) fn lifts(&self, n: u8) -> usize {
        self.road(n).lifts.load(Ordering::SeqCst)
    }

    /// From now on no connection for a single stream comes about.
    pub(crate) fn refuse_lifts(&self, n: u8) {
        self.road(n).lifting.store(false, Ordering::SeqCst);
    }

    pub(crate) fn dials(&self, n: u8) -> usize {
        self.road(n).dials.load(Ordering::SeqCst)
    }

    /// The proxy goes and another takes its place: same address, nothing remembered.
    pub(crate) fn replace_proxy(&mut self) -> Registry {
        let fresh = Registry::new(Random::seeded(99));
        for road in self.roads.values() {
            *road.registry.lock().unwrap() = fresh.clone();
        }
        std::mem::replace(&mut self.registry, fresh)
    }

    /// Waits until so many agents are registered.
    pub(crate) async fn until_agents(&self, count: usize) {
        let mut watch = self.registry.watch();
        while self.registry.list().len() != count {
            tokio::time::timeout(Duration::from_secs(60), watch.changed()).await.unwrap().unwrap();
        }
    }

    pub(crate) fn dial(&self, target: &str) -> Result<Stream, DialError> {
        self.registry.dial(&header(target))
    }
}

pub(crate) fn header(target: &str) -> DialHeader {
    DialHeader::new(Target::parse(target, "gate.example").unwrap(), TraceId([9; 16]), Class::Interactive)
}

/// Sends and expects the same back.
pub(crate) async fn echo(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    let mut back = vec![0; bytes.len()];
    stream.write_all(bytes).await?;
    tokio::time::timeout(Duration::from_secs(30), stream.read_exact(&mut back)).await??;
    assert_eq!(back, bytes);
    Ok(())
}

/// A path of `rate` bytes a second and `delay` each way. Like a socket with a low-water mark it takes 64 KiB that
/// are not yet sent, and no more.
pub(crate) fn slow_path(scope: &Scope, rate: u32, delay: Duration) -> (DuplexStream, DuplexStream) {
    const UNSENT: usize = 64 * 1024;
    let (near, near_path) = tokio::io::duplex(UNSENT);
    let (far, far_path) = tokio::io::duplex(UNSENT);
    let (near_in, near_out) = tokio::io::split(near_path);
    let (far_in, far_out) = tokio::io::split(far_path);
    for (mut from, mut to) in [(near_in, far_out), (far_in, near_out)] {
        let (flying, mut landing) = tokio::sync::mpsc::channel::<(tokio::time::Instant, Vec<u8>)>(4096);
        scope.spawn("transmit", async move {
            let mut free = tokio::time::Instant::now();
            let mut packet = vec![0; 1400 * 4];
            while let Ok(count @ 1..) = from.read(&mut packet).await {
                free = free.max(tokio::time::Instant::now())
                    + Duration::from_secs_f64(f64::from(u32::try_from(count).unwrap()) / f64::from(rate));
                tokio::time::sleep_until(free).await;
                if flying.send((free + delay, packet[..count].to_vec())).await.is_err() {
                    return;
                }
            }
        });
        scope.spawn("propagate", async move {
            while let Some((at, packet)) = landing.recv().await {
                tokio::time::sleep_until(at).await;
                if to.write_all(&packet).await.is_err() {
                    return;
                }
            }
        });
    }
    (near, far)
}
