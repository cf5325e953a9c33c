//! The header is what cbindgen makes of `src/ffi`, section by section, under the contract written in
//! `src/ffi/contract.txt`.
//!
//! cbindgen would put all types before all functions. So it is run for each file, and the parts are put together here.
//!
//! `OMEMO_UPDATE_HEADER=1 cargo test --test repository header::` writes `include/omemo.h`.

use omemo::error::Status;
use omemo::manager::config::OPTIONS;
use std::fmt::Write;
use std::path::PathBuf;

/// The sections of the header, in its order, and the files of `src/ffi` that each of them is made of.
const SECTIONS: [(&str, &[&str]); 14] = [
    ("Version, status", &["api/status"]),
    ("Logging", &["api/log"]),
    ("Strings", &["api/strings"]),
    ("Configuration", &["boundary/user_data", "api/trust_policy", "api/options", "api/config"]),
    ("Storage", &["api/storage", "api/storage_sealed", "api/storage_care"]),
    ("Callbacks", &["api/core_trust", "api/callbacks"]),
    ("Manager", &["runtime/manager_handle", "api/operations", "api/manager"]),
    ("Requests", &["api/requests"]),
    ("Results", &["api/results"]),
    ("Device lists, bundles, messages", &["api/device_list", "api/bundle", "api/message"]),
    ("Encrypt", &["api/encrypt"]),
    ("Decrypt", &["api/decrypt", "api/decrypted", "api/acknowledge"]),
    ("Trust", &["api/trust"]),
    ("Devices", &["api/devices", "api/device_sessions", "api/manager_devices", "api/own_device"]),
];

