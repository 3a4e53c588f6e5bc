//! What clients know about their batches, and whether the server's answers agree.

use std::collections::HashMap;

use crate::batches::{ERA, FLOATS, METRICS, PARTS, QUERY_RANGE, QUERY_TIME_S, WHOLE, number_of, time_of};
use crate::http::Client;
use serde_json::Value;

/// The batches of one writer, by number: whether each was acknowledged. The others were sent, and nobody knows.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Number of the writer.
    pub writer: u64,
    /// By batch number.
    pub acknowledged: Vec<bool>,
}

/// What a check found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// Whole batches that were never acknowledged.
    pub unacknowledged: u64,
    /// Whole batches.
    pub whole: u64,
}

impl Ledger {
    /// The ledger of a writer that has sent nothing yet.
    pub fn new(writer: u64) -> Self {
        Self { writer, acknowledged: Vec::new() }
    }

    /// Asks the server for the batches from `first` on and compares: every acknowledged one is there whole, every other
    /// one whole or not at all, and nothing else is there.
    ///
    /// # Errors
    /// What does not agree.
    pub fn check(&self, client: &mut Client, first: u64) -> Result<Found, String> {
        let held = held(client, self.writer, first)?;
        let sent = self.acknowledged.len() as u64;
        if let Some(phantom) = held.keys().find(|number| **number >= sent) {
            return Err(format!("writer {}: batch {phantom} is there, {sent} were sent", self.writer));
        }
        let mut found = Found::default();
        for number in era_start(first)..sent {
            let parts = held.get(&number).copied().unwrap_or(0);
            let acknowledged = self.acknowledged[number as usize];
            match parts {
                WHOLE => found.whole += 1,
                0 if !acknowledged => {}
                _ => {
                    let what = if acknowledged { "acknowledged" } else { "not acknowledged" };
                    let writer = self.writer;
                    return Err(format!("writer {writer}: batch {number} ({what}) has parts {parts:06b} only"));
                }
            }
            found.unacknowledged += u64::from(parts == WHOLE && !acknowledged);
        }
        Ok(found)
    }
}

/// No reader ever sees a part of a batch, also while it is written.
///
/// # Errors
/// The batch of which a part was seen.
pub fn check_whole(client: &mut Client, writer: u64, first: u64) -> Result<(), String> {
    // One query sees one state of the database; each metric is a query of its own.
    for (metric, wanted) in METRICS.into_iter().zip([(1 << FLOATS) - 1, 1 << FLOATS]) {
        let mut held = HashMap::new();
        gather(client, metric, writer, first, &mut held)?;
        if let Some((number, parts)) = held.iter().find(|(_, parts)| **parts != wanted) {
            return Err(format!("writer {writer}: parts {parts:06b} of batch {number} were visible"));
        }
    }
    Ok(())
}

fn era_start(number: u64) -> u64 {
    number / ERA * ERA
}

/// The parts that are there of each batch from the era of `first` on.
fn held(client: &mut Client, writer: u64, first: u64) -> Result<HashMap<u64, u8>, String> {
    let mut held = HashMap::new();
    for metric in METRICS {
        gather(client, metric, writer, first, &mut held)?;
    }
    Ok(held)
}

fn gather(
    client: &mut Client,
    metric: &str,
    writer: u64,
    first: u64,
    held: &mut HashMap<u64, u8>,
) -> Result<(), String> {
    // Eras from that of `first` on; more than any run reaches between two checks.
    let era = first / ERA;
    let eras: Vec<String> = (era..era + 100).map(|era| era.to_string()).collect();
    let wanted = if first == 0 { String::new() } else { format!(", era=~\"{}\"", eras.join("|")) };
    let expr = format!("{metric}{{writer=\"{writer}\"{wanted}}}[{QUERY_RANGE}]");
    let data = client.query(&expr, QUERY_TIME_S)?;
    for series in data["result"].as_array().ok_or("the answer is no matrix")? {
        let part = series["metric"]["part"].as_str().and_then(|text| text.parse().ok());
        let part: u64 = part.filter(|part| *part < PARTS).ok_or_else(|| format!("a series nobody sent: {series}"))?;
        let samples = ["values", "histograms"].iter().filter_map(|key| series[*key].as_array()).flatten();
        for sample in samples {
            let number = decode(sample, writer, part).ok_or_else(|| format!("a sample nobody sent: {sample}"))?;
            let bit = 1 << part;
            let parts = held.entry(number).or_insert(0);
            if *parts & bit != 0 {
                return Err(format!("writer {writer}: part {part} of batch {number} is there twice"));
            }
            *parts |= bit;
        }
    }
    Ok(())
}

/// The batch of a sample `[time, "value"]` or `[time, {"sum": "value", ...}]`, if its time and value are right.
fn decode(sample: &Value, writer: u64, part: u64) -> Option<u64> {
    let value = sample[1].as_str().or_else(|| sample[1]["sum"].as_str())?.parse().ok()?;
    let number = number_of(value, writer, part)?;
    let time_ms = (sample[0].as_f64()? * 1000.0).round() as i64;
    (time_ms == time_of(number)).then_some(number)
}
