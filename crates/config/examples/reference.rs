//! Prints the configuration reference: `cargo run -p config --example reference`.
#![forbid(unsafe_code)]

fn main() {
    print!("{}", config::reference::page());
}
