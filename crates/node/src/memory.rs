//! The C library's allocator, told to give memory back.
//!
//! Left alone it keeps an arena for each thread and, after the first large block was freed, all later large blocks in
//! them: an authority that has hashed one password stays 40 MiB larger for good. It stands here because this is the
//! one room that may call C.

use nix::libc;

/// Blocks from this size on are mapped one by one and unmapped when freed.
const LARGE: libc::c_int = 128 * 1024;
/// Arenas; more threads share them.
const ARENAS: libc::c_int = 2;

/// Tells it. Call once, before threads start. Where the C library has no such knobs nothing happens.
pub fn frugal() {
    #[cfg(target_env = "gnu")]
    for (knob, value) in
        [(libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, LARGE), (libc::M_ARENA_MAX, ARENAS)]
    {
        #[expect(unsafe_code, reason = "the allocator's settings are the C library's")]
        // SAFETY: `mallopt` takes two integers, touches only the allocator's own state, and no other thread runs yet.
        unsafe {
            libc::mallopt(knob, value);
        }
    }
}
