//! An error and what caused it, in one line: how logs and statuses tell it.

use std::error::Error;
use std::fmt;

/// The error and its causes, with `: ` between. Nothing is left out and nothing is said twice: an error's own words
/// do not repeat its source's.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    Causes(error).to_string()
}

/// The same, to be written somewhere.
pub(crate) struct Causes<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Outer(io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot dial")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_error_is_told_with_what_caused_it() {
        assert_eq!(causes(&Outer(io::Error::other("no route"))), "cannot dial: no route");
        assert_eq!(causes(&io::Error::other("alone")), "alone");
    }
}
