//! Holds the rooms of the manager: which room may import which; and that no files of the source import each other in a
//! circle. Reads the sources without comments, strings and tests. `docs/architecture.md` explains
//! the table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which rooms a room may import beside itself. `policy` and `config` are leaves; `mod` puts the rooms together.
const ROOMS: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("config", &[]),
    ("policy", &[]),
    ("engine", &["api"]),
    // The clocks' moment is a leaf of the engine.
    ("model", &["api", "policy", "engine"]),
    ("store", &["model", "api", "policy", "config", "engine"]),
    ("flows", &["store", "model", "engine", "api", "policy", "config"]),
    ("mod", &["flows", "store", "model", "engine", "api", "policy", "config"]),
];
/// What the rooms below flows may take of the engine.
const LEAF_OF_ENGINE: &str = "manager/engine/clock.rs";

/// The source without comments, the contents of strings, and `#[cfg(test)]` items with a body.
pub(super) fn bare(source: &str) -> String {
    let mut out = String::new();
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut i = 0;
    while i < chars.len() {
        if at(i) == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
        } else if at(i) == '"' {
            out.push('"');
            i += 1;
            while i < chars.len() && at(i) != '"' {
                if at(i) == '\n' {
                    out.push('\n');
                }
                i += if at(i) == '\\' { 2 } else { 1 };
            }
            out.push('"');
            i += 1;
        } else if at(i) == '\'' && (at(i + 2) == '\'' || at(i + 1) == '\\') {
            i += if at(i + 1) == '\\' { 4 } else { 3 };
            out.push(' ');
        } else {
            out.push(at(i));
            i += 1;
        }
    }
    // What a visibility names is no import.
    while let Some(start) = out.find("pub(in ") {
        let end = out[start..].find(')').map_or(out.len() - 1, |end| start + end);
        out.replace_range(start..=end, "pub");
    }
    while let Some(start) = out.find("#[cfg(test)]") {
        let body = out[start..].find(['{', ';']).map_or(out.len(), |found| start + found);
        let end = match out[body..].starts_with('{') {
            true => closing(&out, body),
            false => body,
        };
        out.replace_range(start..(end + 1).min(out.len()), "");
    }
    out
}

/// Where the brace that opens at `start` closes.
pub(super) fn closing(text: &str, start: usize) -> usize {
    let mut depth = 0;
    for (i, c) in text[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return start + i;
        }
    }
    text.len() - 1
}

/// The paths that begin at `text`: one, or several where braces follow.
fn paths(text: &str) -> Vec<Vec<String>> {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let rest = text[name.len()..].trim_start();
    if name.is_empty() {
        let Some(inside) = text.strip_prefix('{') else { return vec![Vec::new()] };
        let inside = &inside[..closing(text, 0).saturating_sub(1).min(inside.len())];
        let (mut depth, mut parts, mut part) = (0, Vec::new(), String::new());
        for c in inside.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if c == ',' && depth == 0 {
                parts.push(std::mem::take(&mut part));
            } else {
                part.push(c);
            }
        }
        parts.push(part);
        return parts
            .iter()
            .map(|part| part.trim())
            .filter(|part| !part.is_empty())
            .flat_map(paths)
            .collect();
    }
    match rest.strip_prefix("::") {
        Some(rest) => paths(rest.trim_start())
            .into_iter()
            .map(|path| std::iter::once(name.clone()).chain(path).collect())
            .collect(),
        None => vec![vec![name]],
    }
}

/// Every path of a source that begins with `super`, `crate` or, in a `use`, with anything.
fn all_paths(source: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for start in ["super::", "crate::", "use "] {
        for (i, _) in source.match_indices(start) {
            let before = source[..i].chars().next_back().unwrap_or(' ');
            let continues = before.is_alphanumeric() || before == '_' || source[..i].ends_with("::");
            if !continues {
                let at = if start == "use " { i + start.len() } else { i };
                found.extend(paths(source[at..].trim_start()));
            }
        }
    }
    found
}

struct Tree {
    /// By module path, such as ["flows", "encrypt"]: the file and its bare source.
    modules: BTreeMap<Vec<String>, (PathBuf, String)>,
}

