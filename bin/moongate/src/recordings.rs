//! Recordings as commands need them: fetched whole or read from a file, verified, walked.

use std::borrow::Cow;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use audit::key::PublicKey;
use audit::recording::bundle::{self, Bundle};
use audit::recording::frame::TimedFrame;
use audit::recording::segment::Segment;
use audit::recording::verify::{Report, Verifier};
use client::Client;
use model::SessionId;
use model::api::cluster::GetTrust;
use model::api::recordings::{GetRecording, RecordingDetail, RecordingState};

/// A recording that can be walked: from the gate, or from a file.
pub(crate) enum Source {
    /// Segments are fetched as they are needed.
    Gate {
        /// Who has it.
        client: Client,
        /// What the authority says of it.
        detail: Box<RecordingDetail>,
    },
    /// The file's bytes.
    File {
        /// The whole file.
        bytes: Vec<u8>,
        /// What it says of itself.
        detail: Box<RecordingDetail>,
    },
}

/// The segments of a recording that are still to come.
pub(crate) enum Walk<'s> {
    /// From the gate.
    Gate {
        /// Who has them.
        client: &'s Client,
        /// How many there are.
        detail: &'s RecordingDetail,
        /// The next one.
        at: usize,
    },
    /// Out of a file.
    File(std::vec::IntoIter<&'s [u8]>),
}

impl<'s> Walk<'s> {
    /// The next segment's bytes.
    ///
    /// # Errors
    /// It cannot be had.
    pub(crate) async fn next(&mut self) -> Result<Option<Cow<'s, [u8]>>> {
        match self {
            Walk::Gate { client, detail, at } => {
                let n = *at;
                if n >= detail.receipts.len() {
                    return Ok(None);
                }
                *at += 1;
                let id = &detail.info.id;
                let bytes = client.get_segment(id, n as u64).await;
                let bytes = bytes.with_context(|| format!("cannot fetch segment {n} of {id}"))?;
                Ok(Some(Cow::Owned(bytes.to_vec())))
            }
            Walk::File(rest) => Ok(rest.next().map(Cow::Borrowed)),
        }
    }
}

impl Source {
    /// Opens `what`: a session id asks the gate, anything else is a file.
    ///
    /// # Errors
    /// There is no such recording or file, or it is none.
    pub(crate) async fn open(client: Option<Client>, what: &str) -> Result<Self> {
        match (what.parse::<SessionId>(), client) {
            (Ok(id), Some(client)) => {
                let detail = client
                    .call(&GetRecording { id })
                    .await
                    .with_context(|| format!("cannot read recording {what}"))?;
                Ok(Self::Gate { client, detail: Box::new(detail) })
            }
            (Ok(_), None) => {
                anyhow::bail!("{what} is a session id, but there is no gate to ask: log in first")
            }
            (Err(_), _) => {
                let bytes = std::fs::read(Path::new(what)).with_context(|| {
                    format!("`{what}` is neither a session id nor a file that can be read")
                })?;
                // What is broken further on is named by whoever verifies it, and refused by whoever walks it.
                let (bundle, _) =
                    Bundle::as_far_as_whole(&bytes).with_context(|| format!("cannot read {what}"))?;
                let detail = Box::new(bundle.detail);
                Ok(Self::File { bytes, detail })
            }
        }
    }

    /// What the authority says of it.
    pub(crate) fn detail(&self) -> &RecordingDetail {
        match self {
            Source::Gate { detail, .. } | Source::File { detail, .. } => detail,
        }
    }

    /// Calls `f` with each segment's bytes, in order; one segment is in memory at a time (for a file, the file).
    ///
    /// # Errors
    /// A segment cannot be had, or `f` says so.
    pub(crate) async fn each_segment(&self, mut f: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut walk = self.walk()?;
        while let Some(bytes) = walk.next().await? {
            f(&bytes)?;
        }
        Ok(())
    }

