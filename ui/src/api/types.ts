// Written by `npm run gen` from docs/reference/openapi.json: change that, not this.

/** An event as flat JSON: `event`, `code`, `time`, `uid` and the fields of its family. */ 
export type AuditEvent = Record<string, unknown>;

/** One key of an authority: public halves only. An authority may have several; all that are listed are trusted. */ 
export type CaKey = {
  /** New certificates are signed with this key. */ "active": boolean;
  /** What it signs. */ "kind": CaKind;
  /** The SSH public key in OpenSSH's one-line form, without comment. */ "ssh": string;
  /** The X.509 certificate as PEM. */ "x509_pem": string;
};

/** What a certificate authority signs. */ 
export type CaKind = "host" | "user";

/** One link of the chain as kept: what a verifier needs. */ 
export type ChainedEvent = {
  /** The event, byte for byte as hashed. */ "event": string;
  /** Hex SHA-256 of this link. */ "hash": string;
  /** Its index, from 0. */ "index": number;
  /** Hex SHA-256 of the link before it. */ "prev": string;
};

/** A signed statement that the chain had reached a hash at an index. */ 
export type Checkpoint = {
  /** Its hash, hex. */ "hash": string;
  /** Index of the last link covered. */ "index": number;
  /** Ed25519 signature, base64, over the canonical text of the above (see docs/formats/audit-log.md). */ "signature": string;
  /** When it was signed. */ "time": Timestamp;
};

/** Settings of the whole cluster that agents obey. */ 
export type ClusterConfig = {
  /** End a session that has been quiet this long; `None` never. */ "client_idle_timeout"?: Span | null;
  /** What is said when a session ends for that; empty for the usual words. */ "client_idle_timeout_message"?: string;
  /** End sessions when the certificate expires. */ "disconnect_expired_cert"?: boolean;
  /** How many probes may go unanswered. */ "keep_alive_count_max": number;
  /** How often an idle connection is probed. */ "keep_alive_interval": Span;
  /** What a proxy does when several nodes have the name it is asked for. */ "routing_strategy"?: RoutingStrategy;
  /** Where sessions are recorded. */ "session_recording": RecordingMode;
  /** How long a proxy waits for the first word of a node. */ "ssh_dial_timeout"?: Span;
  /** Sign browsers out whose person did nothing for this long; `None` never. */ "web_idle_timeout"?: Span | null;
  /** Lock browsers whose person did nothing for this long, until they prove who they are; `None` never. */ "web_lock_timeout"?: Span | null;
};

/** What a cluster says of itself. */ 
export type ClusterInfo = {
  /** `sha256:<hex>` of each trusted host CA's public key info. */ "ca_pins": (string)[];
  /** The authority's protocol level. */ "level": Level;
  /** What people read before they sign in; empty for nothing. */ "message_of_the_day"?: string;
  /** Its name. */ "name": ClusterName;
  /** Where agents find each proxy. */ "proxies"?: (ProxyPlace)[];
  /** Public addresses of the proxies, `host:port`. */ "proxy_addrs": (string)[];
  /** How people sign in; absent where the authority is older than this. */ "sign_in"?: SignInTerms | null;
  /** The authority's version. */ "version": string;
};

/** The cluster's name, part of every certificate; changing it orphans them all. */ 
export type ClusterName = string;

/** One side (allow or deny) of a role. */ 
export type Conditions = {
  /** Local accounts. Templates such as `{{internal.logins}}` take the user's traits. */ "logins"?: (string)[];
  /** Which nodes. */ "node_labels"?: Record<string, OneOrMany>;
  /** Rules about the control plane. */ "rules"?: (Rule)[];
};

/** Something one proves oneself with. */ 
export type Device = {
  /** Since when it is there, where that is known. */ "added"?: Timestamp | null;
  /** Its id. */ "id": string;
  /** What kind it is. */ "kind": DeviceKind;
  /** What it is called. */ "name": string;
  /** When it was last used. */ "used"?: Timestamp | null;
};

/** What kind of device it is. */ 
export type DeviceKind = "totp" | "passkey";

/** Ends a live session. */ 
export type EndSession = {
  /** The session. */ "id": SessionId;
  /** Why; goes into the audit log. */ "reason"?: string;
};

/** The body of every answer that is not 2xx. */ 
export type ErrorBody = {
  /** Whose fault. */ "fault": Fault;
  /** What failed, why, and what to do. */ "message": string;
  /** Until when it will go on failing, where that is known. */ "until"?: Timestamp | null;
};

