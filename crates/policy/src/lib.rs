//! May they? One pure function answers for every session and every API call: [`decide()`].
//!
//! Default deny, deny beats allow, no I/O, no clock, total over its input. [`explain`] is the same walk keeping its
//! notes. Knows roles and locks as data ([`Rules`]); does not know where they come from, nor what a session is.
#![forbid(unsafe_code)]

mod again;
mod ask;
mod decide;
mod expression;
mod matcher;
mod options;
mod permit;
mod predicate;
pub mod presets;
mod rules;
mod template;
mod validate;

pub use ask::{Action, Ask, Object, Of, SshAction, Target};
pub use decide::{Explanation, decide, explain, lock_on, logins, logins_at, may, visible};
pub use options::{Channels, Obligations, Options, Recording};
pub use permit::{Denial, Permit};
pub use rules::Rules;
pub use validate::{Review, review_role};
