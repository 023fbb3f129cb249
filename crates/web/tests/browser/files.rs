//! Files of a node: looked at, brought and fetched, over a file service that keeps files in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::Reader;
use wire::sftp::{Attrs, Name, OpenFlags, Reply, Request, Status, frame};

use super::world::{Answer, Gate, Page};

/// Paths and bytes; `/home` is the one directory.
pub(crate) type Disk = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

const FILE: u32 = 0o100_644;
const HOME: u32 = 0o040_755;

/// Serves one conversation over `disk`.
pub(crate) async fn serve(channel: ssh::Channel, disk: Disk) {
    let mut stream = channel.into_stream();
    let (mut input, mut open) = (Vec::new(), BTreeMap::new());
    loop {
        let mut out = Vec::new();
        let mut reader = Reader::new(&input);
        while let Some(body) = frame(&mut reader).unwrap() {
            let (id, request) = Request::decode(body).unwrap();
            answer(id, request, &disk, &mut open, &mut out);
        }
        let used = input.len() - reader.remaining();
        input.drain(..used);
        if stream.write_all(&out).await.is_err() || stream.read_buf(&mut input).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

fn answer(
    id: u32,
    request: Request<'_>,
    disk: &Disk,
    open: &mut BTreeMap<Vec<u8>, (String, bool)>,
    out: &mut Vec<u8>,
) {
    let mut disk = disk.lock().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let attrs = |path: &str, disk: &BTreeMap<String, Vec<u8>>| {
        if path == "/home" {
            return Some(Attrs { mode: Some(HOME), ..Attrs::default() });
        }
        disk.get(path).map(|b| Attrs { size: Some(b.len() as u64), mode: Some(FILE), ..Attrs::default() })
    };
    let status = |status| Reply::Status { status, message: "File exists" };
    let handle = id.to_be_bytes();
    let reply = match request {
        Request::Init { .. } => Reply::Version { version: 3, extensions: vec![] },
        Request::Realpath { path: b"." } => {
            Reply::Names(vec![Name { name: b"/home", long: b"", attrs: Attrs::default() }])
        }
        Request::Realpath { path } => {
            Reply::Names(vec![Name { name: path, long: b"", attrs: Attrs::default() }])
        }
        Request::Stat { path } | Request::Lstat { path } => {
            attrs(&text(path), &disk).map_or(status(Status::NoSuchFile), Reply::Attrs)
        }
        Request::Opendir { path } => {
            open.insert(handle.to_vec(), (text(path), false));
            Reply::Handle(&handle)
        }
        Request::Readdir { handle } => {
            let (path, told) = open.get_mut(handle).unwrap();
            if std::mem::replace(told, true) {
                status(Status::Eof)
            } else {
                let path = format!("{path}/");
                let names = disk.iter().filter_map(|(p, b)| Some((p.strip_prefix(&path)?, b.len() as u64)));
                let names = names.map(|(name, size)| Name {
                    name: name.as_bytes(),
                    long: b"",
                    attrs: Attrs { size: Some(size), mode: Some(FILE), ..Attrs::default() },
                });
                Reply::Names(names.collect()).encode(id, out);
                return;
            }
        }
        Request::Open { path, flags, .. } => {
            let path = text(path);
            let there = disk.contains_key(&path);
            if there && flags.has(OpenFlags::EXCLUSIVE) {
                status(Status::Failure)
            } else if !there && !flags.has(OpenFlags::CREATE) {
                status(Status::NoSuchFile)
            } else {
                let bytes = disk.entry(path.clone()).or_default();
                if flags.has(OpenFlags::TRUNCATE) {
                    bytes.clear();
                }
                open.insert(handle.to_vec(), (path, false));
                Reply::Handle(&handle)
            }
        }
        Request::Write { handle, offset, data } => {
            let bytes = disk.get_mut(&open.get(handle).unwrap().0).unwrap();
            let end = offset as usize + data.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[offset as usize..end].copy_from_slice(data);
            status(Status::Ok)
        }
        Request::Read { handle, offset, length } => {
            let bytes = &disk[&open.get(handle).unwrap().0];
            let start = (offset as usize).min(bytes.len());
            let data = &bytes[start..(start + length as usize).min(bytes.len())];
            if data.is_empty() { status(Status::Eof) } else { Reply::Data(data) }
        }
        Request::Rename { from, to } => {
            let (from, to) = (text(from), text(to));
            if disk.contains_key(&to) {
                status(Status::Failure)
            } else {
                let bytes = disk.remove(&from).unwrap();
                disk.insert(to, bytes);
                status(Status::Ok)
            }
        }
        Request::Extended { body, .. } => {
            let (from, to) = Request::two_paths(body).unwrap();
            let bytes = disk.remove(&text(from)).unwrap();
            disk.insert(text(to), bytes);
            status(Status::Ok)
        }
        Request::Remove { path } => {
            let gone = disk.remove(&text(path)).is_some();
            status(if gone { Status::Ok } else { Status::NoSuchFile })
        }
        Request::Close { .. } | Request::Setstat { .. } => status(Status::Ok),
        _ => status(Status::Unsupported),
    };
    reply.encode(id, out);
}

struct Files<'a> {
    gate: &'a Gate,
    page: Page,
}

impl Files<'_> {
    async fn post(&self, path: &str, body: Value) -> Answer {
        let mut ask = json!({"node": self.gate.world.node, "login": "ubuntu"});
        ask.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        self.gate.send("POST", &format!("/webapi/files/{path}"), &self.page.all(), &ask).await
    }

    async fn start(&self, size: usize, replace: bool) -> Answer {
        let ask = json!({"directory": "", "name": "w.bin", "size": size, "changed": 7, "replace": replace});
        self.post("uploads", ask).await
    }

    async fn put(&self, upload: &Value, offset: usize, bytes: &[u8]) -> Answer {
        let path = format!("/webapi/files/uploads/{}/{offset}", upload.as_str().unwrap());
        self.gate.send_bytes("PUT", &path, &self.page.all(), bytes).await
    }

    async fn finish(&self, upload: &Value) -> Answer {
        self.post(&format!("uploads/{}/finish", upload.as_str().unwrap()), json!({})).await
    }
}

