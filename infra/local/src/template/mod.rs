//! Reads the parts of `template.yaml` that the stack needs, with CloudFormation's functions evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::Error;
use crate::iam::Right;

mod intrinsics;
mod resources;

use intrinsics::{Scope, long_form, scalar};
use resources::{cors, function, table};

/// The deployed system as the template describes it.
#[derive(Debug)]
pub struct Template {
    /// The functions.
    pub functions: Vec<Function>,
    /// The DynamoDB tables.
    pub tables: Vec<Table>,
    /// The CORS configuration.
    pub cors: Cors,
}

/// A function that is built from this workspace.
#[derive(Clone, Debug)]
pub struct Function {
    /// The name of the folder, the package and the binary.
    pub name: String,
    /// The name of its resource.
    pub resource: String,
    /// The environment variables that it gets; it gets no others.
    pub variables: BTreeMap<String, String>,
    /// The timeout of an invocation in seconds.
    pub timeout_seconds: u64,
    /// Its memory in the cloud in MiB.
    pub memory_mib: u64,
    /// The routes that lead to it.
    pub routes: Vec<Route>,
    /// The stream that it reads.
    pub stream: Option<Stream>,
    /// The rights of its role to the tables.
    pub rights: BTreeSet<Right>,
}

/// A table's stream, as a function reads it.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The table.
    pub table: String,
    /// The patterns in EventBridge's language; records that match any of them are delivered.
    pub filters: Vec<Value>,
    /// The most records in a batch.
    pub batch_size: usize,
    /// How often a batch is retried before the failing record is given up; `None` for no limit.
    pub retries: Option<usize>,
    /// The maximum age of a record.
    pub longest_wait: Option<Duration>,
}

/// A method and a path of the API.
#[derive(Clone, Debug)]
pub struct Route {
    /// The method in upper case; `ANY` for all.
    pub method: String,
    /// The path with parameters in braces; `$default` for every other path.
    pub path: String,
}

impl Route {
    /// Returns API Gateway's name of the route: `POST /api/auth/login`.
    pub fn key(&self) -> String {
        match self.is_default() {
            true => self.path.clone(),
            false => format!("{} {}", self.method, self.path),
        }
    }

    /// Whether it takes the requests that no other route takes.
    pub fn is_default(&self) -> bool {
        self.path == DEFAULT
    }
}

const DEFAULT: &str = "$default";

/// A DynamoDB table.
#[derive(Debug)]
pub struct Table {
    /// The name of its resource, which is the table's name here.
    pub name: String,
    /// The request that creates it.
    pub create: Value,
    /// The attribute that says when an item expires.
    pub ttl_attribute: Option<String>,
}

/// The API's CORS configuration.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    /// Exact origins.
    pub origins: Vec<String>,
    /// Methods, in upper case.
    pub methods: Vec<String>,
    /// Request headers.
    pub headers: Vec<String>,
    /// Response headers that a page may read.
    pub exposed: Vec<String>,
    /// Whether browsers may send cookies.
    pub credentials: bool,
    /// How long a preflight's answer is valid, in seconds.
    pub max_age_seconds: u64,
}

impl Template {
    /// Reads a template; `parameters` replace defaults and fill in parameters without one.
    ///
    /// # Errors
    /// If the file cannot be read, or uses a feature that is not understood here.
    pub fn read(path: &Path, parameters: &BTreeMap<String, String>) -> Result<Self, Error> {
        Ok(Self::read_with_outputs(path, parameters)?.0)
    }

