//! The command line of the load generator.

fn main() -> std::process::ExitCode {
    starwheel_load::main()
}
