//! A function that makes the store requests of a profile and ignores the answers: `GetItem` with AWS' SDK, and one
//! script in Redis. For benchmarks only.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Config, Credentials, Region, StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use redis::Script;
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (dynamodb, table) = (dynamodb()?, std::env::var("USERS_TABLE")?);
    let redis = redis::Client::open(std::env::var("REDIS_URL")?)?;
    let redis = redis.get_multiplexed_async_connection().await?;
    let script = Script::new("return redis.call('EXISTS', KEYS[1])");
    let exchange = async |_: LambdaEvent<Value>| {
        let request = dynamodb
            .get_item()
            .table_name(&table)
            .key("pk", text("USER#01K00000000000000000000000"))
            .key("sk", text("PROFILE"))
            .consistent_read(true);
        let mut redis = redis.clone();
        let invocation = script.key("sessions:{01K00000000000000000000000}");
        let (item, exists) = tokio::join!(request.send(), async {
            invocation.invoke_async::<bool>(&mut redis).await
        });
        item?;
        exists?;
        Ok::<_, Error>(json!({ "statusCode": 200, "body": "hello" }))
    };
    lambda_runtime::run(service_fn(exchange)).await
}

fn dynamodb() -> Result<Client, Error> {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(std::env::var("AWS_REGION")?))
        .credentials_provider(Credentials::new(
            std::env::var("AWS_ACCESS_KEY_ID")?,
            std::env::var("AWS_SECRET_ACCESS_KEY")?,
            None,
            None,
            "environment",
        ))
        .endpoint_url(std::env::var("AWS_ENDPOINT_URL_DYNAMODB")?)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    Ok(Client::from_conf(config.build()))
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}
