//! Deleting from a server, through Prometheus's HTTP API.

use std::collections::BTreeMap;

use serde::Deserialize;
use tsq::{Deleted, TimeRange};

use super::Place;
use crate::client;
use crate::failure::{Failure, Result};

/// A server.
pub(super) struct Server {
    url: String,
}

/// An answer of the API.
#[derive(Debug, Deserialize)]
struct Body<T> {
    data: Option<T>,
    error: Option<String>,
}

impl Server {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned() }
    }

    /// Sends a form, and gives the data of the answer; an empty answer has none.
    fn post<T: serde::de::DeserializeOwned>(&self, path: &str, form: &[(&str, String)]) -> Result<Option<T>> {
        let url = format!("{}/api/v1/{path}", self.url);
        let answer = client::post_form(&url, form)?;
        if answer.status == 204 {
            return Ok(None);
        }
        match serde_json::from_slice::<Body<T>>(&answer.body) {
            Ok(Body { error: Some(error), .. }) => Err(Failure::failed(format!("{url}: {error}"))),
            Ok(body) if answer.status == 200 => Ok(body.data),
            _ => {
                let text = String::from_utf8_lossy(&answer.body);
                let start: String = text.lines().next().unwrap_or("").chars().take(200).collect();
                Err(Failure::failed(format!("{url} answered {} and no Prometheus JSON: {start}", answer.status)))
            }
        }
    }
}

/// Parameters of a selection; open ends are left out.
fn form(selector: &str, range: TimeRange) -> Vec<(&'static str, String)> {
    let mut form = vec![("match[]", selector.to_owned())];
    let ends = [("start", range.min_ms, i64::MIN), ("end", range.max_ms, i64::MAX)];
    form.extend(ends.iter().filter(|(_, ms, open)| ms != open).map(|(name, ms, _)| (*name, client::seconds(*ms))));
    form
}

fn written(labels: &BTreeMap<String, String>) -> String {
    let name = labels.get("__name__").map_or("", String::as_str);
    let others = labels.iter().filter(|(name, _)| *name != "__name__");
    let pairs: Vec<String> = others.map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{name}{{{}}}", pairs.join(", "))
}

impl Place for Server {
    fn name(&self) -> String {
        self.url.clone()
    }

    fn series(&self, selector: &str, range: TimeRange, max: usize) -> Result<Vec<String>> {
        let mut form = form(selector, range);
        form.push(("limit", max.max(1).to_string()));
        let found: Vec<BTreeMap<String, String>> = self.post("series", &form)?.unwrap_or_default();
        Ok(found.iter().map(written).collect())
    }

    fn delete(&self, selector: &str, range: TimeRange) -> Result<Option<Deleted>> {
        self.post::<serde_json::Value>("admin/tsdb/delete_series", &form(selector, range)).map(|_| None)
    }

    fn purge(&self) -> Result<String> {
        self.post::<serde_json::Value>("admin/tsdb/clean_tombstones", &[])?;
        Ok(format!("{} has rewritten all blocks that held deleted samples", self.url))
    }

    fn untouched(&self) -> Vec<String> {
        Vec::new()
    }

    fn close(&self) -> Result<()> {
        Ok(())
    }
}
