//! CloudFormation's tags, intrinsic functions and conditions.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use yaml_serde::Value as Yaml;

use super::Outputs;
use crate::Error;
use crate::identity::{ACCOUNT, LIVE, REGION, STACK, function_arn};

/// Returns the name of the folder that `CodeUri` names.
pub(super) fn folder_name(code_uri: &str) -> &str {
    let path = code_uri.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or_default()
}

pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// Converts YAML with CloudFormation's tags (`!Ref X`) to JSON without tags (`{"Ref": "X"}`).
pub(super) fn long_form(yaml: Yaml) -> Result<Value, Error> {
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

pub(super) struct Scope<'a> {
    pub(super) document: &'a Value,
    pub(super) parameters: &'a BTreeMap<String, String>,
    /// The exports of other templates.
    pub(super) imports: &'a Outputs,
    /// The outputs of the nested stacks that were read.
    pub(super) nested: BTreeMap<String, Outputs>,
}

impl Scope<'_> {
    pub(super) fn evaluate(&self, value: &Value) -> Result<Value, Error> {
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
            ("Fn::ImportValue", export) => {
                let export = text(&self.evaluate(export)?)?;
                let value = self.imports.get(&export).cloned();
                value.ok_or_else(|| format!("nothing is exported as {export}").into())
            }
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
            ("Fn::Split", Value::Array(arguments)) => {
                let (separator, joined) = (text(&arguments[0])?, self.evaluate(&arguments[1])?);
                let joined = text(&joined)?;
                Ok(joined.split(separator.as_str()).collect())
            }
            _ => Err(format!("{name} is not understood here").into()),
        }
    }

    fn reference(&self, name: &str) -> Result<Value, Error> {
        match name {
            "AWS::NoValue" => return Ok(json!({ "Ref": "AWS::NoValue" })),
            "AWS::Region" => return Ok(json!(REGION)),
            "AWS::AccountId" => return Ok(json!(ACCOUNT)),
            "AWS::Partition" => return Ok(json!("aws")),
            "AWS::StackName" => return Ok(json!(STACK)),
            _ => {}
        }
        let declared = &self.document["Parameters"][name];
        if declared.is_null() {
            // Here a resource's name is its id.
            let id = self.alias_arn(name).unwrap_or_else(|| name.to_owned());
            return Ok(json!(id));
        }
        // A parameter without a default is given at deployment. Here it is empty: the stack sets the variables that are
        // made from such parameters.
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

    /// Returns the ARN of an alias: one that SAM makes for a function (`Function.Alias`), or a resource of its own.
    fn alias_arn(&self, name: &str) -> Option<String> {
        let resources = &self.document["Resources"];
        let (function, alias) = match name.strip_suffix(".Alias") {
            Some(function) => (function, LIVE),
            None => {
                let alias = Some(&resources[name]);
                let alias = alias.filter(|alias| alias["Type"] == "AWS::Lambda::Alias")?;
                let properties = &alias["Properties"];
                let function = properties["FunctionName"]["Ref"].as_str()?;
                (function, properties["Name"].as_str()?)
            }
        };
        let folder = resources[function]["Properties"]["CodeUri"].as_str()?;
        Some(function_arn(folder_name(folder), alias))
    }

    /// Removes the variables of all functions that a function sets to `AWS::NoValue`.
    pub(super) fn take_away(&self, globals: &mut Value, function: &Value) -> Result<(), Error> {
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

    /// Returns a nested stack's output. All other attributes exist only in the cloud; here nothing needs their values.
    fn attribute(&self, path: &str) -> Value {
        let output = || {
            let (stack, output) = path.split_once(".Outputs.")?;
            self.nested.get(stack)?.get(output).cloned()
        };
        output().unwrap_or_else(|| json!(path))
    }

    /// Whether the resource's condition holds, or it has none.
    pub(super) fn exists(&self, resource: &Value) -> Result<bool, Error> {
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
