//! Every byte a stranger can send us, as pure functions and state machines: sniffing, routes, the dial header, the
//! PROXY protocol, the tunnel's multiplexer, SSH.
//!
//! No I/O, no clock, no randomness. Every decoder is bounded, has a round-trip property, golden vectors under
//! `testdata/`, a fuzz entry point and, where the format is ours, a page in `docs/formats/`.
#![forbid(unsafe_code)]

pub mod client_hello;
pub mod codec;
pub mod dial;
pub mod http_head;
pub mod mux;
pub mod proxy_header;
pub mod route;
pub mod sftp;
pub mod sniff;
pub mod ssh;

pub use codec::{Malformed, Reader};

/// Entry points for fuzzing: each takes any bytes and must neither panic nor loop.
#[doc(hidden)]
pub mod fuzz {
    use crate::Reader;

    /// The verdict on first bytes.
    pub fn sniff(data: &[u8]) {
        let _ = crate::sniff::sniff(data);
    }

    /// A TLS ClientHello.
    pub fn client_hello(data: &[u8]) {
        let _ = crate::client_hello::decode(data);
        let _ = crate::client_hello::record(data);
    }

    /// A dial header, then a dial reply.
    pub fn dial(data: &[u8]) {
        let _ = crate::dial::DialHeader::decode(&mut Reader::new(data));
        let _ = crate::dial::DialReply::decode(&mut Reader::new(data));
    }

    /// What a tunnel's peer sends, into either end, with everything read and answered.
    pub fn mux(data: &[u8]) {
        use std::time::Duration;

        use crate::mux::{Event, Mux, PREFACE, Settings, Side};

        for side in [Side::Dialer, Side::Listener] {
            let mut mux = Mux::new(side, Settings::default(), Duration::ZERO);
            let _ = mux.open(crate::dial::Class::Bulk, b"");
            let bytes = [&PREFACE[..], data].concat();
            let outcome = mux.receive(&bytes, Duration::from_millis(1));
            let mut out = [0; 1024];
            while let Some(event) = mux.event() {
                if let Event::Opened { id, .. } | Event::Readable(id) | Event::Writable(id) = event {
                    let _ = mux.read(id, &mut out, Duration::from_millis(2));
                    let _ = mux.write(id, b"answer");
                    mux.release(id);
                }
                if let Event::Lifted { id, .. } = event {
                    let _ = mux.leave(id);
                }
            }
            mux.transmit(&mut Vec::new(), usize::MAX);
            let _ = (outcome, mux.tick(Duration::from_secs(2)));
        }
    }

    /// The head of an HTTP request.
    pub fn http_head(data: &[u8]) {
        let _ = crate::http_head::HttpHead::decode(data).map(|head| head.map(|h| h.wants_websocket()));
    }

    /// A PROXY protocol header.
    pub fn proxy_header(data: &[u8]) {
        let _ = crate::proxy_header::ProxyHeader::decode(&mut Reader::new(data));
    }

    /// An SFTP packet, as a request and as an answer.
    pub fn sftp(data: &[u8]) {
        if let Ok(Some(body)) = crate::sftp::frame(&mut Reader::new(data)) {
            let _ = crate::sftp::Request::decode(body);
            let _ = crate::sftp::Reply::decode(body);
        }
        let _ = crate::sftp::Request::decode(data);
        let _ = crate::sftp::Reply::decode(data);
    }

    /// SSH transport messages and the identification line.
    pub fn ssh_transport(data: &[u8]) {
        crate::ssh::fuzz::transport(data);
    }

    /// SSH user authentication messages.
    pub fn ssh_userauth(data: &[u8]) {
        crate::ssh::fuzz::userauth(data);
    }

    /// SSH connection messages.
    pub fn ssh_connection(data: &[u8]) {
        crate::ssh::fuzz::connection(data);
    }

    /// SSH keys, certificates, signatures and agent answers.
    pub fn ssh_keys(data: &[u8]) {
        crate::ssh::fuzz::keys(data);
    }
}
