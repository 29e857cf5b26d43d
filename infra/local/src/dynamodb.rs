//! DynamoDB: `dynoxide` in this process, served over HTTP, with the rights of the functions' roles in the template.

use std::path::Path;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode, Uri};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use dynoxide::Database;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Error;
use crate::hosts;
use crate::iam::Iam;
use crate::template::Table;

/// A running DynamoDB.
pub struct DynamoDb {
    /// The address of the server.
    pub url: String,
    /// The database itself, for its streams.
    pub database: Database,
    servers: [JoinHandle<()>; 2],
}

impl DynamoDb {
    /// Starts it with these tables, in memory or in a file.
    ///
    /// # Errors
    /// If the file is not a database of this program, or a table cannot be created.
    pub async fn start(tables: &[Table], file: Option<&Path>, iam: Iam) -> Result<Self, Error> {
        let database = match file {
            Some(file) => Database::new(
                file.to_str()
                    .ok_or("the data directory's path is not UTF-8")?,
            ),
            None => Database::memory(),
        }
        .map_err(|error| format!("DynamoDB: {error}"))?;
        for table in tables {
            create(&database, table)
                .map_err(|error| format!("the table {}: {error}", table.name))?;
        }
        let behind = TcpListener::bind(("127.0.0.1", 0)).await?;
        let door = Door {
            iam,
            behind: Uri::try_from(format!("http://{}/", behind.local_addr()?))?,
            client: Client::builder(TokioExecutor::new()).build(connector()),
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let app = Router::new().fallback(pass);
        let app = app
            .layer(from_fn(hosts::own_and_containers))
            .with_state(door);
        let serving = axum::serve(
            listener.tap_io(|stream| drop(stream.set_nodelay(true))),
            app,
        );
        let servers = [
            tokio::spawn(dynoxide::server::serve_on(behind, database.clone())),
            tokio::spawn(async move { drop(serving.await) }),
        ];
        Ok(Self {
            url,
            database,
            servers,
        })
    }
}

impl Drop for DynamoDb {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

/// The proxy in front of the database; it checks the caller's rights.
#[derive(Clone)]
struct Door {
    iam: Iam,
    behind: Uri,
    client: Client<HttpConnector, Body>,
}

async fn pass(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let caller = header("authorization")
        .and_then(access_key)
        .unwrap_or_default();
    let target = header("x-amz-target").unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let request = serde_json::from_slice(&body).unwrap_or_default();
    if let Err(denied) = door.iam.admit(caller, operation, &request) {
        let body = json!({ "__type": "com.amazon.coral.service#AccessDeniedException", "Message": denied });
        return (StatusCode::BAD_REQUEST, axum::Json(body)).into_response();
    }
    let mut request = Request::post(door.behind)
        .body(Body::from(body))
        .unwrap_or_default();
    *request.headers_mut() = headers;
    match door.client.request(request).await {
        Ok(answer) => answer.map(Body::new).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// Returns the access key that signed a request: `AWS4-HMAC-SHA256 Credential=<access key>/<date>/…`.
fn access_key(authorization: &str) -> Option<&str> {
    authorization.split_once("Credential=")?.1.split('/').next()
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

fn create(database: &Database, table: &Table) -> Result<(), Error> {
    let list = database
        .list_tables(serde_json::from_value(json!({}))?)
        .map_err(|error| error.to_string())?;
    if list.table_names.contains(&table.name) {
        return Ok(());
    }
    database
        .create_table(serde_json::from_value(table.create.clone())?)
        .map_err(|error| error.to_string())?;
    if let Some(attribute) = &table.ttl_attribute {
        let request = json!({
            "TableName": table.name,
            "TimeToLiveSpecification": { "AttributeName": attribute, "Enabled": true },
        });
        database
            .update_time_to_live(serde_json::from_value(request)?)
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}
