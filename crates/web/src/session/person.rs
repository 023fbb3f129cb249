//! One signed-in browser: who, with which key and certificate, until when.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::Client;
use client::person::TlsKey;
use client::tls::{Keyring, Material};
use model::api::access::{Me, SignIn, Unlock};
use model::api::certs::UserCerts;
use model::api::cluster::TrustBundle;
use model::api::passkeys::PasskeyAnswer;
use model::resource::Kind;
use model::{Secret, Timestamp, UserName};
use runtime::{Random, Scope};
use serde::Deserialize;
use ssh::client::Credential;
use ssh::{PrivateKey, PublicKey};
use tokio_util::sync::CancellationToken;

use super::idle::Idle;
use super::parts::Parts;
use super::{MAX_TICKETS, TICKET_LIFE, Ways};
use crate::terminal::Terminals;

/// What the sign-in page sends: password and code, password and passkey, or a passkey alone.
#[derive(Deserialize)]
pub(crate) struct Proof {
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: Secret,
    #[serde(default)]
    otp: String,
    #[serde(default)]
    passkey: Option<PasskeyAnswer>,
}

impl Proof {
    /// Names nobody, or this person.
    pub(crate) fn is_for(&self, user: &UserName) -> bool {
        self.user.is_empty() || self.user == user.as_str()
    }

    /// The question to the authority whether this is the person.
    pub(crate) fn unlocks(self, user: &UserName, from: IpAddr) -> Unlock {
        let Self { password, otp, passkey, .. } = self;
        Unlock { user: user.clone(), password, otp, passkey, client_addr: Some(from) }
    }
}

/// Keys waiting for their certificates.
pub(crate) struct Keys {
    ssh: PrivateKey,
    tls: TlsKey,
}

impl Keys {
    /// Fresh keys.
    pub(crate) fn generate(random: &Random) -> Result<Self, String> {
        Ok(Self {
            ssh: PrivateKey::from_seed(&random.bytes(), "web").map_err(|e| e.to_string())?,
            tls: TlsKey::generate(random).map_err(|e| e.to_string())?,
        })
    }

    /// The question to the authority.
    pub(crate) fn ask(&self, proof: Proof, from: IpAddr) -> SignIn {
        SignIn {
            user: proof.user,
            password: proof.password,
            otp: proof.otp,
            passkey: proof.passkey,
            ssh_key: self.ssh.public().to_openssh(),
            tls_key_pem: self.tls.public_pem(),
            ttl: None,
            client_addr: Some(from),
        }
    }
}

/// A page's key to its shell: made by the page, known to it and, as a hash, to the node. Never on disk here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keep {
    /// 64 hexadecimal digits.
    pub(crate) key: Secret,
    /// The page comes back with it.
    pub(crate) back: bool,
}

/// What a ticket opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opens {
    /// A new shell, or one that a node has kept.
    Shell {
        /// Where.
        node: model::NodeId,
        /// As which account.
        login: String,
        /// The page's key to it.
        keep: Option<Keep>,
    },
    /// A terminal that is there already.
    Terminal(String),
}

/// A ticket: what it opens, for which page, until when.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) opens: Opens,
    pub(crate) origin: String,
    until: Timestamp,
}

/// From where a browser signed in.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) from: IpAddr,
    /// What it calls itself: at most [`MAX_AGENT`] characters that can be shown.
    pub(crate) agent: String,
}

impl Origin {
    pub(crate) fn new(from: IpAddr, agent: &str) -> Self {
        let agent = agent.chars().filter(|c| !c.is_control()).take(MAX_AGENT).collect();
        Self { from, agent }
    }
}

/// The longest name of a browser that is kept.
const MAX_AGENT: usize = 256;

/// What a session stands on: the ways out, the scope that ends with it, randomness, the time.
pub(crate) struct Ground<'a> {
    pub(crate) ways: &'a dyn Ways,
    pub(crate) scope: Scope,
    pub(crate) random: Random,
    pub(crate) now: Timestamp,
}

/// One signed-in browser.
pub(crate) struct Person {
    /// What it is called in its owner's list; opens nothing.
    pub(crate) id: String,
    pub(crate) origin: Origin,
    pub(crate) since: Timestamp,
    pub(crate) user: UserName,
    pub(crate) cluster: String,
    pub(crate) expires: Timestamp,
    /// The only address the session is good from, as its certificates are.
    pinned: Option<IpAddr>,
    /// What each changing request must repeat in a header.
    pub(crate) csrf: String,
    /// Calls the authority with this person's certificate.
    pub(crate) client: Client,
    pub(crate) trust: TrustBundle,
    /// Whether its person is there.
    pub(crate) idle: Idle,
    /// Ends with the session.
    pub(crate) scope: Scope,
    pub(crate) terminals: Terminals,
    pub(crate) parts: Parts,
    key: Arc<PrivateKey>,
    certificate: PublicKey,
    pub(crate) random: Random,
    tickets: Mutex<BTreeMap<String, Ticket>>,
    more: AtomicBool,
    /// Cancelled when it ends because its person said so.
    pub(crate) signed_out: CancellationToken,
    /// Is told of what is kept of sessions.
    told: AtomicBool,
    /// Agreed to it, on the page that asks.
    agreed: AtomicBool,
}

