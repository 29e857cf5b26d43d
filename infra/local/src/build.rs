//! Builds the functions, and finds their binaries: in the workspace, or in an archive that `infra/package` has made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Error;

/// The binaries of the workspace, by name.
pub type Binaries = BTreeMap<String, PathBuf>;

/// Returns the workspace's folder.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Returns the folder of the unpacked archive that this program lies in; `None` in the workspace.
pub fn archive() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let folder = program.parent()?;
    let is_archive = folder.join("functions/not-found").is_file();
    is_archive.then(|| folder.to_owned())
}

/// Returns the functions' binaries of an unpacked archive.
///
/// # Errors
/// If the folder cannot be read.
pub fn in_archive(folder: &Path) -> Result<Binaries, Error> {
    let mut binaries = Binaries::new();
    for entry in folder.join("functions").read_dir()? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        binaries.insert(name, entry.path());
    }
    Ok(binaries)
}

/// Builds the whole workspace, so that every dependency is built once, with one set of features. Cargo's progress is
/// shown.
///
/// # Errors
/// If cargo fails; cargo has printed the reason.
pub fn build(release: bool) -> Result<Binaries, Error> {
    let mut cargo = cargo();
    cargo.args([
        "build",
        "--workspace",
        "--bins",
        "--message-format=json-render-diagnostics",
    ]);
    if release {
        cargo.arg("--release");
    }
    let output = cargo
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("the functions could not be built".into());
    }
    let messages = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let mut binaries = Binaries::new();
    for message in messages {
        let message: Value = serde_json::from_slice(message)?;
        if let (Some(name), Some(path)) = (
            message["target"]["name"].as_str(),
            message["executable"].as_str(),
        ) {
            binaries.insert(name.to_owned(), path.into());
        }
    }
    Ok(binaries)
}

/// Finds the binaries of an earlier build; those that were not built are missing from the result.
///
/// # Errors
/// If `cargo metadata` fails.
pub fn find(release: bool) -> Result<Binaries, Error> {
    let output = cargo()
        .args(["metadata", "--format-version=1", "--no-deps"])
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let target = Path::new(
        metadata["target_directory"]
            .as_str()
            .ok_or("cargo metadata names no target directory")?,
    );
    let folder = target.join(if release { "release" } else { "debug" });
    let mut binaries = Binaries::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        for name in package["targets"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|target| target["name"].as_str())
        {
            let path = folder.join(name);
            if path.is_file() {
                binaries.insert(name.to_owned(), path);
            }
        }
    }
    Ok(binaries)
}

/// Returns a command for cargo as a user would run it: variables that an outer cargo sets for this program would make
/// it rebuild everything.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    for (name, _) in std::env::vars_os() {
        let is_outer = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
            "CARGO_PRIMARY_",
            "DEP_",
        ]
        .iter()
        .any(|prefix| name.to_string_lossy().starts_with(prefix));
        if is_outer || name == "OUT_DIR" || name == "LD_LIBRARY_PATH" {
            cargo.env_remove(name);
        }
    }
    cargo
}
