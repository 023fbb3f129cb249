//! `msh ssh`: a shell or a command on a node, with the person's terminal.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use runtime::Scope;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use ssh::channel::{Channel, Received};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use wire::dial::Class;
use wire::ssh::request::{Pty, RequestKind, Size};

use super::args::Ssh;
use super::escape::{Escapes, HELP, Wish};
use super::target::Target;
use super::{Entered, forward, node};
use crate::show::unwritten;

/// The exit status of who left a session, as ssh(1) has it.
const LEFT: u8 = 255;

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
        node::hold(node.ended, tokio::signal::ctrl_c()).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let channel = node.connection.open_session().await.context("the node opens no session")?;
    if wanted.forward_agent
        && std::env::var_os("SSH_AUTH_SOCK").is_some()
        && !channel.request(RequestKind::Agent).await?
    {
        eprintln!("msh: agent forwarding is not allowed for you on {}", target.node);
    }
    let with_terminal = (wanted.command.is_empty() || wanted.tty > 0) && std::io::stdin().is_terminal();
    for name in ["LANG", "LC_ALL", "LC_CTYPE", "COLORTERM"] {
        if let Some(value) = env_text(name) {
            channel.env(name, value)?;
        }
    }
    if with_terminal || wanted.tty > 0 {
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
    let told = if with_terminal { Some(Told::listen()?) } else { None };
    let raw = if with_terminal { Raw::enter() } else { None };
    let end = pump(&channel, raw.as_ref().map(|_| Escapes::new()), told).await;
    drop(raw);
    node.connection.disconnect("done");
    Ok(match end? {
        End::Over(status) => status,
        End::Told(status) => ExitCode::from(status),
        End::Left => {
            eprintln!("\nmsh: the session on {} was left", target.node);
            ExitCode::from(LEFT)
        }
    })
}

/// The signals that tell this program to end: at once, they would leave the terminal raw.
struct Told {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Told {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one; returns the exit status that shells have for who is ended by it.
    async fn end(&mut self) -> u8 {
        tokio::select! {
            _ = self.hangup.recv() => 128 + 1,
            _ = self.interrupt.recv() => 128 + 2,
            _ = self.terminate.recv() => 128 + 15,
        }
    }
}

/// How a session ended.
enum End {
    /// With the status from there.
    Over(ExitCode),
    /// The person left.
    Left,
    /// A signal said so.
    Told(u8),
}

/// Moves bytes both ways until the node has closed the channel, the person has left or a signal has come.
async fn pump(channel: &Channel, escapes: Option<Escapes>, told: Option<Told>) -> Result<End> {
    let up = send(channel.clone(), escapes);
    let resized = channel.clone();
    let resize = async move {
        let mut changes = signal(SignalKind::window_change())?;
        while changes.recv().await.is_some() {
            resized.window_change(size())?;
        }
        Ok::<(), anyhow::Error>(())
    };
    let ended = async {
        match told {
            Some(mut told) => told.end().await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(up, resize, ended);
    let (mut sending, mut watching) = (true, true);
    let down = receive(channel);
    tokio::pin!(down);
    loop {
        tokio::select! {
            status = &mut down => return status.map(End::Over),
            status = &mut ended => return Ok(End::Told(status)),
            // The far end may stop reading before it stops talking: that is no failure of ours.
            sent = &mut up, if sending => match sent {
                Ok(Some(Wish::Leave)) => return Ok(End::Left),
                _ => sending = false,
            },
            _ = &mut resize, if watching => watching = false,
        }
    }
}

/// Sends what is typed until its end, or until the person leaves.
async fn send(channel: Channel, mut escapes: Option<Escapes>) -> Result<Option<Wish>> {
    let mut stdin = tokio::io::stdin();
    let (mut buffer, mut plain) = (vec![0; 32 * 1024], Vec::new());
    loop {
        let n = stdin.read(&mut buffer).await?;
        if n == 0 {
            channel.eof();
            return Ok(None);
        }
        let mut typed = buffer.get(..n).unwrap_or_default();
        let Some(escapes) = &mut escapes else {
            channel.write_all(typed).await?;
            continue;
        };
        while !typed.is_empty() {
            plain.clear();
            let (wish, read) = escapes.read(typed, &mut plain);
            channel.write_all(&plain).await?;
            match wish {
                Some(Wish::Leave) => return Ok(wish),
                Some(Wish::Help) => eprint!("{HELP}"),
                None => {}
            }
            typed = typed.get(read..).unwrap_or_default();
        }
    }
}

async fn pass(out: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).await.map_err(unwritten)?;
    out.flush().await.map_err(unwritten)
}

async fn receive(channel: &Channel) -> Result<ExitCode> {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    let mut status = None;
    loop {
        match channel.recv().await.map_err(node::broken)? {
            Received::Data(bytes) => {
                pass(&mut stdout, &bytes).await?;
            }
            Received::Extended(_, bytes) => {
                pass(&mut stderr, &bytes).await?;
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
