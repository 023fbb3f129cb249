//! Entry points for the fuzzer: each decodes arbitrary bytes and, where that works, checks that encoding what was
//! decoded and decoding it again gives the same value.

use super::{Reader, agent, clear, connection, key, request, transport, userauth, version};

macro_rules! round {
    ($type:ty, $data:expr) => {
        if let Ok(value) = <$type>::decode(&mut Reader::new($data)) {
            let mut bytes = Vec::new();
            value.encode(&mut bytes);
            assert_eq!(<$type>::decode(&mut Reader::new(&bytes)).ok().as_ref(), Some(&value));
        }
    };
}

/// Transport messages and the identification line.
pub fn transport(data: &[u8]) {
    drop(version::scan(data));
    let (mut whole, mut halves) = (clear::Clear::default(), clear::Clear::default());
    let (front, back) = data.split_at(data.len() / 2);
    whole.pass(data);
    halves.pass(front);
    halves.pass(back);
    assert_eq!(whole, halves);
    round!(transport::KexInit<'_>, data);
    round!(transport::Offer<'_>, data);
    round!(transport::Answer<'_>, data);
    round!(transport::ExtInfo<'_>, data);
    round!(transport::Disconnect<'_>, data);
}

/// User authentication messages.
pub fn userauth(data: &[u8]) {
    round!(userauth::Request<'_>, data);
    round!(userauth::Failure<'_>, data);
    round!(userauth::KeyOk<'_>, data);
    round!(userauth::Banner<'_>, data);
}

/// Connection messages.
pub fn connection(data: &[u8]) {
    round!(connection::Open, data);
    round!(connection::Opened, data);
    round!(connection::OpenFailed, data);
    round!(connection::WindowAdjust, data);
    round!(connection::Data<'_>, data);
    round!(connection::Bare, data);
    round!(request::ChannelRequest, data);
    round!(request::GlobalRequest, data);
}

/// Keys, certificates, signatures and agent answers.
pub fn keys(data: &[u8]) {
    round!(key::PublicKey<'_>, data);
    round!(key::Certificate<'_>, data);
    round!(key::Signature<'_>, data);
    round!(agent::Answer<'_>, data);
    drop(key::Offered::decode(data));
    let _numbers = key::ecdsa_numbers(data);
}
