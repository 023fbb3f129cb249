//! What is typed for `msh` and not for the node: `~.` at the beginning of a line leaves a session that answers no more
//! (the escape characters of ssh(1)).

/// What `~?` says.
pub(super) const HELP: &str = "\r\n~.  leave the session\r\n~~  a tilde\r\n~?  this\r\n";

/// What somebody wants of `msh` itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Leave,
    Help,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Beginning,
    Tilde,
    Within,
}

/// Reads along with what is typed.
#[derive(Debug)]
pub(super) struct Escapes(At);

impl Escapes {
    pub(super) fn new() -> Self {
        Self(At::Beginning)
    }

    /// Appends to `out` what of `typed` goes to the node, up to a wish; gives that, and how much of `typed` was read.
    pub(super) fn read(&mut self, typed: &[u8], out: &mut Vec<u8>) -> (Option<Wish>, usize) {
        for (read, &byte) in (1..).zip(typed) {
            match (self.0, byte) {
                (At::Beginning, b'~') => {
                    self.0 = At::Tilde;
                    continue;
                }
                (At::Tilde, b'.') => return (Some(Wish::Leave), read),
                (At::Tilde, b'?') => {
                    self.0 = At::Beginning;
                    return (Some(Wish::Help), read);
                }
                // A second one stands for the first.
                (At::Tilde, b'~') | (At::Beginning | At::Within, _) => {}
                (At::Tilde, _) => out.push(b'~'),
            }
            out.push(byte);
            self.0 = if matches!(byte, b'\r' | b'\n') { At::Beginning } else { At::Within };
        }
        (None, typed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tildes_count_at_the_beginning_of_a_line() {
        for (typed, sent, wish) in [
            ("ls\r", "ls\r", None),
            ("~.", "", Some(Wish::Leave)),
            ("ls\r~.more", "ls\r", Some(Wish::Leave)),
            ("ls\n~.", "ls\n", Some(Wish::Leave)),
            ("cd ~.\r", "cd ~.\r", None),
            ("~~.\r", "~.\r", None),
            ("~/bin/x\r", "~/bin/x\r", None),
            ("~\r~.", "~\r", Some(Wish::Leave)),
            ("~?", "", Some(Wish::Help)),
            ("密码~.\r", "密码~.\r", None),
        ] {
            for piece in [1, 2, 64] {
                let (mut escapes, mut out, mut wished) = (Escapes::new(), Vec::new(), None);
                for part in typed.as_bytes().chunks(piece) {
                    if wished.is_none() {
                        wished = escapes.read(part, &mut out).0;
                    }
                }
                assert_eq!((String::from_utf8(out).unwrap().as_str(), wished), (sent, wish), "{typed:?}");
            }
        }
    }

    #[test]
    fn help_goes_on_where_it_was() {
        let (mut escapes, mut out) = (Escapes::new(), Vec::new());

        assert_eq!(escapes.read(b"~?~.", &mut out), (Some(Wish::Help), 2));
        assert_eq!(escapes.read(b"~.", &mut out), (Some(Wish::Leave), 2));
        assert!(out.is_empty());
    }
}
