//! Names for runs that were given none.

use std::hash::{DefaultHasher, Hash, Hasher};

const QUALITIES: [&str; 32] = [
    "amber", "brisk", "calm", "deft", "eager", "fond", "gentle", "humble", "icy", "jolly", "keen", "lucid", "mellow",
    "nimble", "opal", "patient", "quiet", "rapid", "sober", "tidy", "upbeat", "vivid", "warm", "young", "zesty",
    "bold", "clever", "dusky", "frosty", "golden", "honest", "merry",
];

const BEINGS: [&str; 32] = [
    "otter", "heron", "lynx", "moth", "newt", "owl", "puffin", "quail", "raven", "seal", "tapir", "urchin", "vole",
    "wren", "yak", "zebra", "badger", "crane", "dolphin", "egret", "ferret", "gecko", "hare", "ibis", "jay", "koala",
    "lark", "marten", "oriole", "pika", "robin", "stoat",
];

/// A name such as `calm-otter-417` that an id always gives.
pub(crate) fn random_name(id: &str) -> String {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let hash = hasher.finish();
    let pick = |shift: u32| ((hash >> shift) & 31) as usize;
    format!("{}-{}-{}", QUALITIES[pick(0)], BEINGS[pick(5)], (hash >> 10) % 1000)
}
