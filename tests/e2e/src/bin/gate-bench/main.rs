//! Measures a gate against plain OpenSSH, in interleaved rounds on one machine, and prints a page of Markdown.
//!
//! Everything runs on loopback with the stock client: straight to an `sshd`, through a second `sshd` as a jump host,
//! and through a gate whose authority, proxy and node are three processes with recording on. Started by
//! `cargo xtask bench gate`; `--short` and `--quick` do less of everything, `--baseline` leaves the gate out, a further word runs only
//! the measures that contain it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;

mod bed;
mod echo;
mod forward;
mod light;
mod memory;
mod report;
mod sessions;
mod stats;
mod stuck;
mod throughput;

use bed::{Agreed, Bed, Effort};
use report::Row;

type Measure = fn(&Bed, &Effort) -> Result<Vec<Row>>;

const MEASURES: &[(&str, Measure)] = &[
    ("idle", memory::idle),
    ("latency", sessions::latency),
    ("sessions", sessions::rate),
    ("light sessions", light::rate),
    ("throughput", throughput::both_ways),
    ("by themselves", by_themselves),
    ("echo", echo::all),
    ("stuck", stuck::one_reader),
    ("forward", forward::to_nginx),
    ("many", memory::many_sessions),
    ("flat", memory::flat),
];

/// The same as users meet it: whatever stock client and servers come to.
fn by_themselves(bed: &Bed, effort: &Effort) -> Result<Vec<Row>> {
    bed.agree(Agreed::ByThemselves)?;
    let measures: [Measure; 5] =
        [sessions::latency, sessions::rate, throughput::both_ways, echo::all, forward::to_nginx];
    let rows = measures.iter().map(|measure| measure(bed, effort)).collect::<Result<Vec<_>>>();
    bed.agree(Agreed::Fixed)?;
    let named = |row: Row| Row { measure: format!("{}, algorithms by themselves", row.measure), ..row };
    Ok(rows?.into_iter().flatten().map(named).collect())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(page) => {
            println!("{page}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String> {
    let effort = match arguments.iter().map(String::as_str).find(|a| matches!(*a, "--quick" | "--short")) {
        Some("--quick") => Effort::QUICK,
        Some(_) => Effort::SHORT,
        None => Effort::FULL,
    };
    let words: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let bed = Bed::make(arguments.iter().any(|a| a == "--baseline"))?;
    let mut rows = Vec::new();
    for (name, measure) in MEASURES {
        if !words.is_empty() && !words.iter().any(|w| name.contains(w.as_str())) {
            continue;
        }
        eprintln!("=== {name}");
        match measure(&bed, &effort) {
            Ok(found) => {
                for row in &found {
                    eprintln!("{}", row.line());
                }
                rows.extend(found);
            }
            Err(error) => {
                eprintln!("{name} failed: {error:#}");
                rows.push(Row::failed(name, &error));
            }
        }
    }
    Ok(report::page(&rows, &effort))
}
