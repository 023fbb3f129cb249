//! Measures a tunnel over loopback TCP: bytes a second with 1 and 8 streams, and a round trip beside bulk.
//!
//! `cargo run --release -p tunnel --example throughput`. Both ends share the machine.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measuring program stops at the first surprise"
)]

use std::time::{Duration, Instant};

use runtime::Scope;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tunnel::shell::{self, Incoming};
use tunnel::{Handle, Stream};
use wire::dial::Class;
use wire::mux::{Settings, Side};

const CHUNK: usize = 64 * 1024;

async fn pair(scope: &Scope) -> (Handle, tokio::sync::mpsc::Receiver<Incoming>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    for socket in [&near, &far] {
        socket.set_nodelay(true).unwrap();
        #[cfg(target_os = "linux")]
        socket2::SockRef::from(socket).set_tcp_notsent_lowat(128 * 1024).unwrap();
    }
    let (opens, _none, pump) = shell::start(near, Side::Listener, Settings::default());
    let (_keep, incoming, other) = shell::start(far, Side::Dialer, Settings::default());
    scope.spawn("pump", pump.run());
    scope.spawn("pump", other.run());
    (opens, incoming)
}

async fn drain(mut stream: Stream) -> u64 {
    let (mut buffer, mut total) = (vec![0; CHUNK], 0);
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        total += u64::try_from(count).unwrap();
    }
    total
}

async fn flood(mut stream: Stream, until: Instant) {
    let buffer = vec![7; CHUNK];
    while Instant::now() < until {
        if stream.write_all(&buffer).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

/// Processor seconds this process has used (both ends of everything), from Linux's account.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// MiB a second, and processor seconds a GiB.
async fn bulk(streams: usize) -> (f64, f64) {
    let scope = Scope::root("bulk");
    let (opens, mut incoming) = pair(&scope).await;
    let (began, used) = (Instant::now(), processor_seconds());
    let until = began + Duration::from_secs(3);
    let mut readers = Vec::new();
    for _ in 0..streams {
        scope.spawn("flood", flood(opens.open(Class::Bulk, b"").unwrap(), until));
        readers.push(scope.spawn("drain", drain(incoming.recv().await.unwrap().stream)));
    }
    let mut total = 0;
    for reader in readers {
        total += reader.await.unwrap().expect("not cancelled");
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let mib = total as f64 / f64::from(1 << 20);
    scope.cancel();
    (mib / began.elapsed().as_secs_f64(), (processor_seconds() - used) * 1024.0 / mib)
}

async fn round_trips(beside_bulk: bool) -> (Duration, Duration) {
    let scope = Scope::root("echo");
    let (opens, mut incoming) = pair(&scope).await;
    if beside_bulk {
        let until = Instant::now() + Duration::from_secs(5);
        scope.spawn("flood", flood(opens.open(Class::Bulk, b"").unwrap(), until));
        scope.spawn("drain", drain(incoming.recv().await.unwrap().stream));
    }
    let mut key = opens.open(Class::Interactive, b"").unwrap();
    let mut far = incoming.recv().await.unwrap().stream;
    scope.spawn("echo", async move {
        let mut byte = [0; 1];
        while far.read_exact(&mut byte).await.is_ok() && far.write_all(&byte).await.is_ok() {}
    });
    let mut times = Vec::new();
    for _ in 0..2000 {
        let began = Instant::now();
        key.write_all(b"k").await.unwrap();
        key.read_u8().await.unwrap();
        times.push(began.elapsed());
    }
    times.sort();
    scope.cancel();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for streams in [1, 8] {
            let (rate, cost) = bulk(streams).await;
            println!("{streams} stream(s): {rate:.0} MiB/s, {cost:.2} CPU s/GiB for both ends together");
        }
        println!("round trip alone p50, p99: {:?}", round_trips(false).await);
        println!("round trip beside bulk p50, p99: {:?}", round_trips(true).await);
    });
}
