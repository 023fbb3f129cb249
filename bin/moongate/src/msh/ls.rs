//! `msh ls` and `msh recordings ls`.

use std::time::Duration;

use anyhow::{Context as _, Result};
use client::Client;
use model::api::nodes::ListNodes;
use model::api::recordings::{ListRecordings, RecordingState};
use model::resource::Liveness;
use model::time::Span;
use model::{Timestamp, label};
use runtime::Clock;

use super::args::{Ls, Recordings};
use crate::pages;
use crate::show::{Format, Table, print};

/// Lists nodes.
///
/// # Errors
/// The authority refused.
pub(crate) async fn nodes(client: &Client, wanted: &Ls) -> Result<()> {
    let verb = ListNodes { labels: wanted.labels.clone().unwrap_or_default(), search: wanted.search.clone() };
    let page = client.call(&verb).await.context("cannot list nodes")?;
    print(wanted.format, &page.items, || {
        let mut table = if wanted.verbose {
            Table::new(&["Node Name", "Node ID", "Address", "Status", "Logins", "Labels", "Version"])
        } else {
            Table::new(&["Node Name", "Address", "Status", "Labels"])
        };
        for view in &page.items {
            let node = &view.node;
            let address =
                if node.address.is_empty() { "\u{27f5} Tunnel".to_owned() } else { node.address.clone() };
            let status = match node.liveness {
                Liveness::Online => "online".to_owned(),
                Liveness::Offline => "offline".to_owned(),
            };
            let labels = label::to_text(&node.labels);
            if wanted.verbose {
                let logins = view.logins.join(",");
                table.row([
                    node.name.to_string(),
                    node.id.to_string(),
                    address,
                    status,
                    logins,
                    labels,
                    node.version.clone(),
                ]);
            } else {
                table.row([node.name.to_string(), address, status, labels]);
            }
        }
        if page.items.is_empty() {
            return "No node is within your reach. Ask an admin for a role that names some.\n".to_owned();
        }
        table.text()
    })
}

/// Lists recordings.
///
/// # Errors
/// A time makes no sense, or the authority refused.
pub(crate) async fn recordings(client: &Client, wanted: &Recordings, clock: &Clock) -> Result<()> {
    let Recordings::Ls { from_utc, to_utc, last, limit, format } = wanted;
    let from = match (from_utc, last) {
        (Some(day), _) => Some(day_start(day)?),
        (None, Some(length)) => Some(clock.now() - length.parse::<Span>()?.0),
        (None, None) => None,
    };
    let to = to_utc.as_deref().map(day_start).transpose()?.map(|start| start + Duration::from_secs(86_400));
    list(client, &ListRecordings { from, to, ..ListRecordings::default() }, *limit, *format).await
}

/// Lists recordings that match `wanted`, at most `limit`.
///
/// # Errors
/// The authority refused.
pub(crate) async fn list(client: &Client, wanted: &ListRecordings, limit: u32, format: Format) -> Result<()> {
    let rows = pages::gather(limit, async |limit, start| {
        client.call(&ListRecordings { limit: Some(limit), start, ..wanted.clone() }).await
    });
    let rows = rows.await.context("cannot list recordings")?;
    print(format, &rows.items, || {
        let mut table =
            Table::new(&["ID", "Type", "Participants", "Hostname", "Timestamp", "Length", "State", "Told"]);
        for info in &rows.items {
            let length =
                info.ended.map(|e| Span(Duration::from_secs(e.since(info.started).as_secs())).to_string());
            let state = match info.state {
                RecordingState::Live => "live",
                RecordingState::Complete => "complete",
                RecordingState::Abandoned => "abandoned",
            };
            table.row([
                info.id.to_string(),
                info.kind.clone(),
                format!("{} as {}", info.user, info.login),
                info.node_name.clone(),
                info.started.to_string(),
                length.unwrap_or_default(),
                state.to_owned(),
                info.notice.map(|notice| notice.as_str().to_owned()).unwrap_or_default(),
            ]);
        }
        table.text()
    })?;
    rows.tell_rest();
    Ok(())
}

fn day_start(day: &str) -> Result<Timestamp> {
    format!("{day}T00:00:00Z")
        .parse()
        .map_err(|_| anyhow::anyhow!("`{day}` is not a day (expected YYYY-MM-DD)"))
}
