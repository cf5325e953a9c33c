//! Gives the shared library its SONAME, which rustc does not.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if matches!(os.as_str(), "linux" | "android" | "freebsd" | "netbsd" | "openbsd" | "dragonfly") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libomemo.so.1");
        // Our own calls inside the library must not be interposed by another library's symbols.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    }
}
