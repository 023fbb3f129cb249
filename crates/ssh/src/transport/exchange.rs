//! The course of a key exchange (RFC 4253 section 7), for both sides, the first time and every later time.

use wire::ssh::transport::{Answer, ExtInfo, KexInit, Offer};
use wire::ssh::{NameList, Reader, number, put_names};

use super::Transport;
use super::cipher::{Opener, Sealer};
use super::kex::{self, Derivation, Ephemeral, Transcript};
use crate::algorithms::{CIPHERS, Cipher, KEXES, Kex, MACS, Mac, common};
use crate::hub::Role;
use crate::keys::{USER_ALGORITHMS, verify};
use crate::{Error, PublicKey};

/// Host key algorithms a client takes, in its order of preference.
const HOST_ALGORITHMS: [&str; 8] = [
    "ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
];
const STRICT_CLIENT: &str = "kex-strict-c-v00@openssh.com";
const STRICT_SERVER: &str = "kex-strict-s-v00@openssh.com";

/// Where an exchange is.
pub(super) enum Exchange {
    /// None is under way.
    Idle,
    /// We sent our lists and wait for the peer's.
    Asked { mine: Vec<u8> },
    /// A server waits for the client's public value.
    Serving { mine: Vec<u8>, theirs: Vec<u8>, choice: Choice, skip: bool },
    /// A client waits for the server's answer.
    Waiting { mine: Vec<u8>, theirs: Vec<u8>, choice: Choice, skip: bool, ephemeral: Box<Ephemeral> },
    /// We use the new keys; the peer has not said that it does.
    Turning { opener: Box<Opener> },
}

/// What both sides settled on.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    kex: Kex,
    host_key: String,
    /// Client to server, server to client.
    ciphers: (Cipher, Cipher),
    macs: (Mac, Mac),
    ext_info: bool,
}

impl Transport {
    pub(super) fn start_exchange(&mut self) -> Result<(), Error> {
        let mine = self.lists()?;
        self.send(|out| out.extend_from_slice(&mine))?;
        self.exchange = Exchange::Asked { mine };
        Ok(())
    }

    fn lists(&self) -> Result<Vec<u8>, Error> {
        let mut cookie = [0; 16];
        aws_lc_rs::rand::fill(&mut cookie).map_err(|_| Error::KeyExchange("no randomness"))?;
        let mut kexes: Vec<&str> = self.algorithms.kex.iter().map(|(name, _)| *name).collect();
        match self.role {
            Role::Client => kexes.extend(["ext-info-c", STRICT_CLIENT]),
            Role::Server => kexes.push(STRICT_SERVER),
        }
        let mut hosts: Vec<&str> = Vec::new();
        match self.role {
            Role::Client => hosts.extend(HOST_ALGORITHMS),
            Role::Server => {
                hosts.extend(self.host_keys.iter().filter_map(|key| Some(key.certificate.as_ref()?.kind())));
                hosts.extend(self.host_keys.iter().map(|key| key.plain.kind()));
                hosts.dedup();
            }
        }
        let ciphers: Vec<&str> = self.algorithms.ciphers.iter().map(|(name, _)| *name).collect();
        let macs: Vec<&str> = self.algorithms.macs.iter().map(|(name, _)| *name).collect();
        let lists = [kexes.join(","), hosts.join(","), ciphers.join(","), macs.join(",")];
        let [kex, host_key, cipher, mac] = &lists;
        let init = KexInit {
            cookie,
            kex: NameList::new(kex.as_bytes())?,
            host_key: NameList::new(host_key.as_bytes())?,
            cipher_in: NameList::new(cipher.as_bytes())?,
            cipher_out: NameList::new(cipher.as_bytes())?,
            mac_in: NameList::new(mac.as_bytes())?,
            mac_out: NameList::new(mac.as_bytes())?,
            compression_in: NameList::new(b"none")?,
            compression_out: NameList::new(b"none")?,
            language_in: NameList::default(),
            language_out: NameList::default(),
            guess_follows: false,
        };
        let mut out = Vec::with_capacity(1024);
        init.encode(&mut out);
        Ok(out)
    }

