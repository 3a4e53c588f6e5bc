//! The `tsq` binary.

#![forbid(unsafe_code)]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    tsq_cli::run(std::env::args_os(), &mut tsq_cli::Console::stdio()).into()
}
