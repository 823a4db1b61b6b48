//! Says once where the rings are built in: `cfg(has_uring)` and `cfg(has_tokio_uring)`. The feature must be on, and the
//! target must be one for which the crate `io-uring` knows the kernel's structures. Elsewhere a build with the feature
//! has no ring, as on any system but Linux.

use std::env;

/// As in Cargo.toml, where the crates are named.
const ARCHITECTURES: [&str; 5] = ["x86_64", "aarch64", "riscv64", "loongarch64", "powerpc64"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(has_uring, has_tokio_uring)");
    let target = |what: &str| env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if target("OS") != "linux" || !ARCHITECTURES.contains(&target("ARCH").as_str()) {
        return;
    }
    for (feature, cfg) in [("IO_URING", "has_uring"), ("TOKIO_URING", "has_tokio_uring")] {
        if env::var_os(format!("CARGO_FEATURE_{feature}")).is_some() {
            println!("cargo::rustc-cfg={cfg}");
        }
    }
}
