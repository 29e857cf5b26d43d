//! The documentation agrees with the system.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use harness::token::KeyPair;
use harness::world::read;
use harness::{kms, template};
use local::build;

/// Converts a folder's name to a resource's: `delete-account` to `DeleteAccount`.
fn resource(name: &str) -> String {
    let capitalized = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('-').map(capitalized).collect()
}

#[test]
fn each_endpoint_has_one_name_everywhere() {
    let template = template();
    let text = read("infra/functions.yaml");
    let functions: BTreeSet<String> = template
        .functions
        .iter()
        .map(|function| function.name.clone())
        .collect();
    let folders = std::fs::read_dir(build::workspace().join("functions")).unwrap();
    let folders: BTreeSet<String> = folders
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(functions, folders);
    for name in &functions {
        let package = read(&format!("functions/{name}/Cargo.toml"));
        assert_eq!(
            package.matches(&format!("name = \"{name}\"")).count(),
            2,
            "{name}: package and binary"
        );
        assert!(
            text.contains(&format!(
                "\n  {}:\n    Type: AWS::Serverless::Function\n",
                resource(name)
            )),
            "{name}"
        );
        read(&format!("functions/{name}/src/handler.rs"));
        read(&format!("events/{name}.json"));
        read(&format!("tests/{}.rs", name.replace('-', "_")));
    }
}

#[test]
fn the_readme_names_every_route_and_function() {
    let readme = read("README.md");
    for function in template().functions {
        assert!(
            readme.contains(&format!("functions/{}", function.name)),
            "{}",
            function.name
        );
        for route in function.routes {
            let (row, alias) = (
                format!("| `{}` |", route.key()),
                format!("`{}`", route.path),
            );
            assert!(
                readme.contains(&row) || readme.contains(&alias),
                "{}",
                route.key()
            );
        }
    }
    for option in [
        "--port",
        "--env",
        "--env-file",
        "--limits",
        "--sam-env",
        "--data-dir",
        "--release",
        "--no-build",
        "GATEHOUSE_URL",
    ] {
        assert!(readme.contains(option), "{option}");
    }
}

#[test]
fn every_variable_of_every_function_is_explained_and_no_other() {
    let used: BTreeSet<String> = template()
        .functions
        .into_iter()
        .flat_map(|f| f.variables.into_keys())
        .collect();
    let example = read(".env.example");
    let mut explained = BTreeSet::new();
    let mut comment = false;
    for line in example.lines() {
        match line.trim_start_matches("# ").split_once('=') {
            Some((name, _))
                if name
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') =>
            {
                assert!(comment, "{name} has no line that explains it");
                explained.insert(name.to_owned());
                comment = false;
            }
            _ => comment = line.starts_with('#'),
        }
    }

    let of_the_stack = [
        "AWS_ENDPOINT_URL_DYNAMODB",
        "AWS_ENDPOINT_URL_KMS",
        "AWS_ENDPOINT_URL_SESV2",
        "AWS_LAMBDA_LOG_LEVEL",
        "AWS_USE_DUALSTACK_ENDPOINT",
        "AWS_USE_FIPS_ENDPOINT",
        "CORS_ALLOWED_ORIGINS",
    ]
    .map(str::to_owned);
    assert_eq!(explained, &used | &BTreeSet::from(of_the_stack));
}

/// Returns the names in the section of a template between these two texts.
fn names<'a>(template: &'a str, from: &str, to: &str) -> BTreeSet<&'a str> {
    let (_, section) = template.split_once(from).unwrap();
    let (section, _) = section.split_once(to).unwrap();
    let lines = section.lines().filter_map(|line| line.strip_prefix("  "));
    lines
        .filter(|line| !line.starts_with([' ', '#']))
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect()
}

/// A parameter of the functions that is missing in the hosted settings could be changed and deployed without any
/// effect.
#[test]
fn the_settings_hold_every_parameter_that_is_no_secret() {
    let template = read("infra/functions.yaml");
    let settings = names(&template, "\n  # Settings, ", "\n  # Of the API, ");
    let lines = template
        .lines()
        .filter_map(|line| line.trim().split_once('='));
    let content = lines.filter(|(name, value)| *value == format!("${{{name}}}"));
    assert_eq!(
        content.map(|(name, _)| name).collect::<BTreeSet<_>>(),
        settings
    );

    // The other parameters are not used as variables of functions.
    for name in names(&template, "\n  # Of the API, ", "\nMappings:\n") {
        let variable = |line: &&str| {
            let value = line
                .strip_prefix("          ")
                .filter(|line| !line.starts_with(' '));
            value.is_some_and(|line| line.ends_with(&format!(": !Ref {name}")))
        };
        assert_eq!(template.lines().find(variable), None);
    }

    let secrets = names(&template, "\n  # Secrets.\n", "\n  # Settings, ");
    assert!(secrets.len() > 8);
    for name in names(&template, "\nParameters:\n", "\nMappings:\n") {
        let is_hidden =
            template.contains(&format!("\n  {name}: {{ Type: String, NoEcho: true }}\n"));
        assert_eq!(is_hidden, secrets.contains(name), "{name}");
    }
}

