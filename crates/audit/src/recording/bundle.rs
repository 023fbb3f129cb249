//! A recording in one file: what the authority says of it, then its segments as sealed.
//!
//! Layout (docs/formats/recording-file.md): magic, `u32` length and JSON of [`RecordingDetail`], then for each segment
//! `u32` length and its bytes; all big-endian. Bounded by [`MAX_DETAIL`] and [`segment::MAX`](super::segment::MAX).

use model::api::recordings::RecordingDetail;

use super::verify::{Report, Verifier};
use crate::Error;
use crate::key::PublicKey;

/// The first bytes of a file.
pub const MAGIC: &[u8; 8] = b"MGRFILE\x01";
/// The longest description.
pub const MAX_DETAIL: usize = 64 * 1024 * 1024;

const WHAT: &str = "recording file";

/// A file, parsed: nothing in it has been verified.
#[derive(Clone, Debug)]
pub struct Bundle<'a> {
    /// What the authority says.
    pub detail: RecordingDetail,
    /// The segments, in order.
    pub segments: Vec<&'a [u8]>,
}

/// Appends the beginning of a file.
///
/// # Errors
/// The description is too long.
pub fn begin(detail: &RecordingDetail, out: &mut Vec<u8>) -> Result<(), Error> {
    let json =
        serde_json::to_vec(detail).map_err(|_| Error::malformed(WHAT, "the description is no JSON"))?;
    if json.len() > MAX_DETAIL {
        return Err(Error::malformed(WHAT, "the description is too long"));
    }
    out.extend_from_slice(MAGIC);
    append(&json, out)
}

/// Appends one segment.
///
/// # Errors
/// The segment is too long.
pub fn append(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let length = u32::try_from(bytes.len()).map_err(|_| Error::malformed(WHAT, "a part is too long"))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

fn part<'a>(rest: &mut &'a [u8], max: usize) -> Result<&'a [u8], Error> {
    let (length, tail) =
        rest.split_first_chunk::<4>().ok_or_else(|| Error::malformed(WHAT, "it ends within a length"))?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > max {
        return Err(Error::malformed(WHAT, "a part is too long"));
    }
    let (bytes, tail) =
        tail.split_at_checked(length).ok_or_else(|| Error::malformed(WHAT, "it ends within a part"))?;
    *rest = tail;
    Ok(bytes)
}

const fn damaged() -> Error {
    Error::malformed(WHAT, "the description before the first segment is damaged")
}

impl<'a> Bundle<'a> {
    /// Parses a whole file. One that is cut inside a segment is refused: [`verify`] says which one that is.
    ///
    /// # Errors
    /// It is no such file.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (bundle, end) = Self::as_far_as_whole(bytes)?;
        end.map(|()| bundle)
    }

    /// Parses what is whole, and says what is wrong with what follows the last whole segment.
    ///
    /// # Errors
    /// It is no such file, or its description is damaged: without that nothing in it can be checked.
    pub fn as_far_as_whole(bytes: &'a [u8]) -> Result<(Self, Result<(), Error>), Error> {
        let mut rest =
            bytes.strip_prefix(MAGIC).ok_or_else(|| Error::malformed(WHAT, "it begins with other bytes"))?;
        let json = part(&mut rest, MAX_DETAIL).map_err(|_| damaged())?;
        let detail = serde_json::from_slice(json).map_err(|_| damaged())?;
        let mut bundle = Self { detail, segments: Vec::new() };
        while !rest.is_empty() {
            match part(&mut rest, super::segment::MAX) {
                Ok(segment) => bundle.segments.push(segment),
                Err(error) => return Ok((bundle, Err(error))),
            }
        }
        Ok((bundle, Ok(())))
    }
}

/// Verifies a recording that is in one file.
///
/// # Errors
/// Names the first segment at fault; it is no such file, or its description is damaged.
pub fn verify(bytes: &[u8], audit_key: PublicKey) -> Result<Report, Error> {
    let (Bundle { detail, segments }, end) = Bundle::as_far_as_whole(bytes)?;
    let mut verifier = Verifier::new(&detail, audit_key).map_err(|_| damaged())?;
    for segment in segments {
        verifier.segment(segment)?;
    }
    end.map_err(|error| verifier.at_fault(error))?;
    verifier.finish()
}

