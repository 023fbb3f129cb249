//! `msh scp`: files and trees between here and a node, over SFTP, with a progress bar.

use std::ffi::OsStr;
use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use ssh::sftp::{CHUNK, Error, Reading, Sftp, Start, Writing, is_dir, is_regular};
use tokio::io::{AsyncRead, AsyncWrite};
use wire::sftp::Attrs;

use super::args::Scp;
use super::target::{Place, Target};

/// What the owner of a directory needs to put things into it.
const OWNER: u32 = 0o700;

/// Which way a copy goes, parsed.
pub(crate) enum Copy {
    /// From here to a node.
    Up {
        /// Paths here.
        from: Vec<PathBuf>,
        /// Where to.
        to: Target,
        /// The path there.
        path: String,
    },
    /// From a node to here.
    Down {
        /// Where from.
        from: Target,
        /// Paths there.
        paths: Vec<String>,
        /// The path here.
        to: PathBuf,
    },
}

impl Copy {
    /// Parses the command line's paths.
    ///
    /// # Errors
    /// Both sides are here, both are there, or sources are on several nodes.
    pub(crate) fn parse(paths: &[String]) -> Result<Self> {
        let mut places = paths.iter().map(|p| Place::parse(p)).collect::<Result<Vec<_>>>()?;
        let to = places.pop().context("nothing to copy")?;
        match to {
            Place::There(to, path) => {
                let from = places
                    .into_iter()
                    .map(|p| match p {
                        Place::Here(path) => Ok(PathBuf::from(path)),
                        Place::There(..) => {
                            bail!("copying between two nodes is not possible: copy here first")
                        }
                    })
                    .collect::<Result<Vec<_>>>()?;
                Ok(Copy::Up { from, to, path })
            }
            Place::Here(to) => {
                let mut node: Option<Target> = None;
                let mut paths = Vec::new();
                for place in places {
                    let Place::There(target, path) = place else {
                        bail!("neither side names a node (node:path)")
                    };
                    if node.as_ref().is_some_and(|known| *known != target) {
                        bail!("the sources are on several nodes: copy from one at a time");
                    }
                    node = Some(target);
                    paths.push(path);
                }
                Ok(Copy::Down { from: node.context("nothing to copy")?, paths, to: PathBuf::from(to) })
            }
        }
    }

    /// The node.
    pub(crate) fn target(&self) -> &Target {
        match self {
            Copy::Up { to, .. } => to,
            Copy::Down { from, .. } => from,
        }
    }
}

/// How much was copied.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Copied {
    /// Regular files that are whole.
    pub(crate) files: u64,
    /// What is in them.
    pub(crate) bytes: u64,
}

impl Copied {
    fn one(&mut self, progress: &ProgressBar) {
        progress.finish();
        self.files += 1;
        self.bytes += progress.position();
    }
}

/// Copies over `stream`, an `sftp` subsystem, and counts what is copied.
///
/// # Errors
/// Names the file that could not be copied, and why.
pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    copy: &Copy,
    wanted: &Scp,
    copied: &mut Copied,
) -> Result<()> {
    let mut sftp = Sftp::begin(stream).await.context("the node offers no file transfer")?;
    match copy {
        Copy::Up { from, path, .. } => {
            let there = spelled_out(&mut sftp, path).await?;
            let into = sftp.stat(&there).await?.and_then(|a| a.mode).is_some_and(is_dir);
            if from.len() > 1 && !into {
                bail!("{path} on the node is no directory");
            }
            for source in from {
                let to = if into { join(&there, file_name(source)?) } else { there.clone() };
                up(&mut sftp, source, &to, wanted, copied).await?;
            }
        }
        Copy::Down { paths, to, .. } => {
            if paths.len() > 1 && !to.is_dir() {
                bail!("{} is no directory", to.display());
            }
            for path in paths {
                let there = spelled_out(&mut sftp, path).await?;
                let target = match name_here(path) {
                    Some(name) if to.is_dir() => to.join(name),
                    _ => to.clone(),
                };
                down(&mut sftp, &there, &target, wanted, copied).await?;
            }
        }
    }
    Ok(())
}

/// A path there as a server takes it. No shell reads it on its way, so the node is asked what `~` stands for.
async fn spelled_out<S: AsyncRead + AsyncWrite + Unpin>(sftp: &mut Sftp<S>, path: &str) -> Result<Vec<u8>> {
    match path {
        "" => Ok(b".".to_vec()),
        path if path.starts_with('~') => match sftp.expand(path.as_bytes()).await {
            Err(Error::Unsupported) => bail!(
                "the node does not tell what ~ stands for: a path without a leading / begins at home, \
                 and a file of that name is ./{path}"
            ),
            found => found.with_context(|| format!("cannot find {path} on the node")),
        },
        path => Ok(path.as_bytes().to_vec()),
    }
}

