//! The template's resources that the stack creates.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::intrinsics::{folder_name, scalar};
use super::{Authorizer, Cors, DEFAULT, Function, Route, Stream, Table};
use crate::Error;
use crate::iam;

pub(super) fn function(
    resource: &str,
    globals: &Value,
    properties: &Value,
    authorizers: &Authorizers,
) -> Result<Function, Error> {
    let folder = properties["CodeUri"]
        .as_str()
        .ok_or_else(|| format!("{resource} has no CodeUri"))?;
    let name = folder_name(folder).to_owned();
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
                // SAM's default.
                (None, None) => ("ANY".to_owned(), DEFAULT.to_owned()),
                _ => return Err("a route with a method or a path alone".into()),
            };
            routes.push(Route {
                method: method.to_uppercase(),
                path,
                authorizer: authorizers.of(&event["Properties"]["Auth"])?,
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

/// The authorizers of an API.
#[derive(Default)]
pub(super) struct Authorizers {
    by_name: BTreeMap<String, Authorizer>,
    default: Option<String>,
}

impl Authorizers {
    /// Reads the API's property `Auth` (SAM specification, `HttpApiAuth`).
    pub(super) fn read(auth: &Value) -> Result<Self, Error> {
        let mut by_name = BTreeMap::new();
        for (name, properties) in auth["Authorizers"].as_object().into_iter().flatten() {
            let read = authorizer(properties).map_err(|error| format!("{name}: {error}"))?;
            by_name.insert(name.clone(), read);
        }
        let default = auth["DefaultAuthorizer"].as_str().map(str::to_owned);
        Ok(Self { by_name, default })
    }

    /// Returns the authorizer of a route with this property `Auth`.
    fn of(&self, auth: &Value) -> Result<Option<Authorizer>, Error> {
        let named = auth["Authorizer"].as_str().or(self.default.as_deref());
        let Some(name) = named.filter(|name| *name != "NONE") else {
            return Ok(None);
        };
        let found = self.by_name.get(name).cloned();
        found
            .map(Some)
            .ok_or_else(|| format!("there is no authorizer {name}").into())
    }
}

fn authorizer(properties: &Value) -> Result<Authorizer, Error> {
    let texts = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items.filter_map(scalar).collect()
    };
    let jwt = &properties["JwtConfiguration"];
    if let Some(issuer) = jwt["issuer"].as_str() {
        return Ok(Authorizer::Jwt {
            issuer: issuer.to_owned(),
            audiences: texts(&jwt["audience"]),
        });
    }
    let arn = properties["FunctionArn"].as_str();
    let arn = arn.ok_or("neither JwtConfiguration nor FunctionArn")?;
    if properties["EnableSimpleResponses"] != true
        || properties["AuthorizerPayloadFormatVersion"] != "2.0"
    {
        return Err("only EnableSimpleResponses with payload format 2.0 is understood here".into());
    }
    let mut headers = texts(&properties["Identity"]["Headers"]);
    headers
        .iter_mut()
        .for_each(|header| header.make_ascii_lowercase());
    Ok(Authorizer::Lambda {
        arn: arn.to_owned(),
        headers,
    })
}

fn stream(properties: &Value) -> Result<Stream, Error> {
    let arn = properties["Stream"].as_str().unwrap_or_default();
    let table = arn.strip_suffix(".StreamArn"); // the evaluated attribute of a table
    let filters = properties["FilterCriteria"]["Filters"].as_array();
    let pattern = |filter: &Value| serde_json::from_str(filter["Pattern"].as_str().unwrap_or("{}"));
    // -1, the default, means no limit.
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

pub(super) fn table(name: &str, mut properties: Value) -> Result<Table, Error> {
    let create = properties
        .as_object_mut()
        .ok_or("a table without properties")?;
    let ttl = create.remove("TimeToLiveSpecification");
    // The emulator neither supports nor needs these.
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

pub(super) fn cors(configuration: &Value) -> Cors {
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