#[cfg(test)]
mod tests {
    use model::api::recordings::{RecordingInfo, RecordingState};
    use model::{NodeId, SessionId, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::Sign as _;
    use crate::recording::tests::{audit_key, recording, statements};

    fn detail() -> RecordingDetail {
        RecordingDetail {
            info: RecordingInfo {
                id: SessionId::from_random([1; 16]),
                user: "ann".parse().unwrap(),
                login: "root".parse().unwrap(),
                node: NodeId::from_random([2; 16]),
                node_name: "gpu-1".into(),
                kind: "shell".into(),
                command: String::new(),
                started: Timestamp::from_secs(1),
                ended: None,
                segments: 2,
                bytes: 5,
                state: RecordingState::Live,
                notice: None,
            },
            seal_key: String::new(),
            receipts: Vec::new(),
            closing_signature: String::new(),
        }
    }

    #[test]
    fn a_file_gives_back_what_went_in_and_no_prefix_of_it_panics() {
        let mut file = Vec::new();
        begin(&detail(), &mut file).unwrap();
        append(b"one", &mut file).unwrap();
        append(b"", &mut file).unwrap();
        append(b"three", &mut file).unwrap();

        let bundle = Bundle::parse(&file).unwrap();
        assert_eq!(bundle.segments, [&b"one"[..], b"", b"three"]);
        assert_eq!(bundle.detail.info, detail().info);
        for cut in 0..file.len() {
            drop(Bundle::parse(&file[..cut]));
        }
        assert!(Bundle::parse(b"MGRFILE\x01\xff\xff\xff\xff").is_err());
    }

    /// A whole recording in one file, and where its segments' lengths stand.
    fn file_of(count: u64) -> (Vec<u8>, Vec<usize>) {
        let segments = recording(count);
        let mut file = Vec::new();
        begin(&statements(&segments, RecordingState::Complete), &mut file).unwrap();
        let mut begins = Vec::new();
        for segment in &segments {
            begins.push(file.len());
            append(segment, &mut file).unwrap();
        }
        (file, begins)
    }

    /// What becomes of a file: the segment that is named, or `None` for damage before the first.
    fn named(file: &[u8]) -> Option<u64> {
        match verify(file, audit_key().public()) {
            Ok(report) => panic!("it is called fine: {report:?}"),
            Err(Error::Broken { index, .. }) => Some(index),
            Err(Error::Malformed { .. }) => None,
            Err(other) => panic!("{other}"),
        }
    }

    /// The segment that byte `at` belongs to, its length included.
    fn segment_at(begins: &[usize], at: usize) -> Option<u64> {
        begins.iter().rposition(|begin| *begin <= at).map(|n| n as u64)
    }

    #[test]
    fn a_file_cut_anywhere_names_the_segment_that_is_not_whole() {
        let (file, begins) = file_of(3);

        assert!(verify(&file, audit_key().public()).is_ok());
        for cut in 0..file.len() {
            assert_eq!(named(&file[..cut]), segment_at(&begins, cut), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn a_flipped_bit_names_its_segment_and_before_the_first_never_passes_unseen(
            at in any::<prop::sample::Index>(), bit in 0u8..8, in_length in any::<Option<prop::sample::Index>>()
        ) {
            let (whole, begins) = file_of(3);
            // Half of them in the few bytes that are no segment's own: the lengths.
            let at = match in_length {
                Some(which) => begins[which.index(begins.len())] + at.index(4),
                None => at.index(whole.len()),
            };
            let mut file = whole.clone();
            file[at] ^= 1 << bit;

            match segment_at(&begins, at) {
                Some(n) => prop_assert_eq!(named(&file), Some(n)),
                // A description that reads as before says nothing else: a name in it that held nothing.
                None => match (Bundle::parse(&file), Bundle::parse(&whole)) {
                    (Ok(now), Ok(before)) if same(&now.detail, &before.detail) => {}
                    (_, _) => prop_assert!(verify(&file, audit_key().public()).is_err()),
                },
            }
        }
    }

    fn same(one: &RecordingDetail, other: &RecordingDetail) -> bool {
        serde_json::to_vec(one).unwrap() == serde_json::to_vec(other).unwrap()
    }

    #[test]
    fn what_follows_the_last_segment_and_a_lost_length_are_named() {
        let (file, begins) = file_of(3);
        let last = begins[2];
        let edits = [
            ("bytes behind the end", [&file[..], b"x"].concat(), 3),
            ("a segment doubled", [&file[..], &file[last..]].concat(), 3),
            ("the last length gone", [&file[..last], &file[last + 4..]].concat(), 2),
            ("two segments swapped", [&file[..begins[1]], &file[last..], &file[begins[1]..last]].concat(), 1),
            ("one dropped", [&file[..begins[1]], &file[last..]].concat(), 1),
        ];
        for (what, file, wanted) in edits {
            assert_eq!(named(&file), Some(wanted), "{what}");
        }
    }
}
