//! A terminal's settings as SSH writes them (RFC 4254 section 8), applied to our side of it.
//!
//! Pure but for the two system calls at the edges. Unknown modes are passed over: a client may know more than we do.

use std::io;
use std::os::fd::AsFd;

use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios,
};

use crate::spawner::message::Size;
use crate::spawner::winsize;

/// A client's size, brought into the bounds of a terminal.
#[must_use]
pub fn size(asked: ssh::Size) -> Size {
    let side = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    Size {
        cols: side(asked.columns),
        rows: side(asked.rows),
        width: side(asked.width),
        height: side(asked.height),
    }
}

/// Tells the terminal and the programs on it their new size.
///
/// # Errors
/// The terminal is gone.
pub fn resize(master: impl AsFd, size: Size) -> io::Result<()> {
    Ok(rustix::termios::tcsetwinsize(master, winsize(size))?)
}

/// Sets the terminal up as the client's own is.
///
/// # Errors
/// The terminal is gone.
pub fn set_modes(master: impl AsFd, modes: &[(u8, u32)]) -> io::Result<()> {
    let mut termios = rustix::termios::tcgetattr(&master)?;
    for (opcode, argument) in modes {
        apply(&mut termios, *opcode, *argument);
    }
    Ok(rustix::termios::tcsetattr(&master, OptionalActions::Now, &termios)?)
}

fn apply(termios: &mut Termios, opcode: u8, argument: u32) {
    if let Some(index) = character(opcode) {
        // 255 switches a character off; to the kernel that is 0.
        termios.special_codes[index] = u8::try_from(argument).ok().filter(|c| *c != 255).unwrap_or(0);
        return;
    }
    let on = argument != 0;
    match opcode {
        30..=42 => input(opcode).into_iter().for_each(|flag| termios.input_modes.set(flag, on)),
        50..=62 => local(opcode).into_iter().for_each(|flag| termios.local_modes.set(flag, on)),
        70..=75 => output(opcode).into_iter().for_each(|flag| termios.output_modes.set(flag, on)),
        90 | 91 if on => {
            termios.control_modes.remove(ControlModes::CSIZE);
            termios.control_modes.insert(if opcode == 90 { ControlModes::CS7 } else { ControlModes::CS8 });
        }
        92 => termios.control_modes.set(ControlModes::PARENB, on),
        93 => termios.control_modes.set(ControlModes::PARODD, on),
        // A terminal of ours has no line: a speed it cannot have changes nothing.
        128 => drop(termios.set_input_speed(argument)),
        129 => drop(termios.set_output_speed(argument)),
        _ => {}
    }
}

fn character(opcode: u8) -> Option<SpecialCodeIndex> {
    Some(match opcode {
        1 => SpecialCodeIndex::VINTR,
        2 => SpecialCodeIndex::VQUIT,
        3 => SpecialCodeIndex::VERASE,
        4 => SpecialCodeIndex::VKILL,
        5 => SpecialCodeIndex::VEOF,
        6 => SpecialCodeIndex::VEOL,
        7 => SpecialCodeIndex::VEOL2,
        8 => SpecialCodeIndex::VSTART,
        9 => SpecialCodeIndex::VSTOP,
        10 => SpecialCodeIndex::VSUSP,
        12 => SpecialCodeIndex::VREPRINT,
        13 => SpecialCodeIndex::VWERASE,
        14 => SpecialCodeIndex::VLNEXT,
        18 => SpecialCodeIndex::VDISCARD,
        _ => return None,
    })
}

fn input(opcode: u8) -> Option<InputModes> {
    Some(match opcode {
        30 => InputModes::IGNPAR,
        31 => InputModes::PARMRK,
        32 => InputModes::INPCK,
        33 => InputModes::ISTRIP,
        34 => InputModes::INLCR,
        35 => InputModes::IGNCR,
        36 => InputModes::ICRNL,
        37 => InputModes::IUCLC,
        38 => InputModes::IXON,
        39 => InputModes::IXANY,
        40 => InputModes::IXOFF,
        41 => InputModes::IMAXBEL,
        42 => InputModes::IUTF8,
        _ => return None,
    })
}

fn local(opcode: u8) -> Option<LocalModes> {
    Some(match opcode {
        50 => LocalModes::ISIG,
        51 => LocalModes::ICANON,
        52 => LocalModes::XCASE,
        53 => LocalModes::ECHO,
        54 => LocalModes::ECHOE,
        55 => LocalModes::ECHOK,
        56 => LocalModes::ECHONL,
        57 => LocalModes::NOFLSH,
        58 => LocalModes::TOSTOP,
        59 => LocalModes::IEXTEN,
        60 => LocalModes::ECHOCTL,
        61 => LocalModes::ECHOKE,
        62 => LocalModes::PENDIN,
        _ => return None,
    })
}

fn output(opcode: u8) -> Option<OutputModes> {
    Some(match opcode {
        70 => OutputModes::OPOST,
        71 => OutputModes::OLCUC,
        72 => OutputModes::ONLCR,
        73 => OutputModes::OCRNL,
        74 => OutputModes::ONOCR,
        75 => OutputModes::ONLRET,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rustix::pty::OpenptFlags;

    use super::*;

    #[test]
    fn a_clients_modes_arrive_on_the_terminal() {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let terminal =
            rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();

        set_modes(&master, &[(1, 7), (2, 255), (53, 0), (36, 1), (72, 0), (129, 9600), (200, 1)]).unwrap();
        resize(&master, Size { cols: 132, rows: 43, ..Size::default() }).unwrap();

        let now = rustix::termios::tcgetattr(&terminal).unwrap();
        assert_eq!(now.special_codes[SpecialCodeIndex::VINTR], 7);
        assert_eq!(now.special_codes[SpecialCodeIndex::VQUIT], 0);
        assert!(!now.local_modes.contains(LocalModes::ECHO));
        assert!(now.input_modes.contains(InputModes::ICRNL));
        assert!(!now.output_modes.contains(OutputModes::ONLCR));
        let size = rustix::termios::tcgetwinsize(&terminal).unwrap();
        assert_eq!((size.ws_col, size.ws_row), (132, 43));
    }
}
