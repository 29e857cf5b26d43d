//! Reads files of the workspace.

use std::collections::BTreeMap;

use local::build;
use local::template::Template;

/// Reads `template.yaml` as the local stack does: without the cloud's cache.
pub fn template() -> Template {
    let path = build::workspace().join("template.yaml");
    let parameters = BTreeMap::from([("Cache".to_owned(), "none".to_owned())]);
    Template::read(&path, &parameters, &BTreeMap::new()).expect("a template")
}

/// Reads a file of the workspace.
pub fn read(file: &str) -> String {
    let path = build::workspace().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}
