//! Labels whose values are the output of commands, run anew from time to time.
//!
//! A command runs as the unprivileged half, with an empty environment, for at most [`PATIENCE`]; of its output the
//! first [`MAX`] bytes, cleaned of control characters, count. What fails is shown as the value: an operator should
//! see it where they look.

use std::process::Stdio;
use std::time::Duration;

use model::Labels;
use runtime::Scope;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// Longest value.
pub const MAX: usize = 1024;
/// Longest run.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Shortest time between two runs.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// A label made by a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLabel {
    /// Its key.
    pub name: String,
    /// Program and arguments; no shell is between.
    pub command: Vec<String>,
    /// How often it runs; below [`SHORTEST`] is [`SHORTEST`].
    pub period: Duration,
}

/// Keeps labels current: the static ones, and those of `commands`. The first value has every command's first output.
pub async fn keep(fixed: Labels, commands: Vec<CommandLabel>, scope: &Scope) -> watch::Receiver<Labels> {
    let (tell, told) = watch::channel(fixed);
    for label in &commands {
        let value = run(&label.command).await;
        tell.send_if_modified(|labels| set(labels, &label.name, value));
    }
    for label in commands {
        let tell = tell.clone();
        scope.spawn("command label", async move {
            let mut tick = tokio::time::interval(label.period.max(SHORTEST));
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tick.tick().await;
            loop {
                tick.tick().await;
                let value = run(&label.command).await;
                tell.send_if_modified(|labels| set(labels, &label.name, value));
            }
        });
    }
    told
}

/// Sets one label; true when that changed something.
fn set(labels: &mut Labels, name: &str, value: String) -> bool {
    if labels.get(name) == Some(&value) {
        return false;
    }
    labels.insert(name.to_owned(), value);
    true
}

async fn run(command: &[String]) -> String {
    let Some((program, arguments)) = command.split_first() else { return "error: no command".to_owned() };
    let started = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", crate::env::search_path(0))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return format!("error: {error}"),
    };
    let Some(stdout) = child.stdout.take() else { return "error: no output".to_owned() };
    let work = async {
        let mut bytes = Vec::new();
        let mut limited = stdout.take(MAX as u64);
        limited.read_to_end(&mut bytes).await?;
        // What is beyond the bound meets a closed pipe.
        drop(limited);
        child.wait().await.map(|status| (status, bytes))
    };
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok((status, bytes))) if status.success() => clean(&bytes),
        Ok(Ok((status, _))) => format!("error: {status}"),
        Ok(Err(error)) => format!("error: {error}"),
        Err(_) => format!("error: longer than {} s", PATIENCE.as_secs()),
    }
}

fn clean(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(name: &str, command: &[&str]) -> CommandLabel {
        CommandLabel {
            name: name.into(),
            command: command.iter().map(|w| (*w).to_owned()).collect(),
            period: Duration::from_secs(3600),
        }
    }

    #[tokio::test]
    async fn commands_give_values_and_failures_are_shown() {
        let scope = Scope::root("test");
        let fixed = Labels::from([("env".to_owned(), "demo".to_owned())]);
        let commands = vec![
            label("kernel", &["uname", "-s"]),
            label("broken", &["/no/such/program"]),
            label("bad", &["false"]),
            label("bell", &["printf", "a\\ab\\n"]),
            label("long", &["head", "-c", "100000", "/dev/zero"]),
        ];

        let labels = keep(fixed, commands, &scope).await.borrow().clone();

        assert_eq!(labels["env"], "demo");
        assert_eq!(labels["kernel"], "Linux");
        assert_eq!(labels["bell"], "ab");
        assert!(labels["broken"].starts_with("error: ") && labels["bad"].starts_with("error: "));
        assert!(labels["long"].len() <= MAX);
        scope.drain(Duration::from_secs(5)).await;
    }
}
