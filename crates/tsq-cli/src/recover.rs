//! `tsq recover`.

use tsq::Db;

use crate::args::Recover;
use crate::console::Console;
use crate::failure::{Exit, Result};
use crate::store;

/// Explains damage; with `--accept-loss` goes on without what is damaged.
pub(crate) fn run(args: &Recover, console: &mut Console) -> Result<Exit> {
    store::check_exists(&args.dir.data)?;
    let damage = Db::recover(&args.dir.data, args.accept_loss)?;
    for damage in &damage {
        writeln!(console.out, "{damage}")?;
    }
    let place = args.dir.data.display();
    match (damage.is_empty(), args.accept_loss) {
        (true, _) => writeln!(console.out, "{place} is not damaged: nothing to recover")?,
        (false, true) => writeln!(console.out, "the damage was accepted: {place} can be written to again")?,
        (false, false) => {
            writeln!(console.out, "nothing was changed; tsq recover --accept-loss goes on without what is damaged")?;
            return Ok(Exit::Damaged);
        }
    }
    Ok(Exit::Ok)
}
