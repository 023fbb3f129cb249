//! Entry points for the fuzzer: bytes of a stranger into the state machines, which must neither panic nor grow.

use std::sync::{Arc, OnceLock};

use crate::hub::{Limits, Produced, Role, Shared};
use crate::transport::Transport;
use crate::{Algorithms, HostKey, PrivateKey};

/// The bytes of a stranger, up to the first packet that would need a key.
pub fn transport(data: &[u8]) {
    static KEY: OnceLock<Option<Arc<PrivateKey>>> = OnceLock::new();
    let Some(key) = KEY.get_or_init(|| PrivateKey::from_seed(&[7; 32], "").ok().map(Arc::new)) else {
        return;
    };
    for role in [Role::Server, Role::Client] {
        let keys = vec![HostKey::plain(key.clone())];
        let mut transport = Transport::new(role, Algorithms::default(), keys, "fuzz");
        transport.input().feed(data);
        while let Ok(Some(_)) = transport.next() {}
    }
}

/// Messages of a peer that is let in: each is a length of two bytes and a payload.
pub fn connection(data: &[u8]) {
    for role in [Role::Server, Role::Client] {
        let shared = Shared::new(role, Limits { max_channels: 8, ..Limits::default() });
        let (mut rest, mut out) = (data, Vec::new());
        while let Some((head, tail)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*head)).min(tail.len());
            let (payload, tail) = tail.split_at(length);
            rest = tail;
            if shared.with(|hub| hub.packet(payload)).is_err() {
                break;
            }
            out.clear();
            while shared.with(|hub| hub.produce(&mut out)) != Produced::Nothing {}
        }
        assert!(shared.with(|hub| hub.held()) <= data.len());
    }
}
