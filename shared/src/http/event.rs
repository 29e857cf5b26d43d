//! API Gateway's events and answers, payload format 2.0: as much of them as is used. Every part may
//! be missing or null, so that no event, however malformed, is worse than a request that is answered 404.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A request as the gateway hands it over.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Event {
    #[serde(deserialize_with = "or_default")]
    pub(super) raw_path: String,
    /// Names in lower case; several of one name are joined by commas.
    #[serde(deserialize_with = "or_default")]
    pub(super) headers: BTreeMap<String, String>,
    /// Each `name=value`.
    #[serde(deserialize_with = "or_default")]
    pub(super) cookies: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) path_parameters: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) request_context: RequestContext,
    pub(super) body: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) is_base64_encoded: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct RequestContext {
    #[serde(deserialize_with = "or_default")]
    pub(super) request_id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) route_key: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) http: Http,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Http {
    #[serde(deserialize_with = "or_default")]
    pub(super) method: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) source_ip: String,
}

/// What stands there, or what is there when nothing does, also for null.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An answer as the gateway takes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) status_code: u16,
    /// Each name once.
    #[serde(serialize_with = "as_map")]
    pub(super) headers: Vec<(&'static str, Cow<'static, str>)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) cookies: Vec<String>,
    pub(super) body: String,
}

fn as_map<S: Serializer>(
    headers: &[(&str, Cow<'_, str>)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.iter().map(|(name, value)| (name, value)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_or_null_is_nothing() {
        let nulls = json!({
            "rawPath": null, "headers": null, "cookies": null, "pathParameters": null, "body": null,
            "isBase64Encoded": null,
            "requestContext": { "requestId": null, "routeKey": null, "http": { "method": null, "sourceIp": null } },
        });
        for event in [json!({}), nulls, json!({ "requestContext": null })] {
            let event: Event = serde_json::from_value(event).unwrap();
            assert!(event.headers.is_empty() && event.path_parameters.is_empty());
            assert_eq!(event.request_context.http.method, "");
        }
    }
}
