//! A collection of requests for editors (`.http`), made from the operations.

use serde_json::Value;

use crate::{Body, Operation, Security, operations};

const INTRODUCTION: &str = "\
# Every request of the API: cargo run --bin openapi-document -- --requests > clients/gatehouse.http
#
# For the REST Client of Visual Studio Code and editors that read the same format. Start `cargo local` and send
# \"register\" first: the others use its tokens. Other values come from the console, http://localhost:3000/.

@api = http://localhost:3000
@origin = http://localhost:3000
@accessToken = {{register.response.body.accessToken}}
@refreshToken = {{register.response.body.refreshToken}}
# An id in the answer of listSessions
@sessionId = 01JDV3MAB0C1D2E3F4G5H6J7K8
# The text behind #token= in a mail's link
@mailedToken = 0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0
# A code of the authenticator app
@code = 123456
# A service, from infra/service-client
@service = orders:secret
";

/// Returns the collection as it is written in `clients/gatehouse.http`.
pub fn collection() -> String {
    let requests = operations();
    let requests = requests.iter().map(Operation::request);
    format!("{INTRODUCTION}{}", requests.collect::<String>())
}

impl Operation {
    fn request(&self) -> String {
        let method = self.method.to_uppercase();
        let path = self.paths.first().copied().unwrap_or_default();
        let path = path.replace("{id}", "{{sessionId}}");
        let path = path.replace("{file}", "swagger-ui.css");
        let path = path.replace("{code}", "rate_limited");
        let path = path.replace("{provider}", "google");
        let mut lines = vec![
            format!("\n### {}", self.summary),
            format!("# @name {}", self.id),
            format!("{method} {{{{api}}}}{path}"),
        ];
        match self.security {
            Security::AccessToken | Security::MaybeAccessToken | Security::AnyToken => {
                lines.push("Authorization: Bearer {{accessToken}}".to_owned());
            }
            Security::Service => lines.push("Authorization: Basic {{service}}".to_owned()),
            Security::Cookie => {
                lines.push("Origin: {{origin}}".to_owned());
                lines.push("Cookie: __Host-refresh_token={{refreshToken}}".to_owned());
            }
            Security::Public | Security::RefreshToken => {}
        }
        match &self.body {
            Body::None => {}
            Body::Required(_, example) | Body::Optional(_, example) => {
                lines.push("Content-Type: application/json".to_owned());
                lines.push(format!("\n{:#}", with_variables(example)));
            }
            Body::Form => {
                lines.push("Content-Type: application/x-www-form-urlencoded".to_owned());
                lines.push("\ntoken={{accessToken}}".to_owned());
            }
        }
        lines.join("\n") + "\n"
    }
}

/// Returns the example with the collection's variables in place of tokens, codes and identifiers.
fn with_variables(example: &Value) -> Value {
    let mut example = example.clone();
    for (name, value) in example.as_object_mut().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let variable = match name.as_str() {
            "refreshToken" => "{{refreshToken}}",
            "deviceId" => "{{setUpTwoFactor.response.body.deviceId}}",
            "token" if text.len() == 64 => "{{mailedToken}}",
            "token" | "twoFactorToken" => "{{code}}",
            _ => continue,
        };
        *value = variable.into();
    }
    example
}
