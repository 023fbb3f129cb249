//! The certificates browsers see: the configured pairs, read anew when their files change, or one signed by nobody.
//!
//! A pair that stops making sense on disk is kept as it was and complained about; a proxy never stops showing a
//! certificate because somebody is half way through replacing it. The one signed by nobody is made anew thirty days
//! before its end. Nothing here is shown on the cluster's own routes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use model::Timestamp;
use runtime::{Clock, Random};
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Error;

/// How long before its end the certificate signed by nobody is made anew.
const RENEWED_BEFORE: Duration = Duration::from_secs(30 * 86_400);
/// When that is tried again where it did not work.
const TRIED_AGAIN: Duration = Duration::from_secs(3_600);

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPairFiles {
    /// Private key, PEM.
    pub key: PathBuf,
    /// Certificate chain, PEM, leaf first.
    pub cert: PathBuf,
}

/// The web certificates in use. Clones share.
#[derive(Debug, Clone)]
pub struct WebCerts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Vec<KeyPairFiles>,
    stamps: Mutex<Vec<Stamp>>,
    loaded: RwLock<Vec<Arc<CertifiedKey>>>,
    /// Makes the only one, where nobody signed it.
    own: Option<Own>,
}

type Stamp = (Option<SystemTime>, Option<SystemTime>);

impl WebCerts {
    /// Reads the configured pairs. All must be good: this is a startup error, not a surprise later.
    ///
    /// # Errors
    /// None is given, or one cannot be read, or key and certificate do not belong together.
    pub fn from_files(files: Vec<KeyPairFiles>) -> Result<Self, Error> {
        if files.is_empty() {
            return Err(Error::WebCert("no certificate is configured".into()));
        }
        Self::open(files, None)
    }

    fn open(files: Vec<KeyPairFiles>, own: Option<Own>) -> Result<Self, Error> {
        let stamps = files.iter().map(stamp).collect();
        let loaded = files.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        Ok(Self(Arc::new(Inner { files, stamps: Mutex::new(stamps), loaded: RwLock::new(loaded), own })))
    }

    /// One certificate from memory: chain (leaf first) and PKCS#8 key.
    ///
    /// # Errors
    /// The key is unusable.
    pub fn from_memory(chain: Vec<CertificateDer<'static>>, key_pkcs8_der: &[u8]) -> Result<Self, Error> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key_pkcs8_der.to_vec()));
        let loaded = vec![certified(chain, &key).map_err(Error::WebCert)?];
        let loaded = RwLock::new(loaded);
        Ok(Self(Arc::new(Inner { files: vec![], stamps: Mutex::default(), loaded, own: None })))
    }

    /// Reads what changed on disk since the last look; `always` reads everything (SIGHUP). Says how many were read.
    pub fn reload(&self, always: bool) -> usize {
        let always = self.renew() || always;
        let mut stamps = self.0.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        for (index, files) in self.0.files.iter().enumerate() {
            let now = stamp(files);
            if !always && stamps.get(index) == Some(&now) {
                continue;
            }
            match load(files) {
                Ok(fresh) => {
                    let mut loaded = self.0.loaded.write().unwrap_or_else(PoisonError::into_inner);
                    if let (Some(slot), Some(seen)) = (loaded.get_mut(index), stamps.get_mut(index)) {
                        (*slot, *seen) = (fresh, now);
                        count += 1;
                        tracing::info!(cert = %files.cert.display(), "web certificate loaded");
                    }
                }
                Err(error) => {
                    if let Some(seen) = stamps.get_mut(index) {
                        *seen = now;
                    }
                    tracing::error!(cert = %files.cert.display(), %error, "keeping the old web certificate");
                }
            }
        }
        count
    }

    /// Makes the certificate signed by nobody anew when its end is near; true when there is a new one on disk.
    fn renew(&self) -> bool {
        let Some(own) = &self.0.own else { return false };
        let shown = self.pick(None);
        if !shown.is_some_and(|shown| own.is_due(&shown)) || !own.may_try() {
            return false;
        }
        match own.make() {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "the web certificate ends soon and cannot be made anew");
                false
            }
        }
    }

    fn pick(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let loaded = self.0.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = name.and_then(|name| ServerName::try_from(name).ok());
        let fits = |key: &&Arc<CertifiedKey>| {
            let Some(wanted) = &wanted else { return false };
            let leaf = key.cert.first().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
            leaf.is_some_and(|leaf| rustls::client::verify_server_name(&leaf, wanted).is_ok())
        };
        loaded.iter().find(fits).or_else(|| loaded.first()).cloned()
    }
}

