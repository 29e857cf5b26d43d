//! Holds the direction of imports: which module may use which, no circles anywhere. Run with `--nocapture` to see the
//! drawing.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The modules of `shared` from top to bottom. Each may use the ones below it, unless the second list says less.
const LAYERS: [&str; 13] = [
    "serve",
    "auth",
    "http",
    "error",
    "store",
    "aws",
    "api",
    "config",
    "telemetry",
    "timing",
    "clock",
    "random",
    "domain",
];

/// Modules that may use only these.
const NARROWER: [(&str, &[&str]); 9] = [
    ("http", &["error", "api", "config", "clock", "domain"]),
    ("error", &["store", "api", "domain"]),
    ("store", &["aws", "config", "random", "domain"]),
    ("aws", &["config"]),
    ("api", &["domain"]),
    ("config", &["domain"]),
    ("telemetry", &[]),
    ("timing", &[]),
    ("random", &[]),
];

/// Crates whose names must not occur in `domain`: it is pure.
const IMPURE: [&str; 6] = [
    "tokio", "http::", "aws_sdk", "redis::", "lambda_", "std::env",
];

type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn a_module_of_shared_uses_only_the_ones_below_it() {
    let files = sources("shared/src");
    let mut arrows = Graph::new();
    for (module, text) in &files {
        let from = top(module);
        let targets = uses(module, text).into_iter().map(|target| top(&target));
        let targets = targets.filter(|target| *target != from && LAYERS.contains(&target.as_str()));
        arrows.entry(from.clone()).or_default().extend(targets);
    }
    arrows.remove("lib");
    for layer in LAYERS {
        let targets = arrows.get(layer).cloned().unwrap_or_default();
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        println!("{layer:<10} → {}", targets.join(", "));
    }

    for (from, targets) in &arrows {
        let at = LAYERS.iter().position(|layer| layer == from);
        let at = at.unwrap_or_else(|| panic!("{from} is in no layer"));
        let narrower = NARROWER.iter().find(|(module, _)| module == from);
        let allowed = narrower.map_or(&LAYERS[at + 1..], |(_, allowed)| *allowed);
        for target in targets {
            assert!(allowed.contains(&target.as_str()), "{from} uses {target}");
        }
    }
}

#[test]
fn there_is_no_circle_of_modules() {
    for folder in crates() {
        let files = sources(&folder);
        let names: BTreeSet<&String> = files.iter().map(|(module, _)| module).collect();
        let mut graph = Graph::new();
        for (module, text) in &files {
            let targets = uses(module, text).into_iter();
            let targets = targets.filter_map(|target| known(&names, &target));
            let targets = targets.filter(|target| target != module && !is_parent(target, module));
            graph.entry(module.clone()).or_default().extend(targets);
        }
        if let Some(circle) = circle(&graph) {
            panic!("{folder}: {}", circle.join(" → "));
        }
    }
}

#[test]
fn domain_is_pure() {
    for (module, text) in sources("shared/src/domain") {
        for line in text
            .lines()
            .filter(|line| line.trim_start().starts_with("use "))
        {
            let impure = IMPURE.iter().find(|name| line.contains(*name));
            assert_eq!(impure, None, "{module}: {line}");
        }
    }
}

#[test]
fn a_circle_is_found() {
    let graph = |arrows: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (from, to) in arrows {
            graph
                .entry((*from).to_owned())
                .or_default()
                .insert((*to).to_owned());
        }
        graph
    };

    assert_eq!(circle(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    let found = circle(&graph(&[("a", "b"), ("b", "c"), ("c", "b")]));
    assert_eq!(found.unwrap(), ["b", "c", "b"]);
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The sources of every crate of the workspace, and of the tests' harness.
fn crates() -> Vec<String> {
    let functions = std::fs::read_dir(workspace().join("functions")).unwrap();
    let functions = functions.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut folders: Vec<String> = functions
        .map(|name| format!("functions/{name}/src"))
        .collect();
    folders.extend(["shared/src", "infra/local/src", "tests/harness"].map(str::to_owned));
    folders
}

/// Every module below a folder, by its path within the crate, with its text without tests.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = workspace().join(folder);
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = path.strip_prefix(&root).unwrap().with_extension("");
                let module = module.to_str().unwrap().replace('/', "::");
                let module = module.trim_end_matches("::mod").to_owned();
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
                found.push((module, text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder}");
    found
}

fn top(module: &str) -> String {
    module.split("::").next().unwrap().to_owned()
}

/// The paths within the crate that a module names, in `use` and elsewhere, outside comments.
fn uses(module: &str, text: &str) -> BTreeSet<String> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let code: Vec<&str> = text.lines().filter(is_code).collect();
    let code = code.join("\n");
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    let mut found = BTreeSet::new();
    for (word, base) in [("crate::", ""), ("super::", parent)] {
        for (at, _) in code.match_indices(word) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue; // part of another path
            }
            found.extend(paths(base, &code[at + word.len()..]));
        }
    }
    found
}

/// The paths that begin here: one, or one for each name in braces.
fn paths(base: &str, rest: &str) -> Vec<String> {
    let join = |base: &str, name: &str| match base {
        "" => name.to_owned(),
        base => format!("{base}::{name}"),
    };
    if let Some(group) = rest.strip_prefix('{') {
        let mut depth = 0;
        let mut items = vec![String::new()];
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => items.push(String::new()),
                _ => {}
            }
            if !(c == ',' && depth == 0) {
                items.last_mut().unwrap().push(c);
            }
        }
        let items = items.iter().map(|item| item.trim());
        let items = items.filter(|item| !item.is_empty() && !item.starts_with("self"));
        return items.flat_map(|item| paths(base, item)).collect();
    }
    let name: String = rest
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    let path = join(base, &name);
    match rest[name.len()..].strip_prefix("::") {
        Some(rest) if name.chars().next().is_some_and(char::is_lowercase) => paths(&path, rest),
        _ => vec![path],
    }
}

/// The module that a path is in: the longest beginning that is a module's name.
fn known(names: &BTreeSet<&String>, path: &str) -> Option<String> {
    let mut path = path.to_owned();
    loop {
        if names.contains(&path) {
            return Some(path);
        }
        path = path.rsplit_once("::")?.0.to_owned();
    }
}

/// A module may use the names that its parent module defines, such as the errors of all stores.
fn is_parent(parent: &str, module: &str) -> bool {
    module
        .strip_prefix(parent)
        .is_some_and(|rest| rest.starts_with("::"))
}

fn circle(graph: &Graph) -> Option<Vec<String>> {
    fn visit(graph: &Graph, at: &str, path: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        if path.iter().any(|on_path| on_path == at) {
            let start = path.iter().position(|on_path| on_path == at).unwrap();
            path.drain(..start);
            path.push(at.to_owned());
            return true;
        }
        if !done.insert(at.to_owned()) {
            return false;
        }
        path.push(at.to_owned());
        for target in graph.get(at).into_iter().flatten() {
            if visit(graph, target, path, done) {
                return true;
            }
        }
        path.pop();
        false
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|start| {
        let mut path = Vec::new();
        visit(graph, start, &mut path, &mut done).then_some(path)
    })
}