/** What an error says on the wire. Forbidden and unknown are both `not_found`. */ 
export type Fault = "bad_request" | "unauthenticated" | "not_found" | "conflict" | "too_many" | "too_large" | "internal" | "unavailable";

/** Health of one background job. */ 
export type JobStatus = {
  /** What went wrong last, if the last run failed. */ "last_error"?: string | null;
  /** When it last ran, RFC 3339. */ "last_run"?: Timestamp | null;
  /** Its name. */ "name": string;
};

/** The peer protocol level of this build. | level | since | meaning | |---|---|---| | 1 | 0.1.0 | first level: mux v1, recording v1, API v1 | */ 
export type Level = number;

/** A session going on now. */ 
export type LiveSession = {
  /** The client's address. */ "client_addr"?: string;
  /** The command, empty for a shell. */ "command"?: string;
  /** Its id. */ "id": SessionId;
  /** Has a terminal. */ "interactive": boolean;
  /** As which local account. */ "login": Login;
  /** Where. */ "node": NodeId;
  /** Its name. */ "node_name": NodeName;
  /** Since when. */ "started": Timestamp;
  /** Who. */ "user": UserName;
};

/** Whether a node can be reached, judged by its tunnel. */ 
export type Liveness = "online" | "offline";

/** Stops whoever it names, at once and until it expires: no new certificate, no new session, live ones end. */ 
export type Lock = {
  /** When it was made. */ "created_at": Timestamp;
  /** Who made it. */ "created_by": string;
  /** When it ends; `None` until removed. */ "expires"?: Timestamp | null;
  /** Its id. */ "id": RequestId;
  /** Shown to admins; shown to the person only if policy says so. */ "message"?: string;
  /** Who or what. */ "target": LockTarget;
};

/** Who or what a lock stops. Every field given must match. */ 
export type LockTarget = {
  /** A local account on any target. */ "login"?: Login | null;
  /** A node. */ "node"?: NodeId | null;
  /** Everyone holding a role. */ "role"?: RoleName | null;
  /** A user. */ "user"?: UserName | null;
};

/** A local account on a target host: a certificate principal. */ 
export type Login = string;

/** A moment worth finding again. */ 
export type Mark = {
  /** Microseconds since the recording began. */ "at": number;
  /** What it is of. */ "kind": MarkKind;
  /** The command, the size, the name: at most 256 characters. */ "label": string;
};

/** What a mark is of. */ 
export type MarkKind = "command" | "resize" | "gap" | "join" | "leave" | "exec" | "mark" | "exit";

/** What every resource carries. */ 
export type Metadata = {
  /** A sentence for people. */ "description"?: string;
  /** When the resource is to end by itself. No role does: one that says so is refused. */ "expires"?: Timestamp | null;
  /** Labels. */ "labels"?: Record<string, string>;
  /** The name, unique within its kind. */ "name": string;
  /** The store's revision when it was read; sent back on update to refuse lost changes. */ "revision"?: string | null;
};

/** One agent's host: made once when it joins, kept for life, the only name a dial trusts. */ 
export type NodeId = string;

/** What people call a node: its host name unless configured. */ 
export type NodeName = string;

/** A node as one caller sees it. */ 
export type NodeView = {
  /** Where it listens, if it does; empty for nodes behind a tunnel. */ "address"?: string;
  /** Its id. */ "id": NodeId;
  /** Static and command labels. */ "labels"?: Record<string, string>;
  /** When it last reported. */ "last_seen": Timestamp;
  /** Whether its tunnel is up, as the proxies report. */ "liveness": Liveness;
  /** Local accounts the caller may use there. */ "logins": (string)[];
  /** What people call it. Two nodes may share a name; then the id tells them apart. */ "name": NodeName;
  /** The user its sessions run as when it cannot become others (not root); `None` when it can. */ "only_login"?: Login | null;
  /** Raw 32-byte Ed25519 public key, base64, that seals this node's recordings. */ "seal_key"?: string;
  /** Since when liveness has been so. */ "since"?: Timestamp | null;
  /** The build it runs. */ "version": string;
};

/** What the person is told about being recorded. */ 
export type Notice = "silent" | "banner" | "consent";

/** One value or several: `env: prod` and `env: [prod, dev]` mean what they look like. */ 
export type OneOrMany = string | (string)[];

/** What a browser answers to a challenge for signing in. */ 
export type PasskeyAnswer = {
  /** `authenticatorData`. */ "authenticator_data": string;
  /** `clientDataJSON`. */ "client_data": string;
  /** The passkey's id. */ "id": string;
  /** `signature`. */ "signature": string;
};