/// String constants, which cbindgen does not see, with what they mean and their comment.
const STRINGS: [(&str, &str, &str); 12] = [
    ("OMEMO_NS_2", "urn:xmpp:omemo:2", "Namespace of OMEMO, XEP-0384 0.8 and later."),
    (
        "OMEMO_NS_2_NOTIFY",
        "urn:xmpp:omemo:2:devices+notify",
        "Feature to announce (XEP-0115, XEP-0163) so that the server pushes device lists of OMEMO_NS_2.",
    ),
    (
        "OMEMO_NS_LEGACY",
        "eu.siacs.conversations.axolotl",
        "Namespace of OMEMO as in XEP-0384 0.3, called legacy.",
    ),
    (
        "OMEMO_NS_LEGACY_NOTIFY",
        "eu.siacs.conversations.axolotl.devicelist+notify",
        "Feature to announce (XEP-0115, XEP-0163) so that the server pushes device lists of OMEMO_NS_LEGACY.",
    ),
    (
        "OMEMO_NODE_2_DEVICES",
        "urn:xmpp:omemo:2:devices",
        "PEP node of an account's device list in OMEMO_NS_2.",
    ),
    (
        "OMEMO_NODE_2_BUNDLES",
        "urn:xmpp:omemo:2:bundles",
        "PEP node of all bundles of an account in OMEMO_NS_2; the id of an item is a device id in decimal.",
    ),
    (
        "OMEMO_NODE_LEGACY_DEVICES",
        "eu.siacs.conversations.axolotl.devicelist",
        "PEP node of an account's device list in OMEMO_NS_LEGACY.",
    ),
    (
        "OMEMO_NODE_LEGACY_BUNDLES_PREFIX",
        "eu.siacs.conversations.axolotl.bundles:",
        "Beginning of the PEP node of one bundle in OMEMO_NS_LEGACY; the device id follows in decimal.",
    ),
    (
        "OMEMO_TRUST_LEVEL_NAME_TRUSTED",
        "trusted",
        "Name of a trust level, known without evaluate_trust: messages are encrypted for the key.",
    ),
    (
        "OMEMO_TRUST_LEVEL_NAME_BLINDLY_TRUSTED",
        "blindly-trusted",
        "Name of a trust level, known without evaluate_trust: an omemo_trust_policy has trusted the key.",
    ),
    (
        "OMEMO_TRUST_LEVEL_NAME_UNDECIDED",
        "undecided",
        "Name of a trust level, known without evaluate_trust: no trust decision was made about the key.",
    ),
    (
        "OMEMO_TRUST_LEVEL_NAME_DISTRUSTED",
        "distrusted",
        "Name of a trust level, known without evaluate_trust: nothing is encrypted for the key.",
    ),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The macros that come with a section.
fn constants(section: &str) -> String {
    let mut text = String::new();
    match section {
        "Version, status" => {
            let version = env!("CARGO_PKG_VERSION").split(['.', '-', '+']);
            text.push_str("/** The version of this header; compare it with omemo_version(). */\n");
            for (name, number) in std::iter::zip(["MAJOR", "MINOR", "PATCH"], version) {
                writeln!(text, "#define OMEMO_VERSION_{name} {number}").unwrap();
            }
        }
        "Strings" => {
            for (name, value, comment) in STRINGS {
                let gap = if text.is_empty() { "" } else { "\n" };
                write!(text, "{gap}/** {comment} */\n#define {name} \"{value}\"\n").unwrap();
            }
        }
        _ => {}
    }
    text
}

/// What stands between the contract and the first section; `types` are the names of all structures.
fn prologue(types: &[String]) -> String {
    let mut text = String::from(concat!(
        "/* Marks functions whose result must be used: it has to be freed, or says whether a stanza was processed. */\n",
        "#if defined(__GNUC__) || defined(__clang__)\n",
        "#define OMEMO_MUST_USE __attribute__((warn_unused_result))\n",
        "#else\n",
        "#define OMEMO_MUST_USE\n",
        "#endif\n",
        "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n",
        "\n/* All structures by name; each is described in its section. */\n",
    ));
    for name in types {
        writeln!(text, "typedef struct {name} {name};").unwrap();
    }
    text
}

/// The types that a file of `src/ffi` exports.
fn exported_types(source: &str) -> Vec<String> {
    let kinds = ["pub enum omemo_", "pub struct omemo_", "pub type omemo_"];
    let declared = source.lines().filter(|line| kinds.iter().any(|kind| line.starts_with(kind)));
    let name = |line: &str| {
        line.split(' ').nth(2).unwrap().trim_end_matches(|c: char| !c.is_alphanumeric()).to_owned()
    };
    declared.map(name).collect()
}

/// What cbindgen makes of one file: its types, then its functions, each in the order in which they stand there.
fn part(file: &str) -> String {
    let root = root();
    let path = root.join(format!("src/ffi/{file}.rs"));
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    // Also what no function of this file takes.
    config.export.include = exported_types(&std::fs::read_to_string(&path).expect("a file of src/ffi"));
    let mut bytes = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(path)
        .generate()
        .expect("cbindgen")
        .write(&mut bytes);
    let text = String::from_utf8(bytes).expect("UTF-8");
    // The whole header is inside of one such block.
    text.replace("#ifdef __cplusplus\nextern \"C\" {\n#endif // __cplusplus\n", "")
        .replace("#ifdef __cplusplus\n}  // extern \"C\"\n#endif  // __cplusplus\n", "")
}

/// Numbers with commas, as `1,000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let comma = |i: usize| i > 0 && (digits.len() - i).is_multiple_of(3);
    digits.char_indices().flat_map(|(i, digit)| comma(i).then_some(',').into_iter().chain([digit])).collect()
}

/// The comment on a value whose sentences stand in a table of the code: statuses and options.
fn tabled(name: &str, number: i64) -> Option<String> {
    if let Some(status) = Status::ALL.iter().find(|status| status.name() == name) {
        assert_eq!(i64::from(*status as i32), number, "{name}");
        let python = Some(status.python()).filter(|python| !python.is_empty());
        return Some(
            status.text().to_owned() + &python.map_or(String::new(), |python| format!(" [{python}]")),
        );
    }
    let option = OPTIONS.iter().find(|option| option.name == name)?;
    assert_eq!(i64::from(option.number), number, "{name}");
    let [least, most, default] = [option.least, option.most, option.default].map(grouped);
    Some(format!("{} Unit: {}, {least} to {most}; default: {default}.", option.meaning, option.unit))
}

