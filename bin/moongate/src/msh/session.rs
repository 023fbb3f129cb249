//! `msh ssh`: a shell or a command on a node, with the person's terminal.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use runtime::Scope;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use ssh::channel::{Channel, Received};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};
use wire::dial::Class;
use wire::ssh::request::{Pty, RequestKind, Size};

use super::args::Ssh;
use super::target::Target;
use super::{Entered, forward, node};

/// The terminal in raw mode; what it was comes back when this is dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// A variable of the person's environment, when it is text.
fn env_text(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

fn size() -> Size {
    match tcgetwinsize(std::io::stdout()) {
        Ok(found) => Size {
            columns: u32::from(found.ws_col),
            rows: u32::from(found.ws_row),
            width: u32::from(found.ws_xpixel),
            height: u32::from(found.ws_ypixel),
        },
        Err(_) => Size { columns: 80, rows: 24, width: 0, height: 0 },
    }
}

/// Runs `msh ssh` and returns the remote exit status.
///
/// # Errors
/// The node cannot be reached, refused, or the connection broke.
pub(crate) async fn run(entered: &Entered, wanted: &Ssh, login: &str, scope: &Scope) -> Result<ExitCode> {
    let target = Target::parse(&wanted.target)?;
    let login = target.login.clone().unwrap_or_else(|| login.to_owned());
    let node = node::connect(entered, &target, &login, Class::Interactive, scope).await?;
    let plan = forward::Plan::parse(wanted)?;
    plan.start(&node.connection, node.incoming, scope).await?;
    if wanted.no_command {
        eprintln!("Forwarding; Ctrl-C ends it.");
        tokio::signal::ctrl_c().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let channel = node.connection.open_session().await.context("the node opens no session")?;
    if wanted.forward_agent
        && std::env::var_os("SSH_AUTH_SOCK").is_some()
        && !channel.request(RequestKind::Agent).await?
    {
        eprintln!("msh: agent forwarding is not allowed for you on {}", target.node);
    }
    let with_terminal = (wanted.command.is_empty() || wanted.tty) && std::io::stdin().is_terminal();
    for name in ["LANG", "LC_ALL", "LC_CTYPE", "COLORTERM"] {
        if let Some(value) = env_text(name) {
            channel.env(name, value)?;
        }
    }
    if with_terminal || wanted.tty {
        let term = env_text("TERM").unwrap_or_else(|| "xterm-256color".into());
        channel
            .request_pty(Pty { term, size: size(), modes: Vec::new() })
            .await
            .context("the node gives no terminal")?;
    }
    if wanted.command.is_empty() {
        channel.shell().await.context("the node starts no shell for you")?;
    } else {
        channel.exec(wanted.command.join(" ")).await.context("the node does not run that command for you")?;
    }
    let raw = if with_terminal { Raw::enter() } else { None };
    let status = pump(&channel).await;
    drop(raw);
    node.connection.disconnect("done");
    status
}

/// Moves bytes both ways until the node has closed the channel.
async fn pump(channel: &Channel) -> Result<ExitCode> {
    let input = channel.clone();
    let up = async move {
        let mut stdin = tokio::io::stdin();
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let n = stdin.read(&mut buffer).await?;
            if n == 0 {
                input.eof();
                return Ok::<(), anyhow::Error>(());
            }
            input.write_all(buffer.get(..n).unwrap_or_default()).await?;
        }
    };
    let resized = channel.clone();
    let resize = async move {
        let mut changes = signal(SignalKind::window_change())?;
        while changes.recv().await.is_some() {
            resized.window_change(size())?;
        }
        Ok::<(), anyhow::Error>(())
    };
    tokio::pin!(up, resize);
    let (mut sending, mut watching) = (true, true);
    let down = receive(channel);
    tokio::pin!(down);
    loop {
        tokio::select! {
            status = &mut down => return status,
            // The far end may stop reading before it stops talking: that is no failure of ours.
            _ = &mut up, if sending => sending = false,
            _ = &mut resize, if watching => watching = false,
        }
    }
}

async fn receive(channel: &Channel) -> Result<ExitCode> {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    let mut status = None;
    loop {
        match channel.recv().await.context("the connection broke")? {
            Received::Data(bytes) => {
                stdout.write_all(&bytes).await?;
                stdout.flush().await?;
            }
            Received::Extended(_, bytes) => {
                stderr.write_all(&bytes).await?;
                stderr.flush().await?;
            }
            Received::Request(request) => request.refuse(),
            Received::Exit(RequestKind::ExitStatus(code)) => {
                status = Some(u8::try_from(code & 0xff).unwrap_or(255));
            }
            Received::Exit(RequestKind::ExitSignal { name, .. }) => {
                eprintln!("msh: the process was ended by signal {}", crate::show::clean(&name));
                status = Some(255);
            }
            Received::Exit(_) | Received::Eof => {}
            Received::Closed => break,
        }
    }
    match status {
        Some(code) => Ok(ExitCode::from(code)),
        None => anyhow::bail!("the session ended without an exit status: the node or the gate hung up"),
    }
}
