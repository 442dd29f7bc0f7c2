//! `--fields`: paths into an event's JSON, checked against the protocol's own descriptors.
//!
//! A path starts at the event (`requestFinished.ledger.account`) or within whatever happened
//! (`route`, `ledger.account`); lists are looked through.

use std::collections::HashMap;

use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};
use serde_json::{Map, Value};

/// What is wrong with a list of fields.
#[derive(Debug, thiserror::Error)]
pub enum FieldError {
    /// No such path.
    #[error(
        "no event has a field {0:?}\nhint: names as in the JSON of `whyslow watch --json`, such as route,status,wallNs,ledger.account"
    )]
    Unknown(String),
    /// The protocol's description is not readable: a fault of the build.
    #[error("the protocol's description cannot be read: {0}\nhint: please report this")]
    Descriptors(#[from] prost::DecodeError),
}

/// A checked list of paths.
#[derive(Clone, Debug)]
pub struct Fields {
    /// For each path as given: the full paths it stands for.
    columns: Vec<Vec<Vec<String>>>,
}

impl Fields {
    /// Checks paths.
    ///
    /// # Errors
    /// See [`FieldError`].
    pub fn parse<S: AsRef<str>>(paths: &[S]) -> Result<Self, FieldError> {
        let schema = Schema::new()?;
        let columns = paths
            .iter()
            .map(|path| {
                let path = path.as_ref();
                let full = schema.expand(path);
                if full.is_empty() {
                    return Err(FieldError::Unknown(path.to_owned()));
                }
                Ok(full)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { columns })
    }

    /// The event with only these fields; `None` when it has none of them.
    #[must_use]
    pub fn prune(&self, event: &Value) -> Option<Value> {
        let paths: Vec<&[String]> = self.columns.iter().flatten().map(Vec::as_slice).collect();
        prune(event, &paths)
    }

    /// One text per column; `None` when the event has none of the fields.
    #[must_use]
    pub fn row(&self, event: &Value) -> Option<Vec<String>> {
        let row: Vec<Option<String>> = self
            .columns
            .iter()
            .map(|alternatives| {
                alternatives.iter().find_map(|path| {
                    let mut found = Vec::new();
                    collect(event, path, &mut found);
                    (!found.is_empty()).then(|| found.join(","))
                })
            })
            .collect();
        row.iter().any(Option::is_some).then(|| {
            row.into_iter()
                .map(|text| text.unwrap_or_else(|| "-".to_owned()))
                .collect()
        })
    }
}

fn prune(value: &Value, paths: &[&[String]]) -> Option<Value> {
    if paths.iter().any(|path| path.is_empty()) {
        return Some(value.clone());
    }
    match value {
        Value::Object(object) => {
            let kept: Map<String, Value> = object
                .iter()
                .filter_map(|(key, child)| {
                    let below: Vec<&[String]> = paths
                        .iter()
                        .filter(|path| path.first() == Some(key))
                        .map(|path| &path[1..])
                        .collect();
                    (!below.is_empty())
                        .then(|| prune(child, &below))?
                        .map(|child| (key.clone(), child))
                })
                .collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(items) => Some(Value::Array(
            items.iter().filter_map(|item| prune(item, paths)).collect(),
        )),
        _ => None,
    }
}

fn collect(value: &Value, path: &[String], found: &mut Vec<String>) {
    if let Value::Array(items) = value {
        for item in items {
            collect(item, path, found);
        }
        return;
    }
    match path.split_first() {
        Some((key, rest)) => {
            if let Some(child) = value.get(key) {
                collect(child, rest, found);
            }
        }
        None => found.push(match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }),
    }
}

/// Messages of the protocol by full name: their fields' JSON names and message types.
struct Schema {
    messages: HashMap<String, Vec<(String, Option<String>)>>,
}

impl Schema {
    fn new() -> Result<Self, FieldError> {
        let set = FileDescriptorSet::decode(whyslow_proto::DESCRIPTORS)?;
        let messages = set
            .file
            .iter()
            .flat_map(|file| {
                file.message_type
                    .iter()
                    .map(|message| (format!(".{}.{}", file.package(), message.name()), message))
            })
            .map(|(name, message)| (name, Self::fields(message)))
            .collect();
        Ok(Self { messages })
    }

    fn fields(message: &DescriptorProto) -> Vec<(String, Option<String>)> {
        message
            .field
            .iter()
            .map(|field| {
                // A time stamp is a message on the wire and a string in JSON.
                let is_message =
                    field.r#type() == Type::Message && field.type_name().starts_with(".whyslow.");
                let below = is_message.then(|| field.type_name().to_owned());
                (field.json_name().to_owned(), below)
            })
            .collect()
    }

    /// All full paths that `path` stands for.
    fn expand(&self, path: &str) -> Vec<Vec<String>> {
        const EVENT: &str = ".whyslow.v1.Event";
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        if self.has(EVENT, &path) {
            return vec![path];
        }
        self.messages
            .get(EVENT)
            .into_iter()
            .flatten()
            .filter(|(_, below)| below.as_ref().is_some_and(|below| self.has(below, &path)))
            .map(|(name, _)| std::iter::once(name).chain(&path).cloned().collect())
            .collect()
    }

    fn has(&self, message: &str, path: &[String]) -> bool {
        let Some((name, rest)) = path.split_first() else {
            return true;
        };
        self.messages
            .get(message)
            .and_then(|fields| fields.iter().find(|(known, _)| known == name))
            .is_some_and(|(_, below)| match below {
                Some(below) => self.has(below, rest),
                None => rest.is_empty(),
            })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn short_paths_stand_for_all_that_have_them() {
        let fields = Fields::parse(&["route", "requestFinished.status"]).unwrap();
        let started = json!({"requestStarted": {"route": "/a"}});
        let finished = json!({"requestFinished": {"route": "/b", "status": 200}});
        assert_eq!(fields.row(&started).unwrap(), ["/a", "-"]);
        assert_eq!(fields.row(&finished).unwrap(), ["/b", "200"]);
        assert_eq!(fields.row(&json!({"loss": {"reason": "x"}})), None);
    }

    #[test]
    fn lists_are_looked_through() {
        let fields = Fields::parse(&["ledger.account", "waits.waitTarget.file.path"]).unwrap();
        let event = json!({"requestFinished": {
            "ledger": [{"account": "cpu"}, {"account": "sleep"}],
            "waits": [{"waitTarget": {"file": {"path": "/f"}}}, {"waitTarget": {}}],
        }});
        assert_eq!(fields.row(&event).unwrap(), ["cpu,sleep", "/f"]);
    }

    #[test]
    fn unknown_paths_are_refused() {
        for path in [
            "",
            "rout",
            "requestFinished.nope",
            "route.x",
            "time.seconds",
            ".route",
        ] {
            let error = Fields::parse(&[path]).unwrap_err();
            assert!(matches!(error, FieldError::Unknown(_)), "{path}");
            assert!(error.to_string().contains("\nhint: "));
        }
    }
}
