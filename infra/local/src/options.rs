//! The options of the stack.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::build::{self, Binaries};
use crate::log::Log;

/// The stack's options.
#[derive(Clone, Debug)]
pub struct Options {
    /// The template that describes the system.
    pub template: PathBuf,
    /// The templates of applications that use the system; they run beside it.
    pub applications: Vec<PathBuf>,
    /// The functions' binaries, by name.
    pub binaries: Binaries,
    /// The API's port; 0 for any free port. The applications' ports follow it.
    pub port: u16,
    /// This machine's name in the stack's addresses, `localhost` or an address; by default `host`, or `127.0.0.1`.
    pub name: Option<String>,
    /// The address at which other machines of the network reach the stack; `0.0.0.0` for all addresses of this machine.
    /// Without it, only this machine reaches it.
    pub host: Option<IpAddr>,
    /// Whether cookies come without `Secure` and `__Host-`.
    pub plain_cookies: bool,
    /// The folder that keeps data between runs; without it, data is lost when the stack stops.
    pub data_dir: Option<PathBuf>,
    /// Variables that replace the functions' own, in every function that has them.
    pub variables: BTreeMap<String, String>,
    /// The file for the functions' variables, for `sam local invoke --env-vars`.
    pub sam_env: Option<PathBuf>,
    /// The file for the functions' variables, for `cargo lambda watch --env-file`.
    pub env_file: Option<PathBuf>,
    /// The destination of the functions' lines.
    pub log: Log,
}

impl Options {
    /// Returns the options of the archive's or the workspace's own system with these binaries, on a free port, in memory.
    pub fn new(binaries: Binaries, log: Log) -> Self {
        let folder = build::archive().unwrap_or_else(build::workspace);
        Self {
            template: folder.join("template.yaml"),
            applications: Vec::new(),
            binaries,
            port: 0,
            name: None,
            host: None,
            plain_cookies: false,
            data_dir: None,
            variables: BTreeMap::new(),
            sam_env: None,
            env_file: None,
            log,
        }
    }
}
