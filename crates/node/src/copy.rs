//! Which commands are file copies: the server sides of scp, rsync and sftp.
//!
//! Pure. This is how a client asks for a copy, not a wall: whoever may run commands can move bytes with any of them.
//! Where copying is denied, the ordinary ways are refused and on record.

/// Which way files go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the host.
    Up,
    /// From the host.
    Down,
    /// Both: the client says later.
    Both,
}

/// A file copy asked for as a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Which way.
    pub way: Way,
    /// The path, as far as the command tells.
    pub path: String,
    /// It is scp's own protocol.
    pub scp: bool,
}

/// Reads a command line as a shell would begin to: words by blanks, quotes removed.
#[must_use]
pub fn asked(command: &str) -> Option<Copy> {
    let words: Vec<String> = command.split_ascii_whitespace().map(unquoted).collect();
    // `env X=y scp …` and `command scp …` say the same.
    let mut words = words.iter().map(String::as_str).skip_while(|word| {
        matches!(*word, "env" | "command" | "exec" | "nice" | "ionice" | "sudo" | "nohup")
            || (word.contains('=') && !word.starts_with('-'))
    });
    let program = words.next()?;
    let arguments: Vec<&str> = words.collect();
    match program.rsplit('/').next()? {
        "scp" => scp(&arguments),
        "rsync" if arguments.contains(&"--server") => Some(Copy {
            way: if arguments.contains(&"--sender") { Way::Down } else { Way::Up },
            path: arguments.last().copied().unwrap_or_default().to_owned(),
            scp: false,
        }),
        "sftp-server" | "internal-sftp" => Some(Copy { way: Way::Both, path: String::new(), scp: false }),
        _ => None,
    }
}

fn scp(arguments: &[&str]) -> Option<Copy> {
    let flag = |letter: char| {
        arguments.iter().take_while(|a| **a != "--").any(|argument| {
            argument.starts_with('-') && !argument.starts_with("--") && argument.contains(letter)
        })
    };
    let way = match (flag('t'), flag('f')) {
        (true, _) => Way::Up,
        (false, true) => Way::Down,
        (false, false) => return None,
    };
    Some(Copy { way, path: arguments.last().copied().unwrap_or_default().to_owned(), scp: true })
}

fn unquoted(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_clients_ask_for_copies_are_known() {
        for (command, way, path) in [
            ("scp -t /tmp/x", Way::Up, "/tmp/x"),
            ("scp -r -p -f -- dir", Way::Down, "dir"),
            ("/usr/bin/scp -pt .", Way::Up, "."),
            ("'scp' -v -d -t -- '/a'", Way::Up, "/a"),
            ("LC_ALL=C scp -f x", Way::Down, "x"),
            ("rsync --server -logDtpre.iLsfxCIvu . /srv/", Way::Up, "/srv/"),
            ("rsync --server --sender -vlogDtpre.iLsfxCIvu . /srv", Way::Down, "/srv"),
            ("/usr/lib/openssh/sftp-server", Way::Both, ""),
        ] {
            let copy = asked(command).unwrap_or_else(|| panic!("{command}"));
            assert_eq!((copy.way, copy.path.as_str()), (way, path), "{command}");
        }
    }

    #[test]
    fn other_commands_are_no_copies() {
        for command in
            ["", "scp", "scp a b:c", "echo scp -t x", "rsync -a a b", "git-upload-pack 'r.git'", "bash"]
        {
            assert_eq!(asked(command), None, "{command}");
        }
    }
}
