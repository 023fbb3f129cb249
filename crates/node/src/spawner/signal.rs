//! The signals people may send to what runs for them, by their names in the protocol.

/// Signals a session's processes may be sent (RFC 4254 section 6.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Signal {
    /// SIGHUP.
    Hup = 1,
    /// SIGINT.
    Int = 2,
    /// SIGQUIT.
    Quit = 3,
    /// SIGILL.
    Ill = 4,
    /// SIGABRT.
    Abrt = 6,
    /// SIGFPE.
    Fpe = 8,
    /// SIGKILL.
    Kill = 9,
    /// SIGUSR1.
    Usr1 = 10,
    /// SIGSEGV.
    Segv = 11,
    /// SIGUSR2.
    Usr2 = 12,
    /// SIGPIPE.
    Pipe = 13,
    /// SIGALRM.
    Alrm = 14,
    /// SIGTERM.
    Term = 15,
}

impl Signal {
    /// Every signal with its name in the protocol, without `SIG`.
    pub const ALL: [(Signal, &'static str); 13] = [
        (Signal::Hup, "HUP"),
        (Signal::Int, "INT"),
        (Signal::Quit, "QUIT"),
        (Signal::Ill, "ILL"),
        (Signal::Abrt, "ABRT"),
        (Signal::Fpe, "FPE"),
        (Signal::Kill, "KILL"),
        (Signal::Usr1, "USR1"),
        (Signal::Segv, "SEGV"),
        (Signal::Usr2, "USR2"),
        (Signal::Pipe, "PIPE"),
        (Signal::Alrm, "ALRM"),
        (Signal::Term, "TERM"),
    ];

    /// The signal of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(s, _)| *s)
    }

    pub(crate) fn numbered(number: u8) -> Option<Self> {
        Self::ALL.iter().find(|(s, _)| *s as u8 == number).map(|(s, _)| *s)
    }
}
