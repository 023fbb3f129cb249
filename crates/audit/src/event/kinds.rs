//! Every kind of event as a type, its [`Event`] and its row of [`KINDS`], made by the macro of `declare`.

use std::collections::BTreeMap;

use model::Timestamp;
use serde::Serialize;

use super::declare::{code, codes, events};
pub use super::details::{MfaDevice, SftpAction, SftpFile, StreamTotal};
use super::group::{Connection, Resource, Server, SessionRef, Status, Who};
use super::registry::own;
use super::{Event, Kind};

events! {
    /// Somebody signed in, or tried to.
    UserLogin "user.login" (ok "T1000I" or "T1000W") needs ["user", "success", "method", "addr.remote"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] status: Status,
        #[serde(flatten)] connection: Connection,
        /// `local`, later `oidc` …
        method: String,
        /// The browser or client, as it says.
        user_agent: Option<String>,
        /// The passkey used, where one was.
        mfa_device: Option<MfaDevice>,
    }
    /// A user was made.
    UserCreate "user.create" ("T1002I") needs ["name", "user", "roles"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] resource: Resource,
        /// Roles given.
        roles: Vec<String>,
        /// `local`.
        connector: String,
    }
    /// A user was changed.
    UserUpdate "user.update" ("T1003I") needs ["name", "user", "roles"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] resource: Resource,
        /// Roles held now.
        roles: Vec<String>,
        /// `local`.
        connector: String,
    }
    /// A user was removed.
    UserDelete "user.delete" ("T1004I") needs ["name", "user"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] resource: Resource,
    }
    /// A user set a password.
    PasswordChange "user.password_change" ("T1005I") needs ["user"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] connection: Connection,
    }
    /// A second factor was added.
    MfaAdd "mfa.add" ("T1006I") needs ["user", "mfa_device_name"] {
        #[serde(flatten)] who: Who,
        /// What it is called.
        mfa_device_name: String,
        /// `TOTP` or `WebAuthn`.
        mfa_device_type: String,
    }
    /// A second factor was removed.
    MfaDelete "mfa.delete" ("T1007I") needs ["user", "mfa_device_name"] {
        #[serde(flatten)] who: Who,
        /// What it was called.
        mfa_device_name: String,
        /// `TOTP` or `WebAuthn`.
        mfa_device_type: String,
    }
    /// An invite or reset link was made.
    ResetTokenCreate "reset_password_token.create" ("T6000I") needs ["user", "name"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] resource: Resource,
        /// How long it is good, as `1h0m0s`.
        ttl: Option<String>,
    }
    /// A session was refused because of a limit.
    SessionRejected "session.rejected" ("T1006W") needs ["user", "reason", "server_id"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] connection: Connection,
        /// Which limit.
        reason: String,
        /// Its value.
        max: Option<u64>,
    }
    /// A session began.
    SessionStart "session.start" ("T2000I") needs ["user", "login", "sid", "server_id", "addr.remote"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] connection: Connection,
        #[serde(flatten)] session: SessionRef,
        /// The local account.
        login: String,
        /// The terminal's size as `columns:rows`.
        size: Option<String>,
        /// The command, word by word; empty for a shell.
        initial_command: Vec<String>,
        /// Has a terminal.
        interactive: bool,
        /// The revision of the rules that allowed it.
        policy_revision: Option<u64>,
        /// The roles that allowed it.
        roles: Vec<String>,
        /// What the person was told of being recorded: `silent`, `banner` or `consent`.
        notice: Option<String>,
    }
    /// Somebody joined a session.
    SessionJoin "session.join" ("T2001I") needs ["user", "sid", "server_id"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] connection: Connection,
        #[serde(flatten)] session: SessionRef,
        /// `peer`, `observer`, `moderator`.
        mode: Option<String>,
    }
    /// A terminal was resized.
    SessionResize "resize" ("T2002I") needs ["user", "sid", "size"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] session: SessionRef,
        /// Its new size as `columns:rows`.
        size: String,
    }
    /// Somebody left a session.
    SessionLeave "session.leave" ("T2003I") needs ["user", "sid", "server_id"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] session: SessionRef,
    }
    /// A session ended.
    SessionEnd "session.end" ("T2004I") needs ["user", "sid", "session_start", "session_stop", "participants"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] connection: Connection,
        #[serde(flatten)] session: SessionRef,
        /// When it began.
        session_start: Timestamp,
        /// When it ended.
        session_stop: Timestamp,
        /// Had a terminal.
        interactive: bool,
        /// Processes and files were watched too: not in this build.
        enhanced_recording: bool,
        /// Everyone who was in it.
        participants: Vec<String>,
        /// Why it ended.
        reason: Option<String>,
        /// The command; empty for a shell.
        initial_command: Vec<String>,
    }
    /// A recording was received whole.
    SessionUpload "session.upload" ("T2005I") needs ["sid", "segments"] {
        #[serde(flatten)] session: SessionRef,
        #[serde(flatten)] server: Server,
        /// How many segments.
        segments: u64,
        /// How many bytes.
        bytes: u64,
        /// Hash of the last segment.
        hash: String,
        /// `complete` or `abandoned`.
        state: String,
    }
    /// How much a session moved.
    SessionData "session.data" ("T2006I") needs ["user", "sid", "tx", "rx"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] connection: Connection,
        #[serde(flatten)] session: SessionRef,
        /// Bytes to the person.
        tx: u64,
        /// Bytes from the person.
        rx: u64,
    }
    /// Somebody connected to a host.
    SessionConnect "session.connect" ("T2010I") needs ["user", "server_id", "addr.remote"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] connection: Connection,
    }
    /// Somebody looked at a recording.
    RecordingAccess "session.recording.access" ("T2012I") needs ["user", "sid", "action"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] session: SessionRef,
        /// `view`, `export` or `verify`.
        action: String,
        /// `shell` or `exec`.
        session_type: Option<String>,
    }
    /// A subsystem was asked for.
    Subsystem "subsystem" (ok "T3001I" or "T3001E") needs ["user", "name", "server_id"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] connection: Connection,
        #[serde(flatten)] session: SessionRef,
        #[serde(flatten)] status: Status,
        /// Which.
        name: String,
    }
    /// A command ran.
    Exec "exec" (ok "T3002I" or "T3002E") needs ["user", "login", "command", "server_id", "sid"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] connection: Connection,
        #[serde(flatten)] session: SessionRef,
        #[serde(flatten)] status: Status,
        /// The local account.
        login: String,
        /// The command.
        command: String,
        /// Its exit status.
        #[serde(rename = "exitCode")] exit_code: Option<String>,
        /// Why it could not run, or the signal that ended it.
        #[serde(rename = "exitError")] exit_error: Option<String>,
        /// Bytes and SHA-256 of each stream: `stdin`, `stdout`, `stderr`.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")] streams: BTreeMap<String, StreamTotal>,
    }
    /// A port was forwarded, or the forward stopped or failed.
    Port "port" (by port_code ["T3003I", "T3003S", "T3003E"]) needs ["user", "addr", "server_id"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] connection: Connection,
        #[serde(flatten)] session: SessionRef,
        #[serde(flatten)] status: Status,
        /// `host:port` or a socket's path.
        addr: String,
        /// `local`, `remote` or `socket`.
        direction: String,
        /// The forward that had begun has stopped.
        #[serde(skip)] stopped: bool,
    }
    /// A file was fetched by scp.
    ScpDownload "scp" (by scp_download_code ["T3004I", "T3004E"]) needs ["user", "action", "path"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] session: SessionRef,
        #[serde(flatten)] status: Status,
        /// `download`.
        action: String,
        /// The path.
        path: String,
    }
    /// A file was sent by scp.
    ScpUpload "scp" (by scp_upload_code ["T3005I", "T3005E"]) needs ["user", "action", "path"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] session: SessionRef,
        #[serde(flatten)] status: Status,
        /// `upload`.
        action: String,
        /// The path.
        path: String,
    }
    /// A file copy by scp was not allowed.
    ScpDisallowed "scp" ("T3010E") needs ["user", "success"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] session: SessionRef,
        #[serde(flatten)] status: Status,
    }
    /// A client was disconnected.
    ClientDisconnect "client.disconnect" ("T3006I") needs ["user", "reason"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] connection: Connection,
        #[serde(flatten)] session: SessionRef,
        /// Why.
        reason: String,
    }
    /// A host refused a login.
    AuthFailure "auth" ("T3007W") needs ["user", "success", "error", "addr.remote"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] connection: Connection,
        /// Always false.
        success: bool,
        /// Why.
        error: String,
    }
    /// X11 was forwarded, or refused.
    X11Forward "x11-forward" (ok "T3008I" or "T3008W") needs ["user", "success"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] connection: Connection,
        #[serde(flatten)] session: SessionRef,
        #[serde(flatten)] status: Status,
    }
    /// A file operation over sftp.
    Sftp "sftp" (by sftp_code [
        "TS001I", "TS001E", "TS002I", "TS002E", "TS003I", "TS003E", "TS004I", "TS004E", "TS005I", "TS005E",
        "TS006I", "TS006E", "TS007I", "TS007E", "TS008I", "TS008E", "TS009I", "TS009E", "TS010I", "TS010E",
        "TS011I", "TS011E", "TS012I", "TS012E", "TS013I", "TS013E", "TS014I", "TS014E", "TS015I", "TS015E",
        "TS016I", "TS016E", "TS017I", "TS017E", "TS018I", "TS018E", "TS019I", "TS019E", "TS020E"
    ]) needs ["user", "action", "path", "sid"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] session: SessionRef,
        #[serde(flatten)] status: Status,
        /// What was done.
        action: SftpAction,
        /// To what.
        path: String,
        /// The new path of a rename, the target of a link.
        target_path: Option<String>,
        /// Where relative paths begin.
        working_directory: Option<String>,
        /// Open flags as sent.
        flags: Option<u32>,
    }
    /// What an sftp session moved, at its end.
    SftpSummary "sftp_summary" ("TS021I") needs ["user", "sid", "files"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] session: SessionRef,
        /// For each file: path, bytes read and written.
        files: Vec<SftpFile>,
    }
    /// A role was made.
    RoleCreated "role.created" ("T9000I") needs ["user", "name"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] resource: Resource,
    }
    /// A role was changed.
    RoleUpdated "role.updated" ("T9002I") needs ["user", "name"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] resource: Resource,
    }
    /// A role was removed.
    RoleDeleted "role.deleted" ("T9001I") needs ["user", "name"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] resource: Resource,
    }
    /// A join token was made.
    TokenCreate "join_token.create" ("TJT00I") needs ["user", "name", "roles"] {
        #[serde(flatten)] who: Who,
        /// Its id: never its value.
        #[serde(flatten)] resource: Resource,
        /// What may join with it.
        roles: Vec<String>,
        /// `token`.
        join_method: String,
    }
    /// A lock was made.
    LockCreated "lock.created" ("TLK00I") needs ["user", "name", "target"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] resource: Resource,
        /// Who or what it stops.
        target: BTreeMap<String, String>,
    }
    /// A lock was removed.
    LockDeleted "lock.deleted" ("TLK01I") needs ["user", "name"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] resource: Resource,
    }
    /// A certificate was issued.
    CertCreate "cert.create" ("TC000I") needs ["cert_type", "identity"] {
        #[serde(flatten)] who: Who,
        /// `user` or `host`.
        cert_type: String,
        /// What the certificate says.
        identity: BTreeMap<String, serde_json::Value>,
    }
    /// A host joined, or tried to.
    InstanceJoin "instance.join" (ok "TJ002I" or "TJ002E") needs ["host_id", "method", "role", "success"] {
        #[serde(flatten)] status: Status,
        #[serde(flatten)] connection: Connection,
        /// The host's id.
        host_id: String,
        /// The name it gave.
        node_name: String,
        /// `token`.
        method: String,
        /// The token's id: never its value.
        token_name: String,
        /// What it asked to be.
        role: String,
    }
    /// A recording has a gap: frames could not be kept and the session went on.
    RecordingGap "session.recording.gap" ("MGR001W") needs ["sid", "server_id", "reason", "frames", "bytes"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] session: SessionRef,
        /// `overrun`, `disk` or `crash`.
        reason: String,
        /// Frames missing.
        frames: u64,
        /// Bytes missing.
        bytes: u64,
    }
    /// A recording was completed with what had arrived, because its host stayed away.
    RecordingAbandoned "session.recording.abandoned" ("MGR002W") needs ["sid", "server_id", "segments"] {
        #[serde(flatten)] server: Server,
        #[serde(flatten)] session: SessionRef,
        /// Segments that had arrived.
        segments: u64,
    }
    /// A host found a recording left over from a crash, sealed it and is sending it.
    RecordingRecovered "session.recording.recovered" ("MGR003W") needs ["sid", "server_id"] {
        #[serde(flatten)] server: Server,
        #[serde(flatten)] session: SessionRef,
        /// Frames found beyond the last sealed segment.
        frames: u64,
        /// Bytes of a torn write that were left out.
        torn: u64,
    }
    /// An admin ended somebody's session.
    SessionTerminate "session.terminate" ("MGS001I") needs ["user", "sid"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] session: SessionRef,
        /// Why.
        reason: Option<String>,
    }
    /// Somebody was asked to agree to being recorded, and answered.
    SessionConsent "session.consent" (ok "MGS002I" or "MGS002W") needs ["user", "sid", "server_id", "success", "how"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] server: Server,
        #[serde(flatten)] connection: Connection,
        #[serde(flatten)] session: SessionRef,
        #[serde(flatten)] status: Status,
        /// `terminal` when they were asked there, `client` when their client or page said so beforehand.
        how: String,
    }
    /// What a role tells people of being recorded was changed.
    RoleNotice "role.notice" (by notice_code ["MGP001I", "MGP001W"]) needs ["user", "name", "before", "after"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] resource: Resource,
        /// `silent`, `banner` or `consent`; empty when the role is new.
        before: String,
        /// `silent`, `banner` or `consent`. To `silent` is a warning.
        after: String,
    }
    /// What a role says of whether sessions are recorded was changed.
    RoleRecorded "role.recording" (by mode_code ["MGP002I", "MGP002W"]) needs ["user", "name", "before", "after"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] resource: Resource,
        /// `node`, `node-sync` or `off`; empty when the role said nothing and the cluster's mode held.
        before: String,
        /// The same afterwards. To `off` is a warning.
        after: String,
    }
    /// A user was locked out by wrong tries.
    UserLockout "user.lockout" ("MGU001W") needs ["user", "expires"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] connection: Connection,
        /// Until when.
        expires: Timestamp,
    }
    /// Somebody unlocked their browser, or tried to.
    UserUnlock "user.unlock" (ok "MGU002I" or "MGU002W") needs ["user", "success", "addr.remote"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] status: Status,
        #[serde(flatten)] connection: Connection,
        /// The passkey used, where one was.
        mfa_device: Option<MfaDevice>,
    }
    /// A join token was removed.
    TokenDelete "join_token.delete" ("MGT001I") needs ["user", "name"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] resource: Resource,
    }
    /// A host was forgotten.
    NodeDelete "node.delete" ("MGN001I") needs ["user", "name"] {
        #[serde(flatten)] who: Who,
        #[serde(flatten)] resource: Resource,
    }
    /// Somebody searched, followed or exported the audit log.
    AuditAccess "audit.access" ("MGA001I") needs ["user", "action"] {
        #[serde(flatten)] who: Who,
        /// `search`, `tail` or `export`.
        action: String,
        /// What was asked for, in words.
        query: Option<String>,
    }
}
