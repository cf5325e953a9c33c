//! The header is what cbindgen makes of `src/ffi`, under the contract written in `src/ffi/contract.txt`, and every
//! function in it is documented in the fixed shape.
//!
//! `OMEMO_UPDATE_HEADER=1 cargo test --test repository header::` writes `include/omemo.h` anew.

use std::fmt::Write;
use std::path::PathBuf;

/// The files of `src/ffi` that hold parts of the header, in its order.
const SECTIONS: [&str; 19] = [
    "api/status",
    "api/log",
    "api/strings",
    "boundary/user_data",
    "api/config",
    "api/storage",
    "api/callbacks",
    "runtime/manager_handle",
    "api/manager",
    "api/requests",
    "api/key_parts",
    "api/results",
    "api/device_list",
    "api/bundle",
    "api/message",
    "api/draft",
    "api/decrypted",
    "api/trust",
    "api/devices",
];

/// String constants, which cbindgen does not see, with what they mean and their comment.
const STRINGS: [(&str, &str, &str); 7] = [
    ("OMEMO_NS_2", "urn:xmpp:omemo:2", "The namespace of OMEMO (XEP-0384 0.8 and later)."),
    (
        "OMEMO_NS_2_NOTIFY",
        "urn:xmpp:omemo:2:devices+notify",
        "The feature to announce (XEP-0115, XEP-0163) so that the server pushes device lists.",
    ),
    ("OMEMO_NS_LEGACY", "eu.siacs.conversations.axolotl", "The namespace before it (XEP-0384 0.3)."),
    (
        "OMEMO_NS_LEGACY_NOTIFY",
        "eu.siacs.conversations.axolotl.devicelist+notify",
        "The same feature for the device lists of OMEMO_NS_LEGACY.",
    ),
    (
        "OMEMO_TRUST_LEVEL_NAME_TRUSTED",
        "trusted",
        "A trust level that is known without evaluate_trust: trusted.",
    ),
    ("OMEMO_TRUST_LEVEL_NAME_UNDECIDED", "undecided", "The same: nobody has judged the key."),
    ("OMEMO_TRUST_LEVEL_NAME_DISTRUSTED", "distrusted", "The same: distrusted."),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn constants() -> String {
    let version = env!("CARGO_PKG_VERSION").split(['.', '-', '+']);
    let mut text = String::from("/** The version of this header; compare it with omemo_version(). */\n");
    for (name, number) in std::iter::zip(["MAJOR", "MINOR", "PATCH"], version) {
        writeln!(text, "#define OMEMO_VERSION_{name} {number}").unwrap();
    }
    for (name, value, comment) in STRINGS {
        write!(text, "\n/** {comment} */\n#define {name} \"{value}\"\n").unwrap();
    }
    text.push_str(concat!(
        "\n/* The result of such a function must be used: it has to be freed, or says whether a stanza was dealt with. */\n",
        "#if defined(__GNUC__) || defined(__clang__)\n",
        "#define OMEMO_MUST_USE __attribute__((warn_unused_result))\n",
        "#else\n",
        "#define OMEMO_MUST_USE\n",
        "#endif\n",
    ));
    text
}

fn generated() -> String {
    let root = root();
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let contract = std::fs::read_to_string(root.join("src/ffi/contract.txt")).expect("the contract");
    let mut header = String::from("/*\n");
    for line in contract.lines() {
        writeln!(header, "{}", format!(" * {line}").trim_end()).unwrap();
    }
    header.push_str(" */");
    config.header = Some(header);
    config.after_includes = Some(format!("\n{}", constants().trim_end()));
    let mut builder = cbindgen::Builder::new().with_config(config);
    for section in SECTIONS {
        builder = builder.with_src(root.join(format!("src/ffi/{section}.rs")));
    }
    let mut bytes = Vec::new();
    builder.generate().expect("cbindgen").write(&mut bytes);
    let text = String::from_utf8(bytes).expect("UTF-8");
    shorten(&text)
}

/// Comments of one line are written on one line, and lines have no blanks at their end.
fn shorten(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut short = String::new();
    let mut at = 0;
    while at < lines.len() {
        let comment = match &lines[at..] {
            [open, line, close, ..] if open.trim() == "/**" && close.trim() == "*/" => {
                let indent = &open[..open.len() - open.trim_start().len()];
                line.trim().strip_prefix("* ").map(|text| format!("{indent}/** {text} */"))
            }
            _ => None,
        };
        match comment.filter(|comment| comment.len() <= 120) {
            Some(comment) => {
                writeln!(short, "{comment}").unwrap();
                at += 3;
            }
            None => {
                writeln!(short, "{}", lines[at]).unwrap();
                at += 1;
            }
        }
    }
    short
}

fn committed() -> String {
    std::fs::read_to_string(root().join("include/omemo.h")).expect("include/omemo.h")
}

#[test]
fn the_header_is_what_cbindgen_makes() {
    let generated = generated();
    if std::env::var_os("OMEMO_UPDATE_HEADER").is_some() {
        std::fs::write(root().join("include/omemo.h"), &generated).expect("include/omemo.h");
    }
    let committed = committed();
    let difference =
        std::iter::zip(generated.lines(), committed.lines()).position(|(ours, theirs)| ours != theirs);
    assert!(
        generated == committed,
        "include/omemo.h differs from line {} on; OMEMO_UPDATE_HEADER=1 cargo test --test repository header:: writes it anew",
        difference.unwrap_or_default() + 1
    );
}

#[test]
fn strings_are_the_same_in_c_and_in_rust() {
    use omemo::ffi::api::callbacks;
    use omemo::protocol::namespace::Namespace;
    let values: Vec<_> = STRINGS.iter().map(|(_, value, _)| (*value).to_owned()).collect();
    let expected = [
        Namespace::Omemo2.uri().to_owned(),
        format!("{}:devices+notify", Namespace::Omemo2.uri()),
        Namespace::Legacy.uri().to_owned(),
        format!("{}.devicelist+notify", Namespace::Legacy.uri()),
        callbacks::LEVEL_TRUSTED.to_owned(),
        callbacks::LEVEL_UNDECIDED.to_owned(),
        callbacks::LEVEL_DISTRUSTED.to_owned(),
    ];
    assert_eq!(values, expected);
}
