//! API Gateway's events and answers, payload format 2.0: as much of them as is used. Every part may
//! be missing, so that no event, however malformed, is worse than a request that is answered 404.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A request as the gateway hands it over.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Event {
    pub(super) raw_path: String,
    /// Names in lower case; several of one name are joined by commas.
    pub(super) headers: BTreeMap<String, String>,
    /// Each `name=value`.
    pub(super) cookies: Vec<String>,
    pub(super) path_parameters: BTreeMap<String, String>,
    pub(super) request_context: RequestContext,
    pub(super) body: Option<String>,
    pub(super) is_base64_encoded: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct RequestContext {
    pub(super) request_id: String,
    pub(super) route_key: String,
    pub(super) http: Http,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Http {
    pub(super) method: String,
    pub(super) source_ip: String,
}

/// An answer as the gateway takes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) status_code: u16,
    pub(super) headers: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) cookies: Vec<String>,
    pub(super) body: String,
}
