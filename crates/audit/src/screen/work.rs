//! What drawing costs, counted before anything is drawn: a few bytes can ask a terminal for a whole screen's work.
//!
//! The unit is one cell written; [`CLEARED`] cells that are only cleared or moved count as one. Guessed from sizes, and
//! rather too high than too low. A function that the emulator learns does not compile here until it has its price.

use avt::parser::{DecMode, DecModes, EdScope, Function};

/// The most that is drawn of one segment: a second or two. A full segment of nothing but line feeds on the largest screen
/// costs less.
pub(super) const MAX: u64 = 64 * 1024 * 1024;
/// So many cells cleared cost what one written does.
const CLEARED: u64 = 16;

/// The most cells that one request to repeat a character fills: a row. What shells and libraries ask for is less.
pub(super) fn repeats(n: u16, terminal: &avt::Terminal) -> u16 {
    let (cols, _) = terminal.size();
    n.clamp(1, u16::try_from(cols).unwrap_or(u16::MAX))
}

/// What a function costs on this terminal.
pub(super) fn cost(function: &Function, terminal: &avt::Terminal) -> u64 {
    let (cols, rows) = terminal.size();
    let (cols, rows) = (cols as u64, rows as u64);
    // A row cleared, and all rows of a region moved by one.
    let (row, moved) = (cols / CLEARED + 1, rows / CLEARED + 1);
    let cursor = || terminal.cursor().row as u64;
    match function {
        Function::Print(_) => 1,
        // With insertion on, each moves what is on its right.
        Function::Rep(n) => u64::from(repeats(*n, terminal)) * row,
        Function::Ich(n) => u64::from(*n).clamp(1, cols) + row,
        Function::Lf | Function::Nel | Function::Ri => row + moved,
        Function::Su(n) | Function::Sd(n) | Function::Il(n) | Function::Dl(n) => {
            2 * u64::from(*n).clamp(1, rows) * (row + moved)
        }
        Function::Dch(_) | Function::Ech(_) | Function::El(_) => row,
        Function::Ed(EdScope::Below) => rows.saturating_sub(cursor()) * row,
        Function::Ed(EdScope::Above) => (cursor() + 1) * row,
        // Cleared, and what was on it goes off the top.
        Function::Ed(EdScope::All) => 3 * rows * row,
        Function::Decaln => rows * cols,
        // Two screens made anew, and two thrown away.
        Function::Ris => 6 * rows * row,
        Function::Decset(modes) | Function::Decrst(modes) => match is_other_screen(modes) {
            true => 3 * rows * row,
            false => 1,
        },
        Function::Ht
        | Function::Cht(_)
        | Function::Cbt(_)
        | Function::Hts
        | Function::Tbc(_)
        | Function::Ctc(_) => row,
        Function::Bs
        | Function::Cha(_)
        | Function::Cnl(_)
        | Function::Cpl(_)
        | Function::Cr
        | Function::Cub(_)
        | Function::Cud(_)
        | Function::Cuf(_)
        | Function::Cup(..)
        | Function::Cuu(_)
        | Function::Decrc
        | Function::Decsc
        | Function::Decstbm(..)
        | Function::Decstr
        | Function::Ed(EdScope::SavedLines)
        | Function::G1d4(_)
        | Function::Gzd4(_)
        | Function::Osc(_)
        | Function::Rm(_)
        | Function::Scorc
        | Function::Scosc
        | Function::Sgr(_)
        | Function::Si
        | Function::Sm(_)
        | Function::So
        | Function::Vpa(_)
        | Function::Vpr(_)
        | Function::Xtwinops(_) => 1,
    }
}

fn is_other_screen(modes: &DecModes) -> bool {
    let other =
        |mode: &DecMode| matches!(mode, DecMode::AltScreenBuffer | DecMode::SaveCursorAltScreenBuffer);
    modes.as_slice().iter().any(other)
}

/// What a change of size costs: both screens are laid out anew.
pub(super) fn resizing(terminal: &avt::Terminal, cols: u16, rows: u16) -> u64 {
    let (old_cols, old_rows) = terminal.size();
    2 * ((old_cols * old_rows) as u64 + u64::from(cols) * u64::from(rows)) / CLEARED + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::writer::FULL;
    use crate::screen::{MAX_COLS, MAX_ROWS};

    /// What a full segment of this costs, over and over, on an empty screen with the cursor at its top.
    fn whole(text: &str, cols: u16, rows: u16) -> u64 {
        let terminal = avt::Terminal::new(cols.into(), rows.into()).unwrap();
        let mut parser = avt::Parser::new();
        let once: u64 =
            text.chars().filter_map(|ch| parser.feed(ch)).map(|function| cost(&function, &terminal)).sum();
        once * (FULL / text.len()) as u64
    }

    #[test]
    fn what_programs_write_is_drawn_whole_and_what_is_made_to_cost_is_not() {
        let page = format!("\x1b[H\x1b[2J{}", "a line of a monitor\x1b[K\r\n".repeat(50));
        let bar = format!("\r\x1b[J{}", "#".repeat(40));
        let ordinary: [(&str, &str, u16, u16); 9] = [
            ("lines", "the quick brown fox jumps over the lazy dog\r\n", MAX_COLS, MAX_ROWS),
            ("yes", "y\r\n", MAX_COLS, MAX_ROWS),
            ("line feeds", "\n", MAX_COLS, MAX_ROWS),
            ("tabs", "\t", MAX_COLS, MAX_ROWS),
            ("colours", "\x1b[38;5;12m\x1b[1mx\x1b[0m", MAX_COLS, MAX_ROWS),
            ("a monitor", &page, 240, 70),
            ("a progress bar", &bar, 240, 70),
            ("rules", "-\x1b[79b\r\n", 80, 24),
            ("scrolling in a region", "\x1b[2;20r\x1b[20;1H\n", 240, 70),
        ];
        let costly = [
            ("repeated", "x\x1b[65535b", MAX_COLS, MAX_ROWS),
            ("cleared", "\x1b[2J", MAX_COLS, MAX_ROWS),
            ("filled", "\x1b#8", MAX_COLS, MAX_ROWS),
            ("reset", "\x1bc", MAX_COLS, MAX_ROWS),
            ("the other screen", "\x1b[?1047h\x1b[?1047l", MAX_COLS, MAX_ROWS),
            ("scrolled", "\x1b[999S", MAX_COLS, MAX_ROWS),
        ];

        for (what, text, cols, rows) in ordinary {
            assert!(whole(text, cols, rows) < MAX, "{what}: {}", whole(text, cols, rows));
        }
        for (what, text, cols, rows) in costly {
            assert!(whole(text, cols, rows) > MAX, "{what}: {}", whole(text, cols, rows));
        }
    }
}
