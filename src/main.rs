//! The `doorward` binary: hands the command line over.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Two mebibytes for whatever a thread touches of the allocator's pages would be most of our memory, and more the
    // busier the machine is. Without them it holds what is in use; an older kernel goes on with them.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    doorward::cli::main()
}