impl ResolvesServerCert for WebCerts {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.pick(hello.server_name())
    }
}

fn stamp(files: &KeyPairFiles) -> Stamp {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    (changed(&files.cert), changed(&files.key))
}

fn load(files: &KeyPairFiles) -> Result<Arc<CertifiedKey>, Error> {
    let bad = |path: &Path, why: String| Error::WebCert(format!("{}: {why}", path.display()));
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| bad(&files.cert, e.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| bad(&files.key, e.to_string()))?;
    certified(chain, &key).map_err(|why| bad(&files.cert, why))
}

pub(crate) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'_>,
) -> Result<Arc<CertifiedKey>, String> {
    if chain.is_empty() {
        return Err("there is no certificate in it".into());
    }
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(key).map_err(|e| e.to_string())?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(Arc::new(certified))
        }
        Err(_) => Err("the key is not this certificate's".into()),
    }
}

/// Opens the self-signed certificate kept in `dir` (`webproxy.key`, `webproxy.cert`), or makes one for `names`. It is
/// made anew before it ends, by [`WebCerts::reload`].
///
/// # Errors
/// The files cannot be written, or a name is unacceptable.
pub fn self_signed(dir: &Path, names: &[String], random: &Random, clock: &Clock) -> Result<WebCerts, Error> {
    let own = Own {
        dir: dir.to_owned(),
        names: names.to_owned(),
        random: random.clone(),
        clock: clock.clone(),
        tried: Mutex::default(),
    };
    if !own.is_kept() {
        own.make()?;
    }
    WebCerts::open(vec![own.files()], Some(own))
}

/// Makes the certificate that nobody signs.
struct Own {
    dir: PathBuf,
    names: Vec<String>,
    random: Random,
    clock: Clock,
    /// When it was last tried while running.
    tried: Mutex<Option<Timestamp>>,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Own({})", self.dir.display())
    }
}

impl Own {
    fn files(&self) -> KeyPairFiles {
        KeyPairFiles { key: self.dir.join("webproxy.key"), cert: self.dir.join("webproxy.cert") }
    }

    /// Says for which names the certificate was made.
    fn made_for(&self) -> PathBuf {
        self.dir.join("webproxy.names")
    }

    /// Whether what lies there is for these names and good for a while.
    fn is_kept(&self) -> bool {
        let named = std::fs::read_to_string(self.made_for()).is_ok_and(|kept| kept == self.names.join("\n"));
        named && load(&self.files()).is_ok_and(|kept| !self.is_due(&kept))
    }

    fn is_due(&self, kept: &CertifiedKey) -> bool {
        let end = kept.cert.first().and_then(|leaf| pki::x509::expires_at(leaf).ok());
        end.is_none_or(|end| self.clock.now() + RENEWED_BEFORE >= end)
    }

    /// Whether it was not tried just before, and did not work.
    fn may_try(&self) -> bool {
        let now = self.clock.now();
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let may = tried.is_none_or(|tried| now < tried || now.since(tried) >= TRIED_AGAIN);
        if may {
            *tried = Some(now);
        }
        may
    }

    fn make(&self) -> Result<(), Error> {
        let failed = |e: pki::Error| Error::WebCert(e.to_string());
        let io = |e: std::io::Error| Error::WebCert(format!("{}: {e}", self.dir.display()));
        let key = pki::KeyPair::generate(pki::KeyType::EcdsaP256, &self.random.bytes()).map_err(failed)?;
        let serial = self.random.bytes();
        let cert = pki::x509::self_signed(&key, &self.names, serial, self.clock.now()).map_err(failed)?;
        let (files, pem) = (self.files(), key.to_pkcs8_pem().map_err(failed)?);
        write_secret(&files.key, pem.as_bytes()).map_err(io)?;
        std::fs::write(&files.cert, pki::x509::pem("CERTIFICATE", &cert)).map_err(io)?;
        std::fs::write(self.made_for(), self.names.join("\n")).map_err(io)
    }
}

