//! Measures a server from the client's side: `latency PORT USER_KEY LOGIN echo` prints the median time of a byte there
//! and back through `cat`, alone and beside `BULK` (a command that sends without end) on the same connection;
//! `latency PORT USER_KEY LOGIN idle N` holds N idle sessions until its input ends.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runtime::Scope;
use ssh::client::{self, Config, Credential};
use ssh::connection::Incoming;
use ssh::{Channel, Connection, PrivateKey, PublicKey, Received};
use tokio::net::TcpStream;

type Outcome<T> = Result<T, Box<dyn Error>>;

async fn join(
    scope: &Scope,
    port: u16,
    key: &Arc<PrivateKey>,
    login: &str,
) -> Outcome<(Connection, Incoming)> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let credentials = [Credential { key: key.public(), signer: key.clone() }];
    // A measurement on loopback: any host will do.
    let trust = |_: &PublicKey| Ok(());
    let connected = client::connect(stream, Arc::new(Config::default()), &trust, login, &credentials).await?;
    scope.spawn("driver", connected.driver);
    Ok((connected.connection, connected.incoming))
}

async fn echo(channel: &Channel, rounds: usize) -> Outcome<Duration> {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        channel.write_all(b"x").await?;
        while !matches!(channel.recv().await?, Received::Data(_)) {}
        times.push(start.elapsed());
    }
    times.sort();
    times.get(rounds / 2).copied().ok_or_else(|| "no rounds".into())
}

async fn drain(channel: Channel) {
    while !matches!(channel.recv().await, Ok(Received::Closed) | Err(_)) {}
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, key, login, what, value] = arguments.as_slice() else {
        return Err("latency PORT USER_KEY LOGIN echo BULK | idle N".into());
    };
    let key = Arc::new(PrivateKey::from_openssh(&std::fs::read_to_string(key)?)?);
    let (port, scope) = (port.parse()?, Scope::root("latency"));
    if what == "idle" {
        let mut held = Vec::new();
        for _ in 0..value.parse::<usize>()? {
            let (connection, incoming) = join(&scope, port, &key, login).await?;
            let channel = connection.open_session().await?;
            channel.exec("cat").await?;
            held.push((connection, incoming, channel));
        }
        println!("{} held", held.len());
        drop(tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await);
        return Ok(());
    }
    let (connection, _incoming) = join(&scope, port, &key, login).await?;
    let channel = connection.open_session().await?;
    channel.exec("cat").await?;
    println!("alone {:?}", echo(&channel, 500).await?);
    let bulk = connection.open_session().await?;
    bulk.exec(value.as_str()).await?;
    let mut flowing = 0;
    while flowing < 64 << 20 {
        if let Received::Data(bytes) = bulk.recv().await? {
            flowing += bytes.len();
        }
    }
    scope.spawn("drain", drain(bulk));
    println!("beside bulk {:?}", echo(&channel, 300).await?);
    connection.disconnect("done");
    Ok(())
}