    pub(super) fn exchange_message(&mut self, kind: u8, payload: &[u8]) -> Result<(), Error> {
        match (kind, std::mem::replace(&mut self.exchange, Exchange::Idle)) {
            (number::KEXINIT, Exchange::Idle) if !self.first => {
                self.start_exchange()?;
                let Exchange::Asked { mine } = std::mem::replace(&mut self.exchange, Exchange::Idle) else {
                    return Err(Error::KeyExchange("out of order"));
                };
                self.both_asked(mine, payload.to_vec())
            }
            (number::KEXINIT, Exchange::Asked { mine }) => self.both_asked(mine, payload.to_vec()),
            // A guess that was wrong is passed over, whatever it holds.
            (number::KEX_INIT, Exchange::Serving { mine, theirs, choice, skip: true }) => {
                self.exchange = Exchange::Serving { mine, theirs, choice, skip: false };
                Ok(())
            }
            (number::KEX_REPLY, Exchange::Waiting { mine, theirs, choice, skip: true, ephemeral }) => {
                self.exchange = Exchange::Waiting { mine, theirs, choice, skip: false, ephemeral };
                Ok(())
            }
            (number::KEX_INIT, Exchange::Serving { mine, theirs, choice, .. }) => {
                self.serve(payload, (&mine, &theirs), &choice)
            }
            (number::KEX_REPLY, Exchange::Waiting { mine, theirs, choice, ephemeral, .. }) => {
                self.conclude(payload, (&mine, &theirs), &choice, &ephemeral)
            }
            (number::NEWKEYS, Exchange::Turning { opener }) => {
                if payload.len() != 1 {
                    return Err(Error::Protocol("a malformed NEWKEYS"));
                }
                self.opener = *opener;
                self.rx.fresh(self.strict);
                self.first = false;
                self.send_pongs()
            }
            _ => Err(Error::Protocol("a key exchange message out of order")),
        }
    }

    fn both_asked(&mut self, mine: Vec<u8>, theirs: Vec<u8>) -> Result<(), Error> {
        let (choice, strict, skip) = {
            let own = KexInit::decode(&mut Reader::new(&mine))?;
            let peer = KexInit::decode(&mut Reader::new(&theirs))?;
            let (client, server) = if self.role == Role::Client { (&own, &peer) } else { (&peer, &own) };
            let strict = client.kex.contains(STRICT_CLIENT) && server.kex.contains(STRICT_SERVER);
            let right = peer.kex.iter().next() == own.kex.iter().next()
                && peer.host_key.iter().next() == own.host_key.iter().next();
            (choose(client, server)?, strict, peer.guess_follows && !right)
        };
        if self.first {
            self.strict = strict;
            if strict && self.rx.packets != 1 {
                return Err(Error::Protocol("a message before the key exchange"));
            }
        }
        self.exchange = if self.role == Role::Server {
            Exchange::Serving { mine, theirs, choice, skip }
        } else {
            let ephemeral = Box::new(Ephemeral::generate(choice.kex)?);
            self.send(|out| Offer { public: &ephemeral.public }.encode(out))?;
            Exchange::Waiting { mine, theirs, choice, skip, ephemeral }
        };
        Ok(())
    }

    /// The server answers the client's public value.
    fn serve(
        &mut self,
        payload: &[u8],
        (mine, theirs): (&[u8], &[u8]),
        choice: &Choice,
    ) -> Result<(), Error> {
        let offer = Offer::decode(&mut Reader::new(payload))?;
        let (public, secret) = kex::respond(choice.kex, offer.public)?;
        let (key, blob) = self
            .host_keys
            .iter()
            .flat_map(|key| [(key, key.certificate.as_ref()), (key, Some(&key.plain))])
            .find_map(|(key, blob)| Some((key, blob.filter(|blob| blob.kind() == choice.host_key)?)))
            .ok_or(Error::NoCommon("host key algorithm"))?;
        let (client_version, server_version) = (self.peer_version(), self.versions.0.as_str());
        let exchange = Transcript {
            client_version,
            server_version,
            client_init: theirs,
            server_init: mine,
            host_key: blob.as_bytes(),
            client_public: offer.public,
            server_public: &public,
        }
        .hash(choice.kex, &secret);
        let (blob, signature) = (blob.as_bytes().to_vec(), key.key.sign(&exchange));
        self.send(|out| {
            Answer { host_key: &blob, public: &public, signature: &signature }.encode(out);
        })?;
        self.turn(choice, &secret, exchange)
    }

