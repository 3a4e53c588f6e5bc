//! `tsq shell` in a pseudo-terminal, and read from a pipe.

use std::io::Write;
use std::process::{Command, Stdio};

const TSQ: &str = env!("CARGO_BIN_EXE_tsq");

/// A directory with a metric of two series.
fn data() -> tempfile::TempDir {
    use tsq::DbExt;
    let dir = tempfile::tempdir().unwrap();
    let db = tsq::Db::open(dir.path().join("data"), tsq::Options::default()).unwrap();
    for (job, value) in [("api", 1.0), ("web", 2.0)] {
        let labels = tsq::Labels::from_pairs([("__name__", "requests_total"), ("job", job)]).unwrap();
        db.write(&labels, 1_700_000_000_000, value).unwrap();
    }
    db.close().unwrap();
    dir
}

/// Tab, several lines, errors, Ctrl-C, Ctrl-D and the history, as `shell_pty.py` types them.
#[test]
fn a_person_types() {
    let dir = data();
    let python = std::env::var_os("TSQ_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shell_pty.py");
    let typed = Command::new(python).arg(script).arg(TSQ).arg(dir.path().join("data")).arg(dir.path()).output();
    let Ok(output) = typed else {
        assert!(std::env::var_os("TSQ_TEST_REQUIRE").is_none(), "there is no python3");
        println!("not run: there is no python3");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(dir.path().join("tsq/history").is_file());
}

#[test]
fn a_script_is_read_from_a_pipe() {
    let dir = data();
    let run = |script: &str| {
        let mut child = Command::new(TSQ)
            .args(["shell", "-o", "csv"])
            .arg(dir.path().join("data"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, err) = run(".instant 1700000000\n.timer on\nsum(\nrequests_total)\n; 1 + 1\n");
    assert_eq!((code, out.lines().collect::<Vec<_>>().len()), (Some(0), 4), "{out}{err}");
    assert_eq!(out.lines().nth(1), Some("2023-11-14T22:13:20Z,3"));
    assert_eq!(err.matches("time: ").count(), 2, "{err}");
    let (code, out, err) = run("1; sum(1); 2\n");
    assert_eq!((code, out.lines().count()), (Some(3), 2), "{out}");
    assert!(err.contains("parse error"), "{err}");
    assert_eq!(run(".nonsense\n").0, Some(2));
    assert_eq!(run("").0, Some(0));
}