/// `infra/configuration` generates the document; `.ci/run` checks that it is up to date.
#[test]
fn the_configuration_has_every_variable_and_every_parameter() {
    let document = read("docs/configuration.md");
    let (variables, parameters) = document.split_once("\n## Parameters\n").unwrap();
    let rows = |text: &str| -> BTreeSet<String> {
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        rows.flat_map(|row| {
            let (cell, _) = row.split_once(" |").unwrap();
            let names = cell.split(", ");
            names.map(|name| name.trim_matches('`').to_owned())
        })
        .collect()
    };
    let (limits, rest) = {
        let (before, table) = variables
            .split_once("\n| variable `RATE_LIMIT_…` |")
            .unwrap();
        let (table, after) = table.split_once("\n\n").unwrap();
        (rows(table), format!("{before}\n{after}"))
    };
    let limits = limits.iter().map(|name| format!("RATE_LIMIT_{name}"));
    let explained: BTreeSet<String> = rows(&rest).into_iter().chain(limits).collect();
    let example = read(".env.example");
    let variables = example.lines().filter(|line| !line.starts_with('#'));
    let variables = variables.filter_map(|line| line.split_once('='));
    let variables: BTreeSet<String> = variables.map(|(name, _)| name.to_owned()).collect();
    assert_eq!(explained, variables);

    let template = read("template.yaml");
    let expected = names(&template, "\nParameters:\n", "\nRules:\n");
    let expected: BTreeSet<String> = expected.into_iter().map(str::to_owned).collect();
    assert_eq!(rows(parameters), expected);
}

/// Every other test shows that each function starts with the variables that the template gives it. This test shows that
/// it reads each of them, so that none is superfluous.
#[test]
fn no_function_is_given_a_variable_that_it_does_not_use() {
    let binaries = harness::world::binaries();
    for function in template().functions {
        for name in function.variables.keys() {
            let mut process = std::process::Command::new(&binaries[&function.name]);
            // A value that every kind of variable refuses; for those that accept any text, an empty value.
            let takes_any_text = [
                "USERS_TABLE",
                "CREDENTIALS_TABLE",
                "JWT_ISSUER",
                "JWT_AUDIENCE",
                "APP_NAME",
            ];
            let value = if takes_any_text.contains(&name.as_str()) {
                ""
            } else {
                "\u{1}"
            };
            process.env_clear();
            if name == "AWS_ENDPOINT_URL_KMS" {
                // It is read for a key in KMS alone.
                let thumbprint = KeyPair::generate().thumbprint();
                process.env("JWT_PRIVATE_KEY", format!("{}#{thumbprint}", kms::ARN));
            }
            let output = process.env(name, value).output().unwrap();

            let text = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success(), "{}", function.name);
            let is_named = [" ", ": "]
                .iter()
                .any(|end| text.contains(&format!("{name}{end}")));
            assert!(is_named, "{} does not use {name}: {text}", function.name);
        }
    }
}

/// A form sends its blank fields as empty texts. An optional field without this rule would refuse a field that was
/// never filled in.
#[test]
fn every_optional_field_of_a_request_takes_an_empty_text_for_absence() {
    let folder = build::workspace().join("shared/src/api");
    let mut fields = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("refresh.rs") {
            continue; // its token is required, in the body or in a cookie, and an empty one is invalid
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let is_field =
            |line: &&str| line.trim_start().starts_with("pub ") && line.contains("Option<Field<");
        let optional = text.lines().filter(is_field).count();
        let read = ["\"optional\")]", "\"clearable\")]"].map(|function| {
            text.matches(&format!("deserialize_with = {function}"))
                .count()
        });
        assert_eq!(optional, read.iter().sum::<usize>(), "{}", path.display());
        fields += optional;
    }
    assert!(fields > 10);
}

/// Every link from one document to another file, or to a heading, leads somewhere.
#[test]
fn the_links_of_the_documents_lead_somewhere() {
    let documents = documents();
    assert!(documents.len() > 30);
    let mut links = 0;
    for path in &documents {
        let text = without_code(&std::fs::read_to_string(path).unwrap());
        for link in text.split("](").skip(1) {
            let (target, _) = link.split_once(')').unwrap();
            if target.contains("://") || target.contains(' ') {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(file.exists(), "{}: {target}", path.display());
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&file).unwrap();
                let headings = text.lines().filter(|line| line.starts_with('#'));
                let mut anchors = headings.map(anchor);
                assert!(
                    anchors.any(|anchor| anchor == heading),
                    "{}: {target}",
                    path.display()
                );
            }
            links += 1;
        }
    }
    assert!(links > 100, "{links}");
}

/// All Markdown files of the workspace that people read.
fn documents() -> Vec<PathBuf> {
    let workspace = build::workspace();
    let mut folders = vec![workspace.join("docs"), workspace.join("infra")];
    let mut documents: Vec<PathBuf> = markdown(&workspace);
    while let Some(folder) = folders.pop() {
        documents.extend(markdown(&folder));
        let entries = std::fs::read_dir(folder).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        folders.extend(paths.filter(|path| path.is_dir()));
    }
    documents
}

fn markdown(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// A text without its blocks of code.
fn without_code(text: &str) -> String {
    let parts = text.split("\n```").step_by(2);
    parts.collect::<Vec<_>>().join("\n")
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    let is_kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    title
        .chars()
        .filter(is_kept)
        .collect::<String>()
        .replace(' ', "-")
}
