//! Gives the shared library its SONAME, which rustc does not, and sees that a bundled SQLite is one.

/// The number in the SONAME: raised when the ABI breaks, and for nothing else. `CMakeLists.txt` reads it from here.
const ABI: &str = "1";

/// Has `libsqlite3-sys` take the system's SQLite, whatever the features are.
const PKG_CONFIG: &str = "LIBSQLITE3_SYS_USE_PKG_CONFIG";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=OMEMO_OUTPUT_NAME");
    println!("cargo:rerun-if-env-changed={PKG_CONFIG}");
    // The library configures the memory of the SQLite that it brings. The system's is the program's.
    let is_bundled = std::env::var_os("CARGO_FEATURE_BUNDLED_SQLITE").is_some();
    if is_bundled && std::env::var_os(PKG_CONFIG).is_some_and(|value| value != "0") {
        println!(
            "cargo:warning={PKG_CONFIG} takes the system's SQLite although the feature bundled-sqlite is on: unset it, or build with --no-default-features."
        );
        std::process::exit(1);
    }
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if matches!(os.as_str(), "linux" | "android" | "freebsd" | "netbsd" | "openbsd" | "dragonfly") {
        // The CMake option of this name makes a library that can be installed beside another libomemo.
        let name = std::env::var("OMEMO_OUTPUT_NAME").unwrap_or_else(|_| "omemo".to_owned());
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,lib{name}.so.{ABI}");
        // Our own calls inside the library must not be interposed by another library's symbols.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    }
}
