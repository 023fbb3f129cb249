//! `mctl recordings`, `mctl audit` and `mctl status`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use audit::key::PublicKey;
use client::Client;
use model::api::audit::{AuditEvent, ExportChain, SearchEvents, TailEvents};
use model::api::cluster::{GetStatus, GetTrust};
use model::api::recordings::ListRecordings;
use model::api::timeline::SearchScreens;
use model::time::Span;
use runtime::Clock;
use serde_json::{Value, json};

use super::args::{Audit, Recordings};
use crate::pages;
use crate::recordings::{Source, audit_key, verdict};
use crate::show::{Format, Table, clean, escaped, print, write_out};

/// Runs `mctl recordings …`. Without a `client` (no gate to ask, and why) only files can be verified.
///
/// # Errors
/// The authority refused, or a recording does not hold.
pub(crate) async fn recordings(client: Result<Client>, command: Recordings, clock: &Clock) -> Result<()> {
    match command {
        Recordings::Ls { user, last, limit, out } => {
            let client = client?;
            let from = last.map(|l| l.parse::<Span>()).transpose()?.map(|l| clock.now() - l.0);
            let wanted = ListRecordings { from, user, ..ListRecordings::default() };
            crate::msh::ls::list(&client, &wanted, limit, out.format).await
        }
        Recordings::Search { text, user, node, session, last, limit, out } => {
            let from = last.map(|l| l.parse::<Span>()).transpose()?.map(|l| clock.now() - l.0);
            let text = text.join(" ");
            let ask = SearchScreens { text, user, node, session, from, ..Default::default() };
            search(&client?, &ask, limit, out.format).await
        }
        Recordings::Verify { session, key, out } => {
            let is_file = session.parse::<model::SessionId>().is_err();
            let client = match client {
                _ if is_file && key.is_some() => None,
                Err(error) if is_file => {
                    let hint = "no gate to ask for the audit key: give it with --key (see `mctl status`)";
                    return Err(error.context(hint));
                }
                client => Some(client?),
            };
            let key = audit_key(key.as_deref(), client.as_ref()).await?;
            let source = Source::open(client, &session).await?;
            let id = source.detail().info.id.clone();
            let report = source.verify(key).await.with_context(|| format!("{id}: NOT verified"))?;
            let data = json!({ "id": id, "verified": true, "segments": report.segments, "frames": report.frames,
                               "state": report.state, "interrupted": report.interrupted });
            print(out.format, &data, || verdict(&id, &report))
        }
        Recordings::Download { session, out_file, out } => {
            let source = Source::open(Some(client?), &session).await?;
            let path = out_file.unwrap_or_else(|| PathBuf::from(format!("{}.mgr", source.detail().info.id)));
            source.save(&path).await?;
            let data = json!({ "id": source.detail().info.id, "file": path });
            print(out.format, &data, || format!("saved {}\n", path.display()))
        }
    }
}

/// What was on the screen, and where to look: `msh play SESSION`.
async fn search(client: &Client, ask: &SearchScreens, limit: u32, format: Format) -> Result<()> {
    let rows = pages::gather(limit, async |limit, start| {
        client.call(&SearchScreens { limit: Some(limit), start, ..ask.clone() }).await
    });
    let rows = rows.await.context("cannot search what was on the screen")?;
    print(format, &rows.items, || {
        let mut table = Table::new(&["Session", "At", "Participants", "Hostname", "Row"]);
        for hit in &rows.items {
            let at = hit.at / 1_000_000;
            table.row([
                hit.info.id.to_string(),
                format!("{}:{:02}:{:02}", at / 3_600, at / 60 % 60, at % 60),
                format!("{} as {}", hit.info.user, hit.info.login),
                hit.info.node_name.clone(),
                clean(&hit.text.trim().chars().take(120).collect::<String>()),
            ]);
        }
        table.text()
    })?;
    rows.tell_rest();
    Ok(())
}

/// Runs `mctl audit …`.
///
/// # Errors
/// The authority refused, or the chain does not hold.
pub(crate) async fn audit_log(client: &Client, command: Audit, clock: &Clock) -> Result<()> {
    match command {
        Audit::Ls { types, user, session, last, limit, out } => {
            let from = last.map(|l| l.parse::<Span>()).transpose()?.map(|l| clock.now() - l.0);
            let wanted = SearchEvents { from, types, user, session, ..SearchEvents::default() };
            let rows = pages::gather(limit, async |limit, start| {
                client.call(&SearchEvents { limit: Some(limit), start, ..wanted.clone() }).await
            });
            let rows = rows.await.context("cannot search the audit log")?;
            print(out.format, &rows.items, || {
                let mut table = Table::new(&["Time", "Code", "Event", "User", "About"]);
                for event in &rows.items {
                    table.row([
                        field(event, "time"),
                        field(event, "code"),
                        field(event, "event"),
                        field(event, "user"),
                        about(event),
                    ]);
                }
                table.text()
            })?;
            rows.tell_rest();
            Ok(())
        }
        Audit::Tail { format } => {
            let mut items =
                client.stream(&TailEvents::default()).await.context("cannot follow the audit log")?;
            while let Some(event) = items.next().await.context("the audit log broke off")? {
                write_out(&told(&event, format)?)?;
            }
            Ok(())
        }
        Audit::Verify { out } => verify(client, out.format).await,
    }
}

