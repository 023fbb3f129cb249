//! Who asks for files, and of which account of which node.

use std::net::SocketAddr;
use std::sync::Arc;

use model::{Login, NodeId};
use serde::Deserialize;

use crate::session::{Person, Sessions};

/// Which account of which node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Whereto {
    pub(crate) node: NodeId,
    pub(crate) login: Login,
}

/// Who asks, and from where.
pub(crate) struct Asker<'a> {
    pub(crate) sessions: &'a Sessions,
    pub(crate) person: Arc<Person>,
    pub(crate) from: SocketAddr,
}
