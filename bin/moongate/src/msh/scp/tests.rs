//! What a copy leaves, here and there, whatever becomes of it. The other end is the node's own server over files here, or a
//! few answers out of a table.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::UnixStream;
use wire::Reader;
use wire::sftp::{Name, Reply, Request, Status, VERSION, frame};

use super::*;
use crate::show::Format;

/// What comes of a file.
static PART: [u8; CHUNK] = [7; CHUNK];

fn copy(paths: &[&str]) -> Result<Copy> {
    Copy::parse(&paths.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>())
}

/// `msh scp gpu-1:there <to>`.
fn download(to: &Path) -> Copy {
    copy(&["gpu-1:there", to.to_str().unwrap()]).unwrap()
}

fn plain() -> Scp {
    Scp {
        recursive: false,
        preserve: false,
        quiet: true,
        port: None,
        format: Format::Text,
        paths: Vec::new(),
    }
}

/// A server that answers a question at a time, and hangs up at the first that it has no answer to.
async fn answering(
    mut stream: DuplexStream,
    mut answer: impl FnMut(&Request<'_>) -> Option<Reply<'static>>,
) -> Result<()> {
    let (mut input, mut out) = (Vec::new(), Vec::new());
    loop {
        let mut reader = Reader::new(&input);
        if let Some(body) = frame(&mut reader)? {
            let (id, request) = Request::decode(body)?;
            let Some(reply) = answer(&request) else { return Ok(()) };
            reply.encode(id, &mut out);
            let used = input.len() - reader.remaining();
            input.drain(..used);
            stream.write_all(&std::mem::take(&mut out)).await?;
        } else if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

/// The server that nodes have, over files here.
fn node() -> UnixStream {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let input = theirs.try_clone().unwrap();
    std::thread::spawn(move || ::node::sftp::serve(input, theirs));
    ours.set_nonblocking(true).unwrap();
    UnixStream::from_std(ours).unwrap()
}

/// A node with one regular file, of which `read` and `opened` tell what comes of it.
fn one_file(
    request: &Request<'_>,
    opened: Reply<'static>,
    read: Option<Reply<'static>>,
) -> Option<Reply<'static>> {
    let attrs = Attrs { mode: Some(0o100_644), size: Some(1 << 20), ..Attrs::default() };
    match request {
        Request::Init { .. } => Some(Reply::Version { version: VERSION, extensions: Vec::new() }),
        Request::Stat { .. } => Some(Reply::Attrs(attrs)),
        Request::Open { .. } => Some(opened),
        Request::Read { offset: 0, .. } => read,
        _ => None,
    }
}

#[test]
fn one_side_is_a_node() {
    assert!(matches!(copy(&["a", "b", "gpu-1:/tmp"]).unwrap(), Copy::Up { from, .. } if from.len() == 2));
    assert!(
        matches!(copy(&["gpu-1:a", "gpu-1:b", "."]).unwrap(), Copy::Down { paths, .. } if paths.len() == 2)
    );
    for bad in [&["a", "b"][..], &["x:a", "y:b"], &["x:a", "y:b", "."]] {
        assert!(copy(bad).is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn what_the_node_refuses_leaves_the_file_here_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (kept, new) = (dir.path().join("kept"), dir.path().join("new"));
    fs::write(&kept, b"before").unwrap();

    for to in [&kept, &new] {
        let (ours, theirs) = duplex(1 << 16);
        let denied = || Reply::Status { status: Status::PermissionDenied, message: "" };
        let server = answering(theirs, move |request| one_file(request, denied(), None));
        let (copy, plain, mut so_far) = (download(to), plain(), Copied::default());
        let (copied, served) = tokio::join!(run(ours, &copy, &plain, &mut so_far), server);

        served.unwrap();
        assert_eq!(format!("{:#}", copied.unwrap_err()), "cannot copy there: permission denied");
    }

    assert_eq!(fs::read(&kept).unwrap(), b"before");
    assert!(!new.exists());
}

/// A tree of a file within directories that are closed to writing.
fn closed_tree(at: &Path) {
    let inner = at.join("inner");
    fs::create_dir_all(&inner).unwrap();
    fs::write(inner.join("file"), b"content").unwrap();
    for dir in [&inner, at] {
        fs::File::open(dir).unwrap().set_modified(time(1_000_000_000)).unwrap();
        fs::set_permissions(dir, fs::Permissions::from_mode(0o550)).unwrap();
    }
}

#[tokio::test]
async fn directories_are_as_their_source_once_everything_is_in_them() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    closed_tree(&tree);
    let tree = tree.to_str().unwrap();

    for (n, preserve) in [false, true].into_iter().enumerate() {
        for (way, place) in ["up", "down"].into_iter().zip([format!("u{n}"), format!("d{n}")]) {
            let to = dir.path().join(place);
            let there = to.display();
            let copy = match way {
                "up" => copy(&[tree, &format!("gpu-1:{there}")]).unwrap(),
                _ => copy(&[&format!("gpu-1:{tree}"), to.to_str().unwrap()]).unwrap(),
            };

            let mut copied = Copied::default();
            let wanted = Scp { recursive: true, preserve, ..plain() };
            run(node(), &copy, &wanted, &mut copied).await.unwrap();

            assert_eq!(copied, Copied { files: 1, bytes: 7 }, "{way}");

            assert_eq!(fs::read(to.join("inner/file")).unwrap(), b"content", "{way}");
            for made in [to.join("inner"), to] {
                let about = fs::metadata(&made).unwrap();
                // No mask that is in use takes anything from the owner.
                assert_eq!(about.mode() & OWNER, 0o500, "{way} {}", made.display());
                assert_eq!(about.mtime() == 1_000_000_000, preserve, "{way} {}", made.display());
            }
        }
    }
}

#[tokio::test]
async fn what_a_tilde_stands_for_is_asked_of_the_node() {
    let mut home = Sftp::begin(node()).await.unwrap();
    let home = home.expand(b"~").await.unwrap();
    let (whole, below) = (home.clone(), join(&home, b"x"));

    for (typed, path) in
        [("~", whole.as_slice()), ("~/x", &below), ("./~", b"./~"), ("a~", b"a~"), ("", b".")]
    {
        let mut sftp = Sftp::begin(node()).await.unwrap();
        assert_eq!(spelled_out(&mut sftp, typed).await.unwrap(), path, "{typed}");
    }

    let mut sftp = Sftp::begin(node()).await.unwrap();
    let nobody = spelled_out(&mut sftp, "~no-such-account/x").await.unwrap_err();
    let said = "cannot find ~no-such-account/x on the node: no such file or directory";
    assert_eq!(format!("{nobody:#}"), said);
}

#[tokio::test]
async fn a_node_does_not_choose_what_is_written_here() {
    for (typed, name) in
        [("~/x", Some("x")), ("~", None), ("~ann/", None), ("~/.", None), ("./~", Some("~")), ("", None)]
    {
        assert_eq!(name_here(typed).and_then(OsStr::to_str), name, "{typed}");
    }
    let dir = tempfile::tempdir().unwrap();
    let fetch = copy(&["gpu-1:~/x", dir.path().to_str().unwrap()]).unwrap();
    let (ours, theirs) = duplex(1 << 16);
    let server = answering(theirs, |request| match request {
        Request::Extended { .. } => {
            let name = Name { name: b"/home/ann/.bashrc", long: b"", attrs: Attrs::default() };
            Some(Reply::Names(vec![name]))
        }
        other => one_file(other, Reply::Handle(b"1"), Some(Reply::Data(&PART))),
    });

    let (plain, mut so_far) = (plain(), Copied::default());
    let (_cut, _hung_up) = tokio::join!(run(ours, &fetch, &plain, &mut so_far), server);

    assert_eq!(fs::read(dir.path().join("x")).unwrap(), PART);
    assert!(!dir.path().join(".bashrc").exists());
}

#[tokio::test]
async fn a_node_that_does_not_know_tildes_gets_no_file_of_that_name() {
    let dir = tempfile::tempdir().unwrap();
    let notes = dir.path().join("notes");
    fs::write(&notes, b"content").unwrap();
    let upload = copy(&[notes.to_str().unwrap(), "gpu-1:~"]).unwrap();
    let (ours, theirs) = duplex(1 << 16);
    let server = answering(theirs, |request| match request {
        Request::Extended { .. } => Some(Reply::Status { status: Status::Unsupported, message: "" }),
        other => one_file(other, Reply::Handle(b"1"), None),
    });

    let (plain, mut so_far) = (plain(), Copied::default());
    let (copied, served) = tokio::join!(run(ours, &upload, &plain, &mut so_far), server);

    served.unwrap();
    let said = copied.unwrap_err().to_string();
    assert!(said.contains("a file of that name is ./~"), "{said}");
}

#[tokio::test]
async fn a_copy_that_was_cut_off_names_what_is_incomplete() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().join("here");
    fs::write(&here, vec![0; 4 * CHUNK]).unwrap();
    let there = dir.path().join("there");
    let upload = copy(&[here.to_str().unwrap(), "gpu-1:there"]).unwrap();

    for (copy, incomplete) in
        [(download(&there), there.display().to_string()), (upload, "there on the node".to_owned())]
    {
        let (ours, theirs) = duplex(1 << 16);
        let server =
            answering(theirs, |request| one_file(request, Reply::Handle(b"1"), Some(Reply::Data(&PART))));
        let (plain, mut so_far) = (plain(), Copied::default());
        let (copied, _hung_up) = tokio::join!(run(ours, &copy, &plain, &mut so_far), server);

        let said = format!("{:#}", copied.unwrap_err());
        assert!(said.contains(&format!(": {incomplete} is incomplete: the connection")), "{said}");
        assert_eq!(so_far, Copied::default(), "nothing is whole");
    }
    assert_eq!(fs::read(there).unwrap(), PART);
}
