//! Reads what a TLS ClientHello asks for (server name, ALPN) without taking part in the handshake, so that a route
//! can be chosen before any certificate is.
//!
//! At most [`MAX`] bytes of handshake; fragments over several records are put together. Whether the rest of the hello
//! makes sense is the TLS library's question.

use crate::codec::{Malformed, Reader};

/// The most handshake bytes of a hello we read.
pub const MAX: usize = 16 * 1024;

/// The most bytes on the wire: the hello and its record headers, however it is cut.
pub const MAX_WIRE: usize = MAX + RECORD_HEADER * MAX_RECORDS;

/// Type, version and length before each TLS record.
const RECORD_HEADER: usize = 5;

/// A hello in more records than this is an attack on the reader.
const MAX_RECORDS: usize = 64;

const HELLO: &str = "ClientHello";

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientHello {
    /// The server name (SNI), lower-case, if one was sent.
    pub server_name: Option<String>,
    /// The ALPN names offered, in order.
    pub alpn: Vec<Vec<u8>>,
}

/// Reads the hello at the start of `seen`. `None` means: bring more.
///
/// # Errors
/// The bytes are not a ClientHello, or a larger one than we read.
pub fn decode(seen: &[u8]) -> Result<Option<ClientHello>, Malformed> {
    let mut records = Reader::new(seen);
    let mut handshake = Vec::new();
    for _ in 0..MAX_RECORDS {
        let Some((kind, version, length)) = record_header(&mut records) else { return Ok(None) };
        if kind != 22 || version >> 8 != 3 {
            return Err(Malformed::new(HELLO, "not a TLS handshake record"));
        }
        if length == 0 || usize::from(length) > MAX {
            return Err(Malformed::new(HELLO, "record of a length no hello has"));
        }
        let part = records.take(usize::from(length)).unwrap_or(records.rest());
        handshake.extend_from_slice(part);
        if let Some(body) = message(&handshake)? {
            return parse(body).map(Some);
        }
        if part.len() < usize::from(length) {
            return Ok(None);
        }
    }
    Err(Malformed::new(HELLO, "in too many pieces"))
}

/// Bytes on the wire of the TLS record at the start of `seen`, its header included (RFC 8446, 5.1); `None` while the
/// header is incomplete. Whether the record makes sense is the TLS library's question.
#[must_use]
pub fn record(seen: &[u8]) -> Option<usize> {
    let (_, _, length) = record_header(&mut Reader::new(seen))?;
    Some(RECORD_HEADER + usize::from(length))
}

fn record_header(records: &mut Reader<'_>) -> Option<(u8, u16, u16)> {
    Some((records.u8()?, records.u16()?, records.u16()?))
}

/// The body of the handshake message, once whole. The length is judged as soon as it is there.
fn message(handshake: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let mut reader = Reader::new(handshake);
    let Some(kind) = reader.u8() else { return Ok(None) };
    if kind != 1 {
        return Err(Malformed::new(HELLO, "not a ClientHello"));
    }
    let Some(length) = reader.u24() else { return Ok(None) };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MAX {
        return Err(Malformed::new(HELLO, "larger than 16 KiB"));
    }
    Ok(reader.take(length))
}

fn parse(body: &[u8]) -> Result<ClientHello, Malformed> {
    let short = Malformed::new(HELLO, "ends early");
    let mut body = Reader::new(body);
    body.take(2 + 32).ok_or(short)?;
    body.short().ok_or(short)?;
    body.long().ok_or(short)?;
    body.short().ok_or(short)?;
    let mut hello = ClientHello::default();
    if body.is_empty() {
        return Ok(hello);
    }
    let mut extensions = Reader::new(body.long().ok_or(short)?);
    while !extensions.is_empty() {
        let kind = extensions.u16().ok_or(short)?;
        let data = Reader::new(extensions.long().ok_or(short)?);
        match kind {
            0 => hello.server_name = server_name(data)?,
            16 => hello.alpn = alpn(data)?,
            _ => {}
        }
    }
    Ok(hello)
}

