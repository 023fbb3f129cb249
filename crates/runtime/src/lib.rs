//! The ground every service stands on: scopes that own tasks, two lanes for them, a clock that is passed in, places for
//! connections, sockets that pass bytes on without a copy, health, telemetry, and a future
//! that is looked at only when something happened to it; whether bytes come as in a copy.
//!
//! Knows no domain word. This is the one room that may call `tokio::spawn`.
#![forbid(unsafe_code)]

pub mod causes;
pub mod clock;
pub mod direct;
pub mod health;
pub mod lane;
pub mod pace;
pub mod places;
pub mod random;
pub mod scope;
pub mod seldom;
pub mod shunt;
pub mod telemetry;

pub use causes::causes;
pub use clock::Clock;
pub use direct::Direct;
pub use health::Health;
pub use lane::{Aside, Lane};
pub use pace::Pace;
pub use places::{Place, Places};
pub use random::Random;
pub use scope::{Fault, Scope, Service};
pub use seldom::Seldom;
pub use shunt::Shunt;
