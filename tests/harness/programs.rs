//! Programs in Node.js and Python that protect an API with the published keys, with their packages installed beneath
//! `target/`.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use local::build;
use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::world::skip;

/// A program's folder: a copy of one in the workspace, with the packages that it names.
pub struct Folder(PathBuf);

impl Folder {
    /// Copies a folder and installs the packages of its `package.json`. Without Node.js, reports the skipped test and
    /// returns `None`.
    pub fn of_node(source: &str) -> Option<Self> {
        Self::installed(source, "package.json", "node", |folder| {
            let mut npm = Command::new("npm");
            npm.args(["install", "--no-audit", "--no-fund", "--no-package-lock"]);
            run(npm.current_dir(folder));
        })
    }

    /// Copies a folder and installs the packages of its `requirements.txt`. Without Python, reports the skipped test
    /// and returns `None`.
    pub fn of_python(source: &str) -> Option<Self> {
        Self::installed(source, "requirements.txt", "python3", |folder| {
            let environment = folder.join(".venv");
            run(Command::new("python3")
                .args(["-m", "venv"])
                .arg(&environment));
            let mut pip = Command::new(environment.join("bin/python"));
            pip.args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]);
            run(pip.args(["-r", "requirements.txt"]).current_dir(folder));
        })
    }

    /// Installs once for each content of the file that names the packages; tests in other threads or processes wait.
    fn installed(
        source: &str,
        packages: &str,
        interpreter: &str,
        install: impl FnOnce(&Path),
    ) -> Option<Self> {
        if Command::new(interpreter).arg("--version").output().is_err() {
            skip(&format!("{interpreter} is not installed"));
            return None;
        }
        let folder = build::workspace().join("target").join(source);
        std::fs::create_dir_all(&folder).expect("a folder");
        let lock = File::create(folder.join(".lock")).expect("a file");
        lock.lock().expect("a lock");
        let source = build::workspace().join(source);
        copy(&source, &folder);
        let wanted = std::fs::read_to_string(source.join(packages)).expect("a list of packages");
        let installed = folder.join(format!(".installed-{packages}"));
        if std::fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
            return Some(Self(folder));
        }
        install(&folder);
        std::fs::write(&installed, wanted).expect("a file");
        Some(Self(folder))
    }

    /// Returns a command that runs in the folder.
    pub fn command(&self, program: &str) -> Command {
        let own = self.0.join(program);
        // An absolute path, because a relative one is taken from the folder of this process.
        let mut command = Command::new(if own.exists() { own } else { program.into() });
        command.current_dir(&self.0);
        command
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let (name, path) = entry
            .map(|entry| (entry.file_name(), entry.path()))
            .expect("an entry");
        // A developer's own packages and results stay where they are.
        let is_made = ["node_modules", ".next", ".venv", "__pycache__"]
            .iter()
            .any(|made| name == *made);
        let target = to.join(name);
        if path.is_dir() && !is_made {
            std::fs::create_dir_all(&target).expect("a folder");
            copy(&path, &target);
        } else if path.is_file() {
            let content = std::fs::read(&path).expect("a file");
            // An unchanged file is not written again: another test may be reading it.
            if std::fs::read(&target).ok().as_ref() != Some(&content) {
                std::fs::write(&target, content).expect("a file");
            }
        }
    }
}

/// Runs a command to its end.
///
/// # Panics
/// If it fails.
pub fn run(command: &mut Command) {
    let done = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, errors) = (text(&done.stdout), text(&done.stderr));
    assert!(done.status.success(), "{command:?}: {printed}{errors}");
}

/// A server in a process group of its own; dropping this value ends it.
pub struct Server {
    pub url: String,
    process: Child,
}

impl Server {
    /// Starts a server on a free port, which it gets as `PORT`, and waits until it answers.
    pub async fn start(mut command: Command) -> Self {
        let port = free_port();
        let process = command.env("PORT", port.to_string());
        let process = process.process_group(0).stdout(Stdio::null());
        let process = process
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut server = Self {
            url: format!("http://127.0.0.1:{port}"),
            process,
        };
        let started = Instant::now();
        while reqwest::get(&server.url).await.is_err() {
            let ended = server.process.try_wait().expect("a status");
            assert!(ended.is_none(), "{command:?}: {ended:?}");
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "{command:?} does not answer"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    /// Asks for a path with this `Authorization`.
    pub async fn get(
        &self,
        path: &str,
        authorization: Option<&str>,
    ) -> (StatusCode, serde_json::Value) {
        get(&format!("{}{path}", self.url), authorization).await
    }
}

/// Asks for a URL with this `Authorization`.
pub async fn get(url: &str, authorization: Option<&str>) -> (StatusCode, serde_json::Value) {
    let mut request = reqwest::Client::new().get(url);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    (status, answer.json().await.expect("JSON"))
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A program that reads lines and answers each with a line; dropping this value ends it.
pub struct Answering {
    process: Child,
    input: ChildStdin,
    answers: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Answering {
    pub fn start(mut command: Command) -> Self {
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = process
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = process.stdin.take().expect("an input");
        let output = process.stdout.take().expect("an output");
        Self {
            process,
            input,
            answers: BufReader::new(output).lines(),
        }
    }

    /// Sends a line and returns the answer.
    pub fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").expect("it reads");
        self.answers.next().expect("an answer").expect("a line")
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