async fn signed_in(gate: &Gate) -> Files<'_> {
    Files { gate, page: gate.sign_in().await }
}

fn disk(gate: &Gate, path: &str) -> Option<Vec<u8>> {
    gate.world.disk.lock().unwrap().get(path).cloned()
}

const SUM: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[tokio::test]
async fn a_file_is_brought_in_pieces_named_at_the_end_and_fetched_again() {
    let gate = Gate::new();
    let files = signed_in(&gate).await;

    let begun = files.start(3, false).await;
    assert_eq!((begun.status, &begun.body["offset"]), (200, &json!(0)), "{begun:?}");
    let upload = &begun.body["upload"];
    assert_eq!(files.put(upload, 0, b"ab").await.body["offset"], 2);
    assert_eq!(files.finish(upload).await.body["code"], "offset", "not all of it is there");
    assert_eq!(disk(&gate, "/home/w.bin"), None, "it has no name yet");
    assert_eq!(files.put(upload, 0, b"c").await.body["code"], "offset");
    assert_eq!(files.put(upload, 2, b"cd").await.body["code"], "piece", "more than was said");
    assert_eq!(files.put(upload, 2, b"c").await.body["offset"], 3);
    let done = files.finish(upload).await;
    assert_eq!((&done.body["stage"], &done.body["sha256"]), (&json!("done"), &json!(SUM)));
    assert_eq!(disk(&gate, "/home/w.bin").as_deref(), Some(&b"abc"[..]));
    assert_eq!(gate.world.disk.lock().unwrap().len(), 1, "no part file is left");

    let listed = files.post("list", json!({"path": ""})).await;
    assert_eq!(listed.body["path"], "/home");
    assert_eq!(listed.body["entries"][0]["name"], "w.bin");

    let ticket = files.post("tickets", json!({"path": "/home/w.bin"})).await;
    let path = format!("/webapi/files/downloads/{}", ticket.body["ticket"].as_str().unwrap());
    let stranger = gate.sign_in().await;
    assert_eq!(gate.send("GET", &path, &stranger.cookie, &Value::Null).await.status, 404);
    let fetched = gate.send("GET", &path, &files.page.cookie, &Value::Null).await;
    assert!(fetched.head.contains("content-length: 3"), "{}", fetched.head);
    assert!(fetched.header("content-disposition").unwrap().contains("w.bin"));
    assert_eq!(fetched.text, "abc");
    assert_eq!(gate.send("GET", &path, &files.page.cookie, &Value::Null).await.status, 404, "once");
    let told = gate.send("GET", "/webapi/files/downloads", &files.page.cookie, &Value::Null).await;
    assert_eq!(
        (&told.body["items"][0]["state"], &told.body["items"][0]["sha256"]),
        (&json!("done"), &json!(SUM))
    );
}