/// One event of those that are followed.
fn told(event: &AuditEvent, format: Format) -> Result<String> {
    Ok(match format {
        Format::Json => escaped(&format!("{}\n", serde_json::to_string(event)?)),
        Format::Yaml => escaped(&format!("---\n{}", config::yaml::to_text(&serde_json::to_value(event)?))),
        Format::Text => {
            let cells = ["time", "code", "event", "user"].map(|name| clean(&field(event, name)));
            format!("{} {}\n", cells.join(" "), about(event))
        }
    })
}

fn field(event: &AuditEvent, name: &str) -> String {
    match event.0.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// The most telling fields of an event, in a fixed order.
fn about(event: &AuditEvent) -> String {
    [
        "server_hostname",
        "login",
        "sid",
        "name",
        "command",
        "exitCode",
        "addr",
        "path",
        "before",
        "after",
        "notice",
        "how",
        "action",
        "query",
        "reason",
        "error",
        "message",
    ]
    .iter()
    .map(|name| (name, field(event, name)))
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| format!("{name}={}", clean(&value.chars().take(80).collect::<String>())))
    .collect::<Vec<_>>()
    .join(" ")
}

/// Walks the whole chain, piece by piece.
async fn verify(client: &Client, format: Format) -> Result<()> {
    let key: PublicKey =
        client.call(&GetTrust {}).await.context("cannot ask for the audit key")?.audit_key.parse()?;
    let mut verifier = audit::log::Verifier::new(key);
    let mut from = 0;
    loop {
        let piece = client
            .call(&ExportChain { from, limit: Some(5_000) })
            .await
            .context("cannot read the audit log")?;
        // First what was signed, then what is compared with it.
        for checkpoint in &piece.checkpoints {
            verifier.checkpoint(checkpoint).context("the audit log is NOT intact")?;
        }
        for link in &piece.links {
            verifier.link(link).context("the audit log is NOT intact")?;
        }
        from += piece.links.len() as u64;
        if piece.links.is_empty() || from >= piece.total {
            break;
        }
    }
    let report = verifier.finish().context("the audit log is NOT intact")?;
    let data = json!({ "verified": true, "events": report.links, "signed": report.signed });
    print(format, &data, || {
        format!(
            "audit log verified: {} events, the first {} under a signed checkpoint\n",
            report.links, report.signed
        )
    })
}

/// `mctl status`.
///
/// # Errors
/// The authority refused.
pub(crate) async fn status(client: &Client, format: Format) -> Result<()> {
    let status = client.call(&GetStatus {}).await.context("cannot ask how the cluster does")?;
    let trust = client.call(&GetTrust {}).await.context("cannot ask for the authorities")?;
    let mut data = serde_json::to_value(&status)?;
    if let Some(fields) = data.as_object_mut() {
        let authorities = trust.keys.iter().map(|key| json!({ "kind": key.kind, "active": key.active }));
        fields.insert("authorities".to_owned(), authorities.collect());
        fields.insert("audit_key".to_owned(), json!(trust.audit_key));
    }
    print(format, &data, || {
        let mut rows = vec![
            ("Cluster".to_owned(), status.cluster.name.to_string()),
            ("Version".to_owned(), status.cluster.version.clone()),
        ];
        for key in &trust.keys {
            let kind = match key.kind {
                model::api::cluster::CaKind::Host => "host CA",
                model::api::cluster::CaKind::User => "user CA",
            };
            rows.push((kind.to_owned(), if key.active { "active" } else { "trusted" }.to_owned()));
        }
        rows.extend(status.cluster.ca_pins.iter().map(|pin| ("CA pin".to_owned(), pin.clone())));
        rows.push(("Audit key".to_owned(), trust.audit_key.clone()));
        rows.extend(status.cluster.proxy_addrs.iter().map(|a| ("Proxy".to_owned(), a.clone())));
        rows.extend(status.counts.iter().map(|(name, n)| (name.replace('_', " "), n.to_string())));
        for job in &status.jobs {
            let ran = job.last_run.map_or_else(|| "has not run yet".to_owned(), |t| format!("ran {t}"));
            let how = job.last_error.as_ref().map_or(ran.clone(), |e| format!("{ran}, FAILED: {}", clean(e)));
            rows.push((format!("job {}", job.name), how));
        }
        let wide = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        rows.iter().map(|(name, value)| format!("{name:wide$}  {value}\n")).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_followed_event_is_one_line_that_a_terminal_may_have() {
        let event = json!({ "time": "2026-01-02T03:04:05Z", "code": "T1000I", "event": "user.login",
                            "user": "ann\u{1b}[31m", "login": "root\u{9b}2J" });
        let event: AuditEvent = serde_json::from_value(event).unwrap();

        let text = told(&event, Format::Text).unwrap();
        let json = told(&event, Format::Json).unwrap();
        let yaml = told(&event, Format::Yaml).unwrap();

        assert_eq!(text, "2026-01-02T03:04:05Z T1000I user.login ann\\u{1b}[31m login=root\\u{9b}2J\n");
        assert_eq!(json.lines().count(), 1);
        assert!(json.contains(r"root\u009b2J") && yaml.contains(r"root\u009b2J"), "{json}{yaml}");
        assert!(yaml.starts_with("---\n"), "{yaml}");
    }
}
