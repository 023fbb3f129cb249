//! The server in front of other servers: forwards to named hosts, and nothing else.
//!
//! No session, no listening, no agent: what a jump host does not do is refused here, so that its owner only says
//! where a name leads. Who the user is was settled by [`server::accept`](crate::server::accept).

use crate::{ChannelKind, Event, Incoming, Opening};

/// A forward the user asks for.
#[derive(Debug)]
pub struct Jump {
    /// The name, as the user wrote it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Answers it: accept and [`relay`](crate::relay()), or refuse.
    pub opening: Opening,
}

/// The next forward; everything else is refused meanwhile. `None` when the connection is over. Cancel-safe.
pub async fn next(incoming: &mut Incoming) -> Option<Jump> {
    loop {
        match incoming.next().await? {
            Event::Listen(listen) => listen.refuse(),
            Event::Open(opening) => {
                let ChannelKind::DirectTcp(path) = &opening.kind else {
                    opening.prohibit("this host only forwards: use it with -J");
                    continue;
                };
                let host = path.host.clone();
                match u16::try_from(path.port) {
                    Ok(port) => return Some(Jump { host, port, opening }),
                    Err(_) => opening.prohibit("no such port"),
                }
            }
        }
    }
}