impl Person {
    pub(crate) fn new(
        ground: Ground<'_>,
        keys: Keys,
        certs: UserCerts,
        origin: Origin,
    ) -> Result<Self, String> {
        let from = origin.from;
        let Ground { ways, scope, random, now } = ground;
        let own = keys.tls.certified(&certs.tls_cert_pem).map_err(|e| e.to_string())?;
        let material = Material::trusting(&certs.trust).map_err(|e| e.to_string())?.showing(own);
        let client = Client::new(ways.authority(Keyring::new(material), from), &scope, random.clone());
        Ok(Self {
            id: data_encoding::HEXLOWER.encode(&random.bytes::<8>()),
            origin,
            since: now,
            user: certs.user,
            cluster: certs.cluster.to_string(),
            expires: certs.expires,
            pinned: client::person::pinned_to(&certs.ssh_cert)?,
            csrf: super::token::token(&random),
            client,
            trust: certs.trust,
            terminals: Terminals::default(),
            parts: Parts::default(),
            key: Arc::new(keys.ssh),
            certificate: PublicKey::from_openssh(&certs.ssh_cert).map_err(|e| e.to_string())?,
            random,
            scope,
            idle: Idle::new(now),
            tickets: Mutex::default(),
            more: AtomicBool::new(false),
            signed_out: CancellationToken::new(),
            told: AtomicBool::new(false),
            agreed: AtomicBool::new(false),
        })
    }

    /// Whether the session is good from there. The gate vouches to the authority for the address of the sign-in, so
    /// where a request came from counts nowhere else.
    pub(crate) fn may_come_from(&self, from: IpAddr) -> bool {
        self.pinned.is_none_or(|pinned| pinned == from.to_canonical())
    }

    /// Shows the certificate to a node.
    pub(crate) fn credential(&self) -> Credential {
        Credential { key: self.certificate.clone(), signer: self.key.clone() }
    }

    /// Notes what the authority said this person may do.
    pub(crate) fn learn(&self, me: &Me) {
        let more = me.may.keys().any(|kind| kind != Kind::Own.as_str() && kind != Kind::Node.as_str());
        self.more.store(more, Ordering::Relaxed);
        self.told.store(me.notice.is_some(), Ordering::Relaxed);
    }

    /// Is told of what is kept of sessions, as far as was heard.
    pub(crate) fn is_told(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    /// Agreed to it; sessions opened from now on say so to their nodes.
    pub(crate) fn agree(&self) {
        self.agreed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_agreed(&self) -> bool {
        self.agreed.load(Ordering::Relaxed)
    }

    /// May do more than work on nodes, as far as was heard.
    pub(crate) fn may_more(&self) -> bool {
        self.more.load(Ordering::Relaxed)
    }

    /// Ends everything that was started, on the person's own word: shells are told not to wait.
    pub(crate) fn sign_out(self: &Arc<Self>, scope: &Scope) {
        self.signed_out.cancel();
        let shells = self.terminals.all();
        if shells.is_empty() {
            return self.scope.cancel();
        }
        let person = self.clone();
        scope.spawn("sign out", async move {
            for shell in &shells {
                shell.end();
            }
            for shell in &shells {
                shell.gone().await;
            }
            person.scope.cancel();
        });
    }

    /// A ticket, once.
    pub(crate) fn issue(&self, opens: Opens, origin: String, now: Timestamp) -> Option<String> {
        let mut tickets = lock(&self.tickets);
        tickets.retain(|_, ticket| ticket.until > now);
        if tickets.len() >= MAX_TICKETS {
            return None;
        }
        let ticket = super::token::token(&self.random);
        tickets.insert(super::token::hash(&ticket), Ticket { opens, origin, until: now + TICKET_LIFE });
        Some(ticket)
    }

    /// Uses a ticket up.
    pub(crate) fn redeem(&self, ticket: &str, now: Timestamp) -> Option<Ticket> {
        lock(&self.tickets).remove(&super::token::hash(ticket)).filter(|t| t.until > now)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
