//! A client that writes batch after batch until its server is gone.

use std::sync::atomic::{AtomicU64, Ordering};

use tsq_tests::batches::encoded;
use tsq_tests::http::Client;
use tsq_tests::ledger::Ledger;

/// Sends batches until the connection breaks. Counts acknowledged ones in `acknowledged`. With `retry`, first sends the
/// newest batch again if nobody knows what became of it.
///
/// # Errors
/// When the server answers anything but "stored".
pub(crate) fn write_until_killed(
    mut client: Client,
    ledger: &mut Ledger,
    retry: bool,
    acknowledged: &AtomicU64,
) -> Result<(), String> {
    if !retry || ledger.acknowledged.last() != Some(&false) {
        ledger.acknowledged.push(false);
    }
    loop {
        let number = ledger.acknowledged.len() as u64 - 1;
        match client.remote_write(&encoded(ledger.writer, number)) {
            Ok(response) if response.status == 204 || response.status == 200 => {
                ledger.acknowledged[number as usize] = true;
                acknowledged.fetch_add(1, Ordering::Relaxed);
                ledger.acknowledged.push(false);
            }
            Ok(response) => {
                let writer = ledger.writer;
                return Err(format!("writer {writer}, batch {number}: {} {}", response.status, response.text()));
            }
            // The server is gone: whether it took this batch is unknown.
            Err(_) => return Ok(()),
        }
    }
}
