//! Two ends of real TLS over a pipe of any size, and what a stranger on the way sees of it.

use std::sync::Arc;
use std::sync::Mutex;

use proptest::prelude::*;
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

/// A pipe's end that notes what is written into it.
struct Tapped {
    inner: DuplexStream,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, out)
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.seen.lock().unwrap().extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Both ends, after the handshake, and what the first one sends from then on.
async fn ends(limit: u64, pipe: usize) -> (Bare<Tapped>, Bare<DuplexStream>, Arc<Mutex<Vec<u8>>>) {
    ends_that(Leave::After(limit), pipe).await
}

async fn ends_that(leave: Leave, pipe: usize) -> (Bare<Tapped>, Bare<DuplexStream>, Arc<Mutex<Vec<u8>>>) {
    let (near, far) = duplex(pipe);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (near, far) = shake(Tapped { inner: near, seen: seen.clone() }, far, leave).await;
    seen.lock().unwrap().clear();
    (near, far, seen)
}

/// Real TLS between two streams.
async fn shake<A, B>(near: A, far: B, leave: Leave) -> (Bare<A>, Bare<B>)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let made = rcgen::generate_simple_self_signed(["gate.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut server =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
    // They come behind the handshake, and whoever is through with it reads nothing here until both are.
    server.send_tls13_tickets = 0;
    let client = crate::Material::anyone().config(b"x").unwrap();
    let name = ServerName::try_from("gate.example").unwrap();
    let (near, far) = tokio::join!(
        TlsConnector::from(client).connect(name, Records::new(near)),
        TlsAcceptor::from(Arc::new(server)).accept(Records::new(far)),
    );
    let near = Bare::new(tokio_rustls::TlsStream::from(near.unwrap()), leave.clone());
    (near, Bare::new(tokio_rustls::TlsStream::from(far.unwrap()), leave))
}

/// Bytes that do not repeat soon.
fn bytes(count: usize, seed: u8) -> Vec<u8> {
    (0..count).map(|n| (n.wrapping_mul(31) >> 3) as u8 ^ seed).collect()
}

/// Sends in pieces, ends, and reads to the other's end.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, say: Vec<u8>, piece: usize) -> Vec<u8> {
    let (mut from, mut to) = tokio::io::split(stream);
    let mut heard = Vec::new();
    let send = async {
        for part in say.chunks(piece) {
            to.write_all(part).await.unwrap();
            to.flush().await.unwrap();
        }
        to.shutdown().await.unwrap();
    };
    tokio::join!(send, async { from.read_to_end(&mut heard).await.unwrap() });
    heard
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_is_said_arrives_whole_wherever_tls_is_left(
        forth in 0..200_000usize,
        back in 0..200_000usize,
        limit in 0..150_000u64,
        piece in 1..70_000usize,
        pipe in prop_oneof![64..1000usize, 64..100_000usize],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (near, far, _) = ends(limit, pipe).await;
            let (said, answered) = (bytes(forth, 1), bytes(back, 2));
            let (heard, got) = tokio::join!(
                converse(near, said.clone(), piece.max(forth / 50)),
                converse(far, answered.clone(), piece.max(back / 50)),
            );
            assert!(got == said && heard == answered);
        });
    }
}

#[tokio::test]
async fn a_stranger_on_the_way_sees_nothing_of_the_beginning_and_only_the_inside_of_the_rest() {
    let (near, far, seen) = ends(1000, 1 << 20).await;
    let (secret, sealed) = (b"a host certificate".repeat(60), b"ciphertext of the inside".repeat(100));
    let say = [secret.clone(), sealed.clone()].concat();

    let (_, got) = tokio::join!(converse(near, say.clone(), secret.len()), converse(far, Vec::new(), 1));

    assert_eq!(got, say);
    let seen = seen.lock().unwrap().clone();
    let contains = |needle: &[u8]| seen.windows(needle.len()).any(|w| w == needle);
    assert!(!contains(b"host certificate"));
    assert!(seen.ends_with(&sealed), "no second encryption");
}

/// A packet of SSH in the clear: a number and what it carries.
fn packet(number: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = u32::try_from(body.len() + 6).unwrap().to_be_bytes().to_vec();
    packet.extend([4, number]);
    packet.extend(body);
    packet.extend([0; 4]);
    packet
}

