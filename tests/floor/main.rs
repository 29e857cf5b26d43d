//! A function that does nothing, by AWS' crate and with the same profile as the others: what they are compared
//! with. Under `/floor/exchange` it sends the stores two messages as long as those of a profile, which find
//! nothing there, reads the answers and writes a line, and does nothing with any of it. For benchmarks alone.

use std::io::Write as _;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let stores = Mutex::new(None);
    let hello = async |event: LambdaEvent<Value>| {
        if event.payload["rawPath"] == "/floor/exchange" {
            let mut stores = stores.lock().await;
            let [redis, dynamodb] = match &mut *stores {
                Some(connected) => connected,
                none => none.insert([
                    connect("REDIS_URL").await?,
                    connect("AWS_ENDPOINT_URL_DYNAMODB").await?,
                ]),
            };
            exchange(redis, dynamodb).await?;
            let line = json!({ "timestamp": "", "message": "x".repeat(250) });
            writeln!(std::io::stdout(), "{line}")?;
        }
        Ok::<_, Error>(json!({ "statusCode": 200, "body": "hello" }))
    };
    lambda_runtime::run(service_fn(hello)).await
}

async fn connect(name: &str) -> Result<TcpStream, Error> {
    let url = std::env::var(name)?;
    let address = url.split_once("://").map_or(&*url, |(_, address)| address);
    let stream = TcpStream::connect(address.trim_end_matches('/')).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn exchange(redis: &mut TcpStream, dynamodb: &mut TcpStream) -> Result<(), Error> {
    let key = "x".repeat(190);
    let command = format!("*2\r\n$6\r\nEXISTS\r\n${}\r\n{key}\r\n", key.len());
    let body = json!({
        "TableName": "UsersTable",
        "Key": { "pk": { "S": "USER#01K00000000000000000000000" }, "sk": { "S": "PROFILE" } },
        "ConsistentRead": true,
    });
    let body = body.to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-amz-json-1.0\r\n\
         x-amz-target: DynamoDB_20120810.GetItem\r\nx-amz-date: 20261121T000000Z\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=x/20261121/us-east-1/dynamodb/aws4_request, \
         SignedHeaders=host;x-amz-date;x-amz-target, Signature={}\r\n\
         content-length: {}\r\n\r\n{body}",
        "0".repeat(64),
        body.len()
    );
    redis.write_all(command.as_bytes()).await?;
    dynamodb.write_all(request.as_bytes()).await?;
    let redis = read_until(redis, b"\r\n");
    let dynamodb = read_until(dynamodb, b"}");
    let (_, answer) = tokio::try_join!(redis, dynamodb)?;
    match answer.starts_with(b"HTTP/1.1 200") {
        true => Ok(()),
        false => Err("DynamoDB refuses".into()),
    }
}

async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Result<Vec<u8>, Error> {
    let mut answer = Vec::with_capacity(8192);
    while !answer.ends_with(end) {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err("the store has closed the connection".into());
        }
    }
    Ok(answer)
}
