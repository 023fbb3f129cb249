//! Finds a command line behind what looks like a shell's prompt. A guess, for finding one's way: a program can print
//! what looks like a prompt.

/// The longest prompt looked at, in characters.
const MAX_PROMPT: usize = 96;

/// The command in a row such as `ann@web-1:~$ ls -l`, if it looks like one.
pub(super) fn command(row: &str) -> Option<&str> {
    let mut seen = 0;
    for (at, mark) in row.char_indices() {
        seen += 1;
        if seen > MAX_PROMPT {
            return None;
        }
        if !matches!(mark, '$' | '#' | '%' | '❯') {
            continue;
        }
        let (prompt, rest) = row.split_at_checked(at)?;
        let rest = rest.strip_prefix(mark)?;
        let Some(entered) = rest.strip_prefix(' ') else { continue };
        if is_prompt(prompt, mark) {
            let entered = entered.trim();
            return (!entered.is_empty()).then_some(entered);
        }
    }
    None
}

/// Whether what stands before the mark is what shells put there.
fn is_prompt(prompt: &str, mark: char) -> bool {
    let mut prompt = prompt.trim();
    // `(venv) ann@web-1:~`
    if let Some((_, rest)) = prompt.strip_prefix('(').and_then(|p| p.split_once(") ")) {
        prompt = rest.trim();
    }
    let whole = !prompt.contains(char::is_whitespace) || (prompt.starts_with('[') && prompt.ends_with(']'));
    let shell = ["sh-", "bash-", "zsh-", "ash-"].iter().any(|name| prompt.starts_with(name));
    match mark {
        '$' => whole && (prompt.is_empty() || prompt.contains('@') || prompt == "~" || shell),
        '#' => whole && (prompt.contains('@') || shell),
        '%' => prompt.contains('@') && prompt.split_whitespace().count() <= 2,
        _ => prompt.split_whitespace().count() <= 3,
    }
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn commands_are_read_behind_the_prompts_of_common_shells() {
        for (row, wanted) in [
            ("ann@web-1:~$ ls -l", Some("ls -l")),
            ("root@gpu-7:/data# nvidia-smi", Some("nvidia-smi")),
            ("[root@gpu-7 data]# echo '$ 5'", Some("echo '$ 5'")),
            ("(venv) ann@web-1:~/x$ python a.py", Some("python a.py")),
            ("$ id", Some("id")),
            ("sh-5.1# id", Some("id")),
            ("ann@mac ~ % ls", Some("ls")),
            ("❯ cargo test", Some("cargo test")),
            ("➜  work git status", None),
            ("ann@web-1:~$", None),
            ("ann@web-1:~$   ", None),
            ("# a comment in a file", None),
            ("write to bob@example.org, it costs $ 5", None),
            ("100% done", None),
            ("", None),
        ] {
            assert_eq!(command(row), wanted, "{row}");
        }
    }
}