/// RFC 6066 section 3: a list in which only the kind 0 (host name) has ever been defined.
fn server_name(mut data: Reader<'_>) -> Result<Option<String>, Malformed> {
    let short = Malformed::new(HELLO, "server name ends early");
    let mut list = Reader::new(data.long().ok_or(short)?);
    let kind = list.u8().ok_or(short)?;
    let name = list.long().ok_or(short)?;
    if kind != 0 {
        return Ok(None);
    }
    if name.is_empty() || name.len() > 255 || !name.iter().all(u8::is_ascii_graphic) {
        return Err(Malformed::new(HELLO, "server name is not a host name"));
    }
    Ok(Some(name.iter().map(|b| char::from(b.to_ascii_lowercase())).collect()))
}

/// RFC 7301 section 3.1.
fn alpn(mut data: Reader<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
    let short = Malformed::new(HELLO, "ALPN ends early");
    let mut list = Reader::new(data.long().ok_or(short)?);
    let mut names = Vec::new();
    while !list.is_empty() {
        let name = list.short().ok_or(short)?;
        if name.is_empty() {
            return Err(Malformed::new(HELLO, "empty ALPN name"));
        }
        if names.len() == 64 {
            return Err(Malformed::new(HELLO, "more than 64 ALPN names"));
        }
        names.push(name.to_vec());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Builds a hello with these extensions, cut into records of `cut` bytes.
    fn hello(name: &str, alpn: &[Vec<u8>], cut: usize) -> Vec<u8> {
        let long = |b: &[u8]| [&u16::try_from(b.len()).unwrap().to_be_bytes()[..], b].concat();
        let list: Vec<u8> =
            alpn.iter().flat_map(|n| [&[u8::try_from(n.len()).unwrap()][..], n].concat()).collect();
        let mut extensions = vec![0x0a, 0x0a, 0, 0];
        extensions.extend([&[0, 0][..], &long(&long(&[&[0][..], &long(name.as_bytes())].concat()))].concat());
        if !alpn.is_empty() {
            extensions.extend([&[0, 16][..], &long(&long(&list))].concat());
        }
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        body.extend([0, 2, 0x13, 1, 1, 0]);
        body.extend(long(&extensions));
        let mut message = vec![1, 0];
        message.extend(long(&body));
        message.chunks(cut).flat_map(|part| [&[22, 3, 1][..], &long(part)].concat()).collect()
    }

    #[test]
    fn a_records_length_is_known_with_its_header() {
        let bytes = hello("gate.example", &[], 20);

        assert!((0..RECORD_HEADER).all(|n| record(&bytes[..n]).is_none()));
        assert_eq!(record(&bytes), Some(RECORD_HEADER + 20));
        assert_eq!(record(&[23, 3, 3, 0, 0]), Some(RECORD_HEADER));
    }

    proptest! {
        #[test]
        fn a_hello_is_read_however_it_is_cut(
            name in "[a-z]{1,20}\\.example",
            alpn in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..5),
            cut in 20usize..400,
        ) {
            let bytes = hello(&name, &alpn, cut);
            for end in 0..bytes.len() {
                prop_assert_eq!(decode(&bytes[..end]), Ok(None));
            }
            prop_assert_eq!(decode(&bytes), Ok(Some(ClientHello { server_name: Some(name), alpn })));
        }

        #[test]
        fn garbage_never_panics_and_never_wants_more_than_the_bound(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode(&bytes);
            let mut framed = vec![22, 3, 1, 2, 0, 1, 0, 1];
            framed.extend(&bytes);
            let _ = decode(&framed);
        }
    }

    #[test]
    fn an_openssl_hello_is_read() {
        let hello = decode(include_bytes!("../testdata/client_hello/openssl.bin")).unwrap().unwrap();

        assert_eq!(hello.server_name.as_deref(), Some("gate.example.com"));
        assert_eq!(hello.alpn, [b"moongate-ssh".to_vec(), b"h2".to_vec()]);
    }

    #[test]
    fn a_hello_beyond_the_bound_is_refused_at_its_length() {
        let header = [22, 3, 1, 0x3f, 0xff, 1, 0, 0x40, 1];
        assert!(decode(&header).is_err());
        assert!(decode(&[22, 3, 1, 0x50, 0]).is_err());
    }

    #[test]
    fn a_hello_in_one_byte_records_is_refused() {
        let bytes = hello("gate.example", &[], 1);
        assert!(decode(&bytes).is_err());
        assert!(bytes.len() < MAX_WIRE);
    }
}