/// What a path there is called here; homes have no name. It is as it was typed: the node has no say in it.
fn name_here(typed: &str) -> Option<&OsStr> {
    let path = Path::new(typed);
    let is_home = typed.starts_with('~') && path.components().count() == 1;
    path.file_name().filter(|_| !is_home)
}

fn file_name(path: &Path) -> Result<&[u8]> {
    path.file_name().map(OsStr::as_bytes).with_context(|| format!("{} has no file name", path.display()))
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = dir.to_vec();
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

fn bar(name: &str, size: u64, quiet: bool) -> ProgressBar {
    let target = if quiet || !std::io::stderr().is_terminal() {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let bar = ProgressBar::with_draw_target(Some(size), target).with_message(crate::show::clean(name));
    match ProgressStyle::with_template(
        "{msg:30!} {bar:30} {bytes:>11}/{total_bytes} {bytes_per_sec:>13} {eta:>4}",
    ) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// What is left to do of a tree; the last step is the next one.
enum Step<From, To, End> {
    /// A file or directory.
    Copy(From, To),
    /// A directory with everything in it: only now may it be closed to its owner, and its times stay.
    Close(To, End),
}

async fn up<S: AsyncRead + AsyncWrite + Unpin>(
    sftp: &mut Sftp<S>,
    from: &Path,
    to: &[u8],
    wanted: &Scp,
    copied: &mut Copied,
) -> Result<()> {
    let mut work = vec![Step::Copy(from.to_owned(), to.to_vec())];
    while let Some(step) = work.pop() {
        let (from, to) = match step {
            Step::Copy(from, to) => (from, to),
            Step::Close(to, attrs) => {
                let shown = || crate::show::clean(&String::from_utf8_lossy(&to));
                sftp.set(&to, attrs).await.with_context(|| format!("cannot finish {}", shown()))?;
                continue;
            }
        };
        let context = || format!("cannot copy {}", from.display());
        let about = fs::metadata(&from).with_context(context)?;
        if about.is_dir() {
            anyhow::ensure!(wanted.recursive, "{} is a directory (give -r to copy it)", from.display());
            let end = begin_there(sftp, &to, &about, wanted).await.with_context(context)?;
            work.extend(end.map(|attrs| Step::Close(to.clone(), attrs)));
            let names = fs::read_dir(&from).and_then(|found| {
                found.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>()
            });
            let mut names = names.with_context(context)?;
            names.sort();
            for path in names.into_iter().rev() {
                let there = join(&to, file_name(&path)?);
                work.push(Step::Copy(path, there));
            }
            continue;
        }
        anyhow::ensure!(about.is_file(), "{} is not a regular file", from.display());
        let mut file = fs::File::open(&from).with_context(context)?;
        let progress = bar(&from.display().to_string(), about.len(), wanted.quiet);
        let there = sftp.writing(&to, about.mode(), Start::Over).await.with_context(context)?;
        send(sftp, there, &mut file, &progress).await.with_context(|| {
            let there = crate::show::clean(&String::from_utf8_lossy(&to));
            format!("{}: {there} on the node is incomplete", context())
        })?;
        copied.one(&progress);
        if wanted.preserve {
            sftp.set(&to, kept(&about)).await.with_context(context)?;
        }
    }
    Ok(())
}

/// What `--preserve` keeps.
fn kept(about: &fs::Metadata) -> Attrs {
    let times = (about.atime().try_into().unwrap_or(0), about.mtime().try_into().unwrap_or(0));
    Attrs { mode: Some(about.mode() & 0o7777), times: Some(times), ..Attrs::default() }
}

/// Makes a directory there, open to its owner until everything is in it; returns what it is to be then.
async fn begin_there<S: AsyncRead + AsyncWrite + Unpin>(
    sftp: &mut Sftp<S>,
    to: &[u8],
    about: &fs::Metadata,
    wanted: &Scp,
) -> Result<Option<Attrs>> {
    let mode = about.mode() & 0o7777;
    let was_there = sftp.stat(to).await?.and_then(|a| a.mode).is_some_and(is_dir);
    if !was_there {
        sftp.mkdir(to, mode | OWNER).await?;
    }
    if wanted.preserve {
        return Ok(Some(kept(about)));
    }
    if was_there || mode & OWNER == OWNER {
        return Ok(None);
    }
    // As open as the mask there let it be.
    let made = sftp.stat(to).await?.and_then(|a| a.mode).unwrap_or(mode);
    Ok(Some(Attrs { mode: Some(mode & made), ..Attrs::default() }))
}

async fn down<S: AsyncRead + AsyncWrite + Unpin>(
    sftp: &mut Sftp<S>,
    from: &[u8],
    to: &Path,
    wanted: &Scp,
    copied: &mut Copied,
) -> Result<()> {
    let mut work = vec![Step::Copy(from.to_vec(), to.to_owned())];
    while let Some(step) = work.pop() {
        let (from, to) = match step {
            Step::Copy(from, to) => (from, to),
            Step::Close(to, end) => {
                end_here(&to, end).with_context(|| format!("cannot finish {}", to.display()))?;
                continue;
            }
        };
        let shown = crate::show::clean(&String::from_utf8_lossy(&from));
        let context = || format!("cannot copy {shown}");
        let about = sftp
            .stat(&from)
            .await
            .with_context(context)?
            .with_context(|| format!("{shown}: no such file or directory"))?;
        let mode = about.mode.unwrap_or(0o644);
        if is_dir(mode) {
            anyhow::ensure!(wanted.recursive, "{shown} is a directory (give -r to copy it)");
            let end = begin_here(&to, mode & 0o777, &about, wanted)
                .with_context(|| format!("cannot make {}", to.display()))?;
            work.extend(end.map(|end| Step::Close(to.clone(), end)));
            let (entries, _) = sftp.list(&from, usize::MAX).await.with_context(context)?;
            for name in entries.into_iter().map(|entry| entry.name).rev() {
                // A server is a stranger: a name with a separator would write outside the directory.
                anyhow::ensure!(
                    !name.contains(&b'/') && name != b"..",
                    "the node sent a file name with a separator"
                );
                let here = to.join(std::ffi::OsString::from_vec(name.clone()));
                work.push(Step::Copy(join(&from, &name), here));
            }
            continue;
        }
        anyhow::ensure!(is_regular(mode), "{shown} is not a regular file");
        // Theirs first: what the node refuses costs nothing here.
        let mut there = sftp.reading(&from).await.with_context(context)?;
        // A new file is as open as the mask lets it be; one that was there stays as it was.
        let mut options = fs::File::options();
        let options = options.write(true).create(true).truncate(true).mode(mode & 0o777);
        let mut file = options.open(&to).with_context(|| format!("cannot write {}", to.display()))?;
        let progress = bar(&shown, about.size.unwrap_or(0), wanted.quiet);
        receive(sftp, &mut there, &mut file, &progress)
            .await
            .with_context(|| format!("{}: {} is incomplete", context(), to.display()))?;
        copied.one(&progress);
        if wanted.preserve {
            file.set_permissions(fs::Permissions::from_mode(mode & 0o777))?;
            if let Some((_, changed)) = about.times {
                file.set_modified(time(changed))?;
            }
        }
    }
    Ok(())
}

/// A time as SFTP has it.
fn time(seconds: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(seconds))
}

/// What a directory here is to be once everything is in it.
struct End {
    mode: u32,
    changed: Option<u32>,
}

/// Makes a directory here, open to its owner until everything is in it; returns what it is to be then.
fn begin_here(to: &Path, mode: u32, about: &Attrs, wanted: &Scp) -> std::io::Result<Option<End>> {
    let was_there = to.is_dir();
    if !was_there {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::DirBuilder::new().mode(mode | OWNER).create(to)?;
    }
    if wanted.preserve {
        return Ok(Some(End { mode, changed: about.times.map(|(_, changed)| changed) }));
    }
    if was_there || mode & OWNER == OWNER {
        return Ok(None);
    }
    // As open as the mask here let it be.
    Ok(Some(End { mode: mode & fs::metadata(to)?.mode(), changed: None }))
}

fn end_here(to: &Path, end: End) -> std::io::Result<()> {
    if let Some(changed) = end.changed {
        fs::File::open(to)?.set_modified(time(changed))?;
    }
    fs::set_permissions(to, fs::Permissions::from_mode(end.mode))
}

/// Writes a file there from `file`, whole.
async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    sftp: &mut Sftp<S>,
    mut there: Writing,
    file: &mut fs::File,
    progress: &ProgressBar,
) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = read_full(file, &mut buffer)?;
        if n == 0 {
            break;
        }
        sftp.write(&mut there, buffer.get(..n).unwrap_or_default()).await?;
        progress.inc(n as u64);
    }
    Ok(sftp.finish(there).await?)
}

/// Reads a file from there into `file`, whole.
async fn receive<S: AsyncRead + AsyncWrite + Unpin>(
    sftp: &mut Sftp<S>,
    there: &mut Reading,
    file: &mut fs::File,
    progress: &ProgressBar,
) -> Result<()> {
    while let Some(piece) = sftp.next(there).await? {
        file.write_all(&piece)?;
        progress.inc(piece.len() as u64);
    }
    Ok(())
}

fn read_full(from: &mut impl std::io::Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;
