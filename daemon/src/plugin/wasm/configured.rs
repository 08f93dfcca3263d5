//! A plugin's own configuration against the JSON Schema that the plugin declares.
//!
//! Owns which schemas are taken, and the words in which a configuration is refused. Refuses to fetch
//! anything, and to repeat values, which may be secrets. Invariant: checking ends after work that is
//! bounded by the sizes of schema and configuration, whatever the schema says.

use jsonschema::PatternOptions;
use jsonschema::error::{ValidationError, ValidationErrorKind};
use serde_json::Value;

use crate::plugin::PlanIssue;

/// Bytes of a schema.
const SCHEMA_BYTES: usize = 64 << 10;
/// Values of a schema after every reference was followed.
const SCHEMA_VALUES: usize = 10_000;
/// How deep a schema may be, references followed: one that refers to itself has no end.
const SCHEMA_DEPTH: usize = 100;
/// Bytes of a compiled pattern.
const PATTERN_BYTES: usize = 256 << 10;
/// Patterns of a schema: each is compiled, and all are kept until the configuration is checked.
const PATTERNS_MAX: usize = 100;
/// The most that is told at once.
const ISSUES_MAX: usize = 20;

/// What of `config` the schema refuses; paths point into the configuration. The error is a fault of
/// the schema itself.
pub(super) fn issues(schema: &str, config: &Value) -> Result<Vec<PlanIssue>, String> {
    if schema.len() > SCHEMA_BYTES {
        return Err(format!("a config-schema of {} bytes; at most {SCHEMA_BYTES}", schema.len()));
    }
    let schema: Value = serde_json::from_str(schema)
        .map_err(|error| format!("a config-schema that is no JSON: {error}"))?;
    let mut left = Left { values: SCHEMA_VALUES, patterns: PATTERNS_MAX };
    weigh(&schema, &schema, 0, &mut left)?;
    let validator = jsonschema::draft202012::options()
        .offline()
        // Linear in the length of what is matched.
        .with_pattern_options(
            PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES),
        )
        .build(&schema)
        .map_err(|error| format!("a config-schema that is no JSON Schema: {}", error.masked()))?;
    let mut issues = Vec::new();
    for error in validator.iter_errors(config).take(ISSUES_MAX) {
        tell(&schema, config, &error, &mut issues);
    }
    Ok(issues)
}

/// How much more a schema may have.
struct Left {
    values: usize,
    patterns: usize,
}

