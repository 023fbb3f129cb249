//! What the command line says over the file, as it was typed. Checked together with the file, so that both give
//! their findings at once.

/// The overrides of `moongate start`. Empty fields override nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--roles=node,proxy,auth`: exactly these services run.
    pub roles: Option<String>,
    /// `--auth-server=https://gate:443`, repeatable or comma-separated.
    pub auth_servers: Vec<String>,
    /// `--token`: the token itself, or the absolute path of a file that holds it.
    pub token: Option<String>,
    /// `--ca-pin`, repeatable.
    pub ca_pins: Vec<String>,
    /// `--nodename`.
    pub nodename: Option<String>,
    /// `--labels=env=demo,group:dev`: added to the file's.
    pub labels: Option<String>,
    /// `--advertise-ip`.
    pub advertise_ip: Option<String>,
    /// `--pid-file`.
    pub pid_file: Option<String>,
    /// `--diag-addr`.
    pub diag_addr: Option<String>,
    /// `--data-dir`.
    pub data_dir: Option<String>,
    /// `--insecure`.
    pub insecure: bool,
    /// `--permit-user-env`.
    pub permit_user_env: bool,
    /// Flags that are accepted and have no effect yet, by name (`--app-name`): they are named in the notes.
    pub later: Vec<String>,
}
