//! `cargo local`, and `gatehouse-local` in an archive: runs the system on one machine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use local::log::Log;
use local::{Error, Info, Local, Options, build};
use tokio::signal::unix::{SignalKind, signal};

/// Run Gatehouse on this machine: the functions' real binaries behind API Gateway's routes, with DynamoDB and Redis.
/// Prints `ready http://localhost:<port>` when everything has started; Ctrl-C stops it.
#[derive(Parser)]
#[command(name = "cargo local", disable_version_flag = true)]
struct Arguments {
    /// The API's port; 0 takes any free one
    #[arg(long, default_value_t = 3000)]
    port: u16,

    /// Let other machines of the network reach it at this address of this machine, a phone for instance; 0.0.0.0 takes
    /// all addresses. Everybody in the network then reads its data and the inbox
    #[arg(long, value_name = "ADDRESS")]
    host: Option<IpAddr>,

    /// This machine's name in all links: localhost or an address. In a container, which others reach by a published
    /// port: --host 0.0.0.0 --name localhost
    #[arg(long, value_name = "NAME", value_parser = own_name)]
    name: Option<String>,

    /// Send cookies without Secure and __Host-: Safari keeps no Secure cookies of http://localhost, and no browser those
    /// of another machine's http: address
    #[arg(long)]
    plain_cookies: bool,

    /// Run this SAM application beside it, on the next port: its functions are in this workspace, its parameters are the
    /// outputs of template.yaml. May be given more than once
    #[arg(long = "application", value_name = "TEMPLATE")]
    applications: Vec<PathBuf>,

    /// Override a variable of every function that has it, or REDIS_URL, CORS_ALLOWED_ORIGINS or
    /// CORS_ALLOWED_HEADERS; an empty value unsets it. May be given more than once
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = key_and_value)]
    variables: Vec<(String, String)>,

    /// Rate limits of the functions: strict (as in the cloud), balanced (for teams that know their users) or off. A
    /// single limit, --env RATE_LIMIT_…, takes precedence
    #[arg(long, value_name = "LIMITS", value_parser = ["strict", "balanced", "off"], default_value = "balanced")]
    limits: String,

    /// The log on standard error: text has a line for each request and the functions' warnings; json has every line of
    /// the functions as in the cloud, with their metrics
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "json"], default_value = "text")]
    log: String,

    /// Keep users, sessions and secrets in this folder; without it they are lost when the process ends
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Build and run the functions with optimisation
    #[arg(long)]
    release: bool,

    /// Write the functions' variables into this file, for `sam local invoke --env-vars FILE`
    #[arg(long, value_name = "FILE")]
    sam_env: Option<PathBuf>,

    /// Write the functions' variables into this file, for `cargo lambda watch --env-file FILE`
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,

    /// Run the functions as last built
    #[arg(long)]
    no_build: bool,
}

/// The variable that sets all limits.
const LIMITS: &str = "RATE_LIMITS";

fn key_and_value(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE"),
    }
}

fn own_name(text: &str) -> Result<String, &'static str> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => Ok(format!("[{address}]")),
        Err(_) if text != "localhost" => {
            Err("must be localhost or an address: no other name is answered")
        }
        _ => Ok(text.to_owned()),
    }
}

/// Describes the limits for the user: `balanced, RATE_LIMIT_LOGIN=3/15m`.
fn limits(variables: &BTreeMap<String, String>) -> String {
    let all = variables.get(LIMITS).filter(|all| !all.is_empty());
    let all = all.map_or("strict", String::as_str);
    let single = variables.iter();
    let single =
        single.filter(|(name, value)| name.starts_with("RATE_LIMIT_") && !value.is_empty());
    let single = single.map(|(name, value)| format!(", {name}={value}"));
    format!("{all}{}", single.collect::<String>())
}

fn main() -> ExitCode {
    let archive = build::archive();
    let command = match archive {
        None => Arguments::command(),
        // Its functions are built already, and with optimisation.
        Some(_) => Arguments::command()
            .name("gatehouse-local")
            .mut_arg("release", |argument| argument.hide(true))
            .mut_arg("no_build", |argument| argument.hide(true)),
    };
    let given = command.get_matches_from(arguments());
    let given = Arguments::from_arg_matches(&given).unwrap_or_else(|error| error.exit());
    match run(given, archive.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the arguments as typed, without a leading `--`: the alias ends in `--` already, and many people type another
/// one.
fn arguments() -> impl Iterator<Item = std::ffi::OsString> {
    let is_separator = |(at, text): &(usize, std::ffi::OsString)| *at == 1 && text == "--";
    let typed = std::env::args_os().enumerate();
    typed
        .filter(move |typed| !is_separator(typed))
        .map(|(_, text)| text)
}

/// Prints the addresses of everything, and the settings in force.
fn introduce(info: &Info, limits: &str, host: Option<IpAddr>) {
    let url = &info.url;
    eprintln!("console: {url}/");
    eprintln!("inbox: {url}/#inbox");
    eprintln!("API: {url}/api/auth/docs");
    for application in &info.applications {
        eprintln!("application: {application}");
    }
    eprintln!(
        "origins: {} (--env CORS_ALLOWED_ORIGINS=…)",
        info.origins.join(" ")
    );
    eprintln!("limits: {limits} (--limits strict, balanced or off)");
    if host.is_some() {
        eprintln!(
            "warning: everybody in this network reaches it, and reads its data and the inbox"
        );
    }
}

fn run(arguments: Arguments, archive: Option<&Path>) -> Result<(), Error> {
    let binaries = match archive {
        Some(folder) => build::in_archive(folder)?,
        None if arguments.no_build => build::find(arguments.release)?,
        None => build::build(arguments.release)?,
    };
    let mut variables: BTreeMap<String, String> = arguments.variables.into_iter().collect();
    variables
        .entry(LIMITS.to_owned())
        .or_insert(arguments.limits);
    let limits = limits(&variables);
    let log = match arguments.log.as_str() {
        "json" => Log::json(),
        _ => Log::text(),
    };
    let own_name = arguments.host.is_none().then(|| "localhost".to_owned());
    let options = Options {
        port: arguments.port,
        name: arguments.name.or(own_name),
        host: arguments.host,
        plain_cookies: arguments.plain_cookies,
        applications: arguments.applications,
        data_dir: arguments.data_dir,
        sam_env: arguments.sam_env,
        env_file: arguments.env_file,
        variables,
        ..Options::new(binaries, log)
    };
    // Installed before the start: a signal during the start stops the stack as soon as it is up.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _context = runtime.enter();
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );

    let mut local = Local::start(options)?;
    introduce(local.info(), &limits, arguments.host);
    println!("ready {}", local.info().url);
    runtime.block_on(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    local.stop();
    Ok(())
}
