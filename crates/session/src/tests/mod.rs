//! The room as a whole, against a stand-in authority, under a clock that moves only when everyone waits.

mod ending;
mod opening;
mod queueing;
mod recording;
mod recovering;
mod uploading;
mod world;

pub(crate) use world::{about, server, terms};
