//! Links the kernel with the linker script of its arch.
fn main() {
    let target = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let script = format!("{}/../arch/{target}/kernel.ld", env!("CARGO_MANIFEST_DIR"));
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rustc-link-arg-bins=-T{script}");
    println!("cargo:rustc-link-arg-bins=-zmax-page-size=4096");
    println!("cargo:rustc-link-arg-bins=--no-rosegment");
    if target == "aarch64" {
        // Keeps `adrp` from where some Cortex-A53 take it wrongly (arch/aarch64/src/cpu/errata.rs).
        println!("cargo:rustc-link-arg-bins=--fix-cortex-a53-843419");
    }
}
