//! A bare server to measure with: `speed PORT USER_KEY.pub` prints its host key, lets that key in, and knows the
//! commands `flood BYTES` (sends so many), `sink` (counts what it gets), `cat` and `true`.

use std::error::Error;
use std::sync::Arc;

use runtime::Scope;
use ssh::server::{self, Config, Gate};
use ssh::{Channel, ChannelKind, Event, HostKey, PrivateKey, PublicKey, Received, RequestKind};
use tokio::net::{TcpListener, TcpStream};

struct Only(PublicKey);

impl Gate for Only {
    type Who = ();

    fn worth_signing(&self, _: &str, key: &PublicKey) -> bool {
        *key == self.0
    }

    async fn admit(&self, _: &str, key: &PublicKey) -> Option<()> {
        (*key == self.0).then_some(())
    }
}

async fn run(channel: Channel, command: &str) -> Result<(), ssh::Error> {
    if let Some(bytes) = command.strip_prefix("flood ") {
        let (block, mut left) = (vec![0; 64 * 1024], bytes.trim().parse::<usize>().unwrap_or(0));
        while left > 0 {
            let now = left.min(block.len());
            channel.write_all(block.get(..now).unwrap_or_default()).await?;
            left -= now;
        }
    } else if command != "true" {
        let mut count = 0;
        loop {
            match channel.recv().await? {
                Received::Data(bytes) => {
                    count += bytes.len();
                    if command == "cat" {
                        channel.write_all(&bytes).await?;
                    }
                }
                Received::Eof | Received::Closed => break,
                Received::Extended(..) | Received::Request(_) | Received::Exit(_) => {}
            }
        }
        if command == "sink" {
            channel.write_all(format!("{count}\n").as_bytes()).await?;
        }
    }
    channel.exit_status(0);
    channel.eof();
    channel.close();
    Ok(())
}

async fn session(channel: Channel) -> Result<(), ssh::Error> {
    while let Received::Request(request) = channel.recv().await? {
        if let RequestKind::Exec { command } = &request.kind {
            let command = String::from_utf8_lossy(command).into_owned();
            request.accept();
            return run(channel, &command).await;
        }
        request.accept();
    }
    Ok(())
}

async fn serve(
    scope: Scope,
    config: Arc<Config>,
    gate: Arc<Only>,
    stream: TcpStream,
) -> Result<(), ssh::Error> {
    stream.set_nodelay(true)?;
    let mut accepted = server::accept(stream, config, &*gate).await?;
    scope.spawn("driver", accepted.driver);
    while let Some(event) = accepted.incoming.next().await {
        if let Event::Open(opening) = event
            && opening.kind == ChannelKind::Session
        {
            let channel = opening.accept()?;
            scope.spawn("session", session(channel));
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(port), Some(user)) = (arguments.next(), arguments.next()) else {
        return Err("speed PORT USER_KEY.pub".into());
    };
    let gate = Arc::new(Only(PublicKey::from_openssh(&std::fs::read_to_string(user)?)?));
    let host = Arc::new(PrivateKey::generate("speed")?);
    println!("[127.0.0.1]:{port} {}", host.public().to_openssh());
    let config = Arc::new(Config::new(vec![HostKey::plain(host)]));
    let listener = TcpListener::bind(("127.0.0.1", port.parse::<u16>()?)).await?;
    let scope = Scope::root("speed");
    loop {
        let (stream, _) = listener.accept().await?;
        scope.spawn("serve", serve(scope.clone(), config.clone(), gate.clone(), stream));
    }
}
