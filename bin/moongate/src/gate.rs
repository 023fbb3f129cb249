//! How commands reach a gate: with a person's profile, with the authority's own certificate, or before either.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use client::dial::Dialer;
use client::proxy_env::{HostPort, ProxyEnv};
use client::tls::{Certified, Keyring, Material};
use client::web_trust::WebTrust;
use client::{BoxFuture, BoxStream, CallError, Client, Connect, ConnectError};
use model::api::cluster::{GetTrust, TrustBundle};
use runtime::{Clock, Random, Scope};
use wire::route::Route;

use crate::address::PORT;
use crate::msh::profile::{Home, Profile};

/// A way to a gate.
#[derive(Clone)]
pub(crate) struct Way {
    /// Opens connections.
    pub(crate) dialer: Dialer,
    /// Calls the authority.
    pub(crate) client: Client,
}

/// A dialer as the client wants it.
struct Through(Dialer);

impl Connect for Through {
    fn connect(&self, route: Route) -> BoxFuture<'_, Result<BoxStream, ConnectError>> {
        Box::pin(self.0.connect(route))
    }
}

/// The local user's name.
///
/// # Errors
/// It has none.
pub(crate) fn local_user() -> Result<String> {
    nix::unistd::User::from_uid(nix::unistd::getuid())
        .ok()
        .flatten()
        .map(|user| user.name)
        .context("your local account has no name: give --user (or --login)")
}

/// HTTP proxies, out of the environment.
///
/// # Errors
/// A variable is no proxy.
pub(crate) fn proxies() -> Result<ProxyEnv> {
    // What is no text is no proxy, and may stand in anybody's environment.
    let texts =
        std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    Ok(ProxyEnv::from_vars(texts)?)
}

/// A dialer to `addr` that trusts by `keyring`.
///
/// # Errors
/// The address is none.
pub(crate) fn dialer(addr: &str, keyring: Keyring) -> Result<Dialer> {
    Ok(Dialer::new(HostPort::parse(addr, PORT)?, proxies()?, keyring))
}

/// A client over `dialer`.
pub(crate) fn client(dialer: &Dialer, scope: &Scope) -> Client {
    Client::new(Arc::new(Through(dialer.clone())), scope, Random::system())
}

/// What proves a gate before login.
pub(crate) enum Proof<'a> {
    /// The CA pin that somebody was told.
    Pin(&'a str),
    /// Its authorities, as an earlier login kept them.
    Kept(TrustBundle),
    /// The web's authorities.
    Web,
    /// Nothing: `--insecure`.
    Nothing,
}

/// A gate before login.
pub(crate) struct FirstContact {
    /// Opens connections.
    pub(crate) dialer: Dialer,
    /// For the web routes.
    pub(crate) web: WebTrust,
    /// The authorities, when a pin or an earlier login proved them.
    pub(crate) proven: Option<TrustBundle>,
}

/// Makes first contact with the gate at `addr`.
///
/// # Errors
/// It cannot be reached, or its authorities do not match the pin.
pub(crate) async fn first_contact(addr: &str, proof: Proof<'_>, scope: &Scope) -> Result<FirstContact> {
    let dialer = dialer(addr, Keyring::new(Material::anyone()))?;
    let bundle = match proof {
        Proof::Nothing => return Ok(FirstContact { dialer, web: WebTrust::Insecure, proven: None }),
        Proof::Web => return Ok(FirstContact { dialer, web: WebTrust::System, proven: None }),
        Proof::Kept(bundle) => bundle,
        Proof::Pin(pin) => {
            let bundle =
                client(&dialer, scope).call(&GetTrust {}).await.context("cannot check the CA pin")?;
            // Only what the pin vouches for: other authorities in the same answer may be anybody's.
            client::host::pinned(bundle, &[pin.to_owned()], dialer.address())?
        }
    };
    let verified = self::dialer(addr, Keyring::new(Material::trusting(&bundle)?))?;
    Ok(FirstContact { dialer: verified, web: WebTrust::Cluster, proven: Some(bundle) })
}

/// The authorities that a profile keeps, when it is by them that its gate can be reached. A gate that was made anew, or
/// whose front lets only the web through, has others: it is a stranger's, as before the first login.
///
/// # Errors
/// It cannot be reached at all.
pub(crate) async fn kept(home: &Home, profile: &Profile, scope: &Scope) -> Result<Option<TrustBundle>> {
    let Ok(bundle) = home.trust(profile) else { return Ok(None) };
    let Ok(material) = Material::trusting(&bundle) else { return Ok(None) };
    let dialer = dialer(&profile.web_proxy_addr, Keyring::new(material))?;
    match client(&dialer, scope).call(&GetTrust {}).await {
        Ok(_) => Ok(Some(bundle)),
        Err(CallError::Unreachable(ConnectError::Untrusted { .. } | ConnectError::Refused { .. })) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The way of a person: certificates out of the profile.
///
/// # Errors
/// The profile's files are gone or do not parse.
pub(crate) fn by_profile(home: &Home, profile: &Profile, scope: &Scope) -> Result<Way> {
    let keys = home.keys(profile);
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}: log in again with `msh login`", path.display()))
    };
    let bundle = home.trust(profile)?;
    let own = Certified::from_pem(&read(&keys.tls_cert())?, &read(&keys.tls_key())?)?;
    let keyring = Keyring::new(Material::trusting(&bundle)?.showing(own));
    let to = HostPort::parse(&profile.web_proxy_addr, PORT)?;
    let dialer = Dialer::remembering(to, proxies()?, keyring, home.memory(profile, Clock::system()));
    let client = client(&dialer, scope);
    Ok(Way { dialer, client })
}

/// The way of the authority's own host: the certificate in its data directory.
///
/// # Errors
/// The authority has not been started here yet, or its files are not for us to read.
pub(crate) fn by_data_dir(data_dir: &Path, addr: &str, scope: &Scope) -> Result<Client> {
    let dir = data_dir.join("admin");
    let read = |name: &str| {
        let path = dir.join(name);
        std::fs::read_to_string(&path).with_context(|| {
            format!("cannot read {}: has the authority been started, and may you read it? (With --proxy=GATE you are yourself, \
                 as logged in with msh.)",
                path.display())
        })
    };
    let bundle: TrustBundle = serde_json::from_str(&read("trust.json")?)?;
    let own = Certified::from_pem(&read("tls.cert")?, &read("tls.key")?)?;
    let keyring = Keyring::new(Material::trusting(&bundle)?.showing(own));
    Ok(client(&Dialer::new(HostPort::parse(addr, 3025)?, ProxyEnv::none(), keyring), scope))
}