/** Where agents find a proxy. */ 
export type ProxyPlace = {
  /** Its addresses, `host:port`; any of them will do. */ "addrs": (string)[];
  /** The id of its host: one tunnel is enough, whatever its addresses. */ "id": NodeId;
};

/** `record_session` of a role. */ 
export type RecordSession = {
  /** For every kind of session without its own word. */ "default"?: Strictness | null;
  /** For remote desktops. */ "desktop"?: boolean | null;
  /** Record what is typed too, not only what is shown. */ "keystrokes"?: boolean | null;
  /** Whether and how they are recorded. A role without a word keeps to the cluster's; the most careful wins. */ "mode"?: RoleRecording | null;
  /** What the person is told. The loudest wins. */ "notice"?: Notice | null;
  /** For SSH sessions. */ "ssh"?: Strictness | null;
};

/** One recording in a list. */ 
export type RecordingInfo = {
  /** Bytes received. */ "bytes": number;
  /** The command, empty for a shell. */ "command"?: string;
  /** When it ended, if it has. */ "ended"?: Timestamp | null;
  /** The session. */ "id": SessionId;
  /** `shell` or `exec`. */ "kind": string;
  /** As which local account. */ "login": Login;
  /** Where. */ "node": NodeId;
  /** Its name. */ "node_name": string;
  /** What the person was told of being recorded, where the recording says so. */ "notice"?: Notice | null;
  /** Segments received. */ "segments": number;
  /** When it began. */ "started": Timestamp;
  /** Whether it is whole. */ "state": RecordingState;
  /** Who. */ "user": UserName;
};

/** Where sessions are recorded. */ 
export type RecordingMode = "node" | "node-sync" | "proxy" | "proxy-sync" | "off";

/** How a recording ended. */ 
export type RecordingState = "live" | "complete" | "abandoned";

/** A host that was removed: its certificates are void before they end. One that joins anew under its id gets a certificate that ends later. */ 
export type RemovedHost = {
  /** Its id. */ "id": NodeId;
  /** Certificates that end by then are void. */ "until": Timestamp;
};

/** One audit event, lock, or pending request. */ 
export type RequestId = string;

/** A role: what its holders may and may not do. */ 
export type Role = {
  /** Always `role`. */ "kind": RoleKind;
  /** Name, description, labels. */ "metadata": Metadata;
  /** The rules. */ "spec": RoleSpec;
  /** `v3` to `v8`; what later versions add is accepted where it is understood. */ "version": string;
};

/** The word `role`. */ 
export type RoleKind = "role";

/** A role. */ 
export type RoleName = string;

/** Options of a role. Absent means "this role has no opinion". */ 
export type RoleOptions = {
  /** End a session that has been quiet this long. The smallest wins. */ "client_idle_timeout"?: Span | null;
  /** End sessions when the certificate expires. Any role's yes is enough. */ "disconnect_expired_cert"?: boolean | null;
  /** May forward an SSH agent. Any role's yes is enough. */ "forward_agent"?: boolean | null;
  /** Most connections at a time. The smallest wins. */ "max_connections"?: number | null;
  /** Longest life of a certificate. Default 30 h; the smallest of many roles wins. */ "max_session_ttl"?: Span | null;
  /** Most sessions at a time over one connection. The smallest wins. */ "max_sessions"?: number | null;
  /** May forward X11. Any role's yes is enough. */ "permit_x11_forwarding"?: boolean | null;
  /** Certificates are good from the login's address only. Any role's yes is enough. */ "pin_source_ip"?: boolean | null;
  /** May forward ports. Default yes; any role's yes is enough. */ "port_forwarding"?: boolean | null;
  /** How sessions are recorded. The strictest wins. */ "record_session"?: RecordSession | null;
  /** May move files (sftp, scp). Default yes; every role must agree. */ "ssh_file_copy"?: boolean | null;
};

/** What a role may say of the same, from the least to the most careful. */ 
export type RoleRecording = "off" | "node" | "node-sync";

/** What a role says. */ 
export type RoleSpec = {
  /** What is granted. */ "allow"?: Conditions;
  /** What is refused whatever else grants it. */ "deny"?: Conditions;
  /** How sessions under this role behave. */ "options"?: RoleOptions;
};

/** What a proxy does when several connected nodes have the name it is asked for. */ 
export type RoutingStrategy = "unambiguous_match" | "most_recent";