    /// Its segments, to be taken one at a time.
    ///
    /// # Errors
    /// The file is cut or damaged.
    pub(crate) fn walk(&self) -> Result<Walk<'_>> {
        Ok(match self {
            Source::Gate { client, detail } => Walk::Gate { client, detail, at: 0 },
            Source::File { bytes, .. } => {
                let bundle = Bundle::parse(bytes).context(
                    "the file is cut or damaged: `mctl recordings verify` names the first bad segment",
                )?;
                Walk::File(bundle.segments.into_iter())
            }
        })
    }

    /// Calls `f` with each frame not before `from`.
    ///
    /// # Errors
    /// A segment cannot be had or does not parse, or `f` says so.
    pub(crate) async fn each_frame(
        &self,
        from: Duration,
        mut f: impl FnMut(TimedFrame<'_>) -> Result<()>,
    ) -> Result<()> {
        self.each_segment(|bytes| {
            let segment = Segment::parse(bytes)?;
            if segment.header().until < from {
                return Ok(());
            }
            let mut stopped = None;
            let walked = segment.each(from, |frame| {
                f(frame).map_err(|error| {
                    stopped = Some(error);
                    audit::Error::Malformed { what: "frame", why: "the reader stopped" }
                })
            });
            match stopped {
                Some(error) => Err(error),
                None => Ok(walked?),
            }
        })
        .await
    }

    /// Verifies it against the cluster's audit key.
    ///
    /// # Errors
    /// Names the first segment at fault.
    pub(crate) async fn verify(&self, audit_key: PublicKey) -> Result<Report> {
        if let Source::File { bytes, .. } = self {
            return Ok(bundle::verify(bytes, audit_key)?);
        }
        let mut verifier = Verifier::new(self.detail(), audit_key)?;
        self.each_segment(|bytes| Ok(verifier.segment(bytes)?)).await?;
        Ok(verifier.finish()?)
    }

    /// Writes it with its proofs into one file; what was there before stays until all of it is there.
    ///
    /// # Errors
    /// A segment cannot be had, or the disk refused.
    pub(crate) async fn save(&self, path: &Path) -> Result<()> {
        if path.exists() && !path.is_file() {
            return self.write(path).await;
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = Path::new(&part);
        let saved = self.write(part).await.and_then(|()| {
            std::fs::rename(part, path).with_context(|| format!("cannot write {}", path.display()))
        });
        if saved.is_err() {
            drop(std::fs::remove_file(part));
        }
        saved
    }

    async fn write(&self, path: &Path) -> Result<()> {
        let context = || format!("cannot write {}", path.display());
        // What was on a screen is for the eyes of whoever fetched it.
        let mut options = std::fs::File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(path).with_context(context)?;
        let mut head = Vec::new();
        bundle::begin(self.detail(), &mut head)?;
        file.write_all(&head).with_context(context)?;
        self.each_segment(|bytes| {
            let mut part = Vec::with_capacity(bytes.len() + 4);
            bundle::append(bytes, &mut part)?;
            Ok(file.write_all(&part)?)
        })
        .await?;
        if path.is_file() {
            file.sync_all().with_context(context)?;
        }
        Ok(())
    }
}

/// The cluster's audit key: the one given, or what the gate says.
///
/// # Errors
/// It is no key, or there is no gate to ask.
pub(crate) async fn audit_key(given: Option<&str>, client: Option<&Client>) -> Result<PublicKey> {
    let text = match (given, client) {
        (Some(text), _) => text.to_owned(),
        (None, Some(client)) => {
            client.call(&GetTrust {}).await.context("cannot ask for the audit key")?.audit_key
        }
        (None, None) => anyhow::bail!("give the cluster's audit public key with --key (see `mctl status`)"),
    };
    text.parse().with_context(|| format!("`{text}` is not an audit public key (32 bytes, base64)"))
}

/// What a report says, for people.
pub(crate) fn verdict(id: &SessionId, report: &Report) -> String {
    let state = match report.state {
        RecordingState::Complete => "complete",
        RecordingState::Abandoned => "abandoned: its node went away, what had arrived is proven",
        RecordingState::Live => "live: what is there is proven, where it ends is not",
    };
    let recovered = if report.interrupted { "; part of it was recovered after a crash" } else { "" };
    let (segments, frames) =
        (crate::show::many(report.segments, "segment"), crate::show::many(report.frames, "frame"));
    format!("{id}: verified, {segments}, {frames}, {state}{recovered}\n")
}