    /// The client checks the server's answer.
    fn conclude(
        &mut self,
        payload: &[u8],
        (mine, theirs): (&[u8], &[u8]),
        choice: &Choice,
        ephemeral: &Ephemeral,
    ) -> Result<(), Error> {
        let answer = Answer::decode(&mut Reader::new(payload))?;
        let secret = ephemeral.finish(answer.public)?;
        let (client_version, server_version) = (self.versions.0.as_str(), self.peer_version());
        let exchange = Transcript {
            client_version,
            server_version,
            client_init: mine,
            server_init: theirs,
            host_key: answer.host_key,
            client_public: &ephemeral.public,
            server_public: answer.public,
        }
        .hash(choice.kex, &secret);
        verify(answer.host_key, &choice.host_key, &exchange, answer.signature)
            .map_err(|_| Error::KeyExchange("the host's signature is wrong"))?;
        let key = PublicKey::from_bytes(answer.host_key)?;
        match &self.host {
            None => self.host = Some(key),
            Some(known) if *known == key => {}
            Some(_) => return Err(Error::KeyExchange("the host's key changed")),
        }
        self.turn(choice, &secret, exchange)
    }

    /// Both sides know the secret: ours is in use from here on.
    fn turn(&mut self, choice: &Choice, secret: &[u8], exchange: Vec<u8>) -> Result<(), Error> {
        if self.session.is_empty() {
            self.session.clone_from(&exchange);
        }
        let derivation = Derivation { kex: choice.kex, secret, exchange: &exchange, session: &self.session };
        let to_server = derivation.material(true, choice.ciphers.0, choice.macs.0);
        let to_client = derivation.material(false, choice.ciphers.1, choice.macs.1);
        let (sealer, opener) = if self.role == Role::Client {
            let sealer = Sealer::new(choice.ciphers.0, choice.macs.0, &to_server)?;
            (sealer, Opener::new(choice.ciphers.1, choice.macs.1, &to_client)?)
        } else {
            let sealer = Sealer::new(choice.ciphers.1, choice.macs.1, &to_client)?;
            (sealer, Opener::new(choice.ciphers.0, choice.macs.0, &to_server)?)
        };
        self.send(|out| out.push(number::NEWKEYS))?;
        self.sealer = sealer;
        self.tx.fresh(self.strict);
        self.exchange = Exchange::Turning { opener: Box::new(opener) };
        if self.first && self.role == Role::Server && choice.ext_info {
            let mut names = Vec::new();
            put_names(&mut names, USER_ALGORITHMS.into_iter().filter(|name| !name.contains("-cert-")));
            let names = names.get(4..).unwrap_or_default();
            let info = ExtInfo(vec![(b"server-sig-algs", names), (b"ping@openssh.com", b"0")]);
            self.send(|out| info.encode(out))?;
        }
        Ok(())
    }
}

fn choose(client: &KexInit<'_>, server: &KexInit<'_>) -> Result<Choice, Error> {
    let kex = named(client.kex, server.kex, &KEXES, "key exchange method")?;
    let host_key = common(client.host_key, server.host_key).ok_or(Error::NoCommon("host key algorithm"))?;
    let up = named(client.cipher_in, server.cipher_in, &CIPHERS, "cipher")?;
    let down = named(client.cipher_out, server.cipher_out, &CIPHERS, "cipher")?;
    let mac = |cipher: Cipher, client, server| {
        // A cipher that authenticates by itself takes no MAC; which one is named then does not matter.
        if cipher.is_aead() { Ok(Mac::Sha256) } else { named(client, server, &MACS, "MAC") }
    };
    let macs = (mac(up, client.mac_in, server.mac_in)?, mac(down, client.mac_out, server.mac_out)?);
    for (client, server) in
        [(client.compression_in, server.compression_in), (client.compression_out, server.compression_out)]
    {
        if common(client, server) != Some("none") {
            return Err(Error::NoCommon("compression (only none is spoken)"));
        }
    }
    let ext_info = client.kex.contains("ext-info-c");
    Ok(Choice { kex, host_key: host_key.to_owned(), ciphers: (up, down), macs, ext_info })
}

fn named<T: Copy>(
    client: NameList<'_>,
    server: NameList<'_>,
    known: &[(&str, T)],
    kind: &'static str,
) -> Result<T, Error> {
    let name = common(client, server).ok_or(Error::NoCommon(kind))?;
    known.iter().find(|(found, _)| *found == name).map(|(_, value)| *value).ok_or(Error::NoCommon(kind))
}
