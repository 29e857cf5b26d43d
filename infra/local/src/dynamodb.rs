//! DynamoDB: `dynoxide` in this process, served over HTTP as the SDK expects it.

use std::path::Path;

use dynoxide::Database;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Error;
use crate::template::Table;

/// A running DynamoDB.
pub struct DynamoDb {
    /// Where it answers.
    pub url: String,
    /// The database itself, for its streams.
    pub database: Database,
    server: JoinHandle<()>,
}

impl DynamoDb {
    /// Starts it with these tables, in memory or in a file.
    ///
    /// # Errors
    /// Where the file is none of its own, or a table cannot be made.
    pub async fn start(tables: &[Table], file: Option<&Path>) -> Result<Self, Error> {
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
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = tokio::spawn(dynoxide::server::serve_on(listener, database.clone()));
        Ok(Self {
            url,
            database,
            server,
        })
    }
}

impl Drop for DynamoDb {
    fn drop(&mut self) {
        self.server.abort();
    }
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
