//! The content of DynamoDB and Redis, for people.

use std::collections::BTreeMap;

use dynoxide::Database;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, RedisError};
use serde_json::{Map, Value, json};

/// The number of keys of Redis that are shown.
const MAX_KEYS: usize = 500;

/// Returns the items of the tables and the keys of Redis. What cannot be read is left out, and `problem` says why.
pub async fn state(database: &Database, tables: &[String], redis_url: &str) -> Value {
    let mut problems = Vec::new();
    let tables: Vec<Value> = tables
        .iter()
        .filter_map(|name| match items(database, name) {
            Ok(items) => Some(json!({ "name": name, "items": items })),
            Err(problem) => {
                problems.push(problem);
                None
            }
        })
        .collect();
    let keys = keys(redis_url).await.unwrap_or_else(|error| {
        problems.push(format!("Redis: {error}"));
        Vec::new()
    });
    json!({ "tables": tables, "redis": keys, "problem": problems.first() })
}

/// Returns the first megabyte of a table, without DynamoDB's types.
fn items(database: &Database, table: &str) -> Result<Vec<Value>, String> {
    let request = serde_json::from_value(json!({ "TableName": table }));
    let request = request.map_err(|error| error.to_string())?;
    let answer = database.scan(request).map_err(|error| error.to_string())?;
    let answer = serde_json::to_value(answer).map_err(|error| error.to_string())?;
    let items = answer["Items"].as_array().cloned().unwrap_or_default();
    Ok(items.iter().map(plain_item).collect())
}

fn plain_item(item: &Value) -> Value {
    let attributes = item.as_object().into_iter().flatten();
    let plain: Map<String, Value> = attributes
        .map(|(name, value)| (name.clone(), plain(value)))
        .collect();
    Value::Object(plain)
}

/// Returns an attribute without its type: `{"S": "a"}` is `"a"`.
fn plain(attribute: &Value) -> Value {
    let typed = attribute
        .as_object()
        .and_then(|object| object.iter().next());
    match typed.map(|(name, value)| (name.as_str(), value)) {
        Some(("N", Value::String(number))) => {
            serde_json::from_str(number).unwrap_or_else(|_| json!(number))
        }
        Some(("M", value)) => plain_item(value),
        Some(("L", Value::Array(values))) => values.iter().map(plain).collect(),
        Some(("NULL", _)) => Value::Null,
        Some((_, value)) => value.clone(),
        None => Value::Null,
    }
}

async fn keys(url: &str) -> Result<Vec<Value>, RedisError> {
    let client = redis::Client::open(url)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut names: Vec<String> = Vec::new();
    let mut scan = connection.scan::<String>().await?;
    while let Some(name) = scan.next_item().await {
        names.push(name?);
        if names.len() == MAX_KEYS {
            break;
        }
    }
    drop(scan);
    names.sort();
    let mut keys = Vec::new();
    for name in names {
        let (kind, value) = value(&mut connection, &name).await?;
        let ttl: i64 = connection.ttl(&name).await?;
        keys.push(json!({ "key": name, "type": kind, "ttl": ttl, "value": value }));
    }
    Ok(keys)
}

async fn value(
    connection: &mut MultiplexedConnection,
    key: &str,
) -> Result<(String, Value), RedisError> {
    let kind: String = redis::cmd("TYPE").arg(key).query_async(connection).await?;
    let value = match kind.as_str() {
        "string" => {
            let text: Vec<u8> = connection.get(key).await?;
            json!(String::from_utf8_lossy(&text))
        }
        "hash" => {
            let fields: BTreeMap<String, String> = connection.hgetall(key).await?;
            let parsed = fields
                .into_iter()
                .map(|(name, text)| (name, serde_json::from_str(&text).unwrap_or(json!(text))));
            Value::Object(parsed.collect())
        }
        "zset" => {
            let members: Vec<(String, f64)> = connection.zrange_withscores(key, 0, 99).await?;
            json!(members)
        }
        "set" => {
            let members: Vec<String> = connection.smembers(key).await?;
            json!(members)
        }
        "list" => {
            let values: Vec<String> = connection.lrange(key, 0, 99).await?;
            json!(values)
        }
        _ => Value::Null,
    };
    Ok((kind, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_without_their_types() {
        let item = json!({
            "pk": { "S": "USER#1" },
            "version": { "N": "3" },
            "verified": { "BOOL": true },
            "name": { "NULL": true },
            "devices": { "L": [{ "M": { "id": { "S": "a" } } }] },
        });
        let plain = json!({
            "pk": "USER#1", "version": 3, "verified": true, "name": null, "devices": [{ "id": "a" }],
        });
        assert_eq!(plain_item(&item), plain);
    }
}