/// Comments before the values that have their sentences in a table.
fn with_tables(text: &str) -> String {
    let mut filled = String::new();
    for line in text.lines() {
        let value =
            line.strip_prefix("  OMEMO_").and_then(|rest| rest.trim_end_matches(',').split_once(" = "));
        let number = value.and_then(|(_, number)| number.parse().ok());
        let name = line.trim_start().split(' ').next().unwrap_or("");
        if let Some(comment) = number.and_then(|number| tabled(name, number)) {
            filled.push_str("  /**\n");
            let mut row = String::from("   *");
            for word in comment.split(' ') {
                if row.len() + word.len() >= 115 {
                    writeln!(filled, "{row}").unwrap();
                    row = String::from("   *");
                }
                write!(row, " {word}").unwrap();
            }
            writeln!(filled, "{row}\n   */").unwrap();
        }
        writeln!(filled, "{line}").unwrap();
    }
    filled
}

/// Structures without their typedef, which stands at the top, so that a section can use what a later one describes.
fn tagged(text: &str, types: &mut Vec<String>) -> String {
    let mut tagged = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == "typedef struct {" {
            // A table: its name comes with the brace that ends it.
            let end =
                lines.clone().find_map(|line| line.strip_prefix("} ")).expect("the name of a structure");
            let name = end.trim_end_matches(';');
            writeln!(tagged, "struct {name} {{").unwrap();
            types.push(name.to_owned());
        } else if let Some(opaque) = line.strip_prefix("typedef struct ") {
            let name = opaque.split(' ').next().unwrap();
            writeln!(tagged, "struct {name};").unwrap();
            types.push(name.to_owned());
        } else if line.starts_with("} omemo_") {
            tagged.push_str("};\n");
        } else {
            writeln!(tagged, "{line}").unwrap();
        }
    }
    tagged
}

fn generated() -> String {
    let (mut sections, mut types) = (String::new(), Vec::new());
    for (number, (title, files)) in SECTIONS.iter().enumerate() {
        let heading = format!("{} {title}", number + 1);
        write!(sections, "\n/*\n * {heading}\n * {}\n */\n", "-".repeat(heading.len())).unwrap();
        let parts = files.iter().map(|file| with_tables(&tagged(&part(file), &mut types)));
        for text in [constants(title)].into_iter().chain(parts) {
            let text = text.trim();
            if !text.is_empty() {
                write!(sections, "\n{text}\n").unwrap();
            }
        }
    }
    let mut header = String::from("/*\n");
    let contract = std::fs::read_to_string(root().join("src/ffi/contract.txt")).expect("the contract");
    for line in contract.lines() {
        writeln!(header, "{}", format!(" * {line}").trim_end()).unwrap();
    }
    let guard = "LIBOMEMO_OMEMO_H_";
    write!(header, " */\n\n#ifndef {guard}\n#define {guard}\n\n").unwrap();
    header.push_str("#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n\n");
    header.push_str(&prologue(&types));
    header.push_str(&sections);
    write!(header, "\n#ifdef __cplusplus\n}}  // extern \"C\"\n#endif\n\n#endif  /* {guard} */\n").unwrap();
    shorten(&header)
}

/// Comments of one line are written on one line; lines have no blanks at their end, and no two of them are empty.
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
                if !(lines[at].is_empty() && short.ends_with("\n\n")) {
                    writeln!(short, "{}", lines[at]).unwrap();
                }
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
        "include/omemo.h differs from line {} on; OMEMO_UPDATE_HEADER=1 cargo test --test repository header:: writes it",
        difference.unwrap_or_default() + 1
    );
}

