//! Redis: a real `valkey-server` or `redis-server` as a child process; installed if there is none.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Error, build};

/// How long a server may take to answer after its start; it may have to load a file.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A script that starts the server and ends it when standard input closes: this works even if this process is killed.
const GUARD: &str = r#"exec 3<&0; "$@" 3<&- </dev/null & server=$!; (cat <&3 >/dev/null; kill $server 2>/dev/null) & wait $server"#;

/// A running Redis; it ends when this value is dropped.
pub struct Redis {
    /// The URL of the server.
    pub url: String,
    guard: Child,
    _folder: Option<tempfile::TempDir>,
}

impl Redis {
    /// Starts it on a free port of the loopback interface. With a folder it keeps its data there; `arguments` are
    /// passed to the server unchanged.
    ///
    /// # Errors
    /// If there is no server and none can be installed; the error names the command to run.
    pub fn start(folder: Option<&Path>, arguments: &[&str]) -> Result<Self, Error> {
        let program = find_or_install()?;
        let temporary = if folder.is_none() {
            Some(tempfile::tempdir()?)
        } else {
            None
        };
        let directory = folder
            .or(temporary.as_ref().map(tempfile::TempDir::path))
            .unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory)?;

        // Another process can take the free port before the server does: then the next port is tried.
        for _ in 0..5 {
            let port = free_port()?;
            let mut command = Command::new("sh");
            command.args(["-c", GUARD, "sh"]).arg(&program);
            command.args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--daemonize",
                "no",
                "--save",
                "",
            ]);
            command
                .args(["--appendonly", if folder.is_some() { "yes" } else { "no" }])
                .arg("--dir")
                .arg(directory);
            command
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::inherit());
            let mut guard = command.spawn()?;
            if answers(port, &mut guard, directory)? {
                return Ok(Self {
                    url: format!("redis://127.0.0.1:{port}"),
                    guard,
                    _folder: temporary,
                });
            }
        }
        Err(format!("{} does not start", program.display()).into())
    }
}

impl Redis {
    /// Returns the id of the guard, the parent of the server's process.
    pub fn process_id(&self) -> u32 {
        self.guard.id()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Closing standard input ends the server; the guard then ends itself.
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn free_port() -> Result<u16, Error> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Waits until the server answers; returns `false` if it ends, or if another server took the port first.
fn answers(port: u16, guard: &mut Child, directory: &Path) -> Result<bool, Error> {
    let directory = directory.canonicalize()?;
    let started = Instant::now();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    while started.elapsed() < START_TIMEOUT {
        if guard.try_wait()?.is_some() {
            return Ok(false);
        }
        if ask(address, "PING").is_ok_and(|answer| answer.starts_with("+PONG")) {
            let answer = ask(address, "CONFIG GET dir")?;
            return Ok(answer.lines().any(|line| Path::new(line) == directory));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err("Redis does not answer".into())
}

fn ask(address: SocketAddr, command: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = [0; 1024];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn find_or_install() -> Result<PathBuf, Error> {
    if let Some(program) = find() {
        return Ok(program);
    }
    // Stacks that start at the same time must not install at the same time.
    static INSTALLING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = INSTALLING
        .lock()
        .map_err(|_| "installing Redis failed before")?;
    if let Some(program) = find() {
        return Ok(program);
    }
    install()?;
    find().ok_or_else(|| {
        "Redis was installed, but neither valkey-server nor redis-server is on the PATH".into()
    })
}

fn find() -> Option<PathBuf> {
    let archived = build::archive().map(|folder| folder.join("redis/redis-server"));
    let archived = archived.filter(|program| program.is_file());
    archived.or_else(|| {
        ["valkey-server", "redis-server"]
            .into_iter()
            .find_map(on_path)
    })
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Debian installs servers in folders of root's PATH.
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Installs the server with the system's package manager, if that is possible without a password.
fn install() -> Result<(), Error> {
    let managers = [
        ("brew", "brew install valkey", false),
        (
            "apt-get",
            "apt-get update && apt-get install --yes --no-install-recommends redis-server",
            true,
        ),
        (
            "dnf",
            "dnf install --assumeyes valkey || dnf install --assumeyes redis",
            true,
        ),
    ];
    let Some((_, command, needs_root)) = managers
        .into_iter()
        .find(|(program, ..)| on_path(program).is_some())
    else {
        return Err("neither valkey-server nor redis-server is installed, and no package manager is known here: \
                    install one of them, or give --env REDIS_URL=redis://…"
            .into());
    };
    let is_root = rustix::process::geteuid().is_root();
    let by_hand = if needs_root && !is_root {
        format!("sudo sh -c '{command}'")
    } else {
        command.to_owned()
    };
    let mut install = match (needs_root, is_root) {
        (true, false) if !may_sudo() => {
            return Err(format!(
                "neither valkey-server nor redis-server is installed; type: {by_hand}"
            )
            .into());
        }
        (true, false) => {
            let mut sudo = Command::new("sudo");
            sudo.args(["--non-interactive", "sh"]);
            sudo
        }
        _ => Command::new("sh"),
    };
    eprintln!("neither valkey-server nor redis-server is installed; installing: {by_hand}");
    // Debian's package would start another server beside this one.
    let status = install.arg("-c").arg(format!(
        "export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; {command}"
    ));
    // Standard output is reserved for the line that says the stack is ready.
    if status.stdout(std::io::stderr()).status()?.success() {
        Ok(())
    } else {
        Err(format!("Redis could not be installed; type: {by_hand}").into())
    }
}

fn may_sudo() -> bool {
    let mut sudo = Command::new("sudo");
    sudo.args(["--non-interactive", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    sudo.status().is_ok_and(|status| status.success())
}