impl Tree {
    fn load(root: &Path) -> Tree {
        let mut files = Vec::new();
        let mut directories = vec![root.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { directories.push(path) } else { files.push(path) }
            }
        }
        let mut modules = BTreeMap::new();
        for file in &files {
            let relative = file.strip_prefix(root).unwrap().to_owned();
            // Modules for tests.
            let name = |part: &std::ffi::OsStr| part.to_string_lossy().trim_end_matches(".rs").to_owned();
            if relative.iter().any(|part| ["tests", "vectors", "test_support"].contains(&name(part).as_str()))
            {
                continue;
            }
            let mut path: Vec<String> =
                relative.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if path.last().is_some_and(|name| name == "mod") || path == ["lib"] {
                path.pop();
            }
            modules.insert(path, (relative, bare(&std::fs::read_to_string(file).unwrap())));
        }
        Tree { modules }
    }

    /// The module in which a path, as it stands in `from`, ends; re-exports are followed.
    fn resolve(&self, from: &[String], path: &[String], hops: usize) -> Option<Vec<String>> {
        let mut names = path.iter().peekable();
        let mut module = match names.peek()?.as_str() {
            "crate" => {
                names.next();
                Vec::new()
            }
            "super" | "self" => from.to_vec(),
            first if self.modules.contains_key(&[from, &[first.to_owned()]].concat()) => from.to_vec(),
            _ => return None,
        };
        for name in names {
            match name.as_str() {
                "self" => continue,
                "super" => {
                    module.pop();
                    continue;
                }
                _ => {}
            }
            let child = [module.as_slice(), std::slice::from_ref(name)].concat();
            if self.modules.contains_key(&child) {
                module = child;
                continue;
            }
            let (_, source) = &self.modules[&module];
            let exported = || {
                let uses = source.match_indices("use ").filter(|(i, _)| {
                    let line = source[..*i].rsplit('\n').next().unwrap_or("");
                    line.trim().is_empty() || line.trim_start().starts_with("pub")
                });
                let mut paths = uses.flat_map(|(i, _)| paths(source[i + 4..].trim_start()));
                paths.find(|path| path.last() == Some(name) && path.len() > 1)
            };
            if hops > 0
                && let Some(path) = exported()
                && let Some(target) = self.resolve(&module.clone(), &path, hops - 1)
            {
                return Some(target);
            }
            break;
        }
        Some(module)
    }

    fn imports(&self, from: &[String]) -> BTreeSet<Vec<String>> {
        let (_, source) = &self.modules[from];
        let found = all_paths(source);
        found.iter().filter_map(|path| self.resolve(from, path, 3)).filter(|target| target != from).collect()
    }

    fn file(&self, module: &[String]) -> String {
        self.modules[module].0.display().to_string()
    }
}

fn tree() -> Tree {
    Tree::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

/// The room of a module of the manager.
fn room(module: &[String]) -> Option<&str> {
    let (first, rest) = module.split_first()?;
    (first == "manager").then(|| rest.first().map_or("mod", |room| room.as_str()))
}

#[test]
fn rooms_import_downwards_only() {
    let tree = tree();
    let mut wrong = Vec::new();
    for from in tree.modules.keys() {
        let Some(here) = room(from) else { continue };
        let allowed = ROOMS.iter().find(|(name, _)| *name == here).map(|(_, allowed)| *allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("{here} is no room"));
        for target in tree.imports(from) {
            let Some(there) = room(&target) else { continue };
            let leaf =
                there != "engine" || here == "flows" || here == "mod" || tree.file(&target) == LEAF_OF_ENGINE;
            if here != there && !(allowed.contains(&there) && leaf) {
                wrong.push(format!("{} imports {}", tree.file(from), tree.file(&target)));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let rooms: BTreeSet<&str> = tree.modules.keys().filter_map(|module| room(module)).collect();
    assert_eq!(rooms.len(), ROOMS.len(), "{rooms:?}");
}

/// Files that reach themselves by imports.
fn circles(tree: &Tree) -> Vec<String> {
    let imports: BTreeMap<&Vec<String>, BTreeSet<Vec<String>>> =
        tree.modules.keys().map(|module| (module, tree.imports(module))).collect();
    let reaches_itself = |start: &Vec<String>| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<Vec<String>> = imports[start].iter().cloned().collect();
        while let Some(module) = next.pop() {
            if module == *start {
                return true;
            }
            if seen.insert(module.clone()) {
                next.extend(imports[&module].iter().cloned());
            }
        }
        false
    };
    let in_circles: Vec<&Vec<String>> = tree.modules.keys().filter(|module| reaches_itself(module)).collect();
    let near = |module: &Vec<String>| {
        let targets = imports[module].iter().filter(|target| in_circles.contains(target));
        targets.map(|target| tree.file(target)).collect::<Vec<_>>().join(", ")
    };
    in_circles.iter().map(|module| format!("{} -> {}", tree.file(module), near(module))).collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let found = circles(&tree());
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn a_planted_circle_is_found_through_a_re_export() {
    let module = |path: &[&str], source: &str| {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        (path.clone(), (PathBuf::from(path.join("/")), bare(source)))
    };
    let planted = |last: &str| Tree {
        modules: BTreeMap::from([
            module(&["store"], "mod a;\nmod b;\npub(super) use a::{A, Other};"),
            module(&["store", "a"], "use super::b::B; // use super::c::C;"),
            module(&["store", "b"], last),
        ]),
    };
    assert_eq!(circles(&planted("const S: &str = \"super::a::A\";")), Vec::<String>::new());
    assert_eq!(
        circles(&planted("#[cfg(test)]\nmod tests { use super::super::a::A; }")),
        Vec::<String>::new()
    );
    assert_eq!(circles(&planted("fn f() -> super::A { g() }")).len(), 2);
    assert_eq!(circles(&planted("use super::{Other, d::{E}};")).len(), 3);
}

/// The functions of a source with their lengths in lines.
pub(super) fn functions(source: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (i, _) in source.match_indices("fn ") {
        let name: String = source[i + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let end = source[i..].find(['{', ';']).map(|end| i + end);
        if let (false, Some(body)) = (name.is_empty(), end.filter(|end| source[*end..].starts_with('{'))) {
            found.push((name, source[i..=closing(source, body)].lines().count()));
        }
    }
    found
}
