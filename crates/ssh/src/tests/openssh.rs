//! Against stock OpenSSH, both ways: its client with our server, our client with its server.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::process::{Child, Command};

use super::credentials::Inside;
use super::*;
use crate::algorithms::{CIPHERS, KEXES, MACS};
use crate::{Algorithms, GlobalKind, Opening};

/// A place for keys, and a host on a port that serves whoever holds the user's key.
pub(super) struct Host {
    home: TempDir,
    port: u16,
    scope: Scope,
}

/// The commands the host knows.
async fn run(channel: Channel, command: Vec<u8>) {
    match command.as_slice() {
        b"cat" => {
            loop {
                match channel.recv().await {
                    Ok(Received::Data(bytes)) => {
                        if channel.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                    Ok(Received::Eof | Received::Closed) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            channel.exit_status(0);
        }
        b"count" => {
            let all = read_all(&channel).await;
            drop(channel.write_all(format!("{}", all.len()).as_bytes()).await);
            channel.exit_status(0);
        }
        b"flood" => {
            let block = pattern(1 << 20);
            for _ in 0..64 {
                if channel.write_all(&block).await.is_err() {
                    return;
                }
            }
            channel.exit_status(0);
        }
        b"fail" => {
            drop(channel.write_stderr(b"no such thing\n").await);
            channel.exit_status(7);
        }
        _ => channel.exit_status(127),
    }
    channel.eof();
    channel.close();
}

async fn session(scope: Scope, opening: Opening) {
    let channel = opening.accept().unwrap();
    while let Ok(Received::Request(request)) = channel.recv().await {
        if let RequestKind::Exec { command } = &request.kind {
            let command = command.clone();
            request.accept();
            scope.spawn("command", run(channel, command));
            return;
        }
        request.accept();
    }
}

async fn direct(opening: Opening) {
    let ChannelKind::DirectTcp(path) = &opening.kind else { return };
    let target = (path.host.clone(), u16::try_from(path.port).unwrap());
    let Ok(mut far) = TcpStream::connect(target).await else {
        opening.unreachable("no answer");
        return;
    };
    let mut near = opening.accept().unwrap().into_stream();
    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
}

async fn listen(connection: Connection, scope: Scope, listener: TcpListener, host: String, port: u16) {
    while let Ok((mut far, from)) = listener.accept().await {
        let connection = connection.clone();
        let host = host.clone();
        scope.spawn("forwarded", async move {
            let origin = from.ip().to_string();
            let opened = connection.open_forwarded_tcp(&host, port, (&origin, from.port())).await;
            let mut near = opened.unwrap().into_stream();
            drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
        });
    }
}

async fn serve(scope: Scope, config: Arc<server::Config>, stream: TcpStream, user: PublicKey) {
    stream.set_nodelay(true).unwrap();
    let Ok(accepted) = server::accept(stream, config, &Inside(user)).await else { return };
    let (connection, mut incoming) = (accepted.connection, accepted.incoming);
    scope.spawn("driver", accepted.driver);
    while let Some(event) = incoming.next().await {
        match event {
            Event::Open(opening) if opening.kind == ChannelKind::Session => {
                scope.spawn("session", session(scope.clone(), opening));
            }
            Event::Open(opening) => {
                scope.spawn("direct", direct(opening));
            }
            Event::Listen(wish) => {
                let GlobalKind::Listen { host, port } = wish.kind.clone() else { continue };
                let listener = TcpListener::bind(("127.0.0.1", u16::try_from(port).unwrap())).await.unwrap();
                let chosen = listener.local_addr().unwrap().port();
                wish.accept(chosen);
                scope.spawn("listen", listen(connection.clone(), scope.clone(), listener, host, chosen));
            }
        }
    }
}

impl Host {
    async fn start(change: impl FnOnce(&mut server::Config)) -> Self {
        let home = TempDir::new().unwrap();
        let user = PrivateKey::generate("user").unwrap();
        write_private(&home.path().join("id"), &user.to_openssh().unwrap());
        std::fs::write(home.path().join("id.pub"), user.public().to_openssh()).unwrap();
        Self::start_for(home, user.public(), change).await
    }

    /// A host for the user whose key is `id` in `home`.
    pub(super) async fn start_for(
        home: TempDir,
        user: PublicKey,
        change: impl FnOnce(&mut server::Config),
    ) -> Self {
        let host = Arc::new(PrivateKey::generate("host").unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let known = format!("[127.0.0.1]:{port} {}\n", host.public().to_openssh());
        std::fs::write(home.path().join("known_hosts"), known).unwrap();
        let mut config = server::Config::new(vec![HostKey::plain(host)]);
        change(&mut config);
        let (config, scope) = (Arc::new(config), Scope::root("host"));
        let serving = scope.clone();
        scope.spawn("accept", async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.spawn("serve", serve(serving.clone(), config.clone(), stream, user.clone()));
            }
        });
        Self { home, port, scope }
    }

    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The stock client, strict about everything.
    pub(super) fn ssh(&self, options: &[&str], rest: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/ssh");
        let home = self.home.path();
        command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", home.join("known_hosts").display()));
        command.args(["-o", "StrictHostKeyChecking=yes", "-i"]).arg(home.join("id"));
        command.args(["-p", &self.port.to_string()]).args(options).arg("ann@127.0.0.1").args(rest);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

pub(super) fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

/// Feeds a process and collects what it says.
pub(super) async fn talk(mut command: Command, input: Vec<u8>) -> (Vec<u8>, String, Option<i32>) {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (mut out, mut err) = (Vec::new(), String::new());
    soon(async {
        let feed = async {
            drop(stdin.write_all(&input).await);
            drop(stdin);
        };
        let (_, out, err) = tokio::join!(feed, stdout.read_to_end(&mut out), stderr.read_to_string(&mut err));
        out.unwrap();
        err.unwrap();
    })
    .await;
    let status = soon(child.wait()).await.unwrap();
    (out, err, status.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stock_client_copies_both_ways_by_every_cipher_and_mac() {
    let host = Host::start(|_| {}).await;
    let sent = pattern(3 << 20);
    for (cipher, kind) in CIPHERS {
        for (mac, _) in MACS {
            if kind.is_aead() && mac != MACS[0].0 {
                continue;
            }
            let (out, err, code) = talk(host.ssh(&["-c", cipher, "-m", mac], &["cat"]), sent.clone()).await;
            assert_eq!((code, err.as_str()), (Some(0), ""), "{cipher} {mac}");
            assert!(out == sent, "{cipher} {mac}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stock_client_agrees_by_every_key_exchange_it_has() {
    let host = Host::start(|_| {}).await;
    let has = std::process::Command::new("/usr/bin/ssh").args(["-Q", "kex"]).output().unwrap().stdout;
    let has = String::from_utf8(has).unwrap();
    let mut tried = 0;
    for (kex, _) in KEXES {
        if has.lines().any(|line| line == kex) {
            let option = format!("KexAlgorithms={kex}");
            let (out, err, code) = talk(host.ssh(&["-o", &option], &["cat"]), b"hi".to_vec()).await;
            assert_eq!((code, err.as_str(), out.as_slice()), (Some(0), "", &b"hi"[..]), "{kex}");
            tried += 1;
        }
    }
    assert!(tried >= 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_mebibytes_go_up_and_down() {
    let host = Host::start(|_| {}).await;
    let (out, err, code) = talk(host.ssh(&[], &["count"]), pattern(64 << 20)).await;
    assert_eq!((code, err.as_str(), out.as_slice()), (Some(0), "", (64 << 20).to_string().as_bytes()));

    let (out, _, code) = talk(host.ssh(&[], &["flood"]), Vec::new()).await;
    assert_eq!((code, out.len()), (Some(0), 64 << 20));
    let block = pattern(1 << 20);
    assert!(out.chunks(1 << 20).all(|chunk| chunk == block));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_codes_and_standard_error_arrive() {
    let host = Host::start(|config| config.banner = Some("welcome\n".to_owned())).await;
    let (out, err, code) = talk(host.ssh(&[], &["fail"]), Vec::new()).await;
    assert_eq!((out.as_slice(), err.as_str(), code), (&b""[..], "welcome\nno such thing\n", Some(7)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stock_client_is_told_to_exchange_keys_and_asks_for_it() {
    let host = Host::start(|config| config.rekey.bytes = 1 << 20).await;
    let sent = pattern(24 << 20);
    for options in [vec![], vec!["-o", "RekeyLimit=700K"], vec!["-c", "aes128-ctr", "-o", "RekeyLimit=1M"]] {
        let (out, err, code) = talk(host.ssh(&options, &["cat"]), sent.clone()).await;
        assert_eq!((code, err.as_str()), (Some(0), ""), "{options:?}");
        assert!(out == sent);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_is_denied_to_the_stock_client() {
    let host = Host::start(|_| {}).await;
    let other = PrivateKey::generate("eve").unwrap();
    write_private(&host.home.path().join("id"), &other.to_openssh().unwrap());
    std::fs::remove_file(host.home.path().join("id.pub")).unwrap();
    let (_, err, code) = talk(host.ssh(&[], &["cat"]), Vec::new()).await;
    assert_eq!(code, Some(255));
    assert!(err.contains("Permission denied (publickey)"), "{err}");
}

/// A server that gives back what it gets.
async fn echo_server(scope: &Scope) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tasks = scope.clone();
    scope.spawn("echo", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tasks.spawn("echo", async move {
                let (mut from, mut to) = stream.split();
                drop(tokio::io::copy(&mut from, &mut to).await);
                drop(to.shutdown().await);
            });
        }
    });
    port
}

async fn bounces(port: u16, length: usize) {
    let mut stream = connect(port).await;
    let (mut from, mut to) = stream.split();
    let (sent, mut got) = (pattern(length), Vec::new());
    soon(async {
        tokio::join!(
            async {
                to.write_all(&sent).await.unwrap();
                to.shutdown().await.unwrap();
            },
            async { from.read_to_end(&mut got).await.unwrap() }
        )
    })
    .await;
    assert!(got == sent);
}

/// Connects as soon as someone listens.
async fn connect(port: u16) -> TcpStream {
    soon(async {
        loop {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await {
                return stream;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stock_client_forwards_both_ways() {
    let host = Host::start(|_| {}).await;
    let far = echo_server(&host.scope).await;
    let (local, remote) = (free_port().await, free_port().await);
    let (there, back) = (format!("{local}:127.0.0.1:{far}"), format!("{remote}:127.0.0.1:{far}"));
    let options = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", &there, "-R", &back];
    let client = host.ssh(&options, &[]).spawn().unwrap();

    bounces(local, 5 << 20).await;
    bounces(remote, 5 << 20).await;
    drop(client);
}

// --- our client with the stock server

struct Sshd {
    home: TempDir,
    port: u16,
    user: Arc<PrivateKey>,
    host: Arc<PrivateKey>,
    _child: Child,
}

impl Sshd {
    async fn start(more: &str) -> Self {
        let home = TempDir::new().unwrap();
        let path = |name: &str| -> PathBuf { home.path().join(name) };
        let (user, host) = (PrivateKey::generate("user").unwrap(), PrivateKey::generate("host").unwrap());
        write_private(&path("host"), &host.to_openssh().unwrap());
        write_private(&path("keys"), &user.public().to_openssh());
        let port = free_port().await;
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
             SetEnv HOME={}\n{more}\n",
            path("host").display(),
            path("keys").display(),
            // Not that of whoever runs the tests, whose start-up files may say and do anything.
            home.path().display(),
        );
        std::fs::write(path("config"), config).unwrap();
        drop(std::fs::create_dir_all("/run/sshd"));
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-f"])
            .arg(path("config"))
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { home, port, user: Arc::new(user), host: Arc::new(host), _child: child }
    }

    async fn join(&self, scope: &Scope, config: client::Config) -> (Connection, Incoming) {
        let stream = connect(self.port).await;
        stream.set_nodelay(true).unwrap();
        let wanted = self.host.public();
        let trust = move |key: &PublicKey| if *key == wanted { Ok(()) } else { Err("another".to_owned()) };
        let credentials = [Credential { key: self.user.public(), signer: self.user.clone() }];
        let login = whoami();
        let connected =
            soon(client::connect(stream, Arc::new(config), &trust, &login, &credentials)).await.unwrap();
        scope.spawn("driver", connected.driver);
        (connected.connection, connected.incoming)
    }
}

/// Who runs the tests.
fn whoami() -> String {
    let out = std::process::Command::new("id").arg("-un").output().unwrap().stdout;
    String::from_utf8(out).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_copies_through_the_stock_server_by_every_cipher() {
    let (sshd, scope) = (Sshd::start("RekeyLimit 2M").await, Scope::root("test"));
    for (cipher, kind) in CIPHERS {
        for (mac, _) in MACS {
            if kind.is_aead() && mac != MACS[0].0 {
                continue;
            }
            let algorithms = Algorithms::named(&[cipher], &[], &[mac]).unwrap();
            let config = client::Config { algorithms, ..client::Config::default() };
            let (connection, _incoming) = sshd.join(&scope, config).await;
            let channel = soon(connection.open_session()).await.unwrap();
            soon(channel.exec("cat; echo done >&2; exit 5")).await.unwrap();
            let sent = pattern(8 << 20);
            let (mut got, mut err, mut exit) = (Vec::new(), Vec::new(), None);
            soon(async {
                tokio::join!(
                    async {
                        channel.write_all(&sent).await.unwrap();
                        channel.eof();
                    },
                    async {
                        loop {
                            match channel.recv().await.unwrap() {
                                Received::Data(bytes) => got.extend_from_slice(&bytes),
                                Received::Extended(_, bytes) => err.extend_from_slice(&bytes),
                                Received::Exit(kind) => exit = Some(kind),
                                Received::Closed => break,
                                Received::Eof | Received::Request(_) => {}
                            }
                        }
                    }
                )
            })
            .await;
            assert!(got == sent, "{cipher} {mac}");
            assert_eq!((err.as_slice(), exit), (&b"done\n"[..], Some(RequestKind::ExitStatus(5))));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_forwards_through_the_stock_server() {
    let (sshd, scope) = (Sshd::start("").await, Scope::root("test"));
    let (connection, mut incoming) = sshd.join(&scope, client::Config::default()).await;
    let far = echo_server(&scope).await;

    let mut near =
        soon(connection.open_direct_tcp("127.0.0.1", far, ("127.0.0.1", 9))).await.unwrap().into_stream();
    near.write_all(b"there and back").await.unwrap();
    near.shutdown().await.unwrap();
    let mut got = Vec::new();
    soon(near.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, b"there and back");

    let port = soon(connection.listen("127.0.0.1", 0)).await.unwrap();
    scope.spawn("incoming", async move {
        while let Some(Event::Open(opening)) = incoming.next().await {
            let mut near = opening.accept().unwrap().into_stream();
            let mut far = TcpStream::connect(("127.0.0.1", far)).await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
        }
    });
    bounces(port, 3 << 20).await;
    soon(connection.unlisten("127.0.0.1", port)).await.unwrap();
    drop(sshd.home);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_is_reached_through_the_stock_server() {
    let (sshd, scope) = (Sshd::start("").await, Scope::root("test"));
    let (connection, _incoming) = sshd.join(&scope, client::Config::default()).await;
    let path = sshd.home.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    scope.spawn("unix", async move {
        let (mut stream, _): (UnixStream, _) = listener.accept().await.unwrap();
        stream.write_all(b"from the socket").await.unwrap();
    });

    let kind = ChannelKind::DirectUnix { path: path.display().to_string() };
    let mut near = soon(connection.open(kind)).await.unwrap().into_stream();

    let mut got = Vec::new();
    soon(near.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, b"from the socket");
}
