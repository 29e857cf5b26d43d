//! Reads the parts of `template.yaml` that the stack needs, with CloudFormation's functions evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::Error;
use crate::iam::Right;

mod intrinsics;
mod resources;

pub(crate) use intrinsics::scalar;
use intrinsics::{Scope, long_form};
use resources::{Authorizers, cors, function, table};

/// The deployed system as the template describes it.
#[derive(Debug, Default)]
pub struct Template {
    /// The functions.
    pub functions: Vec<Function>,
    /// The DynamoDB tables.
    pub tables: Vec<Table>,
    /// The CORS configuration.
    pub cors: Cors,
    /// The outputs.
    pub outputs: Outputs,
    /// The outputs that other templates may import, by the names of their exports.
    pub exports: Outputs,
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
    /// Who decides whether a request may pass; `None` lets all requests pass.
    pub authorizer: Option<Authorizer>,
}

/// An authorizer of an HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorizer {
    /// A function is asked.
    Lambda {
        /// The ARN of the function's alias.
        arn: String,
        /// The headers without which a request is refused, in lower case.
        headers: Vec<String>,
    },
    /// The bearer token in the header `authorization` is verified.
    Jwt {
        /// The URL that the claim `iss` must be, beneath which the keys are found.
        issuer: String,
        /// The accepted audiences: the claim `aud` must name one of them.
        audiences: Vec<String>,
    },
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
    /// Reads a template; `parameters` replace defaults and fill in parameters without one, `imports` are the exports of
    /// other templates.
    ///
    /// # Errors
    /// If the file cannot be read, or uses a feature that is not understood here.
    pub fn read(
        path: &Path,
        parameters: &BTreeMap<String, String>,
        imports: &Outputs,
    ) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, folder, parameters, imports)
            .map_err(|error| format!("{}: {error}", path.display()).into())
    }

    fn parse(
        text: &str,
        folder: &Path,
        parameters: &BTreeMap<String, String>,
        imports: &Outputs,
    ) -> Result<Self, Error> {
        let document = long_form(yaml_serde::from_str(text)?)?;
        let mut scope = Scope {
            document: &document,
            parameters,
            imports,
            nested: BTreeMap::new(),
        };
        let mut template = Self::default();
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
            let nested = Self::read(&path, &parameters.collect(), imports)?;
            template.tables.extend(nested.tables);
            template.functions.extend(nested.functions);
            if !nested.cors.origins.is_empty() {
                template.cors = nested.cors;
            }
            scope.nested.insert(name.clone(), nested.outputs);
        }
        // Then the API: routes refer to its authorizers.
        let mut authorizers = Authorizers::default();
        for (_, api) in resources {
            if api["Type"] == "AWS::Serverless::HttpApi" && scope.exists(api)? {
                let properties = scope.evaluate(&api["Properties"])?;
                template.cors = cors(&properties["CorsConfiguration"]);
                authorizers = Authorizers::read(&properties["Auth"])?;
            }
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
                        .push(function(name, &globals, &properties()?, &authorizers)?)
                }
                "AWS::DynamoDB::Table" => template.tables.push(table(name, properties()?)?),
                _ => {}
            }
        }
        for (name, output) in document["Outputs"].as_object().into_iter().flatten() {
            if !scope.exists(output)? {
                continue;
            }
            let value = scope.evaluate(&output["Value"])?;
            if let Some(export) = scope.evaluate(&output["Export"]["Name"])?.as_str() {
                template.exports.insert(export.to_owned(), value.clone());
            }
            template.outputs.insert(name.clone(), value);
        }
        Ok(template)
    }
}

/// A template's outputs by name.
pub type Outputs = BTreeMap<String, Value>;

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
        let nothing = Outputs::new();
        let template = Template::parse(TEMPLATE, Path::new("."), &parameters, &nothing).unwrap();

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
        let text = TEMPLATE.replace("!Ref Things", "!Cidr Things");

        assert!(
            Template::parse(&text, Path::new("."), &BTreeMap::new(), &Outputs::new())
                .unwrap_err()
                .to_string()
                .contains("Fn::Cidr")
        );
    }

    #[test]
    fn a_route_has_the_authorizer_that_it_names_or_that_of_its_api() {
        let with = |auth: &str| {
            TEMPLATE
                .replace("AllowCredentials", "AllowHeaders: [a], AllowCredentials")
                .replace(
                    "      CorsConfiguration",
                    &format!("      Auth: {auth}\n      CorsConfiguration"),
                )
                .replace("Method: get,", "Method: get, Auth: { Authorizer: NONE },")
        };
        let lambda = "FunctionArn: !ImportValue local-Authorizer, EnableSimpleResponses: true, \
                      AuthorizerPayloadFormatVersion: \"2.0\", Identity: { Headers: [Authorization] }";
        let text = with(&format!(
            "{{ DefaultAuthorizer: Other, Authorizers: {{ Other: {{ {lambda} }} }} }}"
        ));
        let imports = Outputs::from([("local-Authorizer".to_owned(), json!("an ARN"))]);
        let parse = |text: &str| Template::parse(text, Path::new("."), &BTreeMap::new(), &imports);

        let template = parse(&text).unwrap();

        let routes = &template.functions[0].routes;
        assert_eq!(routes[0].authorizer, None);
        assert_eq!(
            routes[1].authorizer,
            Some(Authorizer::Lambda {
                arn: "an ARN".to_owned(),
                headers: vec!["authorization".to_owned()],
            })
        );
        for (from, to, problem) in [
            (
                "DefaultAuthorizer: Other",
                "DefaultAuthorizer: Missing",
                "Missing",
            ),
            (
                "EnableSimpleResponses: true",
                "EnableSimpleResponses: false",
                "EnableSimpleResponses",
            ),
            ("local-Authorizer", "local-Else", "local-Else"),
        ] {
            let error = parse(&text.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(problem), "{problem}: {error}");
        }
    }
}
