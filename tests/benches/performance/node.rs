//! Runs the hand-written server of `tests/benches/node`, if Node.js is installed.

use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use harness::World;
use local::build;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

/// Installs the server's packages beneath `target/`. Without Node.js, says so and returns `None`.
pub fn install() -> Option<PathBuf> {
    let folder = build::workspace().join("target/bench/node");
    std::fs::create_dir_all(&folder).expect("a folder");
    for file in ["package.json", "server.mjs"] {
        let source = build::workspace().join("tests/benches/node").join(file);
        std::fs::copy(source, folder.join(file)).expect("a file");
    }
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--silent"]);
    match npm.current_dir(&folder).status() {
        Ok(status) if status.success() => Some(folder),
        _ => {
            eprintln!("no comparison with Node.js: npm cannot install its packages");
            None
        }
    }
}

/// The server, with the stores and secrets of a system.
pub struct Node {
    pub url: String,
    pub process: u32,
    _child: Child,
}

impl Node {
    pub async fn start(folder: &PathBuf, world: &World) -> Self {
        let login = world.local().lambda("login").expect("a function");
        let mut child = tokio::process::Command::new("node")
            .arg("server.mjs")
            .current_dir(folder)
            .envs(login.variables())
            .env("NODE_ENV", "production")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Node.js");
        let output = child.stdout.take().expect("an output");
        let port = BufReader::new(output).lines().next_line().await;
        let port = port.expect("an output").expect("a port");
        Self {
            url: format!("http://127.0.0.1:{port}"),
            process: child.id().expect("a process"),
            _child: child,
        }
    }
}