    /// Reads a template and its outputs.
    fn read_with_outputs(
        path: &Path,
        parameters: &BTreeMap<String, String>,
    ) -> Result<(Self, Outputs), Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, folder, parameters)
            .map_err(|error| format!("{}: {error}", path.display()).into())
    }

    fn parse(
        text: &str,
        folder: &Path,
        parameters: &BTreeMap<String, String>,
    ) -> Result<(Self, Outputs), Error> {
        let document = long_form(yaml_serde::from_str(text)?)?;
        let mut scope = Scope {
            document: &document,
            parameters,
            nested: BTreeMap::new(),
        };
        let mut template = Self {
            functions: Vec::new(),
            tables: Vec::new(),
            cors: Cors::default(),
        };
        let resources = document["Resources"].as_object().ok_or("no Resources")?;
        // Nested stacks come first: other resources refer to their outputs.
        for (name, stack) in resources {
            if stack["Type"] != "AWS::CloudFormation::Stack" || !scope.exists(stack)? {
                continue;
            }
            let properties = scope.evaluate(&stack["Properties"])?;
            let path = folder.join(properties["TemplateURL"].as_str().unwrap_or_default());
            let parameters = properties["Parameters"].as_object().into_iter().flatten();
            let parameters =
                parameters.filter_map(|(name, value)| Some((name.clone(), scalar(value)?)));
            let (nested, outputs) = Self::read_with_outputs(&path, &parameters.collect())?;
            template.tables.extend(nested.tables);
            template.functions.extend(nested.functions);
            if !nested.cors.origins.is_empty() {
                template.cors = nested.cors;
            }
            scope.nested.insert(name.clone(), outputs);
        }
        let globals = scope.evaluate(&document["Globals"]["Function"])?;
        for (name, resource) in resources {
            if !scope.exists(resource)? {
                continue;
            }
            let properties = || scope.evaluate(&resource["Properties"]);
            match resource["Type"].as_str().unwrap_or_default() {
                "AWS::Serverless::Function" => {
                    let mut globals = globals.clone();
                    scope.take_away(&mut globals, resource)?;
                    template
                        .functions
                        .push(function(name, &globals, &properties()?)?)
                }
                "AWS::DynamoDB::Table" => template.tables.push(table(name, properties()?)?),
                "AWS::Serverless::HttpApi" => {
                    template.cors = cors(&properties()?["CorsConfiguration"])
                }
                _ => {}
            }
        }
        let mut outputs = Outputs::new();
        for (name, output) in document["Outputs"].as_object().into_iter().flatten() {
            if scope.exists(output)? {
                outputs.insert(name.clone(), scope.evaluate(&output["Value"])?);
            }
        }
        Ok((template, outputs))
    }
}

/// A template's outputs by name.
type Outputs = BTreeMap<String, Value>;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEMPLATE: &str = r#"
Parameters:
  Mode: { Type: String, Default: dev }
  Origins: { Type: CommaDelimitedList, Default: "https://a.example, https://b.example" }
  Needed: { Type: String }
Conditions:
  IsProduction: !Equals [!Ref Mode, prod]
  IsOther: !Not [!Condition IsProduction]
Globals:
  Function: { Timeout: 7, MemorySize: 512, Environment: { Variables: { EVERYWHERE: yes-it-is, NOT_HERE: is-elsewhere } } }
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      CorsConfiguration: { AllowOrigins: !Ref Origins, AllowCredentials: true, MaxAge: 5 }
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      TimeToLiveSpecification: { AttributeName: ttl, Enabled: true }
      StreamSpecification: { StreamViewType: NEW_IMAGE }
      DeletionProtectionEnabled: !If [IsProduction, true, !Ref AWS::NoValue]
  DoThings:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/do-things/
      MemorySize: 1769
      Environment:
        Variables:
          TABLE: !Ref Things
          NAME: !Sub "${Things} of ${Mode}"
          OTHER: !If [IsOther, "yes", "no"]
          NEEDED: !Ref Needed
          NOT_HERE: !Ref AWS::NoValue
      Events:
        Other: { Type: HttpApi, Properties: { ApiId: !Ref Api } }
        Get: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: get, Path: "/things/{id}" } }
"#;

    #[test]
    fn functions_tables_and_cors_are_read() {
        let parameters = BTreeMap::from([("Needed".to_owned(), "given".to_owned())]);
        let template = Template::parse(TEMPLATE, Path::new("."), &parameters)
            .unwrap()
            .0;

        let function = &template.functions[0];
        assert_eq!(
            (
                function.name.as_str(),
                function.timeout_seconds,
                function.memory_mib
            ),
            ("do-things", 7, 1769)
        );
        let variables = [
            ("EVERYWHERE", "yes-it-is"),
            ("NAME", "Things of dev"),
            ("NEEDED", "given"),
            ("OTHER", "yes"),
            ("TABLE", "Things"),
        ];
        assert!(
            function
                .variables
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .eq(variables)
        );
        let routes = function.routes.iter().map(Route::key);
        assert_eq!(routes.collect::<Vec<_>>(), ["GET /things/{id}", "$default"]);
        let table = &template.tables[0];
        assert_eq!(table.ttl_attribute.as_deref(), Some("ttl"));
        assert_eq!(
            table.create,
            json!({ "TableName": "Things", "StreamSpecification": { "StreamViewType": "NEW_IMAGE", "StreamEnabled": true } })
        );
        assert_eq!(
            template.cors.origins,
            ["https://a.example", "https://b.example"]
        );
        assert!(template.cors.credentials);
    }

    #[test]
    fn what_is_not_understood_is_an_error_and_not_ignored() {
        let text = TEMPLATE.replace("!Ref Things", "!ImportValue Things");

        assert!(
            Template::parse(&text, Path::new("."), &BTreeMap::new())
                .unwrap_err()
                .to_string()
                .contains("Fn::ImportValue")
        );
    }
}
