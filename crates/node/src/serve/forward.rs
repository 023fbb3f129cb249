//! Connections from this host onwards: `-L`, `-D`, and to Unix sockets.

use std::sync::Arc;

use policy::{Denial, SshAction};
use session::event::Status;
use ssh::{ChannelKind, Opening};
use tokio::net::{TcpStream, UnixStream};

use super::report::Direction;
use super::visit::Visit;
use crate::{egress, relay};

/// What a forward leads to, once it is connected.
enum Far {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Connects and relays, or refuses. Watches for the end of the connection itself: that a forward has stopped is on
/// record however it does.
pub(super) async fn open(visit: Arc<Visit>, opening: Opening) {
    let (direction, address) = match &opening.kind {
        ChannelKind::DirectTcp(path) => (Direction::Local, format!("{}:{}", path.host, path.port)),
        ChannelKind::DirectUnix { path } => (Direction::Socket, path.clone()),
        _ => return,
    };
    if let Err(denial) = visit.ask(SshAction::ForwardLocal) {
        opening.prohibit(Denial::PUBLIC);
        return visit.forwarded(direction, &address, Status::failed(denial.to_string())).await;
    }
    let connected = tokio::select! {
        connected = connect(&visit, &opening.kind) => connected,
        () = visit.scope.cancelled() => return,
    };
    let far = match connected {
        Ok(far) => far,
        Err(words) => {
            opening.unreachable(&words);
            return visit.forwarded(direction, &address, Status::failed(words)).await;
        }
    };
    let Ok(channel) = opening.accept() else { return };
    let relayed = async {
        match far {
            Far::Tcp(stream) => relay::tcp(&channel, stream, &visit.pulse).await,
            Far::Unix(stream) => relay::unix(&channel, stream, &visit.pulse).await,
        }
    };
    // The record does not hold up the bytes: the decision was made before them.
    tokio::join!(visit.forwarded(direction, &address, Status::ok()), async {
        tokio::select! {
            _ = relayed => {}
            () = visit.scope.cancelled() => {}
        }
    });
    visit.unforwarded(direction, &address).await;
}

async fn connect(visit: &Visit, kind: &ChannelKind) -> Result<Far, String> {
    let account = visit.account.as_ref().map_err(Clone::clone)?;
    match kind {
        ChannelKind::DirectTcp(path) => {
            let port = u16::try_from(path.port).map_err(|_| "not a port".to_owned())?;
            egress::connect(&path.host, port).await.map(Far::Tcp)
        }
        ChannelKind::DirectUnix { path } => {
            let stream = account.connect(path.as_bytes()).await.map_err(|e| crate::pump::words(&e))?;
            UnixStream::from_std(stream).map(Far::Unix).map_err(|e| e.to_string())
        }
        _ => Err("not a forward".to_owned()),
    }
}
