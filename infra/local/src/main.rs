//! `cargo local`: the system on one machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use local::log::Log;
use local::{Error, Local, Options, build};
use tokio::signal::unix::{SignalKind, signal};

/// Run Gatehouse on this machine: the functions' real binaries behind API Gateway's routes, with
/// DynamoDB and Redis. Prints `ready http://127.0.0.1:<port>` when all is up; Ctrl-C stops it.
#[derive(Parser)]
#[command(name = "cargo local", disable_version_flag = true)]
struct Arguments {
    /// The API's port on 127.0.0.1; 0 takes any free one
    #[arg(long, default_value_t = 3000)]
    port: u16,

    /// Override a variable of every function that has it, or REDIS_URL or CORS_ALLOWED_ORIGINS;
    /// an empty value unsets it. May be given more than once
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = key_and_value)]
    variables: Vec<(String, String)>,

    /// Keep users, sessions and secrets in this folder; otherwise they are gone with the process
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Build and run the functions with optimisation
    #[arg(long)]
    release: bool,

    /// Write the functions' variables into this file, for `sam local invoke --env-vars FILE`
    #[arg(long, value_name = "FILE")]
    sam_env: Option<PathBuf>,

    /// Write them into this file, for `cargo lambda watch --env-file FILE`
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,

    /// Run the functions as they were built last
    #[arg(long)]
    no_build: bool,
}

fn key_and_value(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE"),
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse_from(arguments())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// As they were typed. The alias ends in `--` already, and many people type another one before options.
fn arguments() -> impl Iterator<Item = std::ffi::OsString> {
    let is_separator = |(at, text): &(usize, std::ffi::OsString)| *at == 1 && text == "--";
    let typed = std::env::args_os().enumerate();
    typed
        .filter(move |typed| !is_separator(typed))
        .map(|(_, text)| text)
}

fn run(arguments: Arguments) -> Result<(), Error> {
    let binaries = match arguments.no_build {
        true => build::find(arguments.release)?,
        false => build::build(arguments.release)?,
    };
    let options = Options {
        port: arguments.port,
        data_dir: arguments.data_dir,
        sam_env: arguments.sam_env,
        env_file: arguments.env_file,
        variables: arguments.variables.into_iter().collect::<BTreeMap<_, _>>(),
        ..Options::new(binaries, Log::shown())
    };
    // Before the start: a signal during it stops the stack as soon as it is up.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _context = runtime.enter();
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );

    let mut local = Local::start(options)?;
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
