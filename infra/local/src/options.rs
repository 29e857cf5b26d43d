//! The options of the stack.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::build::{self, Binaries};
use crate::log::Log;

/// How the stack is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The template that describes it.
    pub template: PathBuf,
    /// The functions' binaries, by name.
    pub binaries: Binaries,
    /// The API's port; 0 for any free one.
    pub port: u16,
    /// Where data outlives the stack; otherwise it is gone with it.
    pub data_dir: Option<PathBuf>,
    /// Variables that are given to every function that has them, instead of what they would be.
    pub variables: BTreeMap<String, String>,
    /// Where the functions' variables are written to, for `sam local invoke --env-vars`.
    pub sam_env: Option<PathBuf>,
    /// Where they are written to for `cargo lambda watch --env-file`.
    pub env_file: Option<PathBuf>,
    /// Where the functions' lines go.
    pub log: Log,
}

impl Options {
    /// The workspace's own system with these binaries, on a free port, in memory.
    pub fn new(binaries: Binaries, log: Log) -> Self {
        Self {
            template: build::workspace().join("template.yaml"),
            binaries,
            port: 0,
            data_dir: None,
            variables: BTreeMap::new(),
            sam_env: None,
            env_file: None,
            log,
        }
    }
}
