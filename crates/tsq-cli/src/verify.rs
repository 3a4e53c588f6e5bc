//! `tsq verify`.

use serde::Serialize;
use tsq::Db;

use crate::args::Verify;
use crate::console::Console;
use crate::failure::{Exit, Failure, Result};
use crate::store;
use crate::units::{format_bytes, format_count};

#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    files: u64,
    bytes: u64,
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Finding {
    file: String,
    message: String,
}

/// Checks everything and lists what is not as it was written.
pub(crate) fn run(args: &Verify, console: &mut Console) -> Result<Exit> {
    store::check_exists(&args.dir.data)?;
    let found = Db::verify(&args.dir.data)?;
    let finding =
        |damage: &tsq::Damage| Finding { file: damage.path.display().to_string(), message: damage.message.clone() };
    let findings: Vec<_> = found.findings.iter().map(finding).collect();
    let report = Report { ok: findings.is_empty(), files: found.files, bytes: found.bytes, findings };
    if args.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| Failure::failed(error.to_string()))?;
        writeln!(console.out, "{text}")?;
    } else {
        for finding in &report.findings {
            writeln!(console.out, "{}: {}", finding.file, finding.message)?;
        }
        let (files, bytes) = (format_count(report.files), format_bytes(report.bytes));
        let verdict = match report.findings.len() {
            0 => "all as written".to_owned(),
            1 => "1 finding".to_owned(),
            count => format!("{} findings", format_count(count as u64)),
        };
        writeln!(console.out, "{files} files, {bytes} checked: {verdict}")?;
    }
    Ok(if report.ok { Exit::Ok } else { Exit::Damaged })
}
