//! IAM: the rights that each function's role in `template.yaml` has to the tables, and no others. The access key tells
//! functions from each other and from users who look into the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::identity::ACCOUNT;

/// A right to a table: an action on items of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// `GetItem`, `PutItem`, …
    pub action: String,
    /// The table.
    pub table: String,
    /// The prefix of the partition keys, up to the first `#`: `USER#`.
    pub keys: String,
}

/// The functions' rights, granted and used.
#[derive(Clone, Default)]
pub struct Iam {
    granted: Arc<BTreeMap<String, BTreeSet<Right>>>,
    used: Arc<Mutex<BTreeMap<String, BTreeSet<Right>>>>,
}

impl Iam {
    /// Creates it from the rights of each function.
    pub fn new(granted: BTreeMap<String, BTreeSet<Right>>) -> Self {
        Self {
            granted: Arc::new(granted),
            used: Arc::default(),
        }
    }

    /// Returns the granted rights by function.
    pub fn granted(&self) -> BTreeMap<String, BTreeSet<Right>> {
        self.granted.as_ref().clone()
    }

    /// Returns the rights that functions have used.
    pub fn used(&self) -> BTreeMap<String, BTreeSet<Right>> {
        let used = self.used.lock();
        used.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Allows or denies a request. Callers that are not functions may do everything: they own the machine.
    ///
    /// # Errors
    /// The missing right, in DynamoDB's words.
    pub fn admit(&self, caller: &str, operation: &str, request: &Value) -> Result<(), String> {
        let Some(granted) = self.granted.get(caller) else {
            return Ok(());
        };
        let needed = needed(operation, request);
        if let Some(right) = needed.iter().find(|right| !granted.contains(right)) {
            return Err(format!(
                "User: arn:aws:sts::{}:assumed-role/{caller} is not authorized to perform: dynamodb:{} on \
                 resource: {} with keys {}*, because no identity-based policy allows it",
                ACCOUNT, right.action, right.table, right.keys
            ));
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.entry(caller.to_owned()).or_default().extend(needed);
        Ok(())
    }
}

/// Returns the rights that a request needs; a transaction needs those of its parts. An unknown operation needs a right
/// that nobody has.
fn needed(operation: &str, request: &Value) -> Vec<Right> {
    let right = |action: &str, request: &Value| Right {
        action: action.to_owned(),
        table: text(&request["TableName"]),
        keys: kind(request),
    };
    let parts = match operation {
        "TransactWriteItems" => &request["TransactItems"],
        _ => return vec![right(operation, request)],
    };
    let parts = parts.as_array().into_iter().flatten();
    parts
        .filter_map(Value::as_object)
        .flatten()
        .map(|(part, request)| match part.as_str() {
            "ConditionCheck" => right("ConditionCheckItem", request),
            write => right(&format!("{write}Item"), request),
        })
        .collect()
}

/// Returns the prefix of the request's partition key.
fn kind(request: &Value) -> String {
    let item = ["Key", "Item"].map(|field| &request[field]["pk"]["S"]);
    let queried = &request["ExpressionAttributeValues"][":pk"]["S"];
    let key = item.into_iter().chain([queried]).find_map(Value::as_str);
    let key = key.unwrap_or_default();
    key.split_inclusive('#')
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Returns the rights to tables that a role's statements grant. A statement must name actions, one table and key
/// prefixes; everything else is not understood here and grants nothing.
///
/// # Errors
/// If an action on a table stands in two statements: IAM may check all keys of a transaction at once, and then neither
/// statement alone allows them. If a condition on keys also holds for requests without keys.
pub fn rights(policies: &Value) -> Result<BTreeSet<Right>, String> {
    let mut rights = BTreeSet::new();
    let mut stated = BTreeSet::new();
    let statements = policies.as_array().into_iter().flatten();
    let statements = statements.flat_map(|policy| list(&policy["Statement"]));
    for statement in statements.filter(|statement| statement["Effect"] == "Allow") {
        // The evaluated attribute of a table, or an ARN made of its name.
        let resource = statement["Resource"].as_str().unwrap_or_default();
        let Some(table) = resource
            .strip_suffix(".Arn")
            .or_else(|| Some(resource.split_once(":table/")?.1))
        else {
            continue;
        };
        let condition = &statement["Condition"];
        let keys = &condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"];
        if !keys.is_null() && condition["Null"]["dynamodb:LeadingKeys"] != "false" {
            return Err(format!(
                "{table}: `Null` does not say that there must be keys"
            ));
        }
        for action in list(&statement["Action"]) {
            let Some(action) = action
                .as_str()
                .and_then(|action| action.strip_prefix("dynamodb:"))
            else {
                continue;
            };
            if !stated.insert((action.to_owned(), table.to_owned())) {
                return Err(format!("{action} at {table} stands in two statements"));
            }
            for keys in list(keys) {
                rights.insert(Right {
                    action: action.to_owned(),
                    table: table.to_owned(),
                    keys: text(&keys).trim_end_matches('*').to_owned(),
                });
            }
        }
    }
    Ok(rights)
}

/// Returns a list's items, or the single value that may stand in its place.
fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use serde_json::json;

    use super::*;

    static CONDITION: LazyLock<Value> = LazyLock::new(|| {
        json!({
            "ForAllValues:StringLike": { "dynamodb:LeadingKeys": ["USER#*"] },
            "Null": { "dynamodb:LeadingKeys": "false" },
        })
    });

    fn iam() -> Iam {
        let policies = json!([{ "Statement": [{
            "Effect": "Allow",
            "Action": ["dynamodb:GetItem", "dynamodb:UpdateItem"],
            "Resource": "Users.Arn",
            "Condition": CONDITION.clone(),
        }] }]);
        Iam::new([("profile".to_owned(), rights(&policies).unwrap())].into())
    }

    #[test]
    fn an_action_at_a_table_stands_in_one_statement() {
        let statement = |action: &str, table: &str| json!({ "Effect": "Allow", "Action": [action], "Resource": table, "Condition": CONDITION.clone() });
        let put = statement("dynamodb:PutItem", "Users.Arn");
        for (other, is_allowed) in [
            (statement("dynamodb:GetItem", "Users.Arn"), true),
            (statement("dynamodb:PutItem", "Credentials.Arn"), true),
            (put.clone(), false),
        ] {
            let policies = json!([{ "Statement": [put] }, { "Statement": [other] }]);
            assert_eq!(rights(&policies).is_ok(), is_allowed, "{policies}");
        }
    }

    #[test]
    fn a_condition_on_keys_does_not_hold_without_keys() {
        let mut statement = json!({ "Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": "Users.Arn", "Condition": CONDITION.clone() });
        statement["Condition"]
            .as_object_mut()
            .unwrap()
            .remove("Null");

        assert!(rights(&json!([{ "Statement": [statement] }])).is_err());
    }

    #[test]
    fn a_role_allows_what_it_says_and_nothing_else() {
        let get =
            |table: &str, pk: &str| json!({ "TableName": table, "Key": { "pk": { "S": pk } } });
        let update = json!({ "TransactItems": [{ "Update": get("Users", "USER#1") }] });
        let put = json!({ "TransactItems": [{ "Update": get("Users", "USER#1") }, { "Put": { "TableName": "Users", "Item": { "pk": { "S": "USER#1" } } } }] });
        let query = json!({ "TableName": "Users", "ExpressionAttributeValues": { ":pk": { "S": "USER#1" } } });
        for (caller, operation, request, is_allowed) in [
            ("profile", "GetItem", get("Users", "USER#1"), true),
            ("profile", "GetItem", get("Users", "EMAIL#a"), false),
            ("profile", "GetItem", get("Credentials", "USER#1"), false),
            ("profile", "DeleteItem", get("Users", "USER#1"), false),
            ("profile", "Query", query, false),
            ("profile", "Scan", json!({ "TableName": "Users" }), false),
            ("profile", "TransactWriteItems", update, true),
            ("profile", "TransactWriteItems", put, false),
            ("somebody", "Scan", json!({ "TableName": "Users" }), true),
        ] {
            let admitted = iam().admit(caller, operation, &request);
            assert_eq!(
                admitted.is_ok(),
                is_allowed,
                "{caller} {operation} {request}"
            );
        }
    }

    #[test]
    fn what_is_used_is_remembered() {
        let iam = iam();
        let request = json!({ "TableName": "Users", "Key": { "pk": { "S": "USER#1" } } });

        iam.admit("profile", "GetItem", &request).unwrap();
        iam.admit("profile", "DeleteItem", &request).unwrap_err();

        let right = Right {
            action: "GetItem".to_owned(),
            table: "Users".to_owned(),
            keys: "USER#".to_owned(),
        };
        assert_eq!(iam.used()["profile"], [right].into());
    }
}
