//! `cargo local`: the program itself and its documented behaviour.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::world::{binaries, is_inside};
use harness::{Client, World, template, until};
use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// `cargo local` as a process; killed when dropped.
struct Program {
    process: Child,
    /// Standard output up to the end of the first line.
    ready: String,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let mut process = command(arguments).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.as_mut().unwrap())
            .read_line(&mut ready)
            .unwrap();
        Self { process, ready }
    }

    fn url(&self) -> &str {
        self.ready
            .trim()
            .strip_prefix("ready ")
            .unwrap_or_else(|| panic!("not ready: {:?}", self.ready))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Returns its children and their descendants.
    fn descendants(&self) -> Vec<i32> {
        descendants(self.process.id().cast_signed())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(&binaries()["local"]);
    command
        .args(["--no-build", "--port", "0"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn descendants(pid: i32) -> Vec<i32> {
    let mut found = Vec::new();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    for task in tasks {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children
            .split_whitespace()
            .filter_map(|child| child.parse().ok())
        {
            found.push(child);
            found.extend(descendants(child));
        }
    }
    found
}

fn is_running(pid: i32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty()
        && !state
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim_start()
            .starts_with('Z')
}

async fn wait_until_ended(pids: &[i32]) {
    let what = format!("the end of {pids:?}");
    until(&what, async || !pids.iter().any(|pid| is_running(*pid))).await;
}

/// Returns the functions' names from the template, sorted.
fn functions() -> Vec<String> {
    let functions = template().functions.into_iter();
    let mut names: Vec<String> = functions.map(|function| function.name).collect();
    names.sort();
    names
}

fn is_linux_and_inside() -> bool {
    cfg!(target_os = "linux") && is_inside()
}

#[tokio::test]
async fn it_prints_one_line_and_a_signal_stops_every_child() {
    if !is_linux_and_inside() {
        return;
    }
    for signal in [Signal::INT, Signal::TERM] {
        let mut program = Program::start(&["--log", "json"]);
        assert!(
            reqwest::get(format!("{}/_local/info", program.url()))
                .await
                .unwrap()
                .status()
                .is_success()
        );
        let children = program.descendants();
        assert!(
            children.len() > functions().len(),
            "one process per function, and Redis: {children:?}"
        );

        kill_process(program.pid(), signal).unwrap();
        let status = program.process.wait().unwrap();

        assert!(status.success(), "{status}");
        wait_until_ended(&children).await;
        let mut log = String::new();
        let mut stderr = program.process.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        let stopped = log.matches("stopped by SIGTERM").count();
        assert_eq!(
            stopped,
            functions().len(),
            "each function stops on its own: {log}"
        );
        let mut rest = String::new();
        program
            .process
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut rest)
            .unwrap();
        assert_eq!(rest, "", "standard output has one line only");
    }
}

/// Even SIGKILL leaves no process behind.
#[tokio::test]
async fn a_killed_stack_leaves_no_child_behind() {
    if !is_linux_and_inside() {
        return;
    }
    let mut program = Program::start(&[]);
    let children = program.descendants();

    program.process.kill().unwrap();
    program.process.wait().unwrap();

    wait_until_ended(&children).await;
}

#[tokio::test]
async fn a_test_that_panics_leaves_no_child_behind() {
    if !is_linux_and_inside() {
        return;
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let world = World::inside().unwrap();
        sender.send(world.local().process_ids()).unwrap();
        panic!("on purpose");
    });
    let children: Vec<i32> = receiver
        .recv()
        .unwrap()
        .into_iter()
        .map(u32::cast_signed)
        .collect();

    assert!(thread.join().is_err());

    assert_eq!(
        children.len(),
        functions().len() + 1,
        "one process per function, and Redis"
    );
    wait_until_ended(&children).await;
}

#[tokio::test]
async fn every_problem_of_every_function_is_shown_and_the_stack_does_not_hang() {
    let world = World::build()
        .variable("JWT_SECRET", "a-secret-too-short")
        .variable("JWT_EXPIRY", "soon")
        .variable("REDIS_URL", "http://127.0.0.1")
        .variable("ENVIRONMENT", "production")
        .variable("PASSWORD_MIN_LENGTH", "");
    if !is_inside() {
        return;
    }
    let started = Instant::now();

    let error = world
        .variable("EMAIL_TOKEN_SECRET", "")
        .try_start()
        .err()
        .expect("an error");

    assert!(started.elapsed() < Duration::from_secs(20));
    for function in [
        "register",
        "login",
        "refresh",
        "logout",
        "profile",
        "delete-account",
    ] {
        let line = error
            .lines()
            .find(|line| line.starts_with(function))
            .unwrap_or_else(|| panic!("{function}: {error}"));
        for problem in [
            "JWT_SECRET is shorter than 32 bytes",
            "ENVIRONMENT must be dev, staging or prod",
            "REDIS_URL must be",
        ] {
            assert!(line.contains(problem), "{problem}: {line}");
        }
    }
    assert_eq!(
        error.matches("EMAIL_TOKEN_SECRET is missing").count(),
        12,
        "the functions that derive mailed tokens: {error}"
    );
    assert_eq!(
        error.matches("JWT_EXPIRY must be a duration").count(),
        6,
        "the functions that issue tokens: {error}"
    );
    assert!(
        !error.contains("a-secret-too-short") && !error.contains("soon"),
        "the error shows a value: {error}"
    );
}

/// security.md L11: the secrets of `.env.example`, and settings that are fine on a laptop.
#[tokio::test]
async fn prod_refuses_what_is_fine_for_trying_out_and_names_all_of_it() {
    if !is_inside() {
        return;
    }
    let example = harness::world::read(".env.example");
    let lines = example.lines().filter_map(|line| line.split_once('='));
    let secrets = lines.filter(|(name, value)| {
        let is_secret = name.ends_with("_SECRET") || name.ends_with("_KEY");
        is_secret && !name.starts_with('#') && !value.is_empty()
    });
    let secrets: Vec<_> = secrets.collect();
    assert_eq!(secrets.len(), 5, "{secrets:?}");
    let start = |secrets: &[(&str, &str)]| {
        let world = World::build().variable("ENVIRONMENT", "prod");
        let world = secrets
            .iter()
            .fold(world, |world, (name, value)| world.variable(name, value));
        world.try_start().err().expect("an error")
    };
    let line = |error: &str, function: &str| {
        let line = error.lines().find(|line| line.starts_with(function));
        line.unwrap_or_else(|| panic!("{function}: {error}"))
            .to_owned()
    };

    let examples = start(&secrets);
    let one = "one secret for all purposes, of 32 bytes or more";
    let equal = start(
        &secrets
            .iter()
            .map(|(name, _)| (*name, one))
            .collect::<Vec<_>>(),
    );

    let functions = template().functions;
    let has = |function: &str, name: &str| {
        let mut functions = functions.iter();
        let found = functions.find(|known| known.name == function).unwrap();
        found.variables.contains_key(name)
    };
    for function in functions.iter().map(|function| function.name.as_str()) {
        let (examples, equal) = match function {
            "errors" | "jwks" | "mail-events" | "not-found" | "openapi" => continue, // they have none of these variables
            _ => (line(&examples, function), line(&equal, function)),
        };
        for (variable, problem) in [
            ("REDIS_URL", "REDIS_URL must be a rediss:// URL"),
            (
                "CORS_ALLOWED_ORIGINS",
                "CORS_ALLOWED_ORIGINS must be https: origins",
            ),
            ("FRONTEND_URL", "FRONTEND_URL must be an https: URL"),
        ] {
            assert_eq!(
                examples.contains(problem),
                has(function, variable),
                "{examples}"
            );
        }
        for (name, _) in &secrets {
            let problem = format!("{name} is an example");
            assert_eq!(
                examples.contains(&problem),
                has(function, name),
                "{examples}"
            );
            assert_eq!(
                examples.matches(&problem).count(),
                usize::from(has(function, name))
            );
        }
        let given = secrets.iter().filter(|(name, _)| has(function, name));
        let number = given.count();
        assert_eq!(
            equal.matches(" is the same as ").count(),
            number * number.saturating_sub(1) / 2,
            "{equal}"
        );
    }
    for error in [examples, equal] {
        for value in ["only-an-example", one, "127.0.0.1", "localhost"] {
            assert!(!error.contains(value), "{value}: {error}");
        }
    }
}

#[tokio::test]
async fn the_program_ends_with_an_error_when_something_is_wrong() {
    if !is_inside() {
        return;
    }
    for (arguments, message) in [
        (
            ["--env", "JWT_SECRET=short"],
            "JWT_SECRET is shorter than 32 bytes",
        ),
        (
            ["--env", "NO_SUCH_VARIABLE=1"],
            "no function has a variable",
        ),
        (["--env", "nonsense"], "must be KEY=VALUE"),
    ] {
        let output = command(&arguments).output().unwrap();

        assert!(!output.status.success(), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(message), "{arguments:?}: {text}");
    }
}

/// Kills the program and returns what it wrote to standard error.
fn log(mut program: Program) -> String {
    program.process.kill().unwrap();
    program.process.wait().unwrap();
    let mut log = String::new();
    let mut stderr = program.process.stderr.take().unwrap();
    stderr.read_to_string(&mut log).unwrap();
    log
}

#[tokio::test]
async fn limits_are_balanced_unless_it_is_told_and_it_says_so() {
    if !is_inside() {
        return;
    }
    for (arguments, line, guest) in [
        (&[][..], "limits: balanced (", Some("60;w=60")),
        (&["--limits", "strict"], "limits: strict (", Some("5;w=60")),
        (&["--limits", "off"], "limits: off (", None),
        (
            &["--env", "RATE_LIMIT_GUEST=7/1h"],
            "limits: balanced, RATE_LIMIT_GUEST=7/1h (",
            Some("7;w=3600"),
        ),
        (
            &["--limits", "off", "--env", "RATE_LIMITS=strict"],
            "limits: strict (",
            Some("5;w=60"),
        ),
    ] {
        let program = Program::start(arguments);
        let url = format!("{}/api/auth/profile", program.url());

        let answer = reqwest::get(url).await.unwrap();

        let policy = answer.headers().get("ratelimit-policy");
        let policy = policy.map(|policy| policy.to_str().unwrap().to_owned());
        let guest = guest.map(|guest| format!("\"guest\";q={guest}"));
        assert_eq!(policy, guest, "{arguments:?}");
        let log = log(program);
        let lines = log.lines().filter(|said| said.starts_with("limits: "));
        let lines: Vec<_> = lines.collect();
        assert!(
            matches!(lines[..], [said] if said.starts_with(line)),
            "{log}"
        );
    }
}

/// Returns the lines about requests and warnings, without their times.
fn requests(log: &str) -> Vec<String> {
    let introduction = ["console", "inbox", "API", "origins", "limits"];
    let lines = log.lines().filter(|line| {
        let (subject, _) = line.split_once(": ").unwrap_or_default();
        !introduction.contains(&subject)
    });
    let words = lines.map(|line| line.get(9..).unwrap_or(line).split_whitespace());
    words
        .map(|words| words.collect::<Vec<_>>().join(" "))
        .collect()
}

#[tokio::test]
async fn a_request_is_a_line_that_says_its_outcome_and_the_option_that_helps() {
    if !is_inside() {
        return;
    }
    let program = Program::start(&["--env", "RATE_LIMIT_LOGIN=1/1h"]);
    let client = reqwest::Client::new();
    let login = format!("{}/api/auth/login", program.url());
    let body = json!({ "identifier": "ada", "password": "Wrong-7-horse" });
    for status in [401, 429, 429] {
        let answer = client.post(&login).json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
    }
    let evil = client.get(format!("{}/me?token=secret", program.url()));
    evil.header("origin", "https://evil.example")
        .send()
        .await
        .unwrap();

    let log = log(program);
    let lines = requests(&log);
    let without_duration = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let at = words.iter().position(|word| *word == "ms").unwrap();
        [&words[..at - 1], &words[at + 1..]].concat().join(" ")
    };
    assert_eq!(lines.len(), 6, "{log}");
    assert_eq!(
        without_duration(&lines[0]),
        "POST /api/auth/login 401 invalid_credentials login"
    );
    assert_eq!(
        without_duration(&lines[1]),
        "POST /api/auth/login 429 login login"
    );
    // Once for each limit.
    assert!(
        lines[2].starts_with(
            "warn the limit login refuses requests: --limits off, or --env RATE_LIMIT_LOGIN="
        ),
        "{log}"
    );
    assert_eq!(
        without_duration(&lines[3]),
        "POST /api/auth/login 429 login login"
    );
    assert!(
        lines[4].ends_with("try --env CORS_ALLOWED_ORIGINS=https://evil.example"),
        "{log}"
    );
    assert_eq!(
        without_duration(&lines[5]),
        "GET /me 401 missing_token profile"
    );
    assert!(
        !log.contains('\u{1b}'),
        "no colour where there is no terminal: {log}"
    );
}

#[tokio::test]
async fn as_json_the_log_has_the_functions_lines_and_metrics() {
    if !is_inside() {
        return;
    }
    let program = Program::start(&["--log", "json"]);
    reqwest::get(format!("{}/me", program.url())).await.unwrap();

    let log = log(program);
    let lines = log
        .lines()
        .filter_map(|line| line.strip_prefix("profile: "));
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        lines.iter().any(|line| line["outcome"] == "missing_token"),
        "{log}"
    );
    assert!(lines.iter().any(|line| line["_aws"].is_object()), "{log}");
    assert!(!log.contains(" ms "), "{log}");
}

