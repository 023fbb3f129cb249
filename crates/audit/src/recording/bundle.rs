//! A recording in one file: what the authority says of it, then its segments as sealed.
//!
//! Layout (docs/formats/recording-file.md): magic, `u32` length and JSON of [`RecordingDetail`], then for each segment
//! `u32` length and its bytes; all big-endian. Bounded by [`MAX_DETAIL`] and [`segment::MAX`](super::segment::MAX).

use model::api::recordings::RecordingDetail;

use crate::Error;

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

impl<'a> Bundle<'a> {
    /// Parses a whole file. A file cut inside its last segment gives an error; verification names what is missing
    /// when it is cut between two.
    ///
    /// # Errors
    /// It is no such file.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut rest =
            bytes.strip_prefix(MAGIC).ok_or_else(|| Error::malformed(WHAT, "it begins with other bytes"))?;
        let json = part(&mut rest, MAX_DETAIL)?;
        let detail = serde_json::from_slice(json)
            .map_err(|_| Error::malformed(WHAT, "the description does not parse"))?;
        let mut segments = Vec::new();
        while !rest.is_empty() {
            segments.push(part(&mut rest, super::segment::MAX)?);
        }
        Ok(Self { detail, segments })
    }
}

#[cfg(test)]
mod tests {
    use model::api::recordings::{RecordingInfo, RecordingState};
    use model::{NodeId, SessionId, Timestamp};

    use super::*;

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
}
