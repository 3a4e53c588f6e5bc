//! Paths of artifacts: strictly beneath their root.

use std::path::{Path, PathBuf};

use super::error::Failure;

/// Bytes of a path.
const PATH_BYTES: usize = 4096;

/// What addresses of artifacts begin with that are kept here.
const SCHEME: &str = "mlflow-artifacts:";

/// The file or folder of a relative path beneath a root. The empty path is the root itself.
///
/// # Errors
/// For absolute paths, `..` in any spelling, empty parts, and links on the way.
pub(super) fn resolve(root: &Path, path: &str) -> Result<PathBuf, Failure> {
    let wrong =
        |why: &str| Failure::invalid(format!("Invalid path {:?}: {why}", path.chars().take(200).collect::<String>()));
    if path.len() > PATH_BYTES {
        return Err(wrong("it is too long"));
    }
    let mut found = root.to_path_buf();
    if path.is_empty() {
        return Ok(found);
    }
    for part in path.strip_suffix('/').unwrap_or(path).split('/') {
        let plain = part.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\");
        if part.is_empty() || plain == "." || plain.split(['/', '\\']).any(|part| part == "..") {
            return Err(wrong("it must be relative, without empty parts, '.' and '..'"));
        }
        if part.contains(['\0', '\\']) || part.len() > 255 {
            return Err(wrong("a part of it is no file name"));
        }
        found.push(part);
        if found.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
            return Err(wrong("a link is on the way"));
        }
    }
    Ok(found)
}

/// The relative path of an address of artifacts.
///
/// # Errors
/// When they are not kept here.
pub(super) fn of_uri(uri: &str) -> Result<&str, Failure> {
    let path = uri.strip_prefix(SCHEME).map(|rest| rest.trim_start_matches('/'));
    path.ok_or_else(|| Failure::invalid(format!("the artifacts at {uri:?} are not kept by this server")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_beneath_their_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert_eq!(resolve(root, "1/a b/c.txt").unwrap(), root.join("1/a b/c.txt"));
        assert_eq!(resolve(root, "").unwrap(), root);
        assert_eq!(resolve(root, "a/").unwrap(), root.join("a"));
        assert!(resolve(root, "a..b/..c").is_ok());
        for bad in [
            "..",
            "a/../b",
            "/etc/passwd",
            "a//b",
            "./a",
            "a/.",
            "%2e%2e/a",
            "a/%2E%2e",
            "a\\..\\b",
            "..%2fa",
            "..%5Ca",
            "a\0b",
            &"x".repeat(256),
            "/",
            "//",
        ] {
            assert!(resolve(root, bad).is_err(), "{bad:?}");
        }
        std::os::unix::fs::symlink("/etc", root.join("link")).unwrap();
        assert!(resolve(root, "link/passwd").is_err());
    }

    #[test]
    fn addresses() {
        assert_eq!(of_uri("mlflow-artifacts:/2/abc/artifacts").unwrap(), "2/abc/artifacts");
        assert!(of_uri("s3://bucket/x").is_err());
    }
}
