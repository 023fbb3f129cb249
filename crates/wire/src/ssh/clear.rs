//! Where one direction of an SSH connection begins to be encrypted: behind its first `SSH_MSG_NEWKEYS`
//! (RFC 4253 section 7.3).
//!
//! What comes before it is in the clear: lines, the identification among them, and packets without a MAC
//! (RFC 4253 sections 4.2 and 6). Only their lengths and numbers are looked at, and nothing is held.

use super::number::NEWKEYS;

/// The longest packet before keys are exchanged: RFC 4253 section 6.1 asks for 35,000 bytes, OpenSSH takes 256 KiB.
const MOST: u32 = 256 * 1024;
/// What an identification line begins with.
const IDENTIFICATION: &[u8; 4] = b"SSH-";

/// One direction, from its first byte on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clear(At);

#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    /// So many bytes of the length of what comes before SSH are known.
    HeadLength { seen: u8, length: u16 },
    /// So many bytes of that are left.
    Head(u16),
    /// So many bytes into a line, of which the first so many are those of an identification.
    Line { seen: usize, alike: usize },
    /// So many bytes of a packet's length are known.
    Length { seen: u8, length: u32 },
    /// Within a packet: so many bytes to its number, and to its end.
    Packet { to_number: u8, rest: u32, last: bool },
    /// It is encrypted from here on.
    Sealed,
    /// It is not SSH.
    Other,
}

impl Default for Clear {
    fn default() -> Self {
        Self(At::LINE)
    }
}

impl Clear {
    /// A direction that begins with something of ours: two bytes of length, big-endian, and so many more
    /// ([`dial`](crate::dial)).
    #[must_use]
    pub fn behind_a_head() -> Self {
        Self(At::HeadLength { seen: 0, length: 0 })
    }

    /// Looks at the next bytes. True once the direction's `SSH_MSG_NEWKEYS` has gone by, whole; what is behind it in
    /// `bytes` is encrypted already.
    pub fn pass(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while let Some((byte, behind)) = rest.split_first() {
            match &mut self.0 {
                At::Sealed | At::Other => break,
                At::Packet { to_number: 0, rest: left, last } if *left > 0 => {
                    // The payload and its padding are nobody's business here.
                    let skipped =
                        behind.len().saturating_add(1).min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= u32::try_from(skipped).unwrap_or(u32::MAX);
                    if *left == 0 {
                        self.0 = At::after(*last);
                    }
                    rest = rest.get(skipped..).unwrap_or_default();
                }
                _ => {
                    self.0 = self.0.next(*byte);
                    rest = behind;
                }
            }
        }
        self.0 == At::Sealed
    }

    /// This is not SSH, or nothing a peer would take for it.
    #[must_use]
    pub fn is_other(&self) -> bool {
        self.0 == At::Other
    }
}

impl At {
    const fn after(last: bool) -> Self {
        if last { At::Sealed } else { At::Length { seen: 0, length: 0 } }
    }

    const LINE: At = At::Line { seen: 0, alike: 0 };