fn write_secret(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let _ = std::fs::remove_file(path);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(certs: &WebCerts, name: &str) -> Vec<u8> {
        certs.pick(Some(name)).unwrap().cert[0].to_vec()
    }

    fn write_pair(dir: &Path, stem: &str, name: &str) -> KeyPairFiles {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let files =
            KeyPairFiles { key: dir.join(format!("{stem}.key")), cert: dir.join(format!("{stem}.crt")) };
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        std::fs::write(&files.cert, made.cert.pem()).unwrap();
        files
    }

    #[test]
    fn the_pair_that_fits_the_name_is_shown_and_the_first_to_everyone_else() {
        let dir = tempfile::tempdir().unwrap();
        let files = vec![write_pair(dir.path(), "a", "a.example"), write_pair(dir.path(), "b", "b.example")];
        let certs = WebCerts::from_files(files).unwrap();

        assert_ne!(names(&certs, "a.example"), names(&certs, "b.example"));
        assert_eq!(names(&certs, "c.example"), names(&certs, "a.example"));
        assert_eq!(certs.pick(None).unwrap().cert[0].to_vec(), names(&certs, "a.example"));
    }

    #[test]
    fn a_changed_pair_is_read_anew_and_a_broken_one_kept_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let files = write_pair(dir.path(), "a", "a.example");
        let certs = WebCerts::from_files(vec![files.clone()]).unwrap();
        let first = names(&certs, "a.example");
        assert_eq!(certs.reload(false), 0);

        std::fs::write(&files.cert, "half way through").unwrap();
        assert_eq!(certs.reload(true), 0);
        assert_eq!(names(&certs, "a.example"), first);

        write_pair(dir.path(), "a", "a.example");
        assert_eq!(certs.reload(true), 1);
        assert_ne!(names(&certs, "a.example"), first);
    }

    #[test]
    fn a_key_of_another_certificate_is_a_startup_error() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (write_pair(dir.path(), "a", "a.example"), write_pair(dir.path(), "b", "b.example"));

        let error = WebCerts::from_files(vec![KeyPairFiles { key: b.key, cert: a.cert }]).unwrap_err();

        assert!(error.to_string().contains("a.crt"), "{error}");
    }

    const DAY: Duration = Duration::from_secs(86_400);

    fn own(dir: &Path, names: &[&str], clock: &Clock) -> WebCerts {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        self_signed(dir, &names, &Random::seeded(3), clock).unwrap()
    }

    fn shown(certs: &WebCerts) -> Vec<u8> {
        certs.pick(None).unwrap().cert[0].to_vec()
    }

    #[test]
    fn the_self_signed_pair_is_kept_until_the_names_change() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp::from_secs(1_800_000_000));
        let make = |names: &[&str]| shown(&own(dir.path(), names, &clock));

        let first = make(&["gate.example", "127.0.0.1"]);
        assert_eq!(make(&["gate.example", "127.0.0.1"]), first);
        assert_ne!(make(&["other.example"]), first);
        let mode = std::os::unix::fs::MetadataExt::mode(
            &std::fs::metadata(dir.path().join("webproxy.key")).unwrap(),
        );
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_self_signed_pair_is_made_anew_before_it_ends_at_start_and_while_running() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp::from_secs(1_800_000_000));
        let open = || own(dir.path(), &["gate.example"], &clock);
        let certs = open();
        let first = shown(&certs);

        clock.advance(DAY * 334);
        assert_eq!((certs.reload(false), shown(&open())), (0, first.clone()), "31 days are left");
        clock.advance(DAY);
        assert_eq!(certs.reload(false), 1);
        let second = shown(&certs);
        assert_ne!(second, first);
        assert_eq!((certs.reload(false), shown(&open())), (0, second.clone()));

        clock.advance(DAY * 400);
        let third = shown(&open());
        assert_ne!(third, second, "it had ended while nothing ran");
    }

    #[test]
    fn a_pair_that_cannot_be_made_anew_is_shown_to_its_end_and_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp::from_secs(1_800_000_000));
        let certs = own(dir.path(), &["gate.example"], &clock);
        let first = shown(&certs);
        let away = dir.path().with_extension("away");
        std::fs::rename(dir.path(), &away).unwrap();
        clock.advance(DAY * 340);

        certs.reload(false);
        assert_eq!(shown(&certs), first);

        std::fs::rename(&away, dir.path()).unwrap();
        clock.advance(TRIED_AGAIN);
        assert_eq!(certs.reload(false), 1);
        assert_ne!(shown(&certs), first);
    }
}
