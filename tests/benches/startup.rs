//! How soon a new environment of each function is ready, how large its binary and its memory are, beside a
//! function that does nothing. `cargo bench -p tests --bench startup` prints the table, and writes it to
//! `target/bench/startup.json`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use local::{Local, Options, build, log::Log};
use serde_json::json;

const STARTS: usize = 20;
const FLOOR: &str = "floor";

/// What was measured of one function.
struct Measured {
    start: Duration,
    binary_bytes: u64,
    resident_kib: u64,
}

fn main() {
    let binaries = build::build(true).expect("a release build");
    let folder = tempfile::tempdir().expect("a folder");
    let env_file = folder.path().join("variables");
    let mut options = Options::new(binaries.clone(), Log::kept());
    options.env_file = Some(env_file.clone());
    let stack = Local::start(options).expect("a stack");
    let variables = read_variables(&env_file);

    let functions = stack.info().functions.keys().map(String::as_str);
    let measured: BTreeMap<&str, Measured> = functions
        .chain([FLOOR])
        .map(|name| (name, measure(&binaries[name], &variables)))
        .collect();
    report(&measured);
}

fn read_variables(file: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(file).expect("the variables");
    let pair = |line: &str| {
        let (name, value) = line.split_once('=').expect("a variable");
        (name.to_owned(), value.to_owned())
    };
    text.lines().map(pair).collect()
}

fn measure(binary: &Path, variables: &BTreeMap<String, String>) -> Measured {
    let mut starts = Vec::new();
    let mut resident = Vec::new();
    for _ in 0..STARTS {
        let (api, ready) = runtime_api();
        let begun = Instant::now();
        let mut process = start(binary, variables, &api);
        let asked = ready.recv_timeout(Duration::from_secs(20));
        starts.push(asked.expect("the function asks for work") - begun);
        resident.push(resident_kib(&process));
        process.kill().expect("it runs");
        process.wait().expect("it ends");
    }
    Measured {
        start: median(starts),
        binary_bytes: binary.metadata().expect("a binary").len(),
        resident_kib: median(resident),
    }
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort();
    values[values.len() / 2]
}

fn start(binary: &Path, variables: &BTreeMap<String, String>, api: &str) -> Child {
    let mut command = Command::new(binary);
    command.env_clear().envs(variables);
    command.env("AWS_LAMBDA_RUNTIME_API", api);
    command.env("AWS_LAMBDA_FUNCTION_NAME", "measured");
    command.env("AWS_LAMBDA_FUNCTION_VERSION", "1");
    command.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769");
    command.env("AWS_LAMBDA_LOG_FORMAT", "JSON");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a binary that runs")
}

/// Lambda's Runtime API for one process: it says when the process asks for work, and gives none.
fn runtime_api() -> (String, Receiver<Instant>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (ready, asked) = channel();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let ready = ready.clone();
            std::thread::spawn(move || answer(&connection, &ready));
        }
    });
    (address, asked)
}

/// One request after the other, until one that is not answered.
fn answer(connection: &TcpStream, ready: &Sender<Instant>) -> Option<()> {
    let mut reader = BufReader::new(connection);
    loop {
        let mut request = String::new();
        reader
            .read_line(&mut request)
            .ok()
            .filter(|read| *read > 0)?;
        if request.contains("/invocation/next") {
            let _ = ready.send(Instant::now());
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        std::io::Read::read_exact(&mut reader, &mut vec![0; length]).ok()?;
        if request.contains("/next") {
            // Nothing to do, for as long as it waits.
            let _ = std::io::Read::read(&mut reader, &mut [0]);
            return None;
        }
        let mut connection = connection;
        let response = "HTTP/1.1 200 OK\r\nlambda-extension-identifier: 1\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        connection.write_all(response.as_bytes()).ok()?;
    }
}

/// `VmRSS` of `/proc/<pid>/status`.
fn resident_kib(process: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()));
    let status = status.expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let figure = line.and_then(|line| line.split_whitespace().nth(1));
    figure
        .and_then(|figure| figure.parse().ok())
        .expect("a figure")
}

fn report(measured: &BTreeMap<&str, Measured>) {
    let floor = &measured[FLOOR];
    let start_ratio = |one: &Measured| one.start.as_secs_f64() / floor.start.as_secs_f64();
    let memory_ratio = |one: &Measured| one.resident_kib as f64 / floor.resident_kib as f64;
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let mebibytes = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
    println!(
        "| function | exec → first `next`, ms | × floor | binary, MiB | resident, MiB | × floor |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, one) in measured {
        println!(
            "| {name} | {:.1} | {:.2} | {:.1} | {:.1} | {:.2} |",
            milliseconds(one.start),
            start_ratio(one),
            mebibytes(one.binary_bytes),
            one.resident_kib as f64 / 1024.0,
            memory_ratio(one)
        );
    }
    let rows: BTreeMap<&str, serde_json::Value> = measured
        .iter()
        .map(|(name, one)| {
            let row = json!({
                "start_ms": milliseconds(one.start), "start_ratio": start_ratio(one),
                "binary_bytes": one.binary_bytes,
                "resident_kib": one.resident_kib, "resident_ratio": memory_ratio(one),
            });
            (*name, row)
        })
        .collect();
    let folder = build::workspace().join("target/bench");
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = serde_json::to_vec_pretty(&rows).expect("JSON");
    std::fs::write(folder.join("startup.json"), text).expect("a file");
}
