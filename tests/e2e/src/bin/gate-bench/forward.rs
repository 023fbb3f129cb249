//! A local forward to nginx: requests over kept connections, and connections of one request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::ports::free;
use e2e::process::Process;
use e2e::wait::until;

use crate::bed::{Bed, Effort, Way};
use crate::echo::{Held, quiet};
use crate::report::Row;
use crate::stats::median;

const CLIENTS: usize = 8;
const KEPT: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
const ONCE: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";

/// Both rows.
pub(crate) fn to_nginx(bed: &Bed, effort: &Effort) -> Result<Vec<Row>> {
    let port = free()?;
    let _nginx = nginx(bed, port)?;
    let mut forwards = Vec::new();
    for way in bed.ways() {
        forwards.push(forward(bed, way, port)?);
    }
    let mut requests: Vec<Vec<f64>> = vec![Vec::new(); bed.ways().len()];
    let mut connections = requests.clone();
    for _ in 0..effort.rounds {
        for ((_, local), (kept, once)) in forwards.iter().zip(requests.iter_mut().zip(&mut connections)) {
            kept.push(rate(effort.window, || Ok(TcpStream::connect(("127.0.0.1", *local))?), ask_again));
            once.push(rate(effort.window, || Ok(()), |(): &mut ()| ask_once(*local)));
        }
    }
    let row = |lists: &[Vec<f64>]| lists.iter().map(|s| Some(median(s))).collect::<Vec<_>>();
    Ok(vec![
        Row::new("`-L` to nginx, requests/s over 8 connections", "≥ 0.8x", row(&requests)),
        Row::new("`-L` to nginx, connections/s, 8 at a time", "≥ 0.5x", row(&connections)),
    ])
}

fn nginx(bed: &Bed, port: u16) -> Result<Process> {
    let dir = bed.path("nginx");
    std::fs::create_dir_all(&dir)?;
    let config = dir.join("nginx.conf");
    let at = dir.display();
    std::fs::write(
        &config,
        format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/error.log;\nevents {{ worker_connections 4096; }}\n\
             http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;\n\
             fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
             server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 \"ok\\n\"; }} }} }}\n"
        ),
    )?;
    let process = Process::start("nginx", Command::new("/usr/sbin/nginx").arg("-c").arg(&config), &dir)?;
    listening(port).with_context(|| process.log())?;
    Ok(process)
}

fn forward(bed: &Bed, way: &Way, port: u16) -> Result<(Held, u16)> {
    let local = free()?;
    let mut command = bed.ssh();
    command.args(["-N", "-L", &format!("127.0.0.1:{local}:127.0.0.1:{port}"), way.host]);
    let ssh = Held(quiet(&mut command).stdout(Stdio::null()).spawn()?);
    listening(local).with_context(|| format!("forward of {}", way.name))?;
    Ok((ssh, local))
}

fn listening(port: u16) -> Result<()> {
    until("a listener", Duration::from_secs(20), || TcpStream::connect(("127.0.0.1", port)).ok()).map(drop)
}

/// How often `again` succeeds in a second, over all clients, each with what `begin` gave it.
fn rate<S>(
    window: Duration,
    begin: impl Fn() -> Result<S> + Sync,
    again: impl Fn(&mut S) -> Result<()> + Sync,
) -> f64 {
    let done = AtomicU32::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let Ok(mut state) = begin() else { return };
                while start.elapsed() < window {
                    if again(&mut state).is_ok() {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    f64::from(done.load(Ordering::Relaxed)) / start.elapsed().as_secs_f64()
}

fn ask_again(stream: &mut TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(KEPT)?;
    let mut answer = [0; 1024];
    let mut length = 0;
    while !answer.get(..length).is_some_and(|a| a.ends_with(b"ok\n")) {
        let rest = answer.get_mut(length..).context("a long answer")?;
        match stream.read(rest)? {
            0 => anyhow::bail!("closed"),
            n => length += n,
        }
    }
    Ok(())
}

fn ask_once(port: u16) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(ONCE)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    anyhow::ensure!(answer.ends_with(b"ok\n"), "no answer");
    Ok(())
}