/** A rule about control-plane resources. */ 
export type Rule = {
  /** Kinds by name, or `*`. */ "resources": (string)[];
  /** Verbs by name, or `*`. */ "verbs": (string)[];
  /** A predicate that must hold. */ "where"?: string | null;
};

/** A place where the text was to be seen. */ 
export type ScreenHit = {
  /** When it came on the screen: microseconds since the recording began. */ "at": number;
  /** In which recording. */ "info": RecordingInfo;
  /** How many more rows of the same segment have it. */ "more": number;
  /** The row. */ "text": string;
};

/** A row, and when it came on the screen. */ 
export type ScreenRow = {
  /** Microseconds since the recording began. */ "at": number;
  /** What it says. */ "text": string;
};

/** What is asked for beside the password. Wherever a code is asked for, a passkey does instead. */ 
export type SecondFactor = "otp" | "on" | "optional" | "off";

/** A password, token or key as text. Neither `Debug` nor `Display` shows it; serialising does, because requests carry secrets, so a type that is stored or logged must not hold one. */ 
export type Secret = string;

/** Proof that a segment was verified and is durable. */ 
export type SegmentReceipt = {
  /** Hex SHA-256 of the segment's bytes. */ "hash": string;
  /** The session. */ "id": SessionId;
  /** The segment's number. */ "n": number;
  /** Ed25519 signature by the cluster's audit key, base64 (see docs/formats/recording.md). */ "signature": string;
};

/** Where a segment lies in time. */ 
export type SegmentSpan = {
  /** Bytes as sealed. */ "bytes": number;
  /** First frame, in microseconds since the recording began. */ "from": number;
  /** Last frame. */ "until": number;
};

/** One session of one person on one target; also the name of its recording. */ 
export type SessionId = string;

/** How people sign in to a cluster. */ 
export type SignInTerms = {
  /** How long a certificate lasts when nothing else says. */ "default_ttl": Span;
  /** The name passkeys are made for; absent where there can be none. */ "passkey_name"?: string | null;
  /** What is asked for beside the password. */ "second_factor": SecondFactor;
};

/** A length of time people write as `30m`, `1h30m0s`, `12h` or `45s` (Go's form: h, m, s, ms; at least one unit). */ 
export type Span = string;

/** How strictly a session must be recorded. */ 
export type Strictness = "best_effort" | "strict";

/** What part of the system a host certificate speaks for. */ 
export type SystemRole = "auth" | "proxy" | "node" | "app" | "db" | "kube" | "bot";

/** Milliseconds since 1970-01-01T00:00:00Z; written as RFC 3339 in UTC with milliseconds. */ 
export type Timestamp = string;

/** A join token. The secret is hashed at rest, so it is shown once, when made. */ 
export type Token = {
  /** When it ends; `None` for tokens of the configuration file. */ "expires"?: Timestamp | null;
  /** Names the token in lists: the first characters of its hash. */ "id": string;
  /** Comes from the configuration file. */ "is_static"?: boolean;
  /** Labels a node gets when it joins with it. */ "labels"?: Record<string, string>;
  /** What may join with it. */ "roles": (SystemRole)[];
};

/** What is told before a session. */ 
export type Told = {
  /** What is typed is kept too. */ "keystrokes": boolean;
  /** How. */ "mode": Notice;
};

/** Every trusted authority key of the cluster. */ 
export type TrustBundle = {
  /** The keys. */ "keys": (CaKey)[];
  /** The Ed25519 key (32 bytes, base64) that signs audit checkpoints and recording receipts. */ "statement_key"?: string;
};

/** One tunnel's state as its proxy sees it. */ 
export type TunnelState = {
  /** How it came: `tls`, `websocket`, `connect` (through an HTTP proxy), `direct`. */ "carrier": string;
  /** The agent. */ "id": NodeId;
  /** Its name. */ "name": NodeName;
};

/** A person or robot who can sign in. Secrets are kept apart and never part of this. */ 
export type User = {
  /** When. */ "created_at": Timestamp;
  /** Who made the user. */ "created_by"?: string;
  /** Has set a password (and second factor) and can sign in. */ "enrolled"?: boolean;
  /** When the user can no longer sign in. */ "expires"?: Timestamp | null;
  /** Locked out by wrong tries until then. */ "locked_until"?: Timestamp | null;
  /** The name. */ "name": UserName;
  /** The store's revision. */ "revision"?: string | null;
  /** The roles held. */ "roles": (RoleName)[];
  /** Traits, e.g. `logins`. */ "traits"?: Record<string, (string)[]>;
};

/** A person or robot who can sign in. */ 
export type UserName = string;