#[tokio::test]
async fn one_name_is_printed_and_both_of_this_machine_work() {
    if !is_inside() {
        return;
    }
    let program = Program::start(&[]);
    let port = program
        .url()
        .strip_prefix("http://localhost:")
        .unwrap()
        .to_owned();
    // A machine may have no IPv6.
    let v6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    for name in ["localhost", "127.0.0.1"]
        .into_iter()
        .chain(v6.then_some("[::1]"))
    {
        let answer = reqwest::get(format!("http://{name}:{port}/me"))
            .await
            .unwrap();
        assert_eq!(answer.status(), 401, "{name}");
    }
    let (url, log) = (program.url().to_owned(), log(program));
    for line in [
        format!("console: {url}/"),
        format!("inbox: {url}/#inbox"),
        format!("API: {url}/api/auth/docs"),
        "origins: http://localhost:* http://127.0.0.1:* ".to_owned(),
    ] {
        assert!(
            log.lines().any(|said| said.starts_with(&line)),
            "{line}: {log}"
        );
    }
    assert!(!log.contains("warning"), "{log}");
}

/// A container listens on all of its addresses, and others reach it by a published port of this machine.
#[tokio::test]
async fn links_have_the_name_that_is_given() {
    if !is_linux_and_inside() {
        return;
    }
    for (name, host) in [("localhost", "localhost"), ("::1", "[::1]")] {
        let program = Program::start(&["--host", "0.0.0.0", "--name", name]);
        let url = program.url();
        assert!(url.starts_with(&format!("http://{host}:")), "{url}");
        let port = url.rsplit(':').next().unwrap();
        let discovery = format!("http://127.0.0.1:{port}/.well-known/openid-configuration");
        let answer: Value = reqwest::get(discovery).await.unwrap().json().await.unwrap();
        assert_eq!(answer["issuer"], url);
    }
    let output = command(&["--name", "evil.example"]).output().unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("must be localhost or an address"), "{error}");
}

