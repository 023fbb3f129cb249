//! Small peers for tests: a TCP echo, an HTTP CONNECT proxy, nginx with a configuration of the test's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};

use crate::ports::free;
use crate::process::Process;
use crate::run::LIMIT;
use crate::wait::until;

/// A listener that sends back what it gets; ends with the test's process.
///
/// # Errors
/// No port is free.
pub fn echo() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                if let Ok(mut reader) = stream.try_clone() {
                    copy(&mut reader, &stream);
                }
            });
        }
    });
    Ok(port)
}

/// An HTTP proxy that knows CONNECT only, and takes every name for this machine's.
pub struct ConnectProxy {
    /// Where it listens.
    pub port: u16,
    served: Arc<AtomicUsize>,
}

impl ConnectProxy {
    /// Starts it; with `credentials` (base64 of `user:password`) it asks for them.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(credentials: Option<&'static str>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let served = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&served);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                std::thread::spawn(move || carry(stream, credentials, &count).ok());
            }
        });
        Ok(Self { port, served })
    }

    /// How many connections it carried.
    #[must_use]
    pub fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }
}

fn carry(client: TcpStream, credentials: Option<&str>, served: &AtomicUsize) -> Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let target = head.first().and_then(|l| l.split(' ').nth(1)).context("no target")?.to_owned();
    let wanted = credentials.map(|c| format!("Proxy-Authorization: Basic {c}"));
    let mut client = client;
    if wanted.is_some_and(|w| !head.iter().any(|l| l.eq_ignore_ascii_case(&w))) {
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")?;
        return Ok(());
    }
    // Whatever the name: this proxy's world is one machine.
    let port: u16 = target.rsplit_once(':').context("no port")?.1.parse()?;
    let server = TcpStream::connect(("127.0.0.1", port))?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    served.fetch_add(1, Ordering::SeqCst);
    let mut upstream = server.try_clone()?;
    let back = client.try_clone()?;
    std::thread::spawn(move || copy(&mut upstream, &back));
    copy(&mut reader, &server);
    Ok(())
}

/// Copies until the end, then closes that half.
fn copy(from: &mut impl Read, to: &TcpStream) {
    let mut out = to;
    std::io::copy(from, &mut out).ok();
    to.shutdown(Shutdown::Write).ok();
}

/// A fresh key and a certificate for 127.0.0.1 that it signs itself, in `<name>.key` and `<name>.crt`.
///
/// # Errors
/// It cannot be made.
pub fn certificate(dir: &Path, name: &str) -> Result<(PathBuf, PathBuf)> {
    let (key, cert) = (dir.join(format!("{name}.key")), dir.join(format!("{name}.crt")));
    let mut make = Command::new("openssl");
    make.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]);
    make.args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"]);
    crate::run::run(make.arg(&key).arg("-out").arg(&cert))?.ok()?;
    Ok((key, cert))
}

/// nginx with these lines in one TLS server that listens on a free port, and a certificate of its own. One process,
/// because a master that is killed leaves its workers behind.
///
/// # Errors
/// It does not start.
pub fn nginx(dir: &Path, location: &str) -> Result<(Process, u16)> {
    let port = free()?;
    let (key, cert) = certificate(dir, "front")?;
    let config = dir.join("nginx.conf");
    let at = dir.display();
    std::fs::write(
        &config,
        format!(
            "daemon off;\nmaster_process off;\npid {at}/nginx.pid;\nerror_log {at}/nginx-error.log;\nevents {{ }}\nhttp {{\n\
             access_log {at}/nginx-access.log;\nclient_body_temp_path {at}/b;\nproxy_temp_path {at}/p;\nfastcgi_temp_path {at}/f;\n\
             uwsgi_temp_path {at}/u;\nscgi_temp_path {at}/s;\nserver {{\nlisten 127.0.0.1:{port} ssl;\nssl_certificate {cert};\n\
             ssl_certificate_key {key};\nlocation / {{\n{location}\n}}\n}}\n}}\n",
            cert = cert.display(),
            key = key.display(),
        ),
    )?;
    let process = Process::start("nginx", Command::new("/usr/sbin/nginx").arg("-c").arg(&config), dir)?;
    until("nginx to listen", LIMIT, || TcpStream::connect(("127.0.0.1", port)).ok())
        .with_context(|| process.log())?;
    Ok((process, port))
}
