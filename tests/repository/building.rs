//! Runs the build script by itself, with the variables that cargo would set.

use std::path::Path;
use std::process::{Command, Output};

const PKG_CONFIG: &str = "LIBSQLITE3_SYS_USE_PKG_CONFIG";

#[test]
fn a_bundled_sqlite_is_not_the_systems() {
    let script = std::env::temp_dir().join(format!("omemo-build-script-{}", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let compiled = Command::new(rustc).args(["--edition", "2024", "-o"]).arg(&script).arg(source).status();
    assert!(compiled.unwrap().success());
    let run = |variables: &[(&str, &str)]| -> Output {
        let mut command = Command::new(&script);
        command.env_remove(PKG_CONFIG).env_remove("CARGO_FEATURE_BUNDLED_SQLITE");
        command.envs(variables.iter().copied()).output().unwrap()
    };
    let bundled = ("CARGO_FEATURE_BUNDLED_SQLITE", "1");
    let refused = run(&[bundled, (PKG_CONFIG, "1")]);
    let fine = [run(&[bundled]), run(&[bundled, (PKG_CONFIG, "0")]), run(&[(PKG_CONFIG, "1")])];
    std::fs::remove_file(&script).unwrap();
    assert!(
        !refused.status.success()
            && String::from_utf8_lossy(&refused.stdout).contains("bundled-sqlite is on")
    );
    assert!(fine.iter().all(|output| output.status.success()));
}

#[test]
fn cmake_keeps_the_environment_out_of_the_choice() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CMakeLists.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let (bundled, system) = text
        .split_once("if(OMEMO_WITH_BUNDLED_SQLITE)")
        .and_then(|(_, rest)| rest.split_once("else()"))
        .expect("the two branches");
    assert!(bundled.contains("--unset=LIBSQLITE3_SYS_USE_PKG_CONFIG"));
    let system = system.split_once("endif()").expect("an end").0;
    assert!(
        system.contains("--unset=LIBSQLITE3_SYS_USE_PKG_CONFIG") && system.contains("--unset=SQLITE3_STATIC")
    );
}
