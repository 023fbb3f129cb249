//! HTTP as a script would do it: with curl.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run::{Ran, run};

/// curl against a gate whose certificate signs itself.
#[must_use]
pub fn curl() -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--insecure", "--max-time", "60", "--noproxy", "*"]);
    command
}

/// `GET url`.
///
/// # Errors
/// No answer came.
pub fn get(url: &str) -> Result<Ran> {
    run(curl().arg(url))
}

/// `POST url` with JSON; the answer's JSON.
///
/// # Errors
/// No answer came, or it was not 2xx.
pub fn post(url: &str, body: &Value) -> Result<Value> {
    let ran = run(curl()
        .args(["--header", "content-type: application/json", "--write-out", "\n%{http_code}", "--data"])
        .arg(body.to_string())
        .arg(url))?
    .ok()?;
    let text = ran.text();
    let (answer, status) = text.rsplit_once('\n').context("no status")?;
    if !status.starts_with('2') {
        bail!("POST {url}: {status}: {answer}");
    }
    serde_json::from_str(answer).with_context(|| format!("POST {url}: {answer}"))
}
