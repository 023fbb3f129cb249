//! The file-transfer server against OpenSSH's client.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use wire::sftp::{Attrs, OpenFlags, Reply, Request, Status};

pub(crate) const TESTS: &[crate::Test] = &[
    ("files_go_up_and_come_down_unchanged", files_go_up_and_come_down_unchanged),
    ("every_command_of_the_client_works", every_command_of_the_client_works),
    ("refusals_are_told_in_words", refusals_are_told_in_words),
    ("a_client_that_does_not_speak_the_protocol_is_dropped", stranger),
    ("a_copy_within_a_file_that_would_never_end_is_refused", copy_onto_itself),
    ("too_long_a_packet_ends_the_server_before_it_is_kept", too_long),
];

/// Runs a batch of the client's commands; success, standard output, standard error.
fn sftp(batch: &str) -> (bool, String, String) {
    let server = format!("{} sftp-server", std::env::current_exe().unwrap().display());
    let mut client = Command::new("sftp")
        .args(["-q", "-b", "-", "-D", &server])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sftp is installed");
    client.stdin.take().unwrap().write_all(batch.as_bytes()).unwrap();
    let out = client.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (out.status.success(), text(out.stdout), text(out.stderr))
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 7u64;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        })
        .collect()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn files_go_up_and_come_down_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there, back) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
    let bytes = noise(48 << 20);
    std::fs::write(&here, &bytes).unwrap();
    std::fs::set_permissions(&here, PermissionsExt::from_mode(0o751)).unwrap();

    let (ok, out, err) =
        sftp(&format!("put -p {} {}\nget -p {} {}\n", path(&here), path(&there), path(&there), path(&back)));

    assert!(ok, "{out}{err}");
    assert!(std::fs::read(&there).unwrap() == bytes && std::fs::read(&back).unwrap() == bytes);
    let (before, after) = (std::fs::metadata(&here).unwrap(), std::fs::metadata(&back).unwrap());
    assert_eq!((after.mode() & 0o777, after.mtime()), (0o751, before.mtime()));
}

fn every_command_of_the_client_works() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("one"), "1").unwrap();
    std::fs::create_dir_all(dir.path().join("tree/deep")).unwrap();
    std::fs::write(dir.path().join("tree/deep/leaf"), "leaf").unwrap();
    for i in 0..300 {
        std::fs::write(dir.path().join(format!("tree/file{i}")), "x").unwrap();
    }
    let top = path(dir.path());

    let (ok, out, err) = sftp(&format!(
        "cd {top}\npwd\nls -l\nmkdir new\nchmod 700 new\nrename one new/moved\nln new/moved hard\n\
         ln -s new/moved soft\ncp new/moved copied\nls -1 tree\nget -r tree {top}/fetched\n\
         df\nrm hard\nrmdir tree/nothing\n"
    ));
    // The last command fails on purpose, so the batch does; everything before it must have worked.
    assert!(!ok && err.contains("nothing"), "{out}{err}");

    assert!(out.contains(&format!("Remote working directory: {top}")), "{out}");
    assert!(out.lines().any(|line| line.starts_with("-rw") && line.ends_with("one")), "{out}");
    assert_eq!(std::fs::metadata(dir.path().join("new")).unwrap().mode() & 0o777, 0o700);
    assert_eq!(std::fs::read_to_string(dir.path().join("new/moved")).unwrap(), "1");
    assert_eq!(std::fs::read_to_string(dir.path().join("copied")).unwrap(), "1");
    assert_eq!(std::fs::read_link(dir.path().join("soft")).unwrap(), Path::new("new/moved"));
    assert!(!dir.path().join("hard").exists());
    assert_eq!(std::fs::read_to_string(dir.path().join("fetched/deep/leaf")).unwrap(), "leaf");
    assert_eq!(std::fs::read_dir(dir.path().join("fetched")).unwrap().count(), 301);
    assert!(out.contains("%Capacity"), "{out}");
}

fn refusals_are_told_in_words() {
    let (ok, _, err) = sftp("get /nowhere/at/all\n");
    assert!(!ok && err.contains("not found"), "{err}");

    let (ok, _, err) = sftp("mkdir /proc/new\n");
    assert!(!ok && err.to_lowercase().contains("no such file"), "{err}");
}

fn serve(bytes: &[u8]) -> (bool, Vec<u8>) {
    let mut server = Command::new(std::env::current_exe().unwrap())
        .arg("sftp-server")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _ = server.stdin.take().unwrap().write_all(bytes);
    let out = server.wait_with_output().unwrap();
    (out.status.success(), out.stdout)
}

fn stranger() {
    let (ok, out) = serve(b"GET / HTTP/1.1\r\n\r\n");
    assert!(!ok && out.is_empty());

    // A request before the greeting.
    let (ok, out) = serve(b"\0\0\0\x09\x11\0\0\0\x01\0\0\0\0");
    assert!(!ok && out.is_empty());
}

fn copy_onto_itself() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "0123456789").unwrap();
    let copy = |length: u64, to: u64| {
        let handle = [0, 0, 0, 4, 0, 0, 0, 0];
        let body = [&handle[..], &[0; 8], &length.to_be_bytes(), &handle, &to.to_be_bytes()].concat();
        let (mut asked, attrs) = (Vec::new(), Attrs::default());
        let flags = OpenFlags(OpenFlags::READ | OpenFlags::WRITE);
        Request::Init { version: 3 }.encode(0, &mut asked);
        Request::Open { path: path(file.path()).as_bytes(), flags, attrs }.encode(1, &mut asked);
        Request::Extended { name: b"copy-data", body: &body }.encode(2, &mut asked);
        let (ok, out) = serve(&asked);
        assert!(ok);
        let mut answers = wire::Reader::new(&out);
        std::iter::from_fn(|| wire::sftp::frame(&mut answers).unwrap().map(Reply::decode))
            .find_map(|answer| match answer.unwrap() {
                (2, Reply::Status { status, .. }) => Some(status),
                _ => None,
            })
            .unwrap()
    };

    assert_eq!(copy(0, 10), Status::Failure);
    assert_eq!(copy(5, 4), Status::Failure);
    assert_eq!(copy(5, 10), Status::Ok);
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "012345678901234");
}

fn too_long() {
    let (ok, out) = serve(b"\0\0\0\x05\x01\0\0\0\x03\xff\xff\xff\xff");

    assert!(!ok);
    assert!(out.starts_with(b"\0\0") && out.get(4) == Some(&2));
}
