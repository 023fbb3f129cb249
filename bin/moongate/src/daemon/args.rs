//! The daemon's command line: the flags of `start` and `configure`, each with its sentence.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Access to servers over one port: short-lived certificates, tunnels, recordings.
#[derive(Debug, Parser)]
#[command(name = "moongate", version, about, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Command {
    /// What to do.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// The daemon's commands.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Run the services of this host until told to stop.
    Start(Box<Start>),
    /// Write a commented configuration file, or check one.
    Configure(Box<Configure>),
    /// Inside a session: show which one it is.
    Status,
    /// Print the version.
    Version,
}

/// Flags of `moongate start`; they win over the file.
#[derive(Debug, Default, Args)]
pub(crate) struct Start {
    /// Configuration file [default: /etc/moongate.yaml, if there is one]
    #[arg(short = 'c', long, value_name = "FILE", env = "MOONGATE_CONFIG_FILE", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// Services to run, of auth, proxy, node (also app, db, kube)
    #[arg(long, value_name = "ROLES")]
    pub(crate) roles: Option<String>,
    /// Authority or proxy to join, host:port or https://host:port
    #[arg(long, value_name = "ADDR")]
    pub(crate) auth_server: Vec<String>,
    /// Token to join with, or the absolute path of a file that holds it
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// Fingerprint of the authority to join, sha256:…
    #[arg(long, value_name = "PIN")]
    pub(crate) ca_pin: Vec<String>,
    /// Labels of this host, key=value,key=value
    #[arg(long, value_name = "LABELS")]
    pub(crate) labels: Option<String>,
    /// What people call this host [default: its host name]
    #[arg(long, value_name = "NAME")]
    pub(crate) nodename: Option<String>,
    /// Address others are told to reach this host at
    #[arg(long, value_name = "ADDR")]
    pub(crate) advertise_ip: Option<String>,
    /// Where to keep everything [default: /var/lib/moongate]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    /// Where to write the process id
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<String>,
    /// Where to serve /healthz, /readyz and /metrics
    #[arg(long, value_name = "ADDR")]
    pub(crate) diag_addr: Option<String>,
    /// Do not verify whom is joined (first tries on loopback only)
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Let ~/.msh/environment (or ~/.ssh/environment) of the target user set variables
    #[arg(long)]
    pub(crate) permit_user_env: bool,
    /// Log more
    #[arg(short = 'd', long)]
    pub(crate) debug: bool,
    /// Flags of services to come.
    #[command(flatten)]
    pub(crate) later: Later,
}

/// Flags that are accepted and have no effect yet.
#[derive(Debug, Default, Args)]
pub(crate) struct Later {
    /// Application: its name (not in effect yet)
    #[arg(long, value_name = "NAME")]
    app_name: Option<String>,
    /// Application: where it is (not in effect yet)
    #[arg(long, value_name = "URI")]
    app_uri: Option<String>,
    /// Application: the name people reach it by (not in effect yet)
    #[arg(long, value_name = "ADDR")]
    app_public_addr: Option<String>,
    /// Database: its name (not in effect yet)
    #[arg(long, value_name = "NAME")]
    db_name: Option<String>,
    /// Database: what it speaks (not in effect yet)
    #[arg(long, value_name = "PROTOCOL")]
    db_protocol: Option<String>,
    /// Database: where it is (not in effect yet)
    #[arg(long, value_name = "URI")]
    db_uri: Option<String>,
    /// Database: its authority's certificate (not in effect yet)
    #[arg(long, value_name = "FILE")]
    db_ca_cert: Option<String>,
    /// Resources to begin with (not in effect yet)
    #[arg(long, value_name = "FILE")]
    bootstrap: Option<String>,
    /// Resources to apply at each start (not in effect yet)
    #[arg(long, value_name = "FILE")]
    apply_on_startup: Option<String>,
}

impl Later {
    /// The names of those given.
    fn given(&self) -> Vec<String> {
        let all = [
            ("--app-name", &self.app_name),
            ("--app-uri", &self.app_uri),
            ("--app-public-addr", &self.app_public_addr),
            ("--db-name", &self.db_name),
            ("--db-protocol", &self.db_protocol),
            ("--db-uri", &self.db_uri),
            ("--db-ca-cert", &self.db_ca_cert),
            ("--bootstrap", &self.bootstrap),
            ("--apply-on-startup", &self.apply_on_startup),
        ];
        all.into_iter().filter(|(_, v)| v.is_some()).map(|(name, _)| name.to_owned()).collect()
    }
}

impl Start {
    /// What of it the configuration is made from.
    pub(crate) fn flags(&self) -> config::Flags {
        config::Flags {
            roles: self.roles.clone(),
            auth_servers: self.auth_server.clone(),
            token: self.token.clone(),
            ca_pins: self.ca_pin.clone(),
            nodename: self.nodename.clone(),
            labels: self.labels.clone(),
            advertise_ip: self.advertise_ip.clone(),
            pid_file: self.pid_file.clone(),
            diag_addr: self.diag_addr.clone(),
            data_dir: self.data_dir.clone(),
            insecure: self.insecure,
            permit_user_env: self.permit_user_env,
            later: self.later.given(),
        }
    }
}

