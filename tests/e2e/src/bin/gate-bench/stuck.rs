//! One reader that does not read: are its neighbours answered, and what does it hold in between?

use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;
use e2e::run::run_with;

use crate::bed::{Bed, Effort, Way};
use crate::echo::{Held, Master, quiet};
use crate::memory;
use crate::report::Row;

const NEIGHBOURS: usize = 5;
const LIMIT: Duration = Duration::from_secs(5);
/// Time for every buffer on the way to fill.
const FILL: Duration = Duration::from_secs(4);

/// All rows.
pub(crate) fn one_reader(bed: &Bed, _effort: &Effort) -> Result<Vec<Row>> {
    let mut answered = Vec::new();
    let mut held = Vec::new();
    let mut node = Vec::new();
    for way in bed.ways() {
        let before = memory::now(bed).map_or(0, |(node, _)| node);
        let (count, kib) = try_way(bed, way)?;
        let grown = memory::now(bed).map_or(0, |(node, _)| node).saturating_sub(before);
        node.push(matches!(way.name, "gate" | "gate -J").then(|| memory::mib(grown)));
        answered.push(Some(count));
        held.push((way.host != "direct").then_some(kib / 1024.0));
    }
    Ok(vec![
        Row::new("stuck reader: neighbours answered, of 5", "5", answered),
        Row::new("stuck reader: memory in between, MiB", "≤ 4 MiB", held),
        Row::new("stuck reader: what the node grew by, of a stream of 10 GiB, MiB", "-", node),
    ])
}

fn try_way(bed: &Bed, way: &Way) -> Result<(f64, f64)> {
    let master = Master::open(bed, way)?;
    run_with(master.ssh(bed).args([way.host, "true"]), b"", LIMIT)?.ok()?;
    let before = bed.between_kib(way);
    let mut stuck = master.ssh(bed);
    stuck.args([way.host, "head -c 10737418240 /dev/zero"]);
    let _stuck = Held(quiet(&mut stuck).stdout(Stdio::piped()).spawn()?);
    std::thread::sleep(FILL);
    let mut answered = 0_u32;
    for _ in 0..NEIGHBOURS {
        let ran = run_with(master.ssh(bed).args([way.host, "true"]), b"", LIMIT);
        answered += u32::from(ran.is_ok_and(|r| r.code == 0));
    }
    let kib = bed.between_kib(way).saturating_sub(before);
    Ok((f64::from(answered), f64::from(u32::try_from(kib).unwrap_or(u32::MAX))))
}
