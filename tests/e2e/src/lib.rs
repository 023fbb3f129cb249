//! Drives the built program with real clients; knows nothing of the rooms.
//!
//! A [`gate::Gate`] is a running gate in a temporary directory, a [`person::Person`] somebody with a second factor
//! and a home. Everything started here ends when its owner is dropped; what it said is printed when a test fails.
#![forbid(unsafe_code)]

pub mod account;
pub mod gate;
pub mod helper;
pub mod http;
pub mod person;
pub mod ports;
pub mod process;
pub mod run;
pub mod terminal;
pub mod totp;
pub mod wait;
