//! What an account's own file adds to the environment of its programs, where the host's configuration permits it.
//!
//! Read between fork and exec, as the account: a slow or hanging home directory holds up that one session. At most
//! [`MAX_FILE`] bytes, [`MAX_LINE`] a line and [`MAX_VARIABLES`] variables; only a regular file that nobody else can
//! write. A line that is not taken is told on the program's standard error and does no harm.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::unistd::Uid;
use rustix::fs::{Mode, OFlags};

/// Where it is looked for, under the home directory; the first that exists counts. The second is sshd's.
const FILES: [&str; 2] = [".msh/environment", ".ssh/environment"];
/// The largest file.
const MAX_FILE: usize = 32 * 1024;
/// The longest line.
const MAX_LINE: usize = 4096;
/// Most variables.
const MAX_VARIABLES: usize = 128;
/// Lines complained about one by one.
const MAX_COMPLAINTS: usize = 8;

/// An environment in parts: what the account's file says comes between.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// What every session has.
    pub(crate) fixed: Vec<CString>,
    /// What this session has: facts of the connection, and what its client asked for.
    pub(crate) asked: Vec<CString>,
}

/// What a file says, and what is wrong with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    /// `NAME=value` by name.
    variables: BTreeMap<Vec<u8>, CString>,
    /// Words for the person.
    pub(crate) complaints: Vec<String>,
}

impl Environment {
    /// All of it. The account's file replaces what every session has, never what this one has.
    pub(crate) fn with(self, own: Own) -> Vec<CString> {
        let asked: Vec<Vec<u8>> = self.asked.iter().map(|line| name(line).to_vec()).collect();
        let fixed = self.fixed.into_iter().filter(|line| !own.variables.contains_key(name(line)));
        let mut all: Vec<CString> = fixed.collect();
        all.extend(own.variables.into_iter().filter(|(name, _)| !asked.contains(name)).map(|(_, line)| line));
        all.extend(self.asked);
        all
    }
}

fn name(line: &CStr) -> &[u8] {
    line.to_bytes().split(|b| *b == b'=').next().unwrap_or_default()
}

/// Reads the file under `home`, with the rights of the caller, who is `owner` by now. Nothing when there is none.
pub(crate) fn read(home: &CStr, owner: Uid) -> Own {
    let home = Path::new(std::ffi::OsStr::from_bytes(home.to_bytes()));
    for file in FILES {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = match rustix::fs::open(home.join(file), flags, Mode::empty()) {
            Ok(opened) => opened,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => continue,
            Err(error) => return not_taken(file, &error.to_string()),
        };
        return match contents(std::fs::File::from(opened), owner) {
            Ok(text) => parse(file, &text),
            Err(why) => not_taken(file, &why),
        };
    }
    Own::default()
}

fn contents(file: std::fs::File, owner: Uid) -> Result<Vec<u8>, String> {
    use std::os::unix::fs::MetadataExt;
    let meta = file.metadata().map_err(|e| e.to_string())?;
    if !meta.is_file() {
        return Err("not a regular file".to_owned());
    }
    if meta.uid() != owner.as_raw() && meta.uid() != 0 {
        return Err("it belongs to somebody else: make it your own".to_owned());
    }
    if meta.mode() & 0o022 != 0 {
        return Err("others may write it: `chmod go-w` it".to_owned());
    }
    let mut text = Vec::new();
    let most = u64::try_from(MAX_FILE).unwrap_or(u64::MAX);
    file.take(most + 1).read_to_end(&mut text).map_err(|e| e.to_string())?;
    if text.len() > MAX_FILE {
        return Err(format!("it is larger than {} KiB", MAX_FILE / 1024));
    }
    Ok(text)
}

fn not_taken(file: &str, why: &str) -> Own {
    Own { complaints: vec![format!("~/{file} is not taken: {why}")], ..Own::default() }
}

/// Lines of the form `NAME=value`, as sshd reads them: blanks before the name, empty lines and `#` are passed over,
/// nothing is unquoted.
fn parse(file: &str, text: &[u8]) -> Own {
    let mut own = Own::default();
    let mut bad = 0;
    for (number, line) in text.split(|b| *b == b'\n').enumerate() {
        let line = line.trim_ascii_start();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let taken = variable(line).and_then(|(name, line)| {
            if own.variables.len() >= MAX_VARIABLES && !own.variables.contains_key(&name) {
                return Err("too many variables");
            }
            own.variables.insert(name, line);
            Ok(())
        });
        if let Err(why) = taken {
            bad += 1;
            if bad <= MAX_COMPLAINTS {
                own.complaints.push(format!("~/{file} line {}: {why}", number + 1));
            }
        }
    }
    if bad > MAX_COMPLAINTS {
        own.complaints.push(format!("~/{file}: {} more lines are not taken", bad - MAX_COMPLAINTS));
    }
    own
}

