//! The person's SSH agent, within reach of their programs here and of nobody else's.
//!
//! One socket a connection, made as the account in a directory only it can enter, removed with the connection.

use std::path::PathBuf;
use std::sync::Arc;

use ssh::ChannelKind;
use tokio::net::UnixListener;

use super::listen::pause;
use super::visit::Visit;
use crate::relay;

/// Listens, in the connection's scope; where.
pub(super) async fn listen(visit: Arc<Visit>) -> Result<PathBuf, String> {
    let account = visit.account.as_ref().map_err(Clone::clone)?;
    let bound = account.agent_socket().await.map_err(|e| crate::pump::words(&e))?;
    let path = bound.path.clone();
    let listener = bound.socket.try_clone().and_then(UnixListener::from_std).map_err(|e| e.to_string())?;
    visit.clone().scope.spawn("agent", async move {
        let _removes_its_path = bound;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let reach = visit.clone();
                    visit.scope.spawn("agent connection", async move {
                        if let Ok(channel) = reach.ssh.open(ChannelKind::Agent).await {
                            relay::unix(&channel, stream, &reach.pulse).await;
                        }
                    });
                }
                Err(error) => pause(&error).await,
            }
        }
    });
    Ok(path)
}
