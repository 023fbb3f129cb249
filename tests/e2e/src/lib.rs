//! Drives the built program with real clients; knows nothing of the rooms.
#![forbid(unsafe_code)]
