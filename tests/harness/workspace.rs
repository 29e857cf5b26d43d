//! The files of the workspace.

use std::collections::BTreeMap;

use local::build;
use local::template::Template;

/// `template.yaml` as the stack reads it: the cache is here, not in the cloud.
pub fn template() -> Template {
    let path = build::workspace().join("template.yaml");
    let parameters = BTreeMap::from([("Cache".to_owned(), "none".to_owned())]);
    Template::read(&path, &parameters).expect("a template")
}

/// A file of the workspace.
pub fn read(file: &str) -> String {
    let path = build::workspace().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}