#[test]
fn every_status_and_option_is_a_value_with_its_sentence() {
    let header = committed();
    let names = Status::ALL.iter().map(|status| (status.name(), status.text()));
    for (name, text) in names.chain(OPTIONS.iter().map(|option| (option.name, option.meaning))) {
        let (before, _) = header.split_once(&format!("\n  {name} = ")).unwrap_or_else(|| panic!("no {name}"));
        let comment: Vec<_> =
            before.rsplit("/**").next().unwrap().split_whitespace().filter(|word| *word != "*").collect();
        assert!(comment.join(" ").starts_with(text), "{name}: {comment:?}");
    }
    assert_eq!(grouped(1_048_576), "1,048,576");
    assert_eq!(grouped(40), "40");
}

/// Where a declaration with these words begins, outside of comments.
fn declared_at(header: &str, words: &str) -> Option<usize> {
    let starts = header.match_indices(words).map(|(at, _)| header[..at].rfind('\n').map_or(0, |end| end + 1));
    starts.into_iter().find(|start| !header[*start..].starts_with([' ', '/', '#', '\n']))
}

#[test]
fn sections_come_as_announced_and_types_before_functions() {
    let contract = std::fs::read_to_string(root().join("src/ffi/contract.txt")).expect("the contract");
    let header = committed();
    let mut starts = Vec::new();
    for (number, (title, _)) in SECTIONS.iter().enumerate() {
        let heading = format!("{} {title}", number + 1);
        assert!(contract.contains(&heading), "{heading} is not announced");
        starts.push(header.find(&format!("\n/*\n * {heading}\n * --")).expect(&heading));
    }
    assert!(starts.is_sorted(), "{starts:?}");
    let body = &header[starts[0]..];
    starts.push(header.len());
    for (number, (title, files)) in SECTIONS.iter().enumerate() {
        let section = starts[number] - starts[0]..starts[number + 1] - starts[0];
        for file in *files {
            let source = std::fs::read_to_string(root().join(format!("src/ffi/{file}.rs"))).unwrap();
            let functions = source.lines().filter_map(|line| line.split_once("extern \"C\" fn omemo_"));
            let names = functions.map(|(_, rest)| format!("omemo_{}(", rest.split('(').next().unwrap()));
            let places: Vec<_> = names.map(|name| declared_at(body, &name).expect(&name)).collect();
            assert!(
                places.iter().all(|place| section.contains(place)),
                "a function is not in section {title}"
            );
            let first = places.into_iter().min().unwrap_or(section.end);
            for name in exported_types(&source) {
                let forms = [
                    format!("enum {name}\n"),
                    format!("struct {name}"),
                    format!("{name};"),
                    format!("(*{name})"),
                ];
                let place = forms.iter().filter_map(|form| declared_at(body, form)).min().expect(&name);
                assert!(
                    section.start < place && place < first,
                    "{name} is not at the top of section {title}"
                );
            }
        }
    }
}

#[test]
fn strings_are_the_same_in_c_and_in_rust() {
    use omemo::manager::api::trust_policy;
    use omemo::protocol::namespace::Namespace;
    let values: Vec<_> = STRINGS.iter().map(|(_, value, _)| (*value).to_owned()).collect();
    let expected = [
        Namespace::Omemo2.uri().to_owned(),
        format!("{}:devices+notify", Namespace::Omemo2.uri()),
        Namespace::Legacy.uri().to_owned(),
        format!("{}.devicelist+notify", Namespace::Legacy.uri()),
        Namespace::Omemo2.device_list_node().to_owned(),
        Namespace::Omemo2.bundle_node(1),
        Namespace::Legacy.device_list_node().to_owned(),
        Namespace::Legacy.bundle_node(1).trim_end_matches('1').to_owned(),
        trust_policy::LEVEL_TRUSTED.to_owned(),
        trust_policy::LEVEL_BLINDLY_TRUSTED.to_owned(),
        trust_policy::LEVEL_UNDECIDED.to_owned(),
        trust_policy::LEVEL_DISTRUSTED.to_owned(),
    ];
    assert_eq!(values, expected);
}