#[tokio::test]
async fn other_machines_reach_it_if_it_is_told() {
    if !is_linux_and_inside() {
        return;
    }
    // Another address of this machine stands for one of its network.
    let program = Program::start(&["--host", "127.0.0.2"]);
    let port = program
        .url()
        .strip_prefix("http://127.0.0.2:")
        .unwrap()
        .to_owned();
    let client = reqwest::Client::new();
    let get = async |name: &str, host: &str| {
        let request = client.get(format!("http://{name}:{port}/me"));
        let request = request.header("host", format!("{host}:{port}"));
        let request = request.header("origin", format!("http://{host}:8100"));
        request.send().await.unwrap()
    };

    let phone = get("127.0.0.2", "127.0.0.2").await;
    assert_eq!(phone.status(), 401);
    assert_eq!(
        phone.headers()["access-control-allow-origin"],
        "http://127.0.0.2:8100"
    );
    assert_eq!(get("localhost", "localhost").await.status(), 401);
    // security.md I12: a page's own name is refused all the same.
    assert_eq!(get("127.0.0.2", "evil.example").await.status(), 421);
    assert!(log(program).contains("warning: everybody in this network reaches it"));

    let all = Program::start(&["--host", "0.0.0.0"]);
    let port = all.url().rsplit(':').next().unwrap();
    let answer = reqwest::get(format!("http://127.0.0.3:{port}/me"))
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
    let closed = Program::start(&[]);
    let port = closed.url().rsplit(':').next().unwrap();
    assert!(
        reqwest::get(format!("http://127.0.0.2:{port}/me"))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn plain_cookies_work_in_cookie_mode() {
    if !is_inside() {
        return;
    }
    let program = Program::start(&["--plain-cookies"]);
    let client = reqwest::Client::new();
    let post = |path: &str| {
        let request = client.post(format!("{}/api/auth/{path}", program.url()));
        request
            .header("x-token-transport", "cookie")
            .header("origin", "http://localhost:5173")
    };
    let user = json!({ "email": "ada@example.com", "password": "Correct-7-horse" });
    let answer = post("register").json(&user).send().await.unwrap();
    let cookies = answer.headers().get_all("set-cookie").iter();
    let cookies: Vec<String> = cookies
        .map(|cookie| cookie.to_str().unwrap().to_owned())
        .collect();
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    for cookie in &cookies {
        assert!(
            !cookie.contains("__Host-") && !cookie.contains("Secure"),
            "{cookie}"
        );
        assert!(
            cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
            "{cookie}"
        );
    }
    let csrf: Value = answer.json().await.unwrap();
    let pairs = cookies
        .iter()
        .map(|cookie| cookie.split(';').next().unwrap());
    let pairs: Vec<&str> = pairs.collect();

    let refresh = post("refresh").header("cookie", pairs.join("; "));
    let refresh = refresh.header("x-csrf-token", csrf["csrfToken"].as_str().unwrap());
    let answer = refresh.send().await.unwrap();

    assert_eq!(answer.status(), 200);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("refresh_token="), "{cookie}");
}

/// newcomer.md: on the third run, everything after the first request was 429.
#[tokio::test]
async fn the_walk_of_the_readme_works_three_times_in_a_row() {
    if !is_inside() || Command::new("curl").arg("--version").output().is_err() {
        return;
    }
    let readme = harness::world::read("README.md");
    let walk = readme
        .split("```sh\n")
        .find(|block| block.starts_with("api="));
    let (walk, _) = walk.unwrap().split_once("```").unwrap();
    let program = Program::start(&[]);
    let walk = walk.replace("http://localhost:3000", program.url());
    assert!(walk.contains(program.url()));

    for register in ["201", "409", "409"] {
        let output = Command::new("sh").args(["-c", &walk]).output().unwrap();

        let text = String::from_utf8(output.stdout).unwrap();
        let statuses = text.lines().filter(|line| line.parse::<u16>().is_ok());
        let statuses: Vec<_> = statuses.collect();
        assert_eq!(statuses, [register, "200", "200", "200", "401"], "{text}");
        assert!(text.contains("token_revoked"), "{text}");
    }
}

#[tokio::test]
async fn help_explains_every_option() {
    if !is_inside() {
        return;
    }
    let output = Command::new(&binaries()["local"])
        .arg("--help")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();

    for option in [
        "--port",
        "--host",
        "--plain-cookies",
        "--log",
        "--env",
        "--limits",
        "--data-dir",
        "--release",
        "--no-build",
    ] {
        let (_, after) = text
            .split_once(option)
            .unwrap_or_else(|| panic!("{option}: {text}"));
        assert!(
            after.lines().take(2).any(|line| line.trim().len() > 15),
            "{option}: {text}"
        );
    }
}

#[tokio::test]
async fn a_data_directory_survives_a_restart_and_belongs_to_one_stack() {
    let folder = tempfile::tempdir().unwrap();
    let build = || {
        World::build()
            .data_dir(folder.path())
            .variable("JWT_ISSUER", "gatehouse")
    };
    let Some(world) = build().start() else { return };
    let account = world.client().register().await;
    assert!(
        build()
            .try_start()
            .err()
            .expect("an error")
            .contains("in use by another stack")
    );
    drop(world);

    let world = build().start().unwrap();

    let client = world.client();
    assert_eq!(
        client.profile(&account.access).await.status,
        200,
        "the user, the session and the secrets survive"
    );
    assert_eq!(client.refresh(&account.refresh).await.status, 200);
    client.login(&account).await;
    private(&folder.path().join("secrets.json"));
}

fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(
        file.metadata().unwrap().permissions().mode() & 0o077,
        0,
        "{} is readable by others",
        file.display()
    );
}

