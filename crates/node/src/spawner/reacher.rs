//! Processes that open sockets at paths: forked, become an account for good, asked for one socket after the other.
//!
//! A path may lead to a file server that does not answer, and who walks there waits for it. Here it is a process of the
//! account's own rights that waits, and not the spawner, which starts everybody's programs. The child keeps none of the
//! spawner's descriptors and ends with it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Pid, Uid};

use super::account::Account;
use super::as_user;
use super::child::{close_all_but, end_with, enter, helper};
use super::message::MAX_PATH;
use super::transport;

/// The code of a child that is asked no more.
const DONE: u8 = 0;
/// And of one that could not go on.
const FAILED: u8 = 1;
/// Longest packet either way: a tag, and a home with a path behind it or words.
const MAX: usize = 1 + 2 * MAX_PATH;
/// Longest words about why not.
const MAX_WORDS: usize = 2048;

/// What is to be done as an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A listening socket in a directory that only the account can enter.
    Agent,
    /// A listening socket at this path.
    Bind(PathBuf),
    /// A connection to the socket at this path.
    Connect(PathBuf),
    /// The path of a listening socket is to go.
    Remove {
        path: PathBuf,
        /// And the directory that was made for it.
        own_directory: bool,
    },
}

impl Wish {
    /// Where it leads.
    pub(super) fn path(&self) -> &Path {
        match self {
            Wish::Agent => Path::new(as_user::AGENTS),
            Wish::Bind(path) | Wish::Connect(path) | Wish::Remove { path, .. } => path,
        }
    }

    /// Writes it (docs/formats/spawner.md).
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (tag, path) = match self {
            Wish::Agent => (1, Path::new("")),
            Wish::Bind(path) => (2, path.as_path()),
            Wish::Connect(path) => (3, path.as_path()),
            Wish::Remove { path, own_directory } => (4 + u8::from(*own_directory), path.as_path()),
        };
        [&[tag], path.as_os_str().as_bytes()].concat()
    }

    /// Reads one: the whole of `bytes`.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, path) = bytes.split_first()?;
        let path = PathBuf::from(OsStr::from_bytes(path));
        match tag {
            1 if path.as_os_str().is_empty() => Some(Wish::Agent),
            2 => Some(Wish::Bind(path)),
            3 => Some(Wish::Connect(path)),
            4 | 5 => Some(Wish::Remove { path, own_directory: *tag == 5 }),
            _ => None,
        }
    }
}

/// Where a socket is, or why there is none in words for the person.
pub(crate) type Outcome = Result<PathBuf, String>;

/// Writes what came of a wish.
pub(crate) fn encode(outcome: &Outcome) -> Vec<u8> {
    match outcome {
        Ok(path) => [&[1], path.as_os_str().as_bytes()].concat(),
        Err(words) => {
            let end = words.floor_char_boundary(MAX_WORDS);
            [&[0], words.as_bytes().get(..end).unwrap_or_default()].concat()
        }
    }
}

/// Reads what came of a wish: the whole of `bytes`.
pub(crate) fn decode(bytes: &[u8]) -> Option<Outcome> {
    match bytes.split_first()? {
        (1, path) if path.len() <= MAX_PATH => Some(Ok(OsStr::from_bytes(path).into())),
        (0, words) if words.len() <= MAX_WORDS => Some(Err(std::str::from_utf8(words).ok()?.to_owned())),
        _ => None,
    }
}

/// A process that has become an account, to the spawner. It ends when this is dropped, unless a path keeps it.
#[derive(Debug)]
pub(super) struct Reacher {
    /// Wishes, and what came of them.
    socket: OwnedFd,
    /// Who it is.
    pub(super) account: Account,
}

/// Forks one. Must be called while the process has one thread.
pub(super) fn start(account: &Account) -> io::Result<(Pid, Reacher)> {
    let (child, socket) = helper(|socket, spawner| run(socket, account, spawner))?;
    Ok((child, Reacher { socket, account: account.clone() }))
}