/// Follows every reference, and takes from `left` what there is.
fn weigh(value: &Value, schema: &Value, depth: usize, left: &mut Left) -> Result<(), String> {
    left.values = left.values.checked_sub(1).ok_or_else(|| {
        format!("a config-schema of more than {SCHEMA_VALUES} values, references followed")
    })?;
    if depth > SCHEMA_DEPTH {
        return Err("a config-schema that is too deep, or refers to itself".to_owned());
    }
    match value {
        Value::Array(items) => {
            items.iter().try_for_each(|item| weigh(item, schema, depth + 1, left))
        }
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            let patterns = match (name.as_str(), member) {
                ("pattern", _) => 1,
                ("patternProperties", Value::Object(members)) => members.len(),
                _ => 0,
            };
            left.patterns = left.patterns.checked_sub(patterns).ok_or_else(|| {
                format!("a config-schema of more than {PATTERNS_MAX} patterns, references followed")
            })?;
            // With these a reference can lead elsewhere than it is followed to here.
            let leads = ["$dynamicRef", "$recursiveRef", "$id", "$anchor", "$dynamicAnchor"];
            if leads.contains(&name.as_str()) {
                return Err(format!("a config-schema with `{name}`, which is not supported"));
            }
            if let ("$ref", Value::String(reference)) = (name.as_str(), member) {
                let plain = Some(reference).filter(|reference| !reference.contains('%'));
                let within = plain
                    .and_then(|reference| reference.strip_prefix('#'))
                    .and_then(|at| schema.pointer(at));
                let found = within.ok_or_else(|| {
                    format!("a config-schema with a reference to nothing within it: {reference}")
                })?;
                return weigh(found, schema, depth + 1, left);
            }
            weigh(member, schema, depth + 1, left)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn tell(schema: &Value, config: &Value, error: &ValidationError<'_>, issues: &mut Vec<PlanIssue>) {
    use ValidationErrorKind as Kind;

    let path = error.instance_path().as_str();
    let below = |name: &str| format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
    let keyword = error.schema_path().as_str();
    let around = keyword.rsplit_once('/').map_or("", |(around, _)| around);
    let unknown = if let Kind::AdditionalProperties { unexpected }
    | Kind::UnevaluatedProperties { unexpected } = error.kind()
    {
        unexpected.clone()
    } else if matches!(error.kind(), Kind::FalseSchema)
        && keyword.ends_with("/additionalProperties")
    {
        // No property at all is allowed.
        let given = config.pointer(path).and_then(Value::as_object);
        given.map(|given| given.keys().cloned().collect()).unwrap_or_default()
    } else if let Kind::Required { property } = error.kind() {
        let name = property.as_str().unwrap_or_default();
        issues.push(PlanIssue::new(below(name), "is required by the plugin"));
        return;
    } else {
        issues.push(PlanIssue::new(path, error.masked().to_string()));
        return;
    };
    let known = schema.pointer(around).and_then(|at| at.get("properties")?.as_object());
    let known = || known.into_iter().flat_map(|known| known.keys().map(String::as_str));
    issues.extend(unknown.iter().map(|name| {
        PlanIssue::new(below(name), "is not known to the plugin").nearest(name, known())
    }));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(schema: &Value, config: &Value) -> Vec<String> {
        let issues = issues(&schema.to_string(), config).unwrap();
        issues.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_fault_is_told_with_its_place_and_without_values() {
        let schema = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["region"],
            "properties": {
                "region": {"enum": ["eu", "us"]},
                "token": {"type": "string", "pattern": "^(a+)+$"},
                "shards": {"type": "array", "items": {"$ref": "#/$defs/shard"}},
            },
            "$defs": {"shard": {"type": "object", "properties": {"weight": {"minimum": 1}}}},
        });
        assert_eq!(told(&schema, &json!({"region": "eu", "token": "aaa"})), [""; 0]);
        let config = json!({
            "token": 12_345_678,
            "shard": [],
            "shards": [{"weight": 1}, {"weight": -7_777}],
            "a/b": 1,
        });
        let mut told = told(&schema, &config);
        told.sort();
        assert_eq!(
            told,
            [
                "/a~1b: is not known to the plugin",
                "/region: is required by the plugin",
                "/shard: is not known to the plugin; nearest: `shards`",
                "/shards/1/weight: value is less than the minimum of 1",
                "/token: value is not of type \"string\"",
            ]
        );
    }

    #[test]
    fn what_is_configured_of_a_plugin_without_configuration_is_told() {
        let schema = json!({"type": "object", "additionalProperties": false});
        let told = told(&schema, &json!({"a": 1, "b": {}}));
        assert_eq!(told, ["/a: is not known to the plugin", "/b: is not known to the plugin"]);
    }

    #[test]
    fn schemas_whose_work_has_no_bound_are_refused() {
        let mut doubling = json!({"type": "object"});
        let defs: serde_json::Map<String, Value> = (0..20)
            .map(|at| {
                let next = json!({"$ref": format!("#/$defs/d{}", at + 1)});
                (format!("d{at}"), json!({"anyOf": [next, next]}))
            })
            .chain([("d20".to_owned(), json!(false))])
            .collect();
        doubling["$defs"] = Value::Object(defs);
        doubling["$ref"] = json!("#/$defs/d0");
        let patterns: Vec<_> =
            (0..101).map(|at| json!({"pattern": format!("a{{{at}}}")})).collect();
        for (schema, what) in [
            (json!({"anyOf": patterns}).to_string(), "more than 100 patterns"),
            (json!({"pattern": "(\\p{L}{200}){200}"}).to_string(), "no JSON Schema"),
            (doubling.to_string(), "more than 10000 values"),
            (json!({"$ref": "#"}).to_string(), "refers to itself"),
            (json!({"$ref": "https://example.org/a.json"}).to_string(), "nothing within it"),
            (json!({"$dynamicRef": "#a"}).to_string(), "`$dynamicRef`"),
            // What is decoded before it is followed leads elsewhere than the decoy.
            (
                json!({"$ref": "#/$defs/d%31", "$defs": {"d1": {"$ref": "#/$defs/d%31"}, "d%31": true}})
                    .to_string(),
                "nothing within it",
            ),
            (json!({"$defs": {"a": {"$id": "urn:a"}}}).to_string(), "`$id`"),
            (json!({"type": 5}).to_string(), "no JSON Schema"),
            (json!({"pattern": "("}).to_string(), "no JSON Schema"),
            ("{".to_owned(), "no JSON: EOF"),
            (" ".repeat(SCHEMA_BYTES + 1), "bytes"),
            (format!("{}1{}", "[".repeat(120), "]".repeat(120)), "too deep"),
        ] {
            let refused = issues(&schema, &json!({})).unwrap_err();
            assert!(refused.contains(what), "{what}: {refused}");
        }
    }
}
