//! Which names are allowed, by MLflow's rules, and how long values may be.

use crate::error::{Error, Result};

/// Characters of a key of a metric, param or tag.
pub const KEY_CHARS: usize = 250;
/// Characters of a run's param.
pub const PARAM_CHARS: usize = 6000;
/// Characters of a run's tag.
pub const TAG_CHARS: usize = 8000;
/// Characters of an experiment's name.
pub const EXPERIMENT_NAME_CHARS: usize = 500;
/// Characters of an experiment's tag.
pub const EXPERIMENT_TAG_CHARS: usize = 20_000;
/// Characters of a tag of the model registry.
pub const REGISTRY_TAG_CHARS: usize = 100_000;
/// Characters of a run's or model's name.
pub const NAME_CHARS: usize = 256;

/// Checks the key of a metric, param or tag: letters, digits, `_ / . - :` and spaces, and a path that is written in the
/// one shortest way.
///
/// # Errors
/// `Invalid`, naming the key.
pub fn check_key(what: &str, key: &str) -> Result<()> {
    let fits = !key.is_empty() && key.chars().count() <= KEY_CHARS;
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '/' | '.' | '-' | ' ' | ':');
    if !fits {
        let message = format!("Invalid {what} name {:?}: it must have 1 to {KEY_CHARS} characters", shortened(key));
        return Err(Error::invalid(message));
    }
    if !key.chars().all(is_word) {
        let message = format!(
            "Invalid {what} name {key:?}: names may only contain letters, digits, underscores (_), dashes (-), \
             periods (.), spaces ( ), colons (:) and slashes (/)"
        );
        return Err(Error::invalid(message));
    }
    let is_plain = key.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if !is_plain || key.starts_with("..") {
        let message = format!(
            "Invalid {what} name {key:?}: names may be treated as files in certain cases, and must not resolve to \
             other names when treated as such"
        );
        return Err(Error::invalid(message));
    }
    Ok(())
}

/// Checks the id of a run: a letter or digit, then up to 255 letters, digits, `_` and `-`.
///
/// # Errors
/// `Invalid`, naming the id.
pub fn check_run_id(id: &str) -> Result<()> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let fits = id.starts_with(|c: char| c.is_ascii_alphanumeric()) && id.chars().count() <= 256;
    if fits && id.chars().all(is_word) {
        return Ok(());
    }
    Err(Error::invalid(format!("Invalid run ID: {:?}", shortened(id))))
}

/// Checks the length of a value.
///
/// # Errors
/// `Invalid`, naming the key and the limit.
pub fn check_length(what: &str, key: &str, value: &str, chars_max: usize) -> Result<()> {
    // Most values are short: bytes are an upper bound of characters.
    if value.len() <= chars_max || value.chars().count() <= chars_max {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{what} value of {:?} had length {}, which exceeded length limit of {chars_max}",
        shortened(key),
        value.chars().count()
    )))
}

/// The beginning of a value that is too long, as MLflow keeps it.
pub fn truncated(mut value: String, chars_max: usize) -> String {
    if value.len() > chars_max
        && let Some((end, _)) = value.char_indices().nth(chars_max)
    {
        value.truncate(end);
    }
    value
}

/// The beginning of a text, for messages.
pub(crate) fn shortened(text: &str) -> &str {
    text.char_indices().nth(80).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_the_rules_of_paths() {
        for good in ["a", "train/loss", "a.b-c d:e", "größe", "a..b", ".hidden", "損失", &"x".repeat(250)] {
            assert!(check_key("metric", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "..x",
            "a/../b",
            "a//b",
            "/a",
            "a/",
            "a,b",
            "a=b",
            "a#b",
            "a%b",
            "a\nb",
            &"x".repeat(251),
        ] {
            assert!(check_key("metric", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn run_ids() {
        for good in ["0123456789abcdef0123456789abcdef", "a", "run-1_b"] {
            assert!(check_run_id(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "a/b", "a.b", "..", &"a".repeat(257)] {
            assert!(check_run_id(bad).is_err(), "{bad:?}");
        }
    }
}
