//! What the process that looked an account up leaves behind for the spawner that forked it (docs/formats/spawner.md).
//!
//! Pure. The spawner takes it for no more than it is: the work of a process in which a host's own name service ran. So
//! every field is bounded, and nothing of a half answer counts.

use std::ffi::CString;

use nix::unistd::{Gid, Uid};

use super::account::Account;
use super::message::MAX_PATH;
use crate::codec::{Malformed, Put, Reader};

/// Longest answer: the most groups Linux knows, and two paths.
pub(super) const MAX: usize = 4 * MAX_GROUPS + 2 * MAX_PATH + 64;
/// Most groups of an account (`NGROUPS_MAX`).
const MAX_GROUPS: usize = 65_536;
/// Longest words about why not.
const MAX_WORDS: usize = 2048;

/// Writes what was found, or why nothing was in words for the person.
pub(crate) fn encode(found: &Result<Account, String>) -> Vec<u8> {
    let mut out = Vec::new();
    match found {
        Ok(account) => {
            out.push(1);
            out.put_u32(account.uid.as_raw());
            out.put_u32(account.gid.as_raw());
            out.put_u32(u32::try_from(account.groups.len()).unwrap_or(u32::MAX));
            for group in &account.groups {
                out.put_u32(group.as_raw());
            }
            out.put_string(account.home.as_bytes());
            out.put_string(account.shell.as_bytes());
        }
        Err(words) => {
            out.push(0);
            let end = words.floor_char_boundary(MAX_WORDS);
            out.put_string(words.as_bytes().get(..end).unwrap_or_default());
        }
    }
    out
}

/// Reads what was found for `login`: the whole of `bytes`.
///
/// # Errors
/// Anything but exactly one answer within its bounds.
pub(crate) fn decode(bytes: &[u8], login: &str) -> Result<Result<Account, String>, Malformed> {
    let mut r = Reader::new(bytes);
    let found = match r.u8()? {
        1 => {
            let (uid, gid) = (Uid::from_raw(r.u32()?), Gid::from_raw(r.u32()?));
            let count = usize::try_from(r.u32()?).map_err(|_| Malformed("length"))?;
            if count > MAX_GROUPS {
                return Err(Malformed("too many groups"));
            }
            // Not more room than there are bytes for.
            let mut groups = Reader::new(r.take(4 * count)?);
            let groups: Result<_, _> = (0..count).map(|_| groups.u32().map(Gid::from_raw)).collect();
            let (home, shell) = (path(&mut r)?, path(&mut r)?);
            Ok(Account { login: login.to_owned(), uid, gid, groups: groups?, home, shell })
        }
        0 => Err(r.text(MAX_WORDS)?.to_owned()),
        _ => return Err(Malformed("unknown answer")),
    };
    r.end()?;
    Ok(found)
}

fn path(r: &mut Reader<'_>) -> Result<CString, Malformed> {
    CString::new(r.string(MAX_PATH)?).map_err(|_| Malformed("path"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ann() -> Account {
        Account {
            login: "ann".to_owned(),
            uid: Uid::from_raw(1000),
            gid: Gid::from_raw(1001),
            groups: vec![Gid::from_raw(1001), Gid::from_raw(60)],
            home: c"/home/ann".to_owned(),
            shell: c"/bin/sh".to_owned(),
        }
    }

    #[test]
    fn answers_look_as_their_page_says() {
        let account = b"\x01\0\0\x03\xe8\0\0\x03\xe9\0\0\0\x02\0\0\x03\xe9\0\0\0\x3c\0\0\0\x09/home/ann\0\0\0\x07/bin/sh";
        for (found, bytes) in
            [(Ok(ann()), account.as_slice()), (Err("no".to_owned()), b"\0\0\0\0\x02no".as_slice())]
        {
            assert_eq!(encode(&found), bytes);
            assert_eq!(decode(bytes, "ann"), Ok(found));
        }
    }

    #[test]
    fn what_is_too_much_or_too_little_is_refused() {
        let whole = encode(&Ok(ann()));
        let mut with_nul = whole.clone();
        with_nul[25] = 0;
        let groups = [b"\x01\0\0\0\0\0\0\0\0".as_slice(), &u32::MAX.to_be_bytes()].concat();
        let long = Account { home: CString::new(vec![b'x'; MAX_PATH + 1]).unwrap(), ..ann() };

        for bytes in [
            &[],
            b"\x02".as_slice(),
            &whole[..whole.len() - 1],
            &[whole.as_slice(), b"x"].concat(),
            &with_nul,
            &groups,
            &encode(&Ok(long)),
        ] {
            assert!(decode(bytes, "ann").is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn the_most_there_can_be_fits() {
        let longest = || CString::new(vec![b'x'; MAX_PATH]).unwrap();
        let groups = (0..65_536).map(Gid::from_raw).collect();
        let most = Ok(Account { groups, home: longest(), shell: longest(), ..ann() });
        let words = encode(&Err("é".repeat(4000)));

        assert!(encode(&most).len() <= MAX);
        assert_eq!(decode(&encode(&most), "ann"), Ok(most));
        assert!(decode(&words, "ann").is_ok_and(|found| found.is_err_and(|words| words.len() == MAX_WORDS)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            crate::fuzz::spawner_found(&bytes);
        }
    }
}
