//! The algorithms the file may name. What each does is known to `ssh` and to TLS; that they know every one of these is
//! a test of the executable.

/// SSH ciphers.
pub const CIPHERS: &[&str] = &[
    "aes256-gcm@openssh.com",
    "aes128-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
];

/// SSH key exchanges.
pub const KEX_ALGOS: &[&str] = &[
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
];

/// SSH message authentication codes.
pub const MAC_ALGOS: &[&str] =
    &["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512"];

/// TLS 1.2 cipher suites, all with forward secrecy; those of RFC 7905 also under their full names.
pub const CIPHER_SUITES: &[&str] = &[
    "tls-ecdhe-ecdsa-with-aes-256-gcm-sha384",
    "tls-ecdhe-ecdsa-with-aes-128-gcm-sha256",
    "tls-ecdhe-rsa-with-aes-256-gcm-sha384",
    "tls-ecdhe-rsa-with-aes-128-gcm-sha256",
    "tls-ecdhe-ecdsa-with-chacha20-poly1305",
    "tls-ecdhe-ecdsa-with-chacha20-poly1305-sha256",
    "tls-ecdhe-rsa-with-chacha20-poly1305",
    "tls-ecdhe-rsa-with-chacha20-poly1305-sha256",
];