/// Flags of `moongate configure`.
#[derive(Debug, Default, Args)]
pub(crate) struct Configure {
    /// Check this file instead of writing one: shows everything wrong with it, and fails if anything is
    #[arg(long, value_name = "FILE")]
    pub(crate) test: Option<PathBuf>,
    /// Where to write: a path, `file` (/etc/moongate.yaml) or `stdout`
    #[arg(short = 'o', long, value_name = "FILE", default_value = "stdout")]
    pub(crate) output: String,
    /// The cluster's name
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster_name: Option<String>,
    /// Services to run, of auth, proxy, node
    #[arg(long, value_name = "ROLES")]
    pub(crate) roles: Option<String>,
    /// Authority to join
    #[arg(long, value_name = "ADDR")]
    pub(crate) auth_server: Option<String>,
    /// Proxy to join through
    #[arg(long, value_name = "ADDR", visible_alias = "proxy-server")]
    pub(crate) proxy: Option<String>,
    /// Token to join with, or the absolute path of a file that holds it
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// Fingerprint of the authority to join, sha256:…
    #[arg(long, value_name = "PIN")]
    pub(crate) ca_pin: Vec<String>,
    /// Address people reach the one port at
    #[arg(long, value_name = "ADDR")]
    pub(crate) public_addr: Option<String>,
    /// Certificate for browsers, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) cert_file: Option<String>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<String>,
    /// Get a certificate from an ACME authority (not in effect yet)
    #[arg(long)]
    pub(crate) acme: bool,
    /// Whom that authority writes to
    #[arg(long, value_name = "EMAIL")]
    pub(crate) acme_email: Option<String>,
    /// Where to keep everything [default: /var/lib/moongate]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    /// What people call this host
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// Labels of this host, key=value,key=value
    #[arg(long, value_name = "LABELS")]
    pub(crate) node_labels: Option<String>,
    /// Version of the file, of v1, v2, v3 [default: v3]
    #[arg(long = "version", value_name = "VERSION")]
    pub(crate) file_version: Option<String>,
}

impl Configure {
    /// What the file should say.
    pub(crate) fn wish(&self) -> config::compose::Wish {
        config::compose::Wish {
            cluster_name: self.cluster_name.clone(),
            roles: self.roles.clone(),
            auth_server: self.auth_server.clone(),
            proxy: self.proxy.clone(),
            token: self.token.clone(),
            ca_pin: self.ca_pin.clone(),
            public_addr: self.public_addr.clone(),
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
            acme: self.acme,
            acme_email: self.acme_email.clone(),
            data_dir: self.data_dir.clone(),
            nodename: self.node_name.clone(),
            labels: self.node_labels.clone(),
            version: self.file_version.clone(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn start(line: &str) -> Start {
        let words = line.split_whitespace().map(|w| w.trim_matches('"').to_owned());
        match Command::try_parse_from(words).unwrap().what {
            What::Start(start) => *start,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_lines_people_know_are_understood() {
        let node = start(
            "moongate start --roles=node --auth-server=https://teleport.example.com:443 --token=t --labels=env=demo",
        );
        assert_eq!(node.flags().auth_servers, ["https://teleport.example.com:443"]);
        assert_eq!(
            start("moongate start --roles=node --auth-server=10.1.0.1 --token=xyz --nodename=d")
                .nodename
                .as_deref(),
            Some("d")
        );
        assert_eq!(start("moongate start -c tele.yaml").config, Some("tele.yaml".into()));
        let app = start(
            "moongate start --roles=app --token=xyz --auth-server=proxy.example.com:3080 --app-name=\"example-app\" --app-uri=\"http://localhost:8080\" --labels=group:dev",
        );
        assert_eq!(app.flags().later, ["--app-name", "--app-uri"]);
        let db = start(
            "moongate start --roles=database --token=xyz --auth-server=proxy.example.com:3080 --db-name=\"example-db\" --db-protocol=\"postgres\" --db-uri=\"localhost:5432\"",
        );
        assert_eq!(db.flags().later, ["--db-name", "--db-protocol", "--db-uri"]);
        let configure = Command::try_parse_from([
            "moongate",
            "configure",
            "--cluster-name",
            "demo-cluster",
            "-o",
            "/tmp/tele.yaml",
        ]);
        assert!(matches!(configure.unwrap().what, What::Configure(c) if c.output == "/tmp/tele.yaml"));
    }

    #[test]
    fn help_reads_well() {
        let mut command = Command::command();
        command.build();
        let mut text = command.render_help().to_string();
        for name in ["start", "configure"] {
            text.push_str(&format!(
                "\n$ moongate {name} --help\n{}",
                command.find_subcommand_mut(name).unwrap().render_help()
            ));
        }
        insta::assert_snapshot!(text);
    }
}
