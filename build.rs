//! Gives the shared library its SONAME, which rustc does not.

/// The number in the SONAME: raised when the ABI breaks, and for nothing else. `CMakeLists.txt` reads it from here.
const ABI: &str = "1";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=OMEMO_OUTPUT_NAME");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if matches!(os.as_str(), "linux" | "android" | "freebsd" | "netbsd" | "openbsd" | "dragonfly") {
        // The CMake option of this name makes a library that can be installed beside another libomemo.
        let name = std::env::var("OMEMO_OUTPUT_NAME").unwrap_or_else(|_| "omemo".to_owned());
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,lib{name}.so.{ABI}");
        // Our own calls inside the library must not be interposed by another library's symbols.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    }
}
