//! The question: who wants what, on what, from where.

use std::net::IpAddr;

use model::resource::{Kind, Verb};
use model::{Identity, Labels, Login, NodeId, NodeName, UserName};

/// One question. The identity comes out of a verified certificate, never out of a message.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// Who.
    pub who: &'a Identity,
    /// What.
    pub action: Action<'a>,
    /// The address they come from, where it is known.
    pub from: Option<IpAddr>,
}

/// What somebody wants to do. A new kind of target adds a variant here, and nothing else.
#[derive(Clone, Debug)]
pub enum Action<'a> {
    /// Something over SSH as a local account of a node.
    Ssh {
        /// Where.
        target: &'a Target,
        /// As whom.
        login: &'a Login,
        /// What.
        what: SshAction,
    },
    /// A verb of the API.
    Api {
        /// On what kind of resource.
        kind: Kind,
        /// What.
        verb: Verb,
        /// On which.
        of: Of<'a>,
    },
}

/// Things done over SSH; each channel and each forward is asked about by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SshAction {
    /// An interactive shell.
    Shell,
    /// One command.
    Exec,
    /// Moving files: the sftp subsystem, scp.
    FileCopy,
    /// A connection from the node onwards (`-L`, `-D`), to a port or a Unix socket.
    ForwardLocal,
    /// A listener on the node (`-R`), on a port or a Unix socket.
    ForwardRemote,
    /// Reaching back to the person's SSH agent.
    AgentForward,
    /// Reaching back to the person's X11 display.
    X11,
}

impl SshAction {
    /// Every action.
    pub const ALL: [SshAction; 7] = [
        SshAction::Shell,
        SshAction::Exec,
        SshAction::FileCopy,
        SshAction::ForwardLocal,
        SshAction::ForwardRemote,
        SshAction::AgentForward,
        SshAction::X11,
    ];

    /// The name in explanations and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SshAction::Shell => "shell",
            SshAction::Exec => "exec",
            SshAction::FileCopy => "file_copy",
            SshAction::ForwardLocal => "forward_local",
            SshAction::ForwardRemote => "forward_remote",
            SshAction::AgentForward => "agent_forward",
            SshAction::X11 => "x11",
        }
    }
}

/// A node as rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Its labels.
    pub labels: Labels,
}

impl From<&model::resource::Node> for Target {
    fn from(node: &model::resource::Node) -> Self {
        Self { id: node.id.clone(), name: node.name.clone(), labels: node.labels.clone() }
    }
}

/// Which resource an API verb is about.
#[derive(Clone, Copy, Debug)]
pub enum Of<'a> {
    /// Any at all: "is there one they could do this to?" Verbs ask so first, and then about each row or the one they
    /// are about. Kinds without anything to ask about one by one are decided here and now.
    Any,
    /// This one.
    One(&'a Object),
}

/// What conditions of rules may look at. What is not known stays empty: a condition about it then grants nothing,
/// and denies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// `resource.metadata.name`
    pub name: Option<String>,
    /// `resource.metadata.labels`
    pub labels: Option<Labels>,
    /// `session.participants`
    pub participants: Option<Vec<UserName>>,
}

impl Object {
    /// A resource known by its name.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// A resource known by its name and its labels.
    #[must_use]
    pub fn labelled(name: impl Into<String>, labels: Labels) -> Self {
        Self { labels: Some(labels), ..Self::named(name) }
    }

    /// A session, live or recorded, with who took part.
    #[must_use]
    pub fn session(participants: Vec<UserName>) -> Self {
        Self { participants: Some(participants), ..Self::default() }
    }
}

/// A part of an [`Object`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fact {
    Name,
    Labels,
    Participants,
}

impl Fact {
    /// How conditions write it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Fact::Name => "resource.metadata.name",
            Fact::Labels => "resource.metadata.labels",
            Fact::Participants => "session.participants",
        }
    }

    /// What is known of each resource of a kind when its verbs ask about one. Kinds with nothing are never asked about
    /// one by one.
    pub(crate) fn of(kind: Kind) -> &'static [Fact] {
        match kind {
            Kind::Role | Kind::Node | Kind::Token => &[Fact::Name, Fact::Labels],
            Kind::User | Kind::Lock => &[Fact::Name],
            Kind::Session | Kind::SessionTracker => &[Fact::Name, Fact::Participants],
            Kind::CertAuthority | Kind::Event | Kind::ClusterConfig | Kind::Own => &[],
        }
    }
}