#[tokio::test]
async fn an_occupied_port_is_named() {
    if !is_inside() {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut command = Command::new(&binaries()["local"]);

    let output = command
        .args(["--no-build", "--port", &port])
        .output()
        .unwrap();

    assert!(!output.status.success());
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains(&format!("port {port}"))
    );
}

/// security.md I12: a page whose domain name leads here (DNS rebinding) can read neither the inbox nor anything else.
#[tokio::test]
async fn only_names_of_this_machine_are_answered() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let info = world.local().info();
    let port = info.url.rsplit(':').next().unwrap();
    for path in [
        "/",
        "/_local/",
        "/_local/mail",
        "/_local/info",
        "/_local/activity",
        "/_local/state",
        "/me",
    ] {
        let status = async |host: &str| {
            let request = client.request(Method::GET, path).header("host", host);
            request.send().await.unwrap().status()
        };

        for host in ["evil.example", "localhost.evil.example", "192.0.2.1"] {
            let host = format!("{host}:{port}");
            assert_eq!(status(&host).await, 421, "{host} {path}");
        }
        for host in ["127.0.0.1", "LOCALHOST", "localhost.", "[::1]"] {
            let host = format!("{host}:{port}");
            assert_ne!(status(&host).await, 421, "{host} {path}");
        }
    }
    // The emulated services hold data as well. Functions in containers reach this machine by another name.
    for url in [&info.dynamodb_url, &info.ses_url] {
        let status = async |host: &str| {
            let request = reqwest::Client::new().post(url).header("host", host);
            request.send().await.unwrap().status()
        };

        assert_eq!(status("evil.example").await, 421);
        assert_ne!(status("host.docker.internal:1").await, 421);
    }
}

