//! The certificates browsers see: the configured pairs, read anew when their files change, or one signed by nobody.
//!
//! A pair that stops making sense on disk is kept as it was and complained about; a proxy never stops showing a
//! certificate because somebody is half way through replacing it. Nothing here is shown on the cluster's own routes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Error;

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
        let stamps = files.iter().map(stamp).collect();
        let loaded = files.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        Ok(Self(Arc::new(Inner { files, stamps: Mutex::new(stamps), loaded: RwLock::new(loaded) })))
    }

    /// One certificate from memory: chain (leaf first) and PKCS#8 key.
    ///
    /// # Errors
    /// The key is unusable.
    pub fn from_memory(chain: Vec<CertificateDer<'static>>, key_pkcs8_der: &[u8]) -> Result<Self, Error> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key_pkcs8_der.to_vec()));
        let loaded = vec![certified(chain, &key).map_err(Error::WebCert)?];
        Ok(Self(Arc::new(Inner { files: vec![], stamps: Mutex::default(), loaded: RwLock::new(loaded) })))
    }

    /// Reads what changed on disk since the last look; `always` reads everything (SIGHUP). Says how many were read.
    pub fn reload(&self, always: bool) -> usize {
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

/// Opens the self-signed certificate kept in `dir` (`webproxy.key`, `webproxy.cert`), or makes one for `names`.
///
/// # Errors
/// The files cannot be written, or a name is unacceptable.
pub fn self_signed(
    dir: &Path,
    names: &[String],
    random: &runtime::Random,
    now: model::Timestamp,
) -> Result<WebCerts, Error> {
    let files = KeyPairFiles { key: dir.join("webproxy.key"), cert: dir.join("webproxy.cert") };
    let made_for = dir.join("webproxy.names");
    let wanted = names.join("\n");
    let current = std::fs::read_to_string(&made_for).is_ok_and(|kept| kept == wanted);
    if current && let Ok(certs) = WebCerts::from_files(vec![files.clone()]) {
        return Ok(certs);
    }
    let failed = |e: pki::Error| Error::WebCert(e.to_string());
    let key = pki::KeyPair::generate(pki::KeyType::EcdsaP256, &random.bytes()).map_err(failed)?;
    let cert = pki::x509::self_signed(&key, names, random.bytes(), now).map_err(failed)?;
    let io = |e: std::io::Error| Error::WebCert(format!("{}: {e}", dir.display()));
    let pem = key.to_pkcs8_pem().map_err(failed)?;
    write_secret(&files.key, pem.as_bytes()).map_err(io)?;
    std::fs::write(&files.cert, pki::x509::pem("CERTIFICATE", &cert)).map_err(io)?;
    std::fs::write(&made_for, wanted).map_err(io)?;
    WebCerts::from_files(vec![files])
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

    #[test]
    fn the_self_signed_pair_is_kept_until_the_names_change() {
        let dir = tempfile::tempdir().unwrap();
        let random = runtime::Random::seeded(3);
        let make = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            let certs = self_signed(dir.path(), &names, &random, model::Timestamp::from_secs(1_800_000_000));
            certs.unwrap().pick(None).unwrap().cert[0].to_vec()
        };

        let first = make(&["gate.example", "127.0.0.1"]);
        assert_eq!(make(&["gate.example", "127.0.0.1"]), first);
        assert_ne!(make(&["other.example"]), first);
        let mode = std::os::unix::fs::MetadataExt::mode(
            &std::fs::metadata(dir.path().join("webproxy.key")).unwrap(),
        );
        assert_eq!(mode & 0o777, 0o600);
    }
}
