//! The words of `msh`: one declaration yields parsing, `--help` and completions.
#![allow(rustdoc::broken_intra_doc_links, reason = "help texts show optional parts in brackets")]

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::show::Format;

/// Reaches the machines behind a Moongate: short-lived certificates, one port, your own tools.
#[derive(Debug, Parser)]
#[command(name = "msh", version, disable_help_subcommand = true)]
pub(crate) struct Msh {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The gate, as host or host:port (logging in without a port means 3080).
    #[arg(long, global = true, env = "MOONGATE_PROXY")]
    pub(crate) proxy: Option<String>,
    /// Who you are to the gate (default: who you were there before, else your local user name).
    #[arg(long, global = true, env = "MOONGATE_USER")]
    pub(crate) user: Option<String>,
    /// The account on the target (default: your local user name).
    #[arg(short, long, global = true, env = "MOONGATE_LOGIN")]
    pub(crate) login: Option<String>,
    /// Do not verify the gate's web certificate. Everything after login is verified all the same.
    #[arg(long, global = true)]
    pub(crate) insecure: bool,
    /// Trust the gate by its CA pin (sha256:…), as printed by `mctl status`; makes --insecure needless.
    #[arg(long, global = true)]
    pub(crate) ca_pin: Option<String>,
    /// How long certificates shall live, in minutes (0: the gate's default, 12 h).
    #[arg(long, global = true, default_value_t = 0)]
    pub(crate) ttl: u64,
    /// Where profiles and keys are kept (default ~/.msh).
    #[arg(long, global = true, env = "MOONGATE_HOME", hide_env_values = true)]
    pub(crate) home: Option<PathBuf>,
    /// Tell what is going on.
    #[arg(short, long, global = true)]
    pub(crate) debug: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sign in and get certificates.
    Login(Login),
    /// Forget certificates and keys of all gates, or of the one named with --proxy.
    Logout {
        /// Print the outcome as text, json or yaml.
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show who you are, and how you reach the gates, or the one named with --proxy.
    Status {
        /// text, json or yaml.
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
    /// List nodes you may reach.
    Ls(Ls),
    /// Open a shell or run a command on a node.
    Ssh(Ssh),
    /// Copy files; one side is `[login@]node:path`.
    Scp(Scp),
    /// Carry another program's connection.
    #[command(subcommand)]
    Proxy(Proxy),
    /// Print a block for ~/.ssh/config, so that ssh, scp, sftp, rsync and Ansible just work.
    Config(SshConfig),
    /// Replay a recording.
    Play(Play),
    /// Recordings of sessions.
    #[command(subcommand)]
    Recordings(Recordings),
    /// Print a completion script.
    Completion {
        /// bash, zsh, fish, elvish or powershell.
        shell: clap_complete::Shell,
    },
    /// Print the version.
    Version {
        /// text, json or yaml.
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Put the key and certificate into the SSH agent: auto, yes or no.
    #[arg(short = 'k', long, default_value = "auto", value_parser = ["auto", "yes", "no"])]
    pub(crate) add_keys_to_agent: String,
    /// Print the outcome as text, json or yaml.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct SshConfig {
    /// Names or patterns that mean nodes also without the cluster's name: web-1,gpu-*.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = super::target::bare_name)]
    pub(crate) names: Vec<String>,
    /// For a file of its own: print the block although another gate's cluster has the same name.
    #[arg(long)]
    pub(crate) alone: bool,
    /// text (the block alone), json or yaml.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Only nodes with these labels: key=value,key=value.
    pub(crate) labels: Option<String>,
    /// Only nodes whose name, id or labels contain these words.
    #[arg(long, default_value = "")]
    pub(crate) search: String,
    /// Also show node ids and versions.
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// text, json or yaml.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Ssh {
    /// Ignored: nodes have no port of their own. Kept for scripts.
    #[arg(short, long)]
    pub(crate) port: Option<u16>,
    /// Forward your SSH agent.
    #[arg(short = 'A', long)]
    pub(crate) forward_agent: bool,
    /// Listen here and connect from the node: [bind:]port:host:hostport, with a path for a Unix socket at either end.
    #[arg(short = 'L', value_name = "SPEC")]
    pub(crate) local: Vec<String>,
    /// Listen on the node and connect from here: as -L.
    #[arg(short = 'R', value_name = "SPEC")]
    pub(crate) remote: Vec<String>,
    /// A SOCKS5 server here that goes out at the node: [bind:]port.
    #[arg(short = 'D', value_name = "SPEC")]
    pub(crate) dynamic: Vec<String>,
    /// Forward only; run nothing.
    #[arg(short = 'N')]
    pub(crate) no_command: bool,
    /// Ask for a terminal also for a command; twice is as once.
    #[arg(short = 't', long, action = ArgAction::Count)]
    pub(crate) tty: u8,
    /// [login@]node
    pub(crate) target: String,
    /// The command; a shell when absent. One that begins with a hyphen goes behind `--`.
    #[arg(trailing_var_arg = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Scp {
    /// Copy directories whole.
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Keep times and modes.
    #[arg(short, long)]
    pub(crate) preserve: bool,
    /// No progress bar.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Ignored; kept for scripts.
    #[arg(short = 'P', long)]
    pub(crate) port: Option<u16>,
    /// Print how much was copied: text (nothing), json or yaml.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// From, from, …, to.
    #[arg(required = true, num_args = 2..)]
    pub(crate) paths: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Proxy {
    /// Standard input and output become the SSH connection of a node: for ProxyCommand.
    Ssh {
        /// The cluster; must be the one you are signed in to.
        #[arg(short, long)]
        cluster: Option<String>,
        /// [login@]node[:port]
        target: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Play {
    /// Session id, or a file made by `mctl recordings download`.
    pub(crate) session: String,
    /// pty (as it was), text (what was shown), json (one event a line), yaml (one event a document), or for asciinema:
    /// asciicast (v2), asciicast3 (v3).
    #[arg(short, long, default_value = "pty", value_parser = ["pty", "text", "json", "yaml", "asciicast", "asciicast3"])]
    pub(crate) format: String,
    /// Faster or slower: 0.5x to 16x.
    #[arg(long, default_value = "1x")]
    pub(crate) speed: String,
    /// Shorten pauses to one second.
    #[arg(long)]
    pub(crate) skip_idle_time: bool,
    /// Start this far in: 90s, 1h5m.
    #[arg(long)]
    pub(crate) from: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Recordings {
    /// List recordings, newest first.
    Ls {
        /// Not before this day (UTC): 2026-01-31.
        #[arg(long)]
        from_utc: Option<String>,
        /// Not after this day (UTC).
        #[arg(long)]
        to_utc: Option<String>,
        /// Only the last 5h30m.
        #[arg(long)]
        last: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// text, json or yaml.
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(words: &str) -> Result<Ssh, clap::Error> {
        let msh = Msh::try_parse_from(["msh", "ssh"].into_iter().chain(words.split(' ')))?;
        match msh.command {
            Command::Ssh(wanted) => Ok(wanted),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_stands_behind_the_node_is_a_flag_until_the_command_begins() {
        for (words, command, local, tty) in [
            ("gpu-1", "", 0, 0),
            ("gpu-1 ls -la -L x", "ls -la -L x", 0, 0),
            ("gpu-1 echo -- -n", "echo -- -n", 0, 0),
            ("gpu-1 -- -x -t", "-x -t", 0, 0),
            ("gpu-1 -- ls -t", "ls -t", 0, 0),
            ("gpu-1 -L8080:db:80", "", 1, 0),
            ("-L 1:a:1 gpu-1 -t -L 2:a:2 sh -t", "sh -t", 2, 1),
            ("-tt gpu-1 sh", "sh", 0, 2),
        ] {
            let found = ssh(words).unwrap();

            let told = (found.command.join(" "), found.local.len(), found.tty);
            assert_eq!(told, (command.to_owned(), local, tty), "{words}");
            assert_eq!(found.target, "gpu-1", "{words}");
        }
        for bad in ["gpu-1 -pabc", "gpu-1 -x", "gpu-1 --nonsense ls"] {
            assert!(ssh(bad).is_err(), "{bad}");
        }
    }
}
