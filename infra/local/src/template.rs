//! What the stack needs of `template.yaml`, with CloudFormation's functions evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};
use yaml_serde::Value as Yaml;

use crate::Error;
use crate::iam::{self, Right};

/// The deployed system as the template describes it.
#[derive(Debug)]
pub struct Template {
    /// The functions, by their resources' names.
    pub functions: Vec<Function>,
    /// The DynamoDB tables.
    pub tables: Vec<Table>,
    /// What browsers on other origins may do.
    pub cors: Cors,
}

/// A function that is built from this workspace.
#[derive(Clone, Debug)]
pub struct Function {
    /// The folder's, package's and binary's name.
    pub name: String,
    /// Its resource's name.
    pub resource: String,
    /// The environment variables that are given to it, and no others.
    pub variables: BTreeMap<String, String>,
    /// Seconds that an invocation may take.
    pub timeout_seconds: u64,
    /// MiB that it has in the cloud.
    pub memory_mib: u64,
    /// The routes that lead to it.
    pub routes: Vec<Route>,
    /// The table whose stream it reads.
    pub stream: Option<Stream>,
    /// What its role allows at the tables.
    pub rights: BTreeSet<Right>,
}

/// A table's stream as a function reads it.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The table.
    pub table: String,
    /// Which records are handed over: any of these patterns, in EventBridge's language.
    pub filters: Vec<Value>,
    /// The most records at once.
    pub batch_size: usize,
    /// How often a batch is tried again before the record that fails is given up; otherwise its age ends it.
    pub retries: Option<usize>,
    /// How old a record may get.
    pub longest_wait: Option<Duration>,
}

/// A method and a path of the API.
#[derive(Clone, Debug)]
pub struct Route {
    /// In upper case; `ANY` for all.
    pub method: String,
    /// With parameters in braces; `$default` for every other.
    pub path: String,
}

impl Route {
    /// As API Gateway names it: `POST /api/auth/login`.
    pub fn key(&self) -> String {
        match self.is_default() {
            true => self.path.clone(),
            false => format!("{} {}", self.method, self.path),
        }
    }

    /// Whether it takes what no other route does.
    pub fn is_default(&self) -> bool {
        self.path == DEFAULT
    }
}

const DEFAULT: &str = "$default";

/// A DynamoDB table.
#[derive(Debug)]
pub struct Table {
    /// Its resource's name, and here its own.
    pub name: String,
    /// The request that makes it.
    pub create: Value,
    /// The attribute that says when an item may go.
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
    /// Whether cookies may be sent.
    pub credentials: bool,
    /// Seconds for which a preflight's answer holds.
    pub max_age_seconds: u64,
}

impl Template {
    /// Reads a template; `parameters` stand in for those without a default.
    ///
    /// # Errors
    /// Where the file cannot be read, or uses what is not understood here.
    pub fn read(path: &Path, parameters: &BTreeMap<String, String>) -> Result<Self, Error> {
        Ok(Self::read_with_outputs(path, parameters)?.0)
    }

    /// The template and what it puts out.
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
        // First what they put out: the others refer to it.
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

/// What a template puts out, by name.
type Outputs = BTreeMap<String, Value>;

fn function(resource: &str, globals: &Value, properties: &Value) -> Result<Function, Error> {
    let folder = properties["CodeUri"]
        .as_str()
        .ok_or_else(|| format!("{resource} has no CodeUri"))?;
    let name = folder
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    let setting = |key: &str| properties[key].as_u64().or_else(|| globals[key].as_u64());
    let mut variables = BTreeMap::new();
    for source in [globals, properties] {
        for (key, value) in source["Environment"]["Variables"]
            .as_object()
            .into_iter()
            .flatten()
        {
            variables.insert(
                key.clone(),
                scalar(value).ok_or_else(|| format!("{resource}: {key} is no text"))?,
            );
        }
    }
    let mut routes = Vec::new();
    let mut reads = None;
    for event in properties["Events"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, event)| event)
    {
        if event["Type"] == "HttpApi" {
            let property = |key: &str| event["Properties"][key].as_str().map(str::to_owned);
            let (method, path) = match (property("Method"), property("Path")) {
                (Some(method), Some(path)) => (method, path),
                // As SAM takes it.
                (None, None) => ("ANY".to_owned(), DEFAULT.to_owned()),
                _ => return Err("a route with a method or a path alone".into()),
            };
            routes.push(Route {
                method: method.to_uppercase(),
                path,
            });
        } else if event["Type"] == "DynamoDB" {
            reads = Some(stream(&event["Properties"])?);
        }
    }
    Ok(Function {
        name,
        resource: resource.to_owned(),
        variables,
        timeout_seconds: setting("Timeout").unwrap_or(3),
        memory_mib: setting("MemorySize").unwrap_or(128),
        routes,
        stream: reads,
        rights: iam::rights(&properties["Policies"])
            .map_err(|error| format!("{resource}: {error}"))?,
    })
}

