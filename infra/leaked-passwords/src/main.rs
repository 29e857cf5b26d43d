//! Makes the file that the variable `LEAKED_PASSWORDS` names from lists of passwords or of their hashes.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use shared::domain::leaked_passwords::{Key, LeakedPasswords};
use shared::domain::password::Password;
use shared::domain::rule::Parse;

/// Make the file of leaked passwords that functions refuse, from lists that you have. A list has one entry per line: a
/// password, or with --hashes the SHA-1 of one, in hex, alone or with the number of its occurrences (HASH:COUNT, as
/// Have I Been Pwned publishes them). 16 bytes of memory per entry are needed, and more for a moment.
#[derive(Parser)]
#[command(name = "leaked-passwords", disable_version_flag = true)]
struct Arguments {
    /// The lists; - reads standard input
    #[arg(required = true, value_name = "LIST")]
    lists: Vec<PathBuf>,

    /// The lists have hashes
    #[arg(long)]
    hashes: bool,

    /// Leave out hashes that occurred less often; without a count they are kept
    #[arg(long, value_name = "COUNT", default_value_t = 1, requires = "hashes")]
    at_least: u64,

    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "leaked-passwords")]
    output: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let mut keys = Vec::new();
    let (mut read, mut unusable) = (0_u64, 0_u64);
    for list in &arguments.lists {
        let named = |error: std::io::Error| format!("{}: {error}", list.display());
        let mut lines: Box<dyn BufRead> = match list.as_os_str() == "-" {
            true => Box::new(std::io::stdin().lock()),
            false => Box::new(BufReader::new(File::open(list).map_err(named)?)),
        };
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).map_err(named)? > 0 {
            let entry = line.strip_suffix(b"\n").unwrap_or(&line);
            let entry = entry.strip_suffix(b"\r").unwrap_or(entry);
            read += 1;
            match key(entry, arguments) {
                Entry::Key(key) => keys.push(key),
                Entry::TooRare => {}
                Entry::Unusable => unusable += 1,
            }
            line.clear();
        }
    }
    let entries = keys.len();
    if entries == 0 {
        return Err(format!("none of {read} lines is {}", form(arguments)));
    }
    let file = LeakedPasswords::file(keys)?;
    let written = File::create(&arguments.output).and_then(|mut output| output.write_all(&file));
    written.map_err(|error| format!("{}: {error}", arguments.output.display()))?;
    println!(
        "{}: {entries} of {read} lines, {:.1} MB; {unusable} lines are not {}",
        arguments.output.display(),
        file.len() as f64 / 1e6,
        form(arguments)
    );
    Ok(())
}

/// A line of a list.
enum Entry {
    Key(Key),
    /// It occurred less often than asked for.
    TooRare,
    /// It is no entry, or no password that anybody could choose.
    Unusable,
}

fn key(line: &[u8], arguments: &Arguments) -> Entry {
    let Ok(line) = str::from_utf8(line) else {
        return Entry::Unusable;
    };
    if !arguments.hashes {
        return Password::parse(line).map_or(Entry::Unusable, |password| {
            Entry::Key(Key::of(password.as_bytes()))
        });
    }
    let (hash, count) = line.split_once(':').unwrap_or((line, ""));
    let count = match count.trim() {
        "" => Some(u64::MAX),
        count => count.parse::<u64>().ok(),
    };
    let hash = hex::decode(hash.trim()).ok();
    let key = hash.and_then(|hash| Key::of_hash(&hash));
    match (key, count) {
        (Some(key), Some(count)) if count >= arguments.at_least => Entry::Key(key),
        (Some(_), Some(_)) => Entry::TooRare,
        _ => Entry::Unusable,
    }
}

fn form(arguments: &Arguments) -> &'static str {
    match arguments.hashes {
        true => "a SHA-1 in hex, alone or with :COUNT",
        false => "a password of 1 to 128 characters in UTF-8",
    }
}
