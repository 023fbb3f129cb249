//! Sessions as a node tells of them: announced while they live, their recordings sealed and sent.

use std::time::Duration;

use audit::recording::frame::{Frame, Start};
use audit::recording::{Sealed, Writer};
use aws_lc_rs::signature::Ed25519KeyPair;
use bytes::Bytes;
use model::SessionId;
use model::api::access::{LiveSession, TrackSession};
use model::api::recordings::{GetRecording, RecordingState};
use testkit::client::Client;

use crate::world::{Host, World};

/// A node's recording in the making; sealed with the node's SSH key.
pub struct Tape {
    writer: Writer,
    pub key: Seal,
}

pub struct Seal(std::sync::Arc<dyn audit::Sign>);

impl Tape {
    pub fn new(world: &World, node: &Host, user: &str) -> Self {
        let id = SessionId::from_random(world.random.bytes());
        let mut writer = Writer::new(id, world.clock.now());
        let start = Start {
            user: user.into(),
            login: "root".into(),
            node: node.id.to_string(),
            node_name: "web-1".into(),
            cluster: "gate.example".into(),
            kind: "shell".into(),
            ..Start::default()
        };
        writer.push(Duration::ZERO, &Frame::Start(start));
        Self { writer, key: seal_of(node) }
    }

    pub fn id(&self) -> SessionId {
        self.writer.session().clone()
    }

    pub fn seal(&mut self, text: &str, last: bool) -> Sealed {
        let at = self.writer.until() + Duration::from_millis(5);
        self.writer.push_bytes(at, text.as_bytes(), Frame::Output);
        self.writer.seal(last, self.key.0.as_ref()).unwrap().unwrap()
    }
}

pub fn seal_of(node: &Host) -> Seal {
    let der = pki_pkcs8(&node.keys.ssh);
    Seal(std::sync::Arc::new(Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).unwrap()))
}

fn pki_pkcs8(key: &pki::KeyPair) -> Vec<u8> {
    key.to_pkcs8_der().unwrap().to_vec()
}

pub async fn put(node: &Host, id: &SessionId, sealed: &Sealed) -> Result<(), testkit::client::CallError> {
    node.client.put_segment(id, sealed.n, Bytes::from(sealed.bytes.clone())).await.map(|_| ())
}

/// Reads everything and verifies it with the audit key alone.
pub async fn verify(world: &World, client: &Client, id: &SessionId) -> audit::recording::Report {
    let detail = client.call(&GetRecording { id: id.clone() }).await.unwrap();
    let mut segments = Vec::new();
    for n in 0..detail.info.segments {
        segments.push(client.get_segment(id, n).await.unwrap());
    }
    let key = world.authority.trust().audit_key.parse().unwrap();
    audit::recording::verify(&detail, segments, key).unwrap()
}

/// A shell of somebody's on `node`, as it is announced while it lives.
pub fn live(world: &World, node: &Host, id: SessionId, user: &str) -> LiveSession {
    LiveSession {
        id,
        user: user.parse().unwrap(),
        login: "root".parse().unwrap(),
        node: node.id.clone(),
        node_name: "web-1".parse().unwrap(),
        started: world.clock.now(),
        command: String::new(),
        interactive: true,
        client_addr: "203.0.113.7:50000".into(),
    }
}

pub fn announced(world: &World, node: &Host, id: &SessionId) -> TrackSession {
    TrackSession { id: id.clone(), session: Some(live(world, node, id.clone(), "ann")) }
}

pub async fn state(client: &Client, id: &SessionId) -> RecordingState {
    client.call(&GetRecording { id: id.clone() }).await.unwrap().info.state
}