/// The child's work: its exit code. It never drops what the spawner holds, whose descriptors it has closed.
fn run(socket: &OwnedFd, account: &Account, spawner: Pid) -> u8 {
    let is_ready = close_all_but(&[socket.as_raw_fd()]).is_ok()
        && (!Uid::effective().is_root() || enter(account).is_ok())
        // Last: it is forgotten by who becomes somebody else.
        && end_with(spawner);
    if !is_ready {
        return FAILED;
    }
    let mut wish = [0; MAX];
    loop {
        let len = match transport::receive(socket, &mut wish) {
            Ok(Some((len, _))) => len,
            Ok(None) => return DONE,
            Err(_) => return FAILED,
        };
        let Some(wish) = wish.get(..len).and_then(Wish::decode) else { return FAILED };
        let (outcome, opened) = match work(wish) {
            Ok((path, opened)) => (Ok(path), opened),
            Err(words) => (Err(words), None),
        };
        let fds: Vec<BorrowedFd<'_>> = opened.iter().map(AsFd::as_fd).collect();
        if transport::send(socket, &encode(&outcome), &fds).is_err() {
            return FAILED;
        }
    }
}

fn work(wish: Wish) -> Result<(PathBuf, Option<OwnedFd>), String> {
    match wish {
        Wish::Agent => {
            let (socket, path) = as_user::agent_socket().map_err(|e| format!("no agent socket: {e}"))?;
            Ok((path, Some(socket)))
        }
        Wish::Bind(path) => {
            let socket = as_user::bind(&path).map_err(|e| format!("binding: {e}"))?;
            Ok((path, Some(socket)))
        }
        Wish::Connect(path) => {
            let socket = as_user::connect(&path).map_err(|e| format!("connecting: {e}"))?;
            Ok((path, Some(socket)))
        }
        Wish::Remove { path, own_directory } => {
            as_user::remove(&path, own_directory);
            Ok((path, None))
        }
    }
}

impl Reacher {
    /// Asks for something. Does not wait.
    pub(super) fn ask(&self, wish: &Wish) -> io::Result<()> {
        transport::send(&self.socket, &wish.encode(), &[])
    }

    /// What came of it, and the socket; nothing while it is at it. Does not wait.
    ///
    /// # Errors
    /// It can answer no more, or said what is no answer: it is of no further use.
    pub(super) fn hear(&self) -> io::Result<Option<(Outcome, Option<OwnedFd>)>> {
        let mut said = [0; MAX];
        let (len, fds) = match transport::receive(&self.socket, &mut said) {
            Ok(Some(got)) => got,
            Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let outcome = said.get(..len).and_then(decode).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some((outcome, fds.into_iter().next())))
    }
}

impl AsFd for Reacher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wishes_and_what_came_of_them_look_as_their_page_says() {
        let path = || PathBuf::from("/s");
        for (wish, bytes) in [
            (Wish::Agent, b"\x01".as_slice()),
            (Wish::Bind(path()), b"\x02/s"),
            (Wish::Connect(path()), b"\x03/s"),
            (Wish::Remove { path: path(), own_directory: false }, b"\x04/s"),
            (Wish::Remove { path: path(), own_directory: true }, b"\x05/s"),
        ] {
            assert_eq!(wish.encode(), bytes);
            assert_eq!(Wish::decode(bytes), Some(wish));
        }
        for (outcome, bytes) in [(Ok(path()), b"\x01/s".as_slice()), (Err("no".to_owned()), b"\0no")] {
            assert_eq!(encode(&outcome), bytes);
            assert_eq!(decode(bytes), Some(outcome));
        }
    }

    #[test]
    fn what_is_no_answer_is_none() {
        let long_path = [&[1], vec![b'x'; MAX_PATH + 1].as_slice()].concat();
        let long_words = [&[0], vec![b'x'; MAX_WORDS + 1].as_slice()].concat();
        for bytes in [b"".as_slice(), b"\x02/s", b"\0\xff", &long_path, &long_words] {
            assert_eq!(decode(bytes), None);
        }
        for bytes in [b"".as_slice(), b"\0/s", b"\x01/s", b"\x06/s"] {
            assert_eq!(Wish::decode(bytes), None);
        }
        assert!(decode(&encode(&Err("é".repeat(4000)))).is_some_and(|said| said.is_err()));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            crate::fuzz::spawner_reached(&bytes);
        }
    }
}
