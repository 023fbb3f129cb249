//! The words of `mctl`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::show::{Format, length};

/// Runs a Moongate: users, tokens, nodes, roles, locks, recordings, the audit log.
#[derive(Debug, Parser)]
#[command(name = "mctl", version, disable_help_subcommand = true)]
pub(crate) struct Mctl {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The gate's configuration file; on the authority's host its own certificate is used.
    #[arg(short, long, global = true, env = "MOONGATE_CONFIG_FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The authority's address, when it is not the configured one; on the authority's host only.
    #[arg(long, global = true)]
    pub(crate) auth_server: Option<String>,
    /// Act as the person who is logged in to this gate (host or host:port), whatever a configuration here says.
    #[arg(long, global = true)]
    pub(crate) proxy: Option<String>,
    /// Where msh keeps profiles (default ~/.msh), used away from the authority's host.
    #[arg(long, global = true, env = "MOONGATE_HOME", hide_env_values = true)]
    pub(crate) home: Option<PathBuf>,
    /// Tell what is going on.
    #[arg(short, long, global = true)]
    pub(crate) debug: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What the cluster is and how it does.
    Status {
        #[command(flatten)]
        out: Out,
    },
    /// People who can sign in.
    #[command(subcommand)]
    Users(Users),
    /// Join tokens.
    #[command(subcommand)]
    Tokens(Tokens),
    /// Nodes.
    #[command(subcommand)]
    Nodes(Nodes),
    /// Show resources: kind or kind/name (role, user, node, token, lock, all).
    Get {
        /// kind or kind/name.
        resource: String,
        /// yaml, json or text.
        #[arg(long, value_enum, default_value = "yaml")]
        format: Format,
    },
    /// Make resources from a YAML file (`-` reads standard input).
    Create {
        /// The file.
        #[arg(default_value = "-")]
        file: PathBuf,
        /// Overwrite what exists.
        #[arg(short, long)]
        force: bool,
        #[command(flatten)]
        out: Out,
    },
    /// Remove a resource: kind/name.
    Rm {
        /// kind/name.
        resource: String,
        #[command(flatten)]
        out: Out,
    },
    /// Stop a user, role, login or node at once.
    Lock(Lock),
    /// Recordings.
    #[command(subcommand)]
    Recordings(Recordings),
    /// The audit log.
    #[command(subcommand)]
    Audit(Audit),
    /// Print a completion script.
    Completion {
        /// bash, zsh, fish, elvish or powershell.
        shell: clap_complete::Shell,
    },
    /// Print the version.
    Version {
        #[command(flatten)]
        out: Out,
    },
}

