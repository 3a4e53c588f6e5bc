//! What resources and scopes give to their series, and `target_info`.

use tsq_core::{Labels, METRIC_NAME};

use super::labels::{Context, Pairs, joined};
use super::names::push_label_name;
use super::options::OtlpOptions;
use super::value::{Attribute, attributes, broken};
use crate::protobuf::{Reader, bytes_key, utf8};

/// Name of the series with the attributes of a resource.
pub(super) const TARGET_INFO: &str = "target_info";

/// Attributes that `job` and `instance` are made of.
const NAMESPACE: &str = "service.namespace";
const NAME: &str = "service.name";
const INSTANCE: &str = "service.instance.id";

/// A resource, read.
#[derive(Debug, Default)]
pub(super) struct Resource {
    pub(super) context: Context,
    /// Labels of its `target_info`, if it has one.
    pub(super) target_info: Option<Labels>,
}

impl Resource {
    /// Reads a `Resource`. An error says what is wrong with it.
    pub(super) fn decode(message: Reader<'_>, options: &OtlpOptions) -> Result<Self, String> {
        let attributes = attributes(message, 1, 0b10)?;
        let value = |key: &str| {
            let found = attributes.iter().find(|attribute| attribute.key == key);
            found.map_or(Ok(String::new()), Attribute::value)
        };
        let (namespace, name, instance) = (value(NAMESPACE)?, value(NAME)?, value(INSTANCE)?);
        let mut fixed = Pairs::new();
        if !name.is_empty() {
            let job = if namespace.is_empty() { name } else { format!("{namespace}/{name}") };
            fixed.push(("job".to_owned(), job));
        }
        if !instance.is_empty() {
            fixed.push(("instance".to_owned(), instance));
        }
        let kept = |keep: &dyn Fn(&str) -> bool| {
            let mut kept: Vec<_> = attributes.iter().filter(|attribute| keep(attribute.key)).cloned().collect();
            joined(&mut kept, options.translation)
        };
        let promoted = kept(&|key| options.promoted.has(key))?;
        let identifying = |key: &str| [NAMESPACE, NAME, INSTANCE].contains(&key);
        let others = kept(&|key| options.keep_identifying || !identifying(key))?;
        let target_info = target_info(&fixed, &others);
        Ok(Self { context: Context { fixed, promoted }, target_info })
    }
}

/// The labels of `target_info`. There is none without `job` and `instance`, nor without anything else to say.
fn target_info(identity: &Pairs, others: &Pairs) -> Option<Labels> {
    if identity.is_empty() || others.is_empty() {
        return None;
    }
    let taken = |name: &str| name == METRIC_NAME || identity.iter().any(|(known, _)| known == name);
    let others = others.iter().filter(|(name, _)| !taken(name));
    let pairs = identity.iter().chain(others).map(|(name, value)| (name.as_str(), value.as_str()));
    let labels = Labels::from_pairs([(METRIC_NAME, TARGET_INFO)].into_iter().chain(pairs));
    Some(labels.expect("names are distinct and not empty"))
}

/// Adds what a scope gives to its series. An error says what is wrong with it.
pub(super) fn add_scope(
    context: &mut Context,
    mut scope: Reader<'_>,
    schema_url: &[u8],
    options: &OtlpOptions,
) -> Result<(), String> {
    const NAME: u32 = bytes_key(1);
    const VERSION: u32 = bytes_key(2);
    let (mut name, mut version) = (&[][..], &[][..]);
    let mut attributes = attributes(scope.clone(), 3, 0b1000)?;
    while let Some(field) = scope.key().map_err(broken)? {
        match field {
            NAME => name = scope.bytes().map_err(broken)?,
            VERSION => version = scope.bytes().map_err(broken)?,
            other => scope.skip(other, 0b110).map_err(broken)?,
        }
    }
    let texts =
        [("name", name, "scope name"), ("version", version, "scope version"), ("schema_url", schema_url, "schema URL")];
    for (label, text, what) in texts {
        let text = utf8(text, what)?;
        if !text.is_empty() {
            context.fixed.push((format!("otel_scope_{label}"), text.to_owned()));
        }
    }
    attributes.sort_by_key(|attribute| attribute.key);
    for attribute in attributes {
        let mut label = "otel_scope_".to_owned();
        push_scope_name(attribute.key, options, &mut label)?;
        if !context.fixed.iter().any(|(known, _)| *known == label) {
            context.fixed.push((label, attribute.value()?));
        }
    }
    Ok(())
}

/// Appends the name of a scope's attribute, which has a prefix already and so may begin with any character.
fn push_scope_name(key: &str, options: &OtlpOptions, out: &mut String) -> Result<(), String> {
    let mut name = String::new();
    push_label_name(&format!("x{key}"), options.translation, &mut name)?;
    out.push_str(&name[1..]);
    Ok(())
}
