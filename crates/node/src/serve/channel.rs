//! One session channel: the wishes that come first, then the one that starts something.
//!
//! Nothing starts twice.

use std::sync::Arc;

use policy::SshAction;
use ssh::{Channel, Received, Request, RequestKind};

use super::keep;
use super::report::connection_of;
use super::start::{self, Program};
use super::visit::Visit;
use super::wishes::Wishes;
use crate::kept::Visitor;

/// Hears wishes until something is to be started, and serves that to its end.
pub(super) async fn run(visit: Arc<Visit>, channel: Channel) {
    let mut wishes = Wishes::default();
    loop {
        let request = match channel.recv().await {
            Ok(Received::Request(request)) => request,
            // Nothing listens yet.
            Ok(Received::Data(_) | Received::Extended(..) | Received::Exit(_) | Received::Eof) => continue,
            Ok(Received::Closed) | Err(_) => return,
        };
        let program = match &request.kind {
            RequestKind::Shell => Program::Shell,
            RequestKind::Exec { command } => Program::Command(command.clone()),
            RequestKind::Subsystem { name } if name == keep::RESUME => {
                return resume(&visit, &channel, &wishes, request).await;
            }
            RequestKind::Subsystem { name } => Program::Subsystem(name.clone()),
            _ => {
                wishes.hear(&visit, request).await;
                continue;
            }
        };
        return start::run(&visit, &channel, wishes, program, request).await;
    }
}

/// Leads who comes back to their shell, and serves them until they leave it.
async fn resume(visit: &Arc<Visit>, channel: &Channel, wishes: &Wishes, request: Request) {
    if let Err(denial) = visit.ask(SshAction::Shell) {
        tracing::info!(user = %visit.user, %denial, "a kept shell was asked for");
        return request.refuse();
    }
    let found = wishes.keep.and_then(|key| visit.node.0.stays.find(&key, &visit.user, &visit.login));
    let Some(stay) = found else { return request.refuse() };
    request.accept();
    let (visitor, gone) = Visitor::new(channel.clone(), Some(wishes.seen), connection_of(&visit.peer));
    stay.porch.put(visitor);
    drop(stay);
    gone.cancelled().await;
}
