//! What some events carry beside plain fields, and codes that depend on more than success.

use serde::Serialize;

use super::kinds::{Port, RoleNotice, RoleRecorded, ScpDownload, ScpUpload, Sftp};

/// The device somebody proved themself with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MfaDevice {
    /// What it is called.
    pub mfa_device_name: String,
    /// Its id.
    pub mfa_device_uuid: String,
    /// `WebAuthn`.
    pub mfa_device_type: String,
}

/// Bytes and SHA-256 of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamTotal {
    /// How many bytes.
    pub bytes: u64,
    /// Hex SHA-256.
    pub sha256: String,
}

/// One file an sftp session touched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SftpFile {
    /// Its path.
    pub path: String,
    /// Bytes read from it.
    pub read: u64,
    /// Bytes written to it.
    pub written: u64,
    /// Hex SHA-256 of what was read, when it was read in order from the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_sha256: Option<String>,
    /// Hex SHA-256 of what was written, when it was written in order from the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_sha256: Option<String>,
}

/// What an sftp request does; the order is that of the codes TS001 to TS019.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the protocol's own words")]
pub enum SftpAction {
    #[default]
    Open,
    Close,
    Read,
    Write,
    Lstat,
    Fstat,
    Setstat,
    Fsetstat,
    Opendir,
    Readdir,
    Remove,
    Mkdir,
    Rmdir,
    Realpath,
    Stat,
    Rename,
    Readlink,
    Symlink,
    Link,
    /// Anything, refused by policy: TS020E.
    Disallowed,
}

impl Port {
    pub(super) fn port_code(&self) -> &'static str {
        match (self.stopped, self.status.success) {
            (true, _) => "T3003S",
            (false, true) => "T3003I",
            (false, false) => "T3003E",
        }
    }
}

impl RoleRecorded {
    pub(super) fn mode_code(&self) -> &'static str {
        if self.after == "off" { "MGP002W" } else { "MGP002I" }
    }
}
impl RoleNotice {
    pub(super) fn notice_code(&self) -> &'static str {
        if self.after == "silent" { "MGP001W" } else { "MGP001I" }
    }
}

impl ScpDownload {
    pub(super) fn scp_download_code(&self) -> &'static str {
        if self.status.success { "T3004I" } else { "T3004E" }
    }
}

impl ScpUpload {
    pub(super) fn scp_upload_code(&self) -> &'static str {
        if self.status.success { "T3005I" } else { "T3005E" }
    }
}

impl Sftp {
    pub(super) fn sftp_code(&self) -> &'static str {
        let (good, bad) = match self.action {
            SftpAction::Open => ("TS001I", "TS001E"),
            SftpAction::Close => ("TS002I", "TS002E"),
            SftpAction::Read => ("TS003I", "TS003E"),
            SftpAction::Write => ("TS004I", "TS004E"),
            SftpAction::Lstat => ("TS005I", "TS005E"),
            SftpAction::Fstat => ("TS006I", "TS006E"),
            SftpAction::Setstat => ("TS007I", "TS007E"),
            SftpAction::Fsetstat => ("TS008I", "TS008E"),
            SftpAction::Opendir => ("TS009I", "TS009E"),
            SftpAction::Readdir => ("TS010I", "TS010E"),
            SftpAction::Remove => ("TS011I", "TS011E"),
            SftpAction::Mkdir => ("TS012I", "TS012E"),
            SftpAction::Rmdir => ("TS013I", "TS013E"),
            SftpAction::Realpath => ("TS014I", "TS014E"),
            SftpAction::Stat => ("TS015I", "TS015E"),
            SftpAction::Rename => ("TS016I", "TS016E"),
            SftpAction::Readlink => ("TS017I", "TS017E"),
            SftpAction::Symlink => ("TS018I", "TS018E"),
            SftpAction::Link => ("TS019I", "TS019E"),
            SftpAction::Disallowed => ("TS020E", "TS020E"),
        };
        if self.status.success { good } else { bad }
    }
}