    /// One byte on, outside of a payload.
    fn next(&self, byte: u8) -> Self {
        match *self {
            At::HeadLength { seen: 0, .. } => At::HeadLength { seen: 1, length: u16::from(byte) },
            At::HeadLength { length, .. } => match length << 8 | u16::from(byte) {
                0 => At::LINE,
                length => At::Head(length),
            },
            At::Head(0 | 1) => At::LINE,
            At::Head(left) => At::Head(left - 1),
            At::Line { alike, .. } if byte == b'\n' => {
                if alike == IDENTIFICATION.len() {
                    At::after(false)
                } else {
                    At::LINE
                }
            }
            At::Line { seen, alike } => {
                let more = seen == alike && IDENTIFICATION.get(seen) == Some(&byte);
                At::Line { seen: seen.saturating_add(1), alike: alike + usize::from(more) }
            }
            At::Length { seen, length } => {
                let length = length << 8 | u32::from(byte);
                match (seen, length) {
                    (0..=2, _) => At::Length { seen: seen + 1, length },
                    // The padding's length and a number at least.
                    (_, 2..=MOST) => At::Packet { to_number: 2, rest: length, last: false },
                    _ => At::Other,
                }
            }
            At::Packet { to_number, rest, last } => {
                let last = if to_number == 1 { byte == NEWKEYS } else { last };
                match rest - 1 {
                    0 => At::after(last),
                    rest => At::Packet { to_number: to_number.saturating_sub(1), rest, last },
                }
            }
            At::Sealed => At::Sealed,
            At::Other => At::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Packets<'a> = &'a [(u8, usize)];

    fn packet(number: u8, payload: usize) -> Vec<u8> {
        let padding = 8 - (6 + payload) % 8 + 4;
        let mut bytes = u32::try_from(2 + payload + padding).unwrap().to_be_bytes().to_vec();
        bytes.extend([u8::try_from(padding).unwrap(), number]);
        bytes.extend(std::iter::repeat_n(NEWKEYS, payload + padding));
        bytes
    }

    /// Lines, an identification, packets, the last of them `SSH_MSG_NEWKEYS`.
    fn beginning(lines: &[&str], packets: Packets<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in lines {
            bytes.extend(line.as_bytes());
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"SSH-2.0-x\r\n");
        for (number, payload) in packets {
            bytes.extend(packet(*number, *payload));
        }
        bytes.extend(packet(NEWKEYS, 0));
        bytes
    }

    fn sealed_after(bytes: &[u8]) -> Option<usize> {
        let mut clear = Clear::default();
        (1..=bytes.len()).find(|end| clear.pass(&bytes[end - 1..*end]))
    }

    #[test]
    fn it_is_sealed_behind_new_keys_and_not_before() {
        let cases: [(&[&str], Packets<'_>); 5] = [
            (&[], &[]),
            (&[], &[(20, 1200), (30, 1216)]),
            (&["hello", "SSH", ""], &[(20, 900), (31, 2000), (2, 0)]),
            (&["SHH-2.0", "xSSH-2.0-"], &[(21 + 1, 7)]),
            (&[], &[(20, 100_000)]),
        ];
        for (lines, packets) in cases {
            let bytes = beginning(lines, packets);
            assert_eq!(sealed_after(&bytes), Some(bytes.len()), "{lines:?} {packets:?}");
        }
    }

    #[test]
    fn what_comes_before_ssh_is_passed_over() {
        for head in [0usize, 1, 300] {
            let mut bytes = u16::try_from(head).unwrap().to_be_bytes().to_vec();
            bytes.extend(std::iter::repeat_n(b'\n', head));
            bytes.extend(beginning(&[], &[(20, 50)]));
            let (mut clear, end) = (Clear::behind_a_head(), bytes.len() - 1);
            assert!(!clear.pass(&bytes[..end]) && clear.pass(&bytes[end..]), "{head}");
        }
    }

    #[test]
    fn what_cannot_be_a_packet_is_never_sealed() {
        for length in [0u32, 1, MOST + 1, u32::MAX, 0x4745_5420] {
            let mut bytes = b"SSH-2.0-x\r\n".to_vec();
            bytes.extend(length.to_be_bytes());
            bytes.extend(packet(NEWKEYS, 0));
            let mut clear = Clear::default();
            assert!(!clear.pass(&bytes) && clear.is_other(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_makes_no_difference(
            packets in prop::collection::vec((any::<u8>().prop_filter("the end", |n| *n != NEWKEYS), 0..3000usize), 0..6),
            cuts in prop::collection::vec(1..700usize, 1..50),
            behind in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut bytes = beginning(&["a line"], &packets);
            let end = bytes.len();
            bytes.extend(behind);
            let (mut clear, mut at, mut cuts) = (Clear::default(), 0, cuts.into_iter().cycle());
            while at < bytes.len() {
                let next = (at + cuts.next().unwrap()).min(bytes.len());
                prop_assert_eq!(clear.pass(&bytes[at..next]), next >= end);
                at = next;
            }
        }

        #[test]
        fn no_bytes_trouble_it(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let (mut whole, mut single) = (Clear::default(), Clear::default());
            whole.pass(&bytes);
            for byte in &bytes {
                single.pass(std::slice::from_ref(byte));
            }
            prop_assert_eq!(whole, single);
        }
    }
}
