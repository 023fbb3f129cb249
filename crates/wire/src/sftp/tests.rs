//! Tests of the SFTP packets.

use proptest::prelude::*;

use super::*;

fn attrs() -> impl Strategy<Value = Attrs> {
    (any::<Option<u64>>(), any::<Option<(u32, u32)>>(), any::<Option<u32>>(), any::<Option<(u32, u32)>>())
        .prop_map(|(size, owner, mode, times)| Attrs { size, owner, mode, times })
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(1u8..=255, 0..40)
}

fn round_trip(request: &Request<'_>, id: u32) {
    let mut bytes = Vec::new();
    request.encode(id, &mut bytes);
    let mut reader = Reader::new(&bytes);
    let body = frame(&mut reader).unwrap().unwrap();
    assert!(reader.is_empty());
    assert_eq!(Request::decode(body).unwrap(), (id, request.clone()));
    for cut in 0..bytes.len() {
        assert!(frame(&mut Reader::new(&bytes[..cut])).unwrap().is_none());
    }
}

proptest! {
    #[test]
    fn requests_round_trip(a in name(), b in name(), attrs in attrs(), n: u64, m: u32, id: u32) {
        let all = [
            Request::Open { path: &a, flags: OpenFlags(m), attrs },
            Request::Close { handle: &a },
            Request::Read { handle: &a, offset: n, length: m },
            Request::Write { handle: &a, offset: n, data: &b },
            Request::Lstat { path: &a },
            Request::Fstat { handle: &a },
            Request::Setstat { path: &a, attrs },
            Request::Fsetstat { handle: &a, attrs },
            Request::Opendir { path: &a },
            Request::Readdir { handle: &a },
            Request::Remove { path: &a },
            Request::Mkdir { path: &a, attrs },
            Request::Rmdir { path: &a },
            Request::Realpath { path: &a },
            Request::Stat { path: &a },
            Request::Rename { from: &a, to: &b },
            Request::Readlink { path: &a },
            Request::Symlink { target: &a, link: &b },
            Request::Extended { name: b"x@y", body: &b },
        ];
        for request in &all {
            round_trip(request, id);
        }
        round_trip(&Request::Init { version: m }, 0);
    }

    #[test]
    fn replies_round_trip(a in name(), b in name(), attrs in attrs(), code: u32, text in ".{0,40}", id: u32) {
        let all = [
            Reply::Status { status: Status::from_code_for_test(code), message: &text },
            Reply::Handle(&a),
            Reply::Data(&b),
            Reply::Names(vec![Name { name: &a, long: &b, attrs }, Name { name: &b, long: &a, attrs }]),
            Reply::Attrs(attrs),
            Reply::Extended(&b),
        ];
        for reply in &all {
            let mut bytes = Vec::new();
            reply.encode(id, &mut bytes);
            let body = frame(&mut Reader::new(&bytes)).unwrap().unwrap();
            prop_assert_eq!(Reply::decode(body).unwrap(), (id, reply.clone()));
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        crate::fuzz::sftp(&bytes);
    }
}

impl Status {
    fn from_code_for_test(code: u32) -> Self {
        let mut bytes = Vec::new();
        Reply::Status { status: Status::Unknown(code), message: "" }.encode(1, &mut bytes);
        match Reply::decode(&bytes[4..]).unwrap().1 {
            Reply::Status { status, .. } => status,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn lies_about_length_are_refused_before_anything_is_kept() {
    assert!(frame(&mut Reader::new(&[0xff, 0xff, 0xff, 0xff])).is_err());
    assert!(frame(&mut Reader::new(&[0, 0, 0, 0])).is_err());
    assert!(Reply::decode(&[104, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]).is_err());
    assert!(Request::decode(&[17, 0, 0, 0, 1, 0, 0, 0, 2, b'a', 0]).is_err());
}
