//! PID 1 of a pod.

fn main() -> std::process::ExitCode {
    pinacle_host::init::main()
}
