//! Paths about files, below `/webapi/files/`.

use http::Method;

/// The longest id or ticket.
const MAX_ID: usize = 64;

/// What a request about files is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileRoute {
    /// What is in a directory.
    List,
    /// Makes a directory, renames, removes.
    Change,
    /// Begins an upload, or goes on with one.
    Start,
    /// The next piece of an upload.
    Piece { upload: String, offset: u64 },
    /// How far an upload is.
    State { upload: String },
    /// Gives an upload its name.
    Finish { upload: String },
    /// Gives an upload up.
    Cancel { upload: String },
    /// A ticket for a download.
    Ticket,
    /// The download itself.
    Download { ticket: String },
    /// How far downloads are.
    Downloads,
    /// Ends a download.
    Stop { download: String },
}

impl FileRoute {
    /// Reads method and what follows `/webapi/files/`.
    pub(crate) fn parse(method: &Method, rest: &str) -> Option<Self> {
        let parts: Vec<&str> = rest.split('/').collect();
        let id = |text: &str| is_id(text).then(|| text.to_owned());
        Some(match (method.as_str(), parts.as_slice()) {
            ("POST", ["list"]) => Self::List,
            ("POST", ["change"]) => Self::Change,
            ("POST", ["uploads"]) => Self::Start,
            ("PUT", ["uploads", upload, offset]) => {
                Self::Piece { upload: id(upload)?, offset: number(offset)? }
            }
            ("GET", ["uploads", upload]) => Self::State { upload: id(upload)? },
            ("POST", ["uploads", upload, "finish"]) => Self::Finish { upload: id(upload)? },
            ("DELETE", ["uploads", upload]) => Self::Cancel { upload: id(upload)? },
            ("POST", ["tickets"]) => Self::Ticket,
            ("GET", ["downloads"]) => Self::Downloads,
            ("GET", ["downloads", ticket]) => Self::Download { ticket: id(ticket)? },
            ("DELETE", ["downloads", download]) => Self::Stop { download: id(download)? },
            _ => return None,
        })
    }

    /// It is part of an upload that has begun: it goes on while the browser is locked. A download is one answer.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self, Self::Piece { .. } | Self::State { .. } | Self::Finish { .. })
    }

    /// It changes nothing. A download does not: it was asked for with its ticket.
    pub(crate) fn reads(&self) -> bool {
        matches!(self, Self::State { .. } | Self::Downloads | Self::Download { .. })
    }
}

fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A number in its one form.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_strictly() {
        let upload = || "ab12".to_owned();
        for (method, path, wanted) in [
            (Method::POST, "list", Some(FileRoute::List)),
            (Method::GET, "list", None),
            (Method::PUT, "uploads/ab12/0", Some(FileRoute::Piece { upload: upload(), offset: 0 })),
            (Method::PUT, "uploads/ab12/+1", None),
            (Method::PUT, "uploads/ab12/01", None),
            (Method::PUT, "uploads/../0", None),
            (Method::POST, "uploads/ab12/finish", Some(FileRoute::Finish { upload: upload() })),
            (Method::DELETE, "uploads/ab12", Some(FileRoute::Cancel { upload: upload() })),
            (Method::GET, "downloads/ab12", Some(FileRoute::Download { ticket: upload() })),
            (Method::GET, "downloads/", None),
            (Method::GET, "", None),
        ] {
            assert_eq!(FileRoute::parse(&method, path), wanted, "{method} {path}");
        }
    }
}