fn stream(properties: &Value) -> Result<Stream, Error> {
    let arn = properties["Stream"].as_str().unwrap_or_default();
    let table = arn.strip_suffix(".StreamArn"); // the evaluated attribute of a table
    let filters = properties["FilterCriteria"]["Filters"].as_array();
    let pattern = |filter: &Value| serde_json::from_str(filter["Pattern"].as_str().unwrap_or("{}"));
    // -1, the default, is no limit.
    let number = |key: &str| properties[key].as_u64();
    Ok(Stream {
        table: table.ok_or("a stream that is no table's")?.to_owned(),
        filters: filters
            .into_iter()
            .flatten()
            .map(pattern)
            .collect::<Result<_, _>>()?,
        batch_size: number("BatchSize").unwrap_or(100) as usize,
        retries: number("MaximumRetryAttempts").map(|retries| retries as usize),
        longest_wait: number("MaximumRecordAgeInSeconds").map(Duration::from_secs),
    })
}

fn table(name: &str, mut properties: Value) -> Result<Table, Error> {
    let create = properties
        .as_object_mut()
        .ok_or("a table without properties")?;
    let ttl = create.remove("TimeToLiveSpecification");
    // What the emulator neither has nor needs.
    create.remove("PointInTimeRecoverySpecification");
    create.remove("SSESpecification");
    if let Some(stream) = create.get_mut("StreamSpecification") {
        stream["StreamEnabled"] = json!(true);
    }
    create.insert("TableName".to_owned(), json!(name));
    let ttl_attribute = ttl.and_then(|ttl| ttl["AttributeName"].as_str().map(str::to_owned));
    Ok(Table {
        name: name.to_owned(),
        create: properties,
        ttl_attribute,
    })
}

fn cors(configuration: &Value) -> Cors {
    let list = |key: &str| -> Vec<String> {
        configuration[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(scalar)
            .collect()
    };
    Cors {
        origins: list("AllowOrigins"),
        methods: list("AllowMethods"),
        headers: list("AllowHeaders"),
        exposed: list("ExposeHeaders"),
        credentials: configuration["AllowCredentials"] == true,
        max_age_seconds: configuration["MaxAge"].as_u64().unwrap_or(0),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// YAML with CloudFormation's tags (`!Ref X`) as JSON without (`{"Ref": "X"}`).
fn long_form(yaml: Yaml) -> Result<Value, Error> {
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => json!(value),
        Yaml::Number(number) => serde_json::to_value(number)?,
        Yaml::String(text) => json!(text),
        Yaml::Sequence(items) => {
            Value::Array(items.into_iter().map(long_form).collect::<Result<_, _>>()?)
        }
        Yaml::Mapping(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                let key = key.as_str().ok_or("a key that is no text")?.to_owned();
                object.insert(key, long_form(value)?);
            }
            Value::Object(object)
        }
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let tag = tag.trim_start_matches('!');
            let name = if matches!(tag, "Ref" | "Condition") {
                tag.to_owned()
            } else {
                format!("Fn::{tag}")
            };
            json!({ name: long_form(tagged.value)? })
        }
    })
}

struct Scope<'a> {
    document: &'a Value,
    parameters: &'a BTreeMap<String, String>,
    /// What the nested stacks that were read put out.
    nested: BTreeMap<String, Outputs>,
}

