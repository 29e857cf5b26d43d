//! Measures how fast everything is, compared with lower bounds: a function that does nothing, and one Argon2id hash.
//! `cargo bench --bench performance` prints tables and writes `target/bench/performance.json`. All targets are ratios
//! of figures from one run.
//!
//! `-- --before <folder>` also measures other binaries of some functions in the same run; `-- --no-build` uses the
//! existing binaries; `-- --no-growth` skips the measurement with a million users.

mod endpoints;
mod functions;
mod growth;
mod node;
mod references;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use harness::World;
use harness::world::Builder;
use local::build::{self, Binaries};

use endpoints::Systems;
use node::Node;
use report::{Measured, Report};

/// The lower bound for the workspace's functions: a function that does nothing, with AWS' crate.
const FLOOR: &str = "floor";
/// A function that makes the same store requests as a profile and ignores the answers.
const EXCHANGE: &str = "exchange";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let before = arguments.iter().position(|argument| argument == "--before");
    let before = before.map(|at| PathBuf::from(&arguments[at + 1]));
    let is_given = |name: &str| arguments.iter().any(|argument| argument == name);
    let binaries = match is_given("--no-build") {
        true => build::find(true),
        false => build::build(true),
    };
    let binaries = binaries.expect("the functions");

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let now = runtime.block_on(measure(&binaries, |_| true));
    now.print();
    let before = before.map(|folder| {
        let mut older = binaries.clone();
        for (name, path) in &mut older {
            let other = folder.join(name);
            if other.is_file() {
                *path = other;
            }
        }
        let is_older = |name: &str| name == FLOOR || older[name].starts_with(&folder);
        runtime.block_on(measure(&older, is_older))
    });
    let growth = match is_given("--no-growth") {
        true => Vec::new(),
        false => runtime.block_on(growth::measure(&binaries)),
    };
    let report = Report {
        now,
        before,
        growth,
    };
    report.print();
    report.write();
}

/// Measures these binaries of the requested functions.
async fn measure(binaries: &Binaries, is_asked: impl Fn(&str) -> bool) -> Measured {
    let packages = &node::install();
    let with_node = async |world| {
        let node = match packages {
            Some(folder) => Some(Node::start(folder, &world).await),
            None => None,
        };
        Systems { world, node }
    };
    let another = async || with_node(world(World::build(), binaries)).await;
    let hashing = with_node(world(World::build().production_hashes(), binaries)).await;
    let others = another().await;
    let names = others.world.local().info().functions.keys();
    let names = names.map(String::as_str).filter(|name| is_asked(name));
    let names: Vec<&str> = names.collect();
    let functions = functions::measure(&hashing.world, binaries, &names).await;
    let first_login = functions::first_login(&hashing.world, binaries).await;
    let (endpoints, references) = endpoints::measure(&hashing, &others, another, &names).await;
    Measured {
        functions,
        first_login,
        endpoints,
        references,
    }
}

/// Starts the whole system without limits, with the floor and the exchange as additional functions.
fn world(builder: Builder, binaries: &Binaries) -> World {
    let floor = r#"
  Floor:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: tests/floor/
      Events:
        Floor: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: post, Path: "/floor" } }
  Exchange:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: tests/exchange/
      Environment:
        Variables:
          REDIS_URL: !Ref RedisUrl
          USERS_TABLE: !GetAtt Data.Outputs.UsersTable
      Policies:
        - Statement:
            - Effect: Allow
              Action: [dynamodb:GetItem]
              Resource: !GetAtt Data.Outputs.UsersTableArn
              Condition: { "ForAllValues:StringLike": { "dynamodb:LeadingKeys": ["USER#*"] } }
      Events:
        Exchange: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: post, Path: "/exchange" } }

Outputs:"#;
    let world = builder
        .binaries(binaries.clone())
        .variable("LOGIN_LOCKOUT", "off")
        .template("\nOutputs:", floor);
    world.start().expect("a system of its own")
}

/// Returns the median.
fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
    values[values.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