#[tokio::test]
async fn info_tells_where_everything_is() {
    let Some(world) = World::inside() else { return };

    let info: Value = reqwest::get(format!("{}/_local/info", world.url()))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();

    assert_eq!(
        (&info["usersTable"], &info["credentialsTable"]),
        (&json!("UsersTable"), &json!("CredentialsTable"))
    );
    assert!(
        info["redisUrl"]
            .as_str()
            .unwrap()
            .starts_with("redis://127.0.0.1:")
    );
    assert!(
        info["dynamodbUrl"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:")
    );
    let functions: Vec<&String> = info["functions"].as_object().unwrap().keys().collect();
    assert!(functions.into_iter().eq(&self::functions()));
}

async fn preflight(client: &Client, origin: &str) -> reqwest::Response {
    preflight_with(client, origin, "content-type").await
}

async fn preflight_with(client: &Client, origin: &str, headers: &str) -> reqwest::Response {
    let request = client
        .request(Method::OPTIONS, "/api/auth/login")
        .header("origin", origin);
    let request = request.header("access-control-request-method", "POST");
    request
        .header("access-control-request-headers", headers)
        .send()
        .await
        .unwrap()
}

/// security.md 38.
#[tokio::test]
async fn only_listed_origins_get_cors_headers() {
    let origins = "https://app.example, http://localhost:5173";
    let Some(world) = World::build()
        .variable("CORS_ALLOWED_ORIGINS", origins)
        .variable("CORS_ALLOWED_HEADERS", "x-app-version,x-tenant")
        .start()
    else {
        return;
    };
    let client = world.client();
    for origin in ["https://app.example", "http://localhost:5173"] {
        let response = preflight(&client, origin).await;
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap())
        };
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(header("access-control-allow-origin"), Some(origin));
        assert_eq!(header("access-control-allow-credentials"), Some("true"));
        assert_eq!(
            header("access-control-allow-methods"),
            Some("GET,POST,PUT,DELETE")
        );
        let headers = header("access-control-allow-headers").unwrap();
        for name in [
            "authorization",
            "sentry-trace",
            "baggage",
            "traceparent",
            "x-app-version",
            "x-tenant",
        ] {
            assert!(headers.split(',').any(|listed| listed == name), "{name}");
        }

        let login = client
            .request(Method::POST, "/api/auth/login")
            .header("origin", origin)
            .json(&json!({}));
        let answer = client.send(login).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert!(
            answer
                .header("access-control-expose-headers")
                .unwrap()
                .contains("X-Request-Id")
        );
    }
    for origin in [
        "https://evil.example",
        "https://app.example.evil.example",
        "null",
        "http://app.example",
        "https://app.example:8443",
    ] {
        let login = client
            .request(Method::POST, "/api/auth/login")
            .header("origin", origin)
            .json(&json!({}));
        let answer = client.send(login).await;
        for headers in [
            preflight(&client, origin).await.headers().clone(),
            answer.headers,
        ] {
            assert!(
                !headers
                    .keys()
                    .any(|name| name.as_str().starts_with("access-control-")),
                "{origin}: {headers:?}"
            );
        }
    }
}

