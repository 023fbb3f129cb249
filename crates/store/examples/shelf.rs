//! Fills a search index with many hours of screens and measures searches in it.
//!
//! `cargo xtask bench search`, or `cargo run --release -p store --example shelf -- [HOURS]`: one page for every ten
//! seconds (360 an hour), twelve rows on each, in recordings of two hours. Prints a table of searches: what was looked
//! for, finds, milliseconds.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measuring program stops at the first surprise"
)]

use std::time::Instant;

use bytes::Bytes;
use model::Timestamp;
use store::shelf::{Book, Filter, Find, Leaf, Line, Query};
use store::{Shelf, SqliteShelf};

const PAGES: u64 = 720;
const WORDS: [&str; 24] = [
    "loss",
    "epoch",
    "step",
    "checkpoint",
    "saved",
    "error",
    "warning",
    "cuda",
    "tensor",
    "batch",
    "gpu",
    "memory",
    "node",
    "worker",
    "rank",
    "nccl",
    "timeout",
    "retry",
    "数据",
    "训练",
    "错误",
    "完成",
    "开始",
    "节点",
];

/// A repeatable stream of numbers (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn leaf(n: u64, dice: &mut Dice) -> Leaf {
    let mut lines = Vec::new();
    for row in 0..12 {
        let mut text = format!("[{:08x}]", dice.roll(1 << 32));
        for _ in 0..6 {
            text.push(' ');
            text.push_str(WORDS[usize::try_from(dice.roll(WORDS.len() as u64)).unwrap()]);
        }
        text.push_str(&format!(" {}", dice.roll(100_000)));
        lines.push(Line { at: (n * 10 + row) * 1_000_000, text });
    }
    Leaf { n, note: Bytes::from_static(b"{}"), picture: Bytes::from_static(b"{}"), lines }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let hours: u64 = std::env::args().nth(1).map_or(1_000, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("screens.db");
    let shelf = SqliteShelf::open(&path).unwrap();
    let mut dice = Dice(7);
    let before = Instant::now();
    for recording in 0..hours / 2 {
        let book = Book {
            id: format!("recording-{recording}"),
            who: format!("user-{}", recording % 40),
            place: format!("id-{}", recording % 100),
            place_name: format!("gpu-{}", recording % 100),
            began: Timestamp::from_secs(i64::try_from(recording * 7_200).unwrap()),
        };
        for n in 0..PAGES {
            let mut leaf = leaf(n, &mut dice);
            if recording == hours / 4 && n == 100 {
                leaf.lines[3].text.push_str(" the one needle 独一无二");
            }
            shelf.put(book.clone(), leaf).await.unwrap();
        }
    }
    let size = std::fs::metadata(&path).unwrap().len() / 1024 / 1024;
    println!(
        "{hours} hours of recordings: {} pages of ten seconds with twelve rows each, 40 people, 100 nodes; filled in\n\
         {} s, {size} MiB of file. Wanted: under 300 ms.",
        hours * 360,
        before.elapsed().as_secs()
    );
    println!("\n| looked for | finds | first, ms | again, ms |\n|---|---|---|---|");
    let one = |who: &str| Filter { who: who.into(), ..Filter::default() };
    for (text, filter) in [
        ("needle", Filter::default()),
        ("独一无二", Filter::default()),
        ("错误", Filter::default()),
        ("error", Filter::default()),
        ("\"cuda error\" timeout", Filter::default()),
        ("error", one("user-7")),
        ("needle", one("user-7")),
        ("\"nothing of this kind\"", Filter::default()),
        ("\"memory epoch gpu rank 数据 训练\"", Filter::default()),
    ] {
        let mut took = [0.0; 2];
        let mut finds = 0;
        for time in &mut took {
            let before = Instant::now();
            let find = Find {
                query: Query::parse(text).unwrap(),
                filter: filter.clone(),
                allow: Box::new(|_| true),
                start: String::new(),
                limit: 50,
            };
            let found = shelf.find(find).await.unwrap();
            finds = found.hits.len();
            *time = before.elapsed().as_secs_f64() * 1000.0;
        }
        let who = if filter.who.is_empty() { String::new() } else { format!(" of {}", filter.who) };
        println!("| `{text}`{who} | {finds} | {:.1} | {:.1} |", took[0], took[1]);
    }
}
