//! Turns a stranger's first bytes into a protocol.
//!
//! Looks at no more than [`MAX`] bytes and never allocates. A stranger who says nothing is not this module's
//! matter: silence is the caller's deadline. Deciding what to *do* with the protocol is `proxy`'s work.

/// The most bytes a verdict ever needs.
pub const MAX: usize = 16;

/// What somebody speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// A TLS handshake record.
    Tls,
    /// An SSH identification line.
    Ssh,
    /// An HTTP/1 request line, or the preface of HTTP/2.
    Http,
    /// A PROXY protocol header, version 1 (text).
    ProxyV1,
    /// A PROXY protocol header, version 2 (binary).
    ProxyV2,
}

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A protocol we know.
    Known(Protocol),
    /// A beginning of more than one possibility.
    NeedMore,
    /// Nothing we know.
    Stranger,
}

/// The signature every PROXY protocol v2 header starts with.
pub const PROXY_V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

const PREFIXES: [(&[u8], Protocol); 17] = [
    (b"\x16\x03\x00", Protocol::Tls),
    (b"\x16\x03\x01", Protocol::Tls),
    (b"\x16\x03\x02", Protocol::Tls),
    (b"\x16\x03\x03", Protocol::Tls),
    (b"\x16\x03\x04", Protocol::Tls),
    (b"SSH-", Protocol::Ssh),
    (b"GET ", Protocol::Http),
    (b"HEAD ", Protocol::Http),
    (b"POST ", Protocol::Http),
    (b"PUT ", Protocol::Http),
    (b"PATCH ", Protocol::Http),
    (b"DELETE ", Protocol::Http),
    (b"OPTIONS ", Protocol::Http),
    (b"CONNECT ", Protocol::Http),
    (b"PRI * HTTP/2.0", Protocol::Http),
    (b"PROXY ", Protocol::ProxyV1),
    (&PROXY_V2_SIGNATURE, Protocol::ProxyV2),
];

/// Judges the first bytes of a connection.
#[must_use]
pub fn sniff(seen: &[u8]) -> Verdict {
    let mut verdict = Verdict::Stranger;
    for (prefix, protocol) in PREFIXES {
        if seen.starts_with(prefix) {
            return Verdict::Known(protocol);
        }
        if prefix.starts_with(seen) {
            verdict = Verdict::NeedMore;
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn first_bytes_tell_protocols_apart() {
        for (seen, verdict) in [
            (&b"\x16\x03\x01\x02\x00\x01"[..], Verdict::Known(Protocol::Tls)),
            (b"SSH-2.0-OpenSSH_9.6\r\n", Verdict::Known(Protocol::Ssh)),
            (b"GET / HTTP/1.1\r\n", Verdict::Known(Protocol::Http)),
            (b"PRI * HTTP/2.0\r\n\r\nSM", Verdict::Known(Protocol::Http)),
            (b"PROXY TCP4 1.2.3.4 ", Verdict::Known(Protocol::ProxyV1)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21", Verdict::Known(Protocol::ProxyV2)),
            (b"", Verdict::NeedMore),
            (b"P", Verdict::NeedMore),
            (b"\x16\x03", Verdict::NeedMore),
            (b"SS", Verdict::NeedMore),
            (b"\x16\x02\x01", Verdict::Stranger),
            (b"get / http", Verdict::Stranger),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", Verdict::Stranger),
        ] {
            assert_eq!(sniff(seen), verdict, "{seen:?}");
        }
    }

    proptest! {
        #[test]
        fn a_verdict_needs_no_more_than_the_bound(seen in proptest::collection::vec(any::<u8>(), MAX..64)) {
            prop_assert_ne!(sniff(&seen), Verdict::NeedMore);
            prop_assert_eq!(sniff(&seen), sniff(&seen[..MAX]));
        }

        #[test]
        fn more_bytes_never_change_a_mind(which in 0..PREFIXES.len(), tail in proptest::collection::vec(any::<u8>(), 0..20)) {
            let whole = [PREFIXES[which].0, &tail].concat();
            let mut last = Verdict::NeedMore;
            for end in 0..=whole.len() {
                let verdict = sniff(&whole[..end]);
                prop_assert!(last == Verdict::NeedMore || last == verdict);
                last = verdict;
            }
            prop_assert_eq!(last, Verdict::Known(PREFIXES[which].1));
        }
    }
}