/// A development server uses any free port; its pages may send cookies as well.
#[tokio::test]
async fn pages_of_this_machine_may_call_the_api_from_any_port() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    for origin in [
        "http://localhost:3000",
        "http://localhost:5173",
        "http://127.0.0.1:4200",
        "http://[::1]:8081",
        "https://localhost:8443",
    ] {
        let response = preflight(&client, origin).await;
        assert_eq!(response.headers()["access-control-allow-origin"], origin);
        let refresh = client.request(Method::POST, "/api/auth/refresh");
        let refresh = refresh
            .header("origin", origin)
            .header("cookie", "__Host-refresh_token=x");

        let answer = client.send(refresh).await;

        assert_eq!(answer.code(), "refresh_token_invalid", "{origin}");
    }
}

/// The browser itself reports nothing but "CORS error".
#[tokio::test]
async fn a_refused_origin_is_a_line_in_the_log_that_says_what_to_do() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    preflight(&client, "https://preview.example").await;
    preflight(&client, "http://localhost:5173").await;
    preflight(&client, world.url()).await;

    let lines = world.local().log_lines();
    let told: Vec<&String> = lines.iter().filter(|line| line.contains("CORS")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("--env CORS_ALLOWED_ORIGINS=https://preview.example"));
}

#[tokio::test]
async fn a_refused_header_is_a_line_in_the_log_that_says_what_to_do() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let origin = "http://localhost:5173";
    preflight_with(&client, origin, "authorization, Content-Type,traceparent").await;
    preflight_with(&client, origin, "content-type,X-App-Version,x-tenant").await;

    let lines = world.local().log_lines();
    let told: Vec<&String> = lines.iter().filter(|line| line.contains("CORS")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with("--env CORS_ALLOWED_HEADERS=x-app-version,x-tenant"));
}

