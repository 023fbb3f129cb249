//! `msh play`: a recording as it happened, as text, as JSON lines or YAML documents, or as an asciicast.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use audit::recording::asciicast::{Exporter, Version};
use audit::recording::export;
use audit::recording::frame::TimedFrame;
use audit::recording::segment::Segment;
use model::time::Span;

use super::args::Play;
use crate::recordings::Source;
use crate::show::{escaped, flush, write_some};

/// Pauses are no longer than this with `--skip-idle-time`.
const IDLE: Duration = Duration::from_secs(1);

/// Plays or prints a recording.
///
/// # Errors
/// It cannot be had or does not parse, or standard output is closed.
pub(crate) async fn play(source: &Source, wanted: &Play) -> Result<()> {
    let from = match &wanted.from {
        Some(text) => text.parse::<Span>()?.0,
        None => Duration::ZERO,
    };
    match wanted.format.as_str() {
        "json" => lines(source, from, |frame| escaped(&format!("{}\n", export::json(frame)))).await,
        "yaml" => {
            let document = |frame: &TimedFrame<'_>| config::yaml::to_text(&export::json(frame));
            lines(source, from, |frame| escaped(&format!("---\n{}", document(frame)))).await
        }
        "text" => source.each_frame(from, |frame| write_some(export::shown(&frame.frame))).await,
        "asciicast" => cast(source, from, Version::V2).await,
        "asciicast3" => cast(source, from, Version::V3).await,
        _ => replay(source, from, wanted).await,
    }
}

async fn lines(source: &Source, from: Duration, line: impl Fn(&TimedFrame<'_>) -> String) -> Result<()> {
    source.each_frame(from, |frame| write_some(line(&frame).as_bytes())).await
}

/// What lies before `from` is shown at once, as [`replay`] does.
async fn cast(source: &Source, from: Duration, version: Version) -> Result<()> {
    let mut exporter = Exporter::new(version, source.detail().info.started);
    source
        .each_frame(Duration::ZERO, |frame| {
            let mut out = String::new();
            let at = frame.at.saturating_sub(from);
            exporter.push(&TimedFrame { at, ..frame }, &mut out);
            write_some(escaped(&out).as_bytes())
        })
        .await?;
    let mut out = String::new();
    exporter.finish(&mut out);
    write_some(escaped(&out).as_bytes())
}

/// `0.5x` to `16x`.
fn speed(text: &str) -> Result<f64> {
    let number: f64 =
        text.trim_end_matches('x').parse().with_context(|| format!("`{text}` is not a speed"))?;
    if !(0.1..=64.0).contains(&number) {
        bail!("`{text}` is not a speed between 0.1x and 64x");
    }
    Ok(number)
}

/// Shows frames at their times, until its end or Ctrl-C. What lies before `from` is shown at once, so that the screen
/// is right.
async fn replay(source: &Source, from: Duration, wanted: &Play) -> Result<()> {
    let speed = speed(&wanted.speed)?;
    let played = tokio::select! {
        played = show(source, from, |gap| {
            let gap = if wanted.skip_idle_time { gap.min(IDLE) } else { gap };
            gap.div_f64(speed)
        }) => played,
        stopped = tokio::signal::ctrl_c() => stopped.map_err(Into::into),
    };
    if io::stdout().is_terminal() {
        // The recording may have left colours, the other screen or a hidden cursor behind.
        write_some(b"\x1b[0m\x1b[?25h\x1b[?1049l\r\n")?;
    }
    flush()?;
    played
}

/// Shows all of it; `pause` makes of a time between two frames the time to wait.
async fn show(source: &Source, from: Duration, pause: impl Fn(Duration) -> Duration) -> Result<()> {
    let mut last = from;
    let mut walk = source.walk()?;
    while let Some(bytes) = walk.next().await? {
        let mut frames = Vec::new();
        Segment::parse(&bytes)?.each(Duration::ZERO, |frame| {
            frames.push((frame.at, export::shown(&frame.frame).to_vec()));
            Ok(())
        })?;
        for (at, shown) in frames {
            if at > last {
                flush()?;
                tokio::time::sleep(pause(at.saturating_sub(last))).await;
                last = at;
            }
            write_some(&shown)?;
        }
        flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_bounded() {
        assert!((speed("0.5x").unwrap() - 0.5).abs() < f64::EPSILON);
        for bad in ["", "0x", "fast", "1000x", "NaNx"] {
            assert!(speed(bad).is_err(), "{bad}");
        }
    }
}
