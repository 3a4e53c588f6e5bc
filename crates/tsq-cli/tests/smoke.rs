//! The real binary, from the outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const TSQ: &str = env!("CARGO_BIN_EXE_tsq");

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(TSQ);
    // What the person who runs the tests has set must not reach them.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TSQ_")) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn tsq(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

#[track_caller]
fn run_ok(args: &[&str]) -> String {
    let output = tsq(args);
    assert!(output.status.success(), "{args:?}: {:?}\n{}", output.status, err(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn fails(args: &[&str], code: i32) -> String {
    let output = tsq(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", err(&output));
    err(&output)
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits, but not forever.
fn wait(child: &mut Child, limit: Duration) -> Option<i32> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("it did not end within {limit:?}");
}

/// A server that is stopped even if the test fails.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start(args: &[&str]) -> Self {
        let mut child = command(args).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the server ended before it listened");
            if let Some((_, address)) = line.trim().split_once("listening on ") {
                break address.to_owned();
            }
        };
        // Somebody must read what it logs, or it would stop at a full pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, address }
    }

    fn stop(mut self) {
        signal(&self.child, "-TERM");
        assert_eq!(wait(&mut self.child, Duration::from_secs(5)), Some(0));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has ended already when the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends one sample by remote write 1.0, the request written by hand.
fn remote_write(address: &str, value: f64, time_ms: i64) -> String {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat();
    let label = |name: &str, value: &str| field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat());
    let mut sample = [&[1 << 3 | 1][..], &value.to_le_bytes(), &[2 << 3]].concat();
    let mut rest = time_ms as u64;
    while rest >= 0x80 {
        sample.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    sample.push(rest as u8);
    let series = [label("__name__", "written"), label("job", "smoke"), field(2, &sample)].concat();
    let request = field(1, &series);
    // A snappy block of one literal.
    let mut body = vec![request.len() as u8, 60 << 2, (request.len() - 1) as u8];
    body.extend(&request);
    let host = address.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let head = format!(
        "POST /api/v1/write HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/x-protobuf\r\n\
         Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap().to_owned()
}

#[test]
fn what_a_server_acknowledged_is_there_while_it_runs_and_after_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let served = Served::start(&["serve", "--data", data, "--listen", "127.0.0.1:0"]);
    wait_until_ready(&served.address);
    let status = remote_write(&served.address, 42.5, 1_700_000_000_000);
    assert!(status.contains("204") || status.contains("200"), "{status}");
    let at = ["--time", "2023-11-14T22:13:20Z", "-o", "csv"];
    let want = "__name__,job,time,value\nwritten,smoke,2023-11-14T22:13:20Z,42.5\n";
    let asked = |origin: &[&str]| run_ok(&[&["query", "written"], &at[..], origin].concat());
    assert_eq!(asked(&["--url", &served.address]), want);
    assert_eq!(asked(&["-d", data]), want, "beside the server");
    let taken = fails(&["serve", "--data", data, "--listen", "127.0.0.1:0"], 1);
    assert!(taken.contains(&served.address), "{taken}");
    let taken = fails(&["import", "-d", data, "--format", "csv", "-"], 1);
    assert!(taken.contains(&served.address) && taken.contains("stop that first"), "{taken}");
    let same_port = served.address.strip_prefix("http://").unwrap().to_owned();
    let other = dir.path().join("other");
    let message = fails(&["serve", "--data", other.to_str().unwrap(), "--listen", &same_port], 1);
    assert!(message.contains("something else listens"), "{message}");
    served.stop();
    assert_eq!(asked(&["-d", data]), want, "after the server");
    assert_eq!(run_ok(&["verify", "-d", data]).lines().count(), 1);
}

/// Somebody cuts a block file short while the server reads it: queries that need the block fail and name file and byte,
/// others are answered, and the server lives.
#[test]
fn a_server_outlives_a_block_that_is_cut_short() {
    for mode in ["map", "pread"] {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        for day in ["01", "02"] {
            let noise = |at: u64| f64::from_bits((at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2);
            let line = |at: u64| format!("2024-01-{day}T{:02}:{:02}:00Z,{},noise\n", at / 60, at % 60, noise(at));
            let rows: String = (0..1440).map(line).collect();
            std::fs::write(path(day), format!("time,value,__name__\n{rows}")).unwrap();
            run_ok(&["import", "-d", &path("data"), "--format", "csv", &path(day)]);
        }
        let data = path("data");
        let served = Served::start(&["serve", "--data", &data, "--listen", "127.0.0.1:0", "--read-mode", mode]);
        wait_until_ready(&served.address);
        let url = ["--url", &served.address];
        let query = |day: &str| {
            let time = format!("2024-01-{day}T23:59:00Z");
            [&["query", "count_over_time(noise[20h])", "--time", &time, "-o", "csv"], &url[..]].concat().join(" ")
        };
        let ask = |day: &str| tsq(&query(day).split(' ').collect::<Vec<_>>());
        assert!(ask("02").status.success());
        if mode == "map" {
            assert!(ask("01").status.success(), "all pages are known to be right");
        }
        let mut blocks: Vec<_> =
            std::fs::read_dir(path("data/blocks")).unwrap().map(|file| file.unwrap().path()).collect();
        blocks.sort();
        let first = &blocks[0];
        std::fs::OpenOptions::new().write(true).open(first).unwrap().set_len(100).unwrap();
        let failed = ask("01");
        let (name, message) = (first.file_name().unwrap().to_str().unwrap(), err(&failed));
        assert!(!failed.status.success() && message.contains(name) && message.contains("byte "), "{mode}: {message}");
        let other = ask("02");
        assert!(String::from_utf8_lossy(&other.stdout).contains(",1200\n"), "{mode}: {}", err(&other));
        served.stop();
    }
}

fn wait_until_ready(address: &str) {
    let host = address.strip_prefix("http://").unwrap();
    for _ in 0..500 {
        let mut answer = String::new();
        let mut stream = std::net::TcpStream::connect(host).unwrap();
        stream.write_all(b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        stream.read_to_string(&mut answer).unwrap();
        if answer.starts_with("HTTP/1.1 200") {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the server does not get ready");
}

/// Values that text conversions like to lose.
const SAMPLES: &str = "\
timestamp_ms,value,step,__name__,run
-5,0.1,,loss,a
0,-0.0,,loss,a
1700000000123,NaN:7ff0000000000002,,loss,a
1700000000124,NaN,,loss,a
1700000000125,+Inf,,loss,a
1700000000126,5e-324,,loss,a
1700000000127,0.30000000000000004,,loss,b
1700000000000,1,10,by_step,a
1700000000000,2,11,by_step,a
";

#[test]
fn import_and_export_give_back_every_bit() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("in.csv"), SAMPLES).unwrap();
    run_ok(&["import", "-d", &path("first"), &path("in.csv")]);
    let all = |data: &str| {
        let mut lines: Vec<_> = run_ok(&["export", "-d", data, "--format", "csv"]).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let mut want: Vec<_> = SAMPLES.lines().map(str::to_owned).collect();
    want.sort();
    assert_eq!(all(&path("first")), want);
    for name in ["all.jsonl", "all.jsonl.zst", "all.csv", "all.csv.gz"] {
        run_ok(&["export", "-d", &path("first"), "-o", &path(name)]);
        run_ok(&["import", "-d", &path(&format!("from-{name}")), &path(name)]);
        assert_eq!(all(&path(&format!("from-{name}"))), want, "{name}");
    }
    // Again: nothing changes.
    run_ok(&["import", "-d", &path("first"), &path("all.jsonl")]);
    assert_eq!(all(&path("first")), want);
    // Formats without a place for steps say what they leave out.
    let output = tsq(&["export", "-d", &path("first"), "-o", &path("all.tsr.zst")]);
    assert!(err(&output).contains("left out 2 samples with a step"), "{}", err(&output));
    run_ok(&["import", "-d", &path("tsr"), &path("all.tsr.zst")]);
    let floats: Vec<_> = want.iter().filter(|line| !line.contains("by_step")).cloned().collect();
    assert_eq!(all(&path("tsr")), floats);
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "{names:?}");
}

#[test]
fn selections_of_an_export_add_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("in.csv"), SAMPLES).unwrap();
    run_ok(&["import", "-d", &path("d"), &path("in.csv")]);
    let lines = |flags: &[&str]| {
        run_ok(&[&["export", "-d", &path("d"), "--format", "csv"], flags].concat()).lines().count() - 1
    };
    assert_eq!(lines(&["--match", "loss", "--match", r#"{run="a"}"#]), 9);
    assert_eq!(lines(&["--match", r#"loss{run="b"}"#]), 1);
    assert_eq!(lines(&["--match", "loss", "--start", "0", "--end", "1700000000.124"]), 3);
    assert_eq!(lines(&["--match", "nothing"]), 0);
    let text = run_ok(&["export", "-d", &path("d"), "--format", "openmetrics", "--match", r#"loss{run="b"}"#]);
    assert_eq!(text, "loss{run=\"b\"} 0.30000000000000004 1700000000.127\n# EOF\n");
}

#[test]
fn a_bad_line_is_named_and_what_stood_before_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("bad.prom"), "up{job=\"a\"} 1 1000\nup{job=\"b\"} 2 1000\nup{job=\"c\" 3 1000\n").unwrap();
    let message = fails(&["import", "-d", &path("d"), &path("bad.prom")], 1);
    assert!(message.contains(&format!("{}:3:", path("bad.prom"))), "{message}");
    assert!(message.contains("2 samples imported"), "{message}");
    assert_eq!(
        run_ok(&["query", "-d", &path("d"), "count(up)", "--time", "1", "-o", "csv"]).lines().last(),
        Some("1970-01-01T00:00:01Z,2")
    );
    let unknown = fails(&["import", "-d", &path("d"), "/dev/null"], 2);
    assert!(unknown.contains("--format"), "{unknown}");
    let missing = fails(&["import", "-d", &path("d"), &path("missing.csv")], 1);
    assert!(missing.contains("missing.csv"), "{missing}");
}

#[test]
fn ctrl_c_stops_an_import_and_keeps_what_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("d");
    let data = data.to_str().unwrap();
    let mut child =
        command(&["import", "-d", data, "--format", "prometheus", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let line = |index: u64| format!("m{{i=\"{}\"}} {index} {}\n", index % 100, 1000 + index);
    for index in 0..100_000 {
        input.write_all(line(index).as_bytes()).unwrap();
    }
    signal(&child, "-INT");
    // It looks at the signal between two reads: it needs something to read, until it hangs up.
    for index in 100_000..10_000_000 {
        if input.write_all(line(index).as_bytes()).is_err() {
            break;
        }
    }
    drop(input);
    assert_eq!(wait(&mut child, Duration::from_secs(20)), Some(130));
    let mut message = String::new();
    child.stderr.take().unwrap().read_to_string(&mut message).unwrap();
    assert!(message.contains("interrupted") && message.contains("samples imported"), "{message}");
    assert!(!message.contains("\n0 samples"), "{message}");
    run_ok(&["verify", "-d", data]);
    assert_eq!(
        run_ok(&["query", "-d", data, "count(m)", "--time", "2", "-o", "csv"]).lines().last(),
        Some("1970-01-01T00:00:02Z,100")
    );
}

#[test]
fn a_reader_that_hangs_up_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let rows: String = (0..200_000).map(|i| format!("{i},{i},m{}\n", i % 10)).collect();
    std::fs::write(path("in.csv"), format!("time_ms,value,__name__\n{rows}")).unwrap();
    run_ok(&["import", "-d", &path("d"), &path("in.csv")]);
    for args in
        [&["export", "--format", "csv"][..], &["query", r#"{__name__=~"m.*"}[1h]"#, "--time", "300", "-o", "csv"]]
    {
        let mut child = command(&[args, &["-d", &path("d")]].concat()).spawn().unwrap();
        let mut start = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut start).unwrap();
        assert_eq!(wait(&mut child, Duration::from_secs(20)), Some(0), "{args:?}");
        let mut message = String::new();
        child.stderr.take().unwrap().read_to_string(&mut message).unwrap();
        assert_eq!(message, "", "{args:?}");
    }
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("in.csv"), SAMPLES).unwrap();
    run_ok(&["import", "-d", &path("d"), &path("in.csv")]);

    let missing = fails(&["query", "up", "-d", &path("nowhere")], 1);
    assert!(missing.contains("does not exist"), "{missing}");
    assert!(!Path::new(&path("nowhere")).exists());
    for wrong in
        [&["query"][..], &["query", "up", "-o", "xml"], &["serve", "--retention", "soon"], &["frobnicate"], &[]]
    {
        let message = fails(wrong, 2);
        assert!(message.contains("Usage") || message.contains("--help"), "{message}");
    }
    let message = fails(&["serve", "--listen", "0.0.0.0:0", "--data", &path("x")], 2);
    assert!(message.contains("--insecure"), "{message}");
    let message = fails(&["query", "sum(rate(loss[5m])", "-d", &path("d")], 3);
    let caret = message.lines().last().unwrap();
    assert!(message.contains("1:19: parse error"), "{message}");
    assert_eq!(caret.find('^'), Some(2 + 18), "{message}");
    let message = fails(&["query", "up", "--url", "http://127.0.0.1:1"], 1);
    assert!(message.contains("cannot reach http://127.0.0.1:1"), "{message}");
    fails(&["query", "up", "--url", "https://example.org"], 2);
    fails(&["query", "up", "--url", "nonsense"], 2);
    for command in
        ["serve", "query", "shell", "fmt", "completions", "import", "export", "inspect", "verify", "recover", "demo"]
    {
        let help = run_ok(&[command, "--help"]);
        assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{command}");
    }
    assert!(run_ok(&["--version"]).starts_with("tsq "));
}

/// One bit of each of many places flipped: `verify` must see it and say so by its exit code.
#[test]
fn damage_is_found_and_explained() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("in.csv"), SAMPLES).unwrap();
    run_ok(&["import", "-d", &path("d"), &path("in.csv")]);
    let block = std::fs::read_dir(dir.path().join("d/blocks")).unwrap().next().unwrap().unwrap().path();
    let sound = std::fs::read(&block).unwrap();
    for at in (0..sound.len()).step_by(61) {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        std::fs::write(&block, &damaged).unwrap();
        let output = tsq(&["verify", "-d", &path("d"), "--json"]);
        assert_eq!(output.status.code(), Some(4), "byte {at}: {}", err(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let file = report["findings"][0]["file"].as_str().unwrap();
        assert!(file.ends_with(".tsqb"), "byte {at}: {report}");
    }
    std::fs::write(&block, &sound).unwrap();
    run_ok(&["verify", "-d", &path("d")]);
    assert!(run_ok(&["recover", "-d", &path("d")]).contains("not damaged"));
}

/// Damage inside of the log is acknowledged data that is gone: nothing may write over it until somebody accepts the loss.
#[test]
fn a_damaged_log_is_loud_until_its_loss_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("d");
    let data = data.to_str().unwrap();
    let served = Served::start(&["serve", "--data", data, "--listen", "127.0.0.1:0"]);
    wait_until_ready(&served.address);
    for index in 0..40 {
        let status = remote_write(&served.address, f64::from(index as u8), 1_700_000_000_000 + 1000 * index);
        assert!(status.contains("204") || status.contains("200"), "{status}");
    }
    served.stop();
    let log = std::fs::read_dir(dir.path().join("d/log")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&log, &bytes).unwrap();

    assert_eq!(tsq(&["verify", "-d", data]).status.code(), Some(4));
    let query = ["query", "written", "-d", data, "--time", "1700000001", "-o", "csv"];
    // Of what times the lost record was, nobody can tell: the query fails instead of leaving something out.
    let message = fails(&query, 4);
    assert!(message.contains("warning: damaged: ") && message.contains("tsq recover"), "{message}");
    let explained = tsq(&["recover", "-d", data]);
    assert_eq!(explained.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&explained.stdout).contains("nothing was changed"));
    let refused = fails(&["import", "-d", data, "--format", "csv", "-"], 4);
    assert!(refused.contains("takes no writes"), "{refused}");

    assert!(run_ok(&["recover", "-d", data, "--accept-loss"]).contains("can be written to again"));
    assert!(Path::new(data).join("quarantine").read_dir().unwrap().next().is_some(), "the damaged file is kept");
    run_ok(&["verify", "-d", data]);
    assert_eq!(run_ok(&query).lines().last(), Some("written,smoke,2023-11-14T22:13:21Z,1"));
    let served = Served::start(&["serve", "--data", data, "--listen", "127.0.0.1:0"]);
    wait_until_ready(&served.address);
    assert!(remote_write(&served.address, 7.0, 1_700_000_100_000).contains(" 20"));
    served.stop();
}

#[test]
fn deletes_say_what_they_did_and_a_purge_leaves_no_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("in.csv"), SAMPLES).unwrap();
    let data = path("d");
    run_ok(&["import", "-d", &data, &path("in.csv")]);
    let lines = || run_ok(&["export", "-d", &data, "--format", "csv"]).lines().count() - 1;
    assert_eq!(lines(), 9);
    fails(&["delete", "-d", &data, "loss{"], 3);
    fails(&["delete", "-d", &data, "loss", "--start", "2", "--end", "1"], 2);
    fails(&["delete", "-d", &path("nowhere"), "loss"], 1);
    let text = run_ok(&["delete", "-d", &data, "loss", "--from", "1800000000"]);
    assert!(text.starts_with("nothing to delete"), "{text}");
    let text = run_ok(&["delete", "-d", &data, r#"loss{run="b"}"#]);
    assert_eq!(text, format!("deleted 1 samples of 1 series from {data}\n"));
    assert_eq!(lines(), 8);
    let text = run_ok(&["inspect", "-d", &data]);
    assert!(text.starts_with("2 series; ") && text.contains("; 1 of them deleted and not purged"), "{text}");
    let text = run_ok(&["delete", "-d", &data, "loss", "by_step", "--purge"]);
    assert!(
        text.starts_with("deleted 8 samples of 2 series") && text.contains("\npurged 9 samples: 1 blocks"),
        "{text}"
    );
    assert_eq!(lines(), 0);
    assert_eq!(std::fs::read_dir(dir.path().join("d/blocks")).unwrap().count(), 0);
    let text = run_ok(&["delete", "-d", &data, "loss", "--purge"]);
    assert!(text.contains("nothing to purge"), "{text}");
    run_ok(&["verify", "-d", &data]);
}

#[test]
fn deletes_go_through_a_server_too() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let served = Served::start(&["serve", "--data", data, "--listen", "127.0.0.1:0"]);
    wait_until_ready(&served.address);
    assert!(remote_write(&served.address, 1.5, 1_700_000_000_000).contains("204"));
    let query = || run_ok(&["query", "written", "--time", "1700000000", "--url", &served.address, "-o", "csv"]);
    assert_eq!(query().lines().count(), 2);
    let text = fails(&["delete", "-d", data, "written"], 1);
    assert!(text.contains("in use by") && text.contains("--url"), "{text}");
    let text = run_ok(&["delete", "written", "--url", &served.address, "--end", "1699999999"]);
    assert_eq!(text, format!("deleted what matches from {}\n", served.address));
    assert_eq!(query().lines().count(), 2);
    let text = run_ok(&["delete", "written", "--url", &served.address, "--end", "1700000000", "--purge"]);
    assert!(text.contains("has rewritten"), "{text}");
    assert_eq!(query().lines().count(), 1, "{}", query());
    served.stop();
}

#[test]
fn inspect_says_what_bytes_are_spent_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("in.csv"), SAMPLES).unwrap();
    run_ok(&["import", "-d", &path("d"), &path("in.csv")]);
    let text = run_ok(&["inspect", "-d", &path("d")]);
    assert!(text.starts_with("3 series; 1 blocks of ") && text.contains("9 samples"), "{text}");
    let report: serde_json::Value = serde_json::from_str(&run_ok(&["inspect", "-d", &path("d"), "--json"])).unwrap();
    let bytes = report["block_bytes"].as_u64().unwrap();
    let parts: u64 = report["parts"].as_object().unwrap().values().map(|bytes| bytes.as_u64().unwrap()).sum();
    assert_eq!(parts, bytes, "the sections are the whole file");
    assert_eq!(report["bytes_per_sample"].as_f64().unwrap(), bytes as f64 / 9.0);
    assert_eq!(report["metrics"][0]["name"], "loss");
    assert_eq!(report.get("by"), None);
}

#[test]
fn inspect_adds_up_what_series_take_by_a_label() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("in.csv"), SAMPLES).unwrap();
    run_ok(&["import", "-d", &path("d"), &path("in.csv")]);
    let text = run_ok(&["inspect", "-d", &path("d"), "--by", "run"]);
    let table = text.lines().skip_while(|line| !line.starts_with("run ")).take_while(|line| !line.is_empty());
    assert!(table.clone().any(|line| line.starts_with("a ")), "{text}");
    assert!(table.clone().any(|line| line.starts_with("b ")), "{text}");
    let text = run_ok(&["inspect", "-d", &path("d"), "--by", "run", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let groups = report["by"]["groups"].as_array().unwrap();
    let sum = |of: &dyn Fn(&serde_json::Value) -> u64| groups.iter().map(of).sum::<u64>();
    assert_eq!(sum(&|group| group["samples"].as_u64().unwrap()), 9);
    for part in ["values", "times", "steps", "chunk index"] {
        let bytes = sum(&|group| group["parts"][part].as_u64().unwrap());
        assert_eq!(bytes, report["parts"][part].as_u64().unwrap(), "{part} of all groups are those of the file");
    }
}

#[test]
fn output_formats_agree() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let rows: String = (0..60).map(|i| format!("{},{},temperature,{}\n", i * 15_000, i, i % 2)).collect();
    std::fs::write(path("in.csv"), format!("time_ms,value,__name__,gpu\n{rows}")).unwrap();
    run_ok(&["import", "-d", &path("d"), &path("in.csv")]);
    let query = |flags: &[&str]| run_ok(&[&["query", "temperature", "-d", &path("d")], flags].concat());
    let instant = ["--time", "885"];
    assert_eq!(
        query(&[&instant[..], &["-o", "table"]].concat()),
        "metric       gpu  value\ntemperature  0       58\ntemperature  1       59\n"
    );
    let json: serde_json::Value = serde_json::from_str(&query(&[&instant[..], &["-o", "json"]].concat())).unwrap();
    assert_eq!(json["data"]["result"][1]["value"], serde_json::json!([885, "59"]));
    let lines = query(&[&instant[..], &["-o", "jsonl"]].concat());
    assert_eq!(lines.lines().last(), Some(r#"{"metric":{"__name__":"temperature","gpu":"1"},"value":[885,"59"]}"#));
    let range = ["--start", "0", "--end", "60", "--step", "30"];
    assert_eq!(
        query(&range),
        "time                  temperature{gpu=\"0\"}  temperature{gpu=\"1\"}\n\
         1970-01-01T00:00:00Z                     0\n\
         1970-01-01T00:00:30Z                     2                     1\n\
         1970-01-01T00:01:00Z                     4                     3\n"
    );
    let plot = query(&["--start", "0", "--end", "885", "--step", "15", "-o", "plot"]);
    assert!(plot.contains("● {gpu=\"0\"}  min 0 max 58 last 58"), "{plot}");
    assert!(!plot.contains('\x1b'), "a pipe gets no colours");
    // What a query wrote as CSV can be imported.
    std::fs::write(path("answer.csv"), query(&[&range[..], &["-o", "csv"]].concat())).unwrap();
    run_ok(&["import", "-d", &path("again"), &path("answer.csv")]);
}

#[test]
fn queries_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let rows: String = (0..600).map(|i| format!("{},{i},steps_total,{}\n", i * 15_000, i % 2)).collect();
    std::fs::write(path("in.csv"), format!("time_ms,value,__name__,gpu\n{rows}")).unwrap();
    run_ok(&["import", "-d", &path("d"), &path("in.csv")]);
    let query =
        ["query", "-d", &path("d"), "sum(rate(steps_total[5m]))", "--start", "45", "--end", "8985", "--step", "60"];
    let plan = run_ok(&[&query[..], &["--explain"]].concat());
    let lines: Vec<_> = plan.lines().collect();
    assert!(lines[1].starts_with("sum ") && lines[2].starts_with("└─ rate ") && lines.len() == 5, "{plan}");
    assert!(lines[3].starts_with("   └─ steps_total[5m] ") && lines[3].contains(" 600 "), "{plan}");
    assert!(lines[4].contains("600 samples read, ") && lines[4].contains(" chunks of "), "{plan}");
    let json: serde_json::Value =
        serde_json::from_str(&run_ok(&[&query[..], &["--explain", "-o", "json"]].concat())).unwrap();
    assert_eq!(json["data"]["explain"]["plan"][2]["samples"], 600);
    assert!(json["data"]["result"][0]["values"].is_array());
    fails(&[&query[..], &["--explain", "-o", "csv"]].concat(), 2);
    let served = Served::start(&["serve", "--data", &path("d"), "--listen", "127.0.0.1:0"]);
    wait_until_ready(&served.address);
    let asked = run_ok(&[&["query", "--url", &served.address, "--explain"], &query[3..]].concat());
    assert_eq!(asked.lines().count(), 5, "{asked}");
    served.stop();
}

#[test]
fn limits_of_a_query_hold_here_and_on_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("in.prom"), "up{job=\"a\"} 1 1000\nup{job=\"b\"} 2 1000\n").unwrap();
    run_ok(&["import", "-d", &path("d"), &path("in.prom")]);
    let served = Served::start(&["serve", "--data", &path("d"), "--listen", "127.0.0.1:0"]);
    wait_until_ready(&served.address);
    for origin in [["-d", &path("d")], ["--url", &served.address]] {
        let with = |flags: &[&str]| [&["query", "up", "-o", "csv"][..], &origin, flags].concat().join("\u{1}");
        let lines = |flags: &[&str]| run_ok(&with(flags).split('\u{1}').collect::<Vec<_>>()).lines().count() - 1;
        assert_eq!(lines(&["--time", "2"]), 2, "{origin:?}");
        assert_eq!(lines(&["--time", "2", "--limit", "1"]), 1, "{origin:?}");
        assert_eq!(lines(&["--time", "20", "--lookback", "10s"]), 0, "{origin:?}");
        let slow = ["query", "quantile_over_time(0.5, vector(time())[1d:1s])", "--start", "0", "--end", "1100000"];
        let message = fails(&[&slow[..], &["--step", "100", "--timeout", "50ms"], &origin].concat(), 3);
        assert!(message.contains("timed out"), "{origin:?}: {message}");
    }
    fails(&["query", "up", "--limit", "0"], 2);
    served.stop();
}

#[test]
fn expressions_are_formatted() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    assert_eq!(run_ok(&["fmt", "sum(up)by(job)"]), "sum by (job) (up)\n");
    std::fs::write(path("good"), "# why\nsum by (job) (up)\n").unwrap();
    std::fs::write(path("bad"), "sum(up)by(job)\n").unwrap();
    assert_eq!(run_ok(&["fmt", "--check", "-f", &path("good")]), "");
    let output = tsq(&["fmt", "--check", "-f", &path("good"), "-f", &path("bad")]);
    assert_eq!(output.status.code(), Some(1));
    let want = format!("{} is not formatted:\n-sum(up)by(job)\n+sum by (job) (up)\n", path("bad"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), want);
    let message = fails(&["fmt", "sum(up"], 3);
    assert!(message.ends_with("  sum(up\n        ^\n"), "{message}");
    fails(&["fmt", "-f", &path("none")], 1);
}

#[test]
fn shells_get_completions() {
    for (shell, part) in [("bash", "complete "), ("zsh", "#compdef tsq"), ("fish", "complete -c tsq")] {
        let script = run_ok(&["completions", shell]);
        assert!(script.contains(part) && script.contains("explain"), "{shell}");
    }
}