#[tokio::test]
async fn what_broke_off_goes_on_and_its_hash_is_known_all_the_same() {
    let gate = Gate::new();
    let first = signed_in(&gate).await;
    let begun = first.start(3, false).await;
    first.put(&begun.body["upload"], 0, b"ab").await;
    let again = first.start(3, false).await;
    assert_eq!((&again.body["upload"], &again.body["offset"]), (&begun.body["upload"], &json!(2)));

    // Another session of the same person: the part file is all there is, and its end is not believed.
    let later = signed_in(&gate).await;
    let resumed = later.start(3, false).await;
    assert_eq!(resumed.body["offset"], 0, "{resumed:?}");
    assert_ne!(resumed.body["upload"], begun.body["upload"]);
    later.put(&resumed.body["upload"], 0, b"abc").await;

    assert_eq!(later.finish(&resumed.body["upload"]).await.body["sha256"], SUM);
}

#[tokio::test]
async fn what_is_there_is_replaced_only_when_told_and_what_is_given_up_is_gone() {
    let gate = Gate::new();
    let files = signed_in(&gate).await;
    gate.world.disk.lock().unwrap().insert("/home/w.bin".into(), b"old".to_vec());

    let refused = files.start(3, false).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("exists")));
    let begun = files.start(3, true).await;
    files.put(&begun.body["upload"], 0, b"abc").await;
    assert_eq!(disk(&gate, "/home/w.bin").as_deref(), Some(&b"old"[..]), "until all of it is there");
    assert_eq!(files.finish(&begun.body["upload"]).await.body["stage"], "done");
    assert_eq!(disk(&gate, "/home/w.bin").as_deref(), Some(&b"abc"[..]));

    let begun = files.start(3, true).await;
    files.put(&begun.body["upload"], 0, b"x").await;
    let path = format!("/webapi/files/uploads/{}", begun.body["upload"].as_str().unwrap());
    assert_eq!(gate.send("DELETE", &path, &files.page.all(), &json!({})).await.status, 200);
    assert_eq!(gate.world.disk.lock().unwrap().len(), 1);
    assert_eq!(files.put(&begun.body["upload"], 1, b"y").await.body["code"], "gone");
}

#[tokio::test]
async fn files_need_a_session_a_page_of_ours_and_an_account() {
    let gate = Gate::new();
    let files = signed_in(&gate).await;
    let ask = json!({"node": gate.world.node, "login": "ubuntu", "path": ""});
    let path = "/webapi/files/list";

    assert_eq!(gate.send("POST", path, super::world::OURS, &ask).await.status, 401);
    assert_eq!(gate.send("POST", path, &files.page.cookie, &ask).await.status, 400, "no token");
    let root = json!({"node": gate.world.node, "login": "root", "path": ""});
    assert_eq!(gate.send("POST", path, &files.page.all(), &root).await.body["code"], "login");
    for name in ["", "..", "a/b"] {
        let ask = json!({"directory": "", "name": name, "size": 1});
        assert_eq!(files.post("uploads", ask).await.body["code"], "request", "{name}");
    }
    assert_eq!(files.post("tickets", json!({"path": "/home/none"})).await.body["code"], "missing");
    assert_eq!(files.post("tickets", json!({"path": "/home"})).await.body["code"], "directory");
}

#[tokio::test]
async fn a_ticket_and_an_upload_nobody_uses_end() {
    let gate = Gate::new();
    let files = signed_in(&gate).await;
    gate.world.disk.lock().unwrap().insert("/home/a".into(), b"abc".to_vec());
    let ticket = files.post("tickets", json!({"path": "/home/a"})).await;
    let begun = files.start(3, false).await;

    gate.world.clock.advance(Duration::from_secs(31));
    let path = format!("/webapi/files/downloads/{}", ticket.body["ticket"].as_str().unwrap());
    assert_eq!(gate.send("GET", &path, &files.page.cookie, &Value::Null).await.status, 404);
    gate.world.clock.advance(web::files::LEFT);
    assert_eq!(files.put(&begun.body["upload"], 0, b"abc").await.body["code"], "gone");
}