fn variable(line: &[u8]) -> Result<(Vec<u8>, CString), &'static str> {
    if line.len() > MAX_LINE {
        return Err("too long");
    }
    let end = line.iter().position(|b| *b == b'=').ok_or("no NAME=value")?;
    let name = line.get(..end).unwrap_or_default();
    let text = std::str::from_utf8(name).map_err(|_| "not a name")?;
    if !crate::env::is_name(text) {
        return Err("not a name");
    }
    if !crate::env::account_may_set(text) {
        return Err("the host does not let this variable be set here");
    }
    let whole = CString::new(line).map_err(|_| "a NUL byte")?;
    Ok((name.to_vec(), whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(environment: Environment, own: Own) -> Vec<String> {
        environment.with(own).into_iter().map(|line| line.into_string().unwrap()).collect()
    }

    #[test]
    fn assignments_are_taken_as_they_stand_and_the_last_counts() {
        let own = parse("f", b"# mine\n\n  A=1\nB=\"two words\" # no comment\r\nA=3\nEMPTY=\n");

        assert_eq!(own.complaints, Vec::<String>::new());
        assert_eq!(lines(Environment::default(), own), ["A=3", "B=\"two words\" # no comment", "EMPTY="]);
    }

    #[test]
    fn what_is_not_taken_is_told_with_its_line() {
        let long = format!("LONG={}", "x".repeat(MAX_LINE));
        let text = format!("A=1\nnothing\nLD_PRELOAD=/x.so\n2B=1\nC=\0\n{long}\n=1\nHOME=/\n");

        let own = parse("f", text.as_bytes());

        assert_eq!(
            own.complaints,
            [
                "~/f line 2: no NAME=value",
                "~/f line 3: the host does not let this variable be set here",
                "~/f line 4: not a name",
                "~/f line 5: a NUL byte",
                "~/f line 6: too long",
                "~/f line 7: not a name",
                "~/f line 8: the host does not let this variable be set here",
            ]
        );
        assert_eq!(lines(Environment::default(), own), ["A=1"]);
    }

    #[test]
    fn variables_and_complaints_have_a_bound() {
        let many: String = (0..MAX_VARIABLES + 20).map(|n| format!("V{n}=\n")).collect();

        let own = parse("f", many.as_bytes());

        assert_eq!(own.variables.len(), MAX_VARIABLES);
        assert_eq!(own.complaints.len(), MAX_COMPLAINTS + 1);
        assert_eq!(own.complaints.last().unwrap(), "~/f: 12 more lines are not taken");
    }

    #[test]
    fn the_file_replaces_what_every_session_has_and_nothing_of_this_one() {
        let environment = Environment {
            fixed: vec![c"HOME=/home/ann".into(), c"PATH=/bin".into()],
            asked: vec![c"LANG=C".into(), c"SSH_TTY=/dev/pts/1".into()],
        };

        let all = lines(environment, parse("f", b"PATH=/opt/bin:/bin\nLANG=de_DE.UTF-8\nMORE=1\n"));

        assert_eq!(all, ["HOME=/home/ann", "MORE=1", "PATH=/opt/bin:/bin", "LANG=C", "SSH_TTY=/dev/pts/1"]);
    }

    #[test]
    fn only_a_plain_file_of_ones_own_is_read() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let c_home = CString::new(home.path().as_os_str().as_bytes()).unwrap();
        let me = Uid::effective();
        let read = || read(&c_home, me);
        assert_eq!(read(), Own::default(), "there is none");
        std::fs::create_dir(home.path().join(".ssh")).unwrap();
        let file = home.path().join(".ssh/environment");
        std::fs::write(&file, "A=1\n").unwrap();
        let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();

        mode(0o600);
        assert_eq!(read().variables.len(), 1);
        mode(0o666);
        assert_eq!(
            read().complaints,
            ["~/.ssh/environment is not taken: others may write it: `chmod go-w` it"]
        );
        mode(0o600);
        std::fs::write(&file, vec![b'\n'; MAX_FILE + 1]).unwrap();
        assert_eq!(read().complaints, ["~/.ssh/environment is not taken: it is larger than 32 KiB"]);
        std::fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert_eq!(read().complaints, ["~/.ssh/environment is not taken: not a regular file"]);
        std::fs::create_dir(home.path().join(".msh")).unwrap();
        std::fs::write(home.path().join(".msh/environment"), "B=1\nC=2\n").unwrap();
        assert_eq!(read().variables.len(), 2, "ours counts first");
    }
}
