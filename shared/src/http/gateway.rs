//! Events of API Gateway (payload format 2.0), sanitized for `lambda_http`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use http::header::HOST;
use lambda_http::aws_lambda_events::apigw::{
    ApiGatewayV2httpRequest, ApiGatewayV2httpRequestContext,
};
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::{LambdaEvent, RequestExt};
use tower_http::request_id::{MakeRequestId, RequestId};

use super::body::MAX_BYTES;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The maximum length of a base64 body; a longer one exceeds the body limit once decoded.
const MAX_BASE64: usize = MAX_BYTES.div_ceil(3) * 4;

/// Removes the fields of an event that the client controls and nothing here reads. `lambda_http` builds a URL from
/// host, scheme, path and query, and panics if they are not valid, or if a body is not base64. An event of another kind
/// (payload format 1.0, a load balancer, a schedule) becomes an empty request, which matches no route.
pub(crate) fn sanitize(mut event: LambdaEvent<LambdaRequest>) -> LambdaEvent<LambdaRequest> {
    let request = match event.payload {
        LambdaRequest::ApiGatewayV2(request) => without_url(request),
        _ => ApiGatewayV2httpRequest::default(),
    };
    event.payload = LambdaRequest::ApiGatewayV2(request);
    event
}

fn without_url(mut request: ApiGatewayV2httpRequest) -> ApiGatewayV2httpRequest {
    for name in [HOST, FORWARDED_PROTO, REQUEST_ID] {
        request.headers.remove(name);
    }
    request.raw_path = None;
    request.raw_query_string = None;
    request.request_context.domain_name = None;
    request.request_context.stage = None;
    if request.is_base64_encoded {
        let body = request.body.get_or_insert_default();
        // A body that is not base64, or too large to decode, is kept as text.
        request.is_base64_encoded = body.len() <= MAX_BASE64 && STANDARD.decode(body).is_ok();
    }
    request
}

/// Returns the gateway's context of a request; `None` for an event that is not from an HTTP API.
pub(crate) fn context(request: &lambda_http::Request) -> Option<&ApiGatewayV2httpRequestContext> {
    let context = request.extensions().get::<RequestContext>();
    match context {
        Some(RequestContext::ApiGatewayV2(context)) if context.route_key.is_some() => Some(context),
        _ => None,
    }
}

/// Uses the gateway's identifier of a request; Lambda's for an event of another kind.
#[derive(Clone)]
pub(crate) struct GatewayRequestId;

impl MakeRequestId for GatewayRequestId {
    fn make_request_id<B>(&mut self, request: &http::Request<B>) -> Option<RequestId> {
        let gateways = match request.extensions().get::<RequestContext>() {
            Some(RequestContext::ApiGatewayV2(context)) => context.request_id.as_deref(),
            _ => None,
        };
        let lambdas = request.lambda_context_ref();
        let id = gateways.or(lambdas.map(|context| context.request_id.as_str()))?;
        Some(RequestId::new(id.parse().ok()?))
    }
}