#[tokio::test]
async fn an_ssh_direction_leaves_tls_behind_its_new_keys_and_not_before() {
    let leave = leaves_tls(wire::route::Route::Ssh).expect("the route leaves TLS");
    let (mut near, mut far, seen) = ends_that(leave, 1 << 20).await;
    let hidden = [
        vec![0, 5],
        b"node1".to_vec(),
        b"SSH-2.0-x\r\n".to_vec(),
        packet(20, b"algorithms"),
        packet(31, &b"a host certificate".repeat(20)),
        packet(21, b""),
    ]
    .concat();
    for part in hidden.chunks(100) {
        near.write_all(part).await.unwrap();
        near.flush().await.unwrap();
    }
    let within = seen.lock().unwrap().len();
    assert!(matches!(near.writing, Writing::Due) && within > hidden.len());

    near.write_all(b"ciphertext").await.unwrap();
    near.flush().await.unwrap();

    let mut heard = vec![0; hidden.len() + 10];
    far.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, [hidden, b"ciphertext".to_vec()].concat());
    let seen = seen.lock().unwrap().clone();
    let contains = |needle: &[u8]| seen.windows(needle.len()).any(|w| w == needle);
    assert!(!contains(b"node1") && !contains(b"algorithms") && !contains(b"host cert"));
    assert!(seen.ends_with(b"ciphertext"), "no second encryption");
}

#[tokio::test]
async fn a_direction_that_is_no_ssh_stays_in_tls_for_as_long_as_agreed() {
    let (mut near, _far, _) = ends_that(leaves_tls(wire::route::Route::Ssh).unwrap(), 1 << 20).await;
    let mut written = 0;
    while !matches!(near.writing, Writing::Due) {
        written += near.write(&[b'x'; 10_000]).await.unwrap();
    }
    assert!((256 * 1024..300_000).contains(&written), "{written}");
}

#[tokio::test]
async fn a_connection_cut_inside_tls_is_no_clean_end() {
    let (mut near, mut far, _) = ends(1 << 20, 1 << 20).await;
    near.write_all(b"half").await.unwrap();
    near.flush().await.unwrap();
    drop(near);
    let mut heard = Vec::new();

    let error = far.read_to_end(&mut heard).await.unwrap_err();

    assert_eq!((error.kind(), heard.as_slice()), (io::ErrorKind::UnexpectedEof, &b"half"[..]));
}

#[tokio::test]
async fn nothing_is_held_while_quiet() {
    let (mut near, mut far, _) = ends(0, 1 << 20).await;
    near.write_all(&[7; 300_000]).await.unwrap();
    let mut all = vec![0; 300_000];
    far.read_exact(&mut all).await.unwrap();

    let more = tokio::time::timeout(std::time::Duration::from_millis(1), far.read(&mut all)).await;

    assert!(more.is_err());
    assert_eq!(far.tls.get_ref().0.ahead.capacity(), 0);
}

/// The socket below everything.
fn socket_of(stream: &Bare<TcpStream>) -> &TcpStream {
    &stream.tls.get_ref().0.inner
}

/// Writes `say`, past the stream as soon as that is allowed; says how much went past it.
async fn say_directly(stream: &mut Bare<TcpStream>, say: &[u8], piece: usize) -> usize {
    let mut sent = 0;
    while !stream.writes_directly() && sent < say.len() {
        sent += stream.write(&say[sent..say.len().min(sent + piece)]).await.unwrap();
    }
    let within = sent;
    let socket = socket_of(stream);
    while sent < say.len() {
        socket.writable().await.unwrap();
        sent += socket.try_write(&say[sent..say.len().min(sent + piece)]).unwrap_or(0);
    }
    stream.shutdown().await.unwrap();
    sent - within
}

/// Reads to the end, past the stream as soon as that is allowed; says how much came past it.
async fn hear_directly(mut stream: Bare<TcpStream>, piece: usize) -> (Vec<u8>, usize) {
    let (mut heard, mut part) = (Vec::new(), vec![0; piece]);
    while !stream.reads_directly() {
        match stream.read(&mut part).await.unwrap() {
            0 => return (heard, 0),
            count => heard.extend_from_slice(&part[..count]),
        }
    }
    let within = heard.len();
    loop {
        assert!(stream.reads_directly(), "what was bare stays bare");
        let socket = socket_of(&stream);
        socket.readable().await.unwrap();
        match socket.try_read(&mut part) {
            Ok(0) => break,
            Ok(count) => heard.extend_from_slice(&part[..count]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    let past = heard.len() - within;
    (heard, past)
}

#[tokio::test]
async fn once_bare_the_socket_itself_may_be_used_and_no_byte_is_lost_or_doubled() {
    for (limit, piece) in [(1, 700), (1, 1), (5_000, 313), (20_000, 16_384), (100_000, 4_096)] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let far = listener.accept().await.unwrap().0;
        let (mut near, far) = shake(near, far, Leave::After(limit)).await;
        assert!(!near.writes_directly() && !far.reads_directly(), "inside TLS at first");
        let said = bytes(if piece == 1 { 100_000 } else { 300_000 }, 5);

        let (past, (heard, heard_past)) =
            tokio::join!(say_directly(&mut near, &said, piece), hear_directly(far, piece));

        assert!(heard == said, "limit {limit}, piece {piece}: bytes changed on the way");
        assert!(past > 0 && heard_past > 0, "limit {limit}, piece {piece}: never bare");
    }
}
