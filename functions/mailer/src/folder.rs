//! The folder with a team's own templates and texts.

use std::fs;
use std::io;
use std::path::Path;

/// The extensions of templates and texts.
const EXTENSIONS: [&str; 3] = [".html", ".txt", ".json"];

/// Reads the files of a folder that have these names, and adds its problems. Any other template or file of texts is one:
/// its name has a typing error, and it would be passed over in silence.
pub fn read(
    folder: &Path,
    names: &[&'static str],
    problems: &mut Vec<String>,
) -> Vec<(&'static str, String)> {
    let found = match list(folder) {
        Ok(found) => found,
        Err(error) => {
            problems.push(format!("the folder cannot be read: {error}"));
            return Vec::new();
        }
    };
    let is_known = |file: &String| names.contains(&file.as_str());
    let is_alike = |file: &&String| EXTENSIONS.iter().any(|extension| file.ends_with(extension));
    let unknown = found.iter().filter(is_alike).filter(|file| !is_known(file));
    problems
        .extend(unknown.map(|file| format!("{file}: the folder may hold {}", names.join(", "))));
    if !found.iter().any(is_known) {
        problems.push(format!("the folder holds none of {}", names.join(", ")));
    }
    let mut files = Vec::new();
    for name in names
        .iter()
        .filter(|name| found.iter().any(|file| file == *name))
    {
        match fs::read_to_string(folder.join(name)) {
            Ok(content) => files.push((*name, content)),
            Err(error) => problems.push(format!("{name}: {error}")),
        }
    }
    files
}

/// Returns the names of a folder's files, sorted.
fn list(folder: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    let names = names.iter().map(|name| name.to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}