impl Scope<'_> {
    fn evaluate(&self, value: &Value) -> Result<Value, Error> {
        match value {
            Value::Array(items) => {
                let items: Vec<Value> = items
                    .iter()
                    .map(|item| self.evaluate(item))
                    .collect::<Result<_, _>>()?;
                Ok(Value::Array(
                    items
                        .into_iter()
                        .filter(|item| !is_no_value(item))
                        .collect(),
                ))
            }
            Value::Object(object) => {
                if let Some((name, argument)) = object.iter().next().filter(|_| object.len() == 1)
                    && (name == "Ref" || name.starts_with("Fn::"))
                {
                    return self.call(name, argument);
                }
                let mut evaluated = Map::new();
                for (key, value) in object {
                    let value = self.evaluate(value)?;
                    if !is_no_value(&value) {
                        evaluated.insert(key.clone(), value);
                    }
                }
                Ok(Value::Object(evaluated))
            }
            plain => Ok(plain.clone()),
        }
    }

    fn call(&self, name: &str, argument: &Value) -> Result<Value, Error> {
        let text = |value: &Value| -> Result<String, Error> {
            scalar(value).ok_or_else(|| format!("{name}: {value} is no text").into())
        };
        match (name, argument) {
            ("Ref", target) => self.reference(&text(target)?),
            ("Fn::GetAtt", Value::Array(path)) => {
                let path = path.iter().map(text).collect::<Result<Vec<_>, _>>()?;
                Ok(self.attribute(&path.join(".")))
            }
            ("Fn::GetAtt", path) => Ok(self.attribute(&text(path)?)),
            ("Fn::Sub", Value::String(template)) => Ok(json!(self.substitute(template)?)),
            ("Fn::FindInMap", Value::Array(path)) => {
                let mut found = &self.document["Mappings"];
                for key in path {
                    found = &found[&text(&self.evaluate(key)?)?];
                }
                Ok(found.clone())
            }
            ("Fn::If", Value::Array(arguments)) => match arguments.as_slice() {
                [condition, then, otherwise] => {
                    self.evaluate(if self.condition(&text(condition)?)? {
                        then
                    } else {
                        otherwise
                    })
                }
                _ => Err("Fn::If takes three arguments".into()),
            },
            ("Fn::Join", Value::Array(arguments)) => {
                let (separator, items) = (text(&arguments[0])?, self.evaluate(&arguments[1])?);
                let items = items.as_array().ok_or("Fn::Join takes a list")?;
                Ok(json!(
                    items
                        .iter()
                        .map(text)
                        .collect::<Result<Vec<_>, _>>()?
                        .join(&separator)
                ))
            }
            _ => Err(format!("{name} is not understood here").into()),
        }
    }

    fn reference(&self, name: &str) -> Result<Value, Error> {
        match name {
            "AWS::NoValue" => return Ok(json!({ "Ref": "AWS::NoValue" })),
            "AWS::Region" => return Ok(json!(crate::lambda::REGION)),
            "AWS::AccountId" => return Ok(json!(crate::lambda::ACCOUNT)),
            "AWS::Partition" => return Ok(json!("aws")),
            "AWS::StackName" => return Ok(json!("local")),
            _ => {}
        }
        let declared = &self.document["Parameters"][name];
        if declared.is_null() {
            return Ok(json!(name)); // a resource: here its name is its identity
        }
        // A parameter without a default is one that whoever deploys gives; here the stack gives the
        // variables that are made of them.
        let value = self
            .parameters
            .get(name)
            .cloned()
            .or_else(|| scalar(&declared["Default"]))
            .unwrap_or_default();
        if declared["Type"] == "CommaDelimitedList" {
            return Ok(json!(value.split(',').map(str::trim).collect::<Vec<_>>()));
        }
        Ok(json!(value))
    }

    /// A function's own `AWS::NoValue` takes a variable of all functions away.
    fn take_away(&self, globals: &mut Value, function: &Value) -> Result<(), Error> {
        let variables = globals["Environment"]["Variables"].as_object_mut();
        let own = function["Properties"]["Environment"]["Variables"].as_object();
        let (Some(variables), Some(own)) = (variables, own) else {
            return Ok(());
        };
        for (name, value) in own {
            if is_no_value(&self.evaluate(value)?) {
                variables.remove(name);
            }
        }
        Ok(())
    }

    /// A nested stack's output. All other attributes exist in the cloud alone; here nothing asks what
    /// they are.
    fn attribute(&self, path: &str) -> Value {
        let output = || {
            let (stack, output) = path.split_once(".Outputs.")?;
            self.nested.get(stack)?.get(output).cloned()
        };
        output().unwrap_or_else(|| json!(path))
    }

    /// Whether its condition holds, if it has one.
    fn exists(&self, resource: &Value) -> Result<bool, Error> {
        match resource["Condition"].as_str() {
            Some(condition) => self.condition(condition),
            None => Ok(true),
        }
    }

    fn substitute(&self, template: &str) -> Result<String, Error> {
        let mut result = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or("Fn::Sub: a brace is missing")?;
            let value = match name.contains('.') {
                true => self.attribute(name),
                false => self.reference(name)?,
            };
            result.push_str(before);
            result.push_str(&scalar(&value).ok_or_else(|| format!("Fn::Sub: {name} is no text"))?);
            rest = after;
        }
        result.push_str(rest);
        Ok(result)
    }

    fn condition(&self, name: &str) -> Result<bool, Error> {
        self.holds(&self.document["Conditions"][name])
    }

    fn holds(&self, expression: &Value) -> Result<bool, Error> {
        let (name, argument) = expression
            .as_object()
            .and_then(|object| object.iter().next())
            .ok_or("no condition")?;
        let arguments = || {
            argument
                .as_array()
                .ok_or_else(|| Error::from(format!("{name} takes a list")))
        };
        match name.as_str() {
            "Condition" => self.condition(argument.as_str().unwrap_or_default()),
            "Fn::Equals" => {
                Ok(self.evaluate(&arguments()?[0])? == self.evaluate(&arguments()?[1])?)
            }
            "Fn::Not" => Ok(!self.holds(&arguments()?[0])?),
            "Fn::And" => arguments()?
                .iter()
                .try_fold(true, |all, part| Ok(all && self.holds(part)?)),
            "Fn::Or" => arguments()?
                .iter()
                .try_fold(false, |any, part| Ok(any || self.holds(part)?)),
            _ => Err(format!("{name} is not understood here").into()),
        }
    }
}

fn is_no_value(value: &Value) -> bool {
    value["Ref"] == "AWS::NoValue"
}

#[cfg(test)]
mod tests {
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