#[tokio::test]
async fn apps_have_origins_of_their_own_and_wildcards_are_refused() {
    let origins = "capacitor://localhost,tauri://localhost";
    let world = World::build().variable("CORS_ALLOWED_ORIGINS", origins);
    let world = world.variable("FRONTEND_URL", "myapp://open");
    let Some(world) = world.start() else { return };
    let response = preflight(&world.client(), "capacitor://localhost").await;
    assert_eq!(
        response.headers()["access-control-allow-origin"],
        "capacitor://localhost"
    );

    let world = World::build().variable("CORS_ALLOWED_ORIGINS", "https://*.example.com");
    let error = world.try_start().err().expect("an error at the start");
    assert!(error.contains("CORS_ALLOWED_ORIGINS must be"), "{error}");
}

#[tokio::test]
async fn the_address_that_is_printed_leads_to_the_console() {
    let Some(world) = World::inside() else { return };
    let client = world.client();

    let page = client.request(Method::GET, "/").send().await.unwrap();
    let post = client.send(client.request(Method::POST, "/")).await;

    assert_eq!(page.status(), 200);
    assert!(
        page.text()
            .await
            .unwrap()
            .contains("<title>Gatehouse console</title>")
    );
    assert_eq!(post.code(), "not_found");
}

#[tokio::test]
async fn one_process_takes_one_request_at_a_time_and_is_used_again() {
    let Some(world) = World::build().production_hashes().start() else {
        return;
    };
    let local = world.local();
    assert_eq!(
        local.idle_processes("login").len(),
        1,
        "one process at the start"
    );
    let account = world.client().register().await;
    world.client().login(&account).await;
    assert_eq!(
        local.idle_processes("login").len(),
        1,
        "the process is used again"
    );

    let (a, b, c) = (world.client(), world.client(), world.client());
    tokio::join!(a.login(&account), b.login(&account), c.login(&account));

    let after = local.idle_processes("login").len();
    assert!(
        (2..=3).contains(&after),
        "more processes when needed: {after}"
    );
}

