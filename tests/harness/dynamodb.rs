//! Direct access to the tables, through DynamoDB's own protocol.

use local::Info;
use serde_json::{Value, json};

/// Returns the record that Lambda gets from a table's stream when this item is inserted.
pub fn stream_record(sequence_number: &str, image: &Value) -> Value {
    json!({
        "eventID": sequence_number,
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_795_255_200,
            "Keys": { "pk": image["pk"], "sk": image["sk"] },
            "NewImage": image,
            "SequenceNumber": sequence_number,
            "SizeBytes": 300,
            "StreamViewType": "NEW_IMAGE",
        },
    })
}

/// Reads and writes items directly.
pub struct DynamoDb {
    http: reqwest::Client,
    url: String,
    pub users: String,
    pub credentials: String,
}

impl DynamoDb {
    pub(crate) fn new(info: &Info) -> Self {
        Self {
            http: reqwest::Client::new(),
            url: info.dynamodb_url.clone(),
            users: info.users_table.clone(),
            credentials: info.credentials_table.clone(),
        }
    }

    /// Calls an operation.
    pub async fn call(&self, operation: &str, request: Value) -> Value {
        let credential = "Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";
        let request = self
            .http
            .post(&self.url)
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header("x-amz-date", "20260101T000000Z")
            .header("authorization", format!("AWS4-HMAC-SHA256 {credential}"))
            .header("content-type", "application/x-amz-json-1.0")
            .body(request.to_string());
        let response = request.send().await.expect("DynamoDB answers");
        let status = response.status();
        let text = response.text().await.expect("a body");
        assert!(status.is_success(), "{operation}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Returns all items of a table.
    pub async fn scan(&self, table: &str) -> Vec<Value> {
        let answer = self
            .call(
                "Scan",
                json!({ "TableName": table, "ConsistentRead": true }),
            )
            .await;
        answer["Items"].as_array().cloned().unwrap_or_default()
    }

    /// Returns all items of both tables whose partition key has this prefix.
    pub async fn items(&self, prefix: &str) -> Vec<Value> {
        let mut items = self.scan(&self.users).await;
        items.extend(self.scan(&self.credentials).await);
        items.retain(|item| {
            item["pk"]["S"]
                .as_str()
                .is_some_and(|pk| pk.starts_with(prefix))
        });
        items
    }

    /// Returns an item, or null.
    pub async fn get(&self, table: &str, pk: &str, sk: &str) -> Value {
        let key = json!({ "pk": { "S": pk }, "sk": { "S": sk } });
        self.call(
            "GetItem",
            json!({ "TableName": table, "Key": key, "ConsistentRead": true }),
        )
        .await["Item"]
            .clone()
    }

    /// Returns the user's record.
    pub async fn user(&self, id: &str) -> Value {
        self.get(&self.users, &format!("USER#{id}"), "PROFILE")
            .await
    }

    /// Returns the user's password hash.
    pub async fn password_hash(&self, id: &str) -> String {
        let item = self
            .get(&self.credentials, &format!("USER#{id}"), "PASSWORD")
            .await;
        item["hash"]["S"].as_str().expect("a hash").to_owned()
    }

    /// Replaces the user's password hash, as an import from another system does.
    pub async fn set_password_hash(&self, id: &str, hash: &str) {
        let (pk, value) = (format!("USER#{id}"), json!({ "S": hash }));
        self.set(&self.credentials, &pk, "PASSWORD", "hash", value)
            .await;
    }

    /// Returns the user's audit entries as (event, outcome), oldest first.
    pub async fn audit(&self, id: &str) -> Vec<(String, String)> {
        let mut entries: Vec<Value> = self.items(&format!("AUDIT#{id}")).await;
        entries.sort_by_key(|item| item["sk"]["S"].as_str().map(str::to_owned));
        let text =
            |item: &Value, name: &str| item[name]["S"].as_str().expect("a string").to_owned();
        entries
            .iter()
            .map(|item| (text(item, "event"), text(item, "outcome")))
            .collect()
    }

    /// Sets an attribute of an item, as an operator would.
    pub async fn set(&self, table: &str, pk: &str, sk: &str, attribute: &str, value: Value) {
        let request = json!({
            "TableName": table,
            "Key": { "pk": { "S": pk }, "sk": { "S": sk } },
            "UpdateExpression": "SET #a = :v",
            "ConditionExpression": "attribute_exists(pk)",
            "ExpressionAttributeNames": { "#a": attribute },
            "ExpressionAttributeValues": { ":v": value },
        });
        self.call("UpdateItem", request).await;
    }

    /// Sets an attribute of a user's record.
    pub async fn set_user(&self, id: &str, attribute: &str, value: Value) {
        self.set(
            &self.users,
            &format!("USER#{id}"),
            "PROFILE",
            attribute,
            value,
        )
        .await;
    }
}