/// `--format`.
#[derive(Debug, Args)]
pub(crate) struct Out {
    /// text, json or yaml.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Users {
    /// Make a user and print an invite link, good once.
    Add {
        /// The name.
        name: String,
        /// Roles, separated by commas.
        #[arg(long, value_delimiter = ',', required = true)]
        roles: Vec<String>,
        /// Accounts on nodes, separated by commas.
        #[arg(long, value_delimiter = ',')]
        logins: Vec<String>,
        /// How long the link is good (at most 48h).
        #[arg(long, default_value = "1h", value_parser = length)]
        ttl: String,
        #[command(flatten)]
        out: Out,
    },
    /// Change a user.
    Update {
        /// The name.
        name: String,
        /// New roles, separated by commas.
        #[arg(long, value_delimiter = ',')]
        set_roles: Option<Vec<String>>,
        /// New accounts on nodes, separated by commas.
        #[arg(long, value_delimiter = ',')]
        set_logins: Option<Vec<String>>,
        #[command(flatten)]
        out: Out,
    },
    /// List users.
    Ls {
        #[command(flatten)]
        out: Out,
    },
    /// Remove a user.
    Rm {
        /// The names, separated by commas.
        #[arg(value_delimiter = ',', required = true)]
        names: Vec<String>,
        #[command(flatten)]
        out: Out,
    },
    /// Revoke a user's password and print a reset link, good once.
    Reset {
        /// The name.
        name: String,
        /// How long the link is good (at most 48h).
        #[arg(long, default_value = "1h", value_parser = length)]
        ttl: String,
        #[command(flatten)]
        out: Out,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tokens {
    /// Make a join token.
    Add {
        /// What may join with it, separated by commas: node, proxy, app, db, kube.
        #[arg(long = "type", value_delimiter = ',', required = true)]
        kinds: Vec<String>,
        /// The token wanted (at least 16 characters); made when absent.
        #[arg(long)]
        value: Option<String>,
        /// Labels for nodes that join with it: key=value,key=value.
        #[arg(long, default_value = "")]
        labels: String,
        /// How long it is good.
        #[arg(long, default_value = "30m", value_parser = length)]
        ttl: String,
        #[command(flatten)]
        out: Out,
    },
    /// List tokens; secrets are not kept and not shown.
    Ls {
        #[command(flatten)]
        out: Out,
    },
    /// Remove a token by its id or secret.
    Rm {
        /// The id of the list, or the token itself.
        token: String,
        #[command(flatten)]
        out: Out,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Nodes {
    /// Make a token for a node and print the command to run there.
    Add {
        /// What it will be, separated by commas.
        #[arg(long, value_delimiter = ',', default_value = "node")]
        roles: Vec<String>,
        /// How long the token is good.
        #[arg(long, default_value = "30m", value_parser = length)]
        ttl: String,
        /// The token wanted.
        #[arg(long)]
        token: Option<String>,
        #[command(flatten)]
        out: Out,
    },
    /// List nodes and whether their tunnels are up.
    Ls {
        /// Only nodes whose name, id or labels contain these words.
        #[arg(long, default_value = "")]
        search: String,
        /// Show everything.
        #[arg(short, long)]
        verbose: bool,
        #[command(flatten)]
        out: Out,
    },
    /// Forget a node; to come back it must join again.
    Rm {
        /// Its id, or its name where no other has it.
        node: String,
        #[command(flatten)]
        out: Out,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Lock {
    /// A user.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Everyone with a role.
    #[arg(long)]
    pub(crate) role: Option<String>,
    /// An account on any node.
    #[arg(long)]
    pub(crate) login: Option<String>,
    /// A node, by id, or by name where no other has it.
    #[arg(long, alias = "server-id")]
    pub(crate) node: Option<String>,
    /// Why, for other admins.
    #[arg(long, default_value = "")]
    pub(crate) message: String,
    /// How long (until removed when absent).
    #[arg(long, value_parser = length)]
    pub(crate) ttl: Option<String>,
    #[command(flatten)]
    pub(crate) out: Out,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Recordings {
    /// List recordings, newest first.
    Ls {
        /// Only this user's.
        #[arg(long, default_value = "")]
        user: String,
        /// Only the last 5h30m.
        #[arg(long, value_parser = length)]
        last: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        out: Out,
    },
    /// Find what was on the screen: rows as they were to be seen, newest recordings first.
    Search {
        /// Words that must all be in one row; `"two words"` for a phrase.
        #[arg(required = true)]
        text: Vec<String>,
        /// Only this user's.
        #[arg(long, default_value = "")]
        user: String,
        /// Only on this node, by name or id.
        #[arg(long, default_value = "")]
        node: String,
        /// Only this session.
        #[arg(long, default_value = "")]
        session: String,
        /// Only sessions that began in the last 5h30m.
        #[arg(long, value_parser = length)]
        last: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        out: Out,
    },
    /// Check a recording against its signatures; names the first bad index.
    Verify {
        /// Session id, or a file made by `download` (then nothing but the public key is needed).
        session: String,
        /// The cluster's audit public key (base64), for checking a file offline.
        #[arg(long)]
        key: Option<String>,
        #[command(flatten)]
        out: Out,
    },
    /// Save a recording with its proofs into one file.
    Download {
        /// Session id.
        session: String,
        /// The file (default `<session>.mgr`).
        #[arg(short, long)]
        out_file: Option<PathBuf>,
        #[command(flatten)]
        out: Out,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Search the log, newest first.
    Ls {
        /// Only these types, separated by commas: user.login,session.start.
        #[arg(long, default_value = "")]
        types: String,
        /// Only events about this user.
        #[arg(long, default_value = "")]
        user: String,
        /// Only events of this session.
        #[arg(long, default_value = "")]
        session: String,
        /// Only the last 5h30m.
        #[arg(long, value_parser = length)]
        last: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 100)]
        limit: u32,
        #[command(flatten)]
        out: Out,
    },
    /// Follow the log, an event at a time.
    Tail {
        /// json (one event a line), text or yaml.
        #[arg(long, value_enum, default_value = "json")]
        format: Format,
    },
    /// Check the whole log's chain and checkpoints; names the first bad index.
    Verify {
        #[command(flatten)]
        out: Out,
    },
}