#[tokio::test]
async fn redis_may_be_a_cluster() {
    if !is_inside() {
        return;
    }
    let redis = local::redis::Redis::start(None, &["--cluster-enabled", "yes"]).unwrap();
    let mut connection = redis::Client::open(redis.url.as_str())
        .unwrap()
        .get_connection()
        .unwrap();
    let _: () = redis::cmd("CLUSTER")
        .arg("ADDSLOTSRANGE")
        .arg(0)
        .arg(16383)
        .query(&mut connection)
        .unwrap();
    let started = Instant::now();
    loop {
        let info: String = redis::cmd("CLUSTER")
            .arg("INFO")
            .query(&mut connection)
            .unwrap();
        if info.contains("cluster_state:ok") {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{info}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let world = World::build()
        .variable("REDIS_URL", &redis.url)
        .variable("REDIS_CLUSTER", "true")
        .start()
        .unwrap();
    let client = world.client();

    let account = client.register().await;
    let (access, refresh) = client.login(&account).await;
    let renewed = client.refresh(&refresh).await;
    let left = client.logout_everywhere(&access).await;

    assert_eq!((renewed.status.as_u16(), left.status.as_u16()), (200, 200));
    assert_eq!(
        client.profile(&account.access).await.code(),
        "token_revoked"
    );
}

/// Converts an address for containers into one for a process on this machine.
fn from_here(value: &str) -> String {
    let host = format!("//{}:", local::containers::HOST);
    value.replace(&host, "//127.0.0.1:")
}

/// `--sam-env` and `--env-file`: a function works when it is started with only these variables.
#[tokio::test]
async fn other_tools_run_the_functions_with_the_variables_that_are_written() {
    if !harness::world::is_inside() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (sam_env, env_file) = (folder.path().join("sam.json"), folder.path().join(".env"));
    let binaries = harness::world::binaries().clone();
    let mut options = local::Options::new(binaries.clone(), local::log::Log::kept());
    (options.sam_env, options.env_file) = (Some(sam_env.clone()), Some(env_file.clone()));
    let _stack = local::Local::start(options).unwrap();

    let by_resource: Value = serde_json::from_slice(&std::fs::read(&sam_env).unwrap()).unwrap();
    let lines = std::fs::read_to_string(&env_file).unwrap();
    let lines: BTreeMap<String, String> = lines
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();

    for path in [&sam_env, &env_file] {
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "others can read the secrets");
    }
    for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        assert!(lines.contains_key(name), "{name}"); // `cargo lambda` sets none of them
    }
    for function in template().functions {
        let declared: Vec<&String> = function.variables.keys().collect();
        let written = by_resource[&function.resource].as_object().unwrap();
        assert!(written.keys().eq(declared), "{}", function.name);
        if let Some(dynamodb) = written.get("AWS_ENDPOINT_URL_DYNAMODB") {
            let dynamodb = dynamodb.as_str().unwrap();
            assert!(
                dynamodb.starts_with("http://host.docker.internal:"),
                "{dynamodb}"
            );
        }
        if function.name != "register" {
            continue;
        }
        let written = written.iter();
        let written =
            written.map(|(name, value)| (name.clone(), from_here(value.as_str().unwrap())));
        for (user, variables) in [("sam", written.collect()), ("watch", lines.clone())] {
            let log = local::log::Log::kept();
            let binary = binaries["register"].clone();
            let function = local::lambda::Lambda::new(function.clone(), binary, variables, log);
            let event = include_str!("../events/register.json");
            let event = event.replace("ada", user);
            let answer = function.invoke(event.into()).await.unwrap();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(answer["statusCode"], 201, "{answer}");
            function.stop().await;
        }
    }
}

/// X-Forwarded-For and similar headers do not change the client's address.
#[tokio::test]
async fn the_source_address_is_the_peers() {
    let Some(world) = World::inside() else { return };
    let client = world.client();
    let body = json!({ "identifier": "nobody", "password": "Wrong-7-horse" });
    let request = client.request(Method::POST, "/api/auth/login").json(&body);
    let request = request
        .header("x-forwarded-for", "203.0.113.9")
        .header("forwarded", "for=203.0.113.9");

    client
        .send(request.header("x-real-ip", "203.0.113.9"))
        .await;

    let log = world.log();
    let audit = log.iter().find(|line| line["message"] == "audit").unwrap();
    assert!(audit["ip"].as_str().unwrap().starts_with("127."), "{audit}");
}
