//! What a pattern looks like, so that most need no regex engine.

use super::glob::Glob;
use super::parse::{Assert, Class, ClassItem, Node};

/// Most literals a pattern is taken apart into, and the bytes they may have together.
const LITERALS_MAX: usize = 1024;
const LITERAL_BYTES_MAX: usize = 64 << 10;

/// How a pattern is matched.
#[derive(Debug)]
pub(super) enum Shape {
    /// One of these values, sorted.
    Literals(Vec<String>),
    /// A start, parts in order, an end; anything in between.
    Parts { prefix: String, middle: Vec<String>, suffix: String },
    /// Anything but the empty value.
    NotEmpty,
    /// Texts and wildcards, single ones among them.
    Glob(Glob),
    /// All else.
    Engine(regex::Regex),
}

impl Shape {
    pub(super) fn is_match(&self, value: &str) -> bool {
        match self {
            Shape::Literals(literals) => literals.binary_search_by(|literal| literal.as_str().cmp(value)).is_ok(),
            Shape::Parts { prefix, middle, suffix } => parts_match(value, prefix, middle, suffix),
            Shape::NotEmpty => !value.is_empty(),
            Shape::Glob(glob) => glob.is_match(value),
            Shape::Engine(regex) => regex.is_match(value),
        }
    }

    /// What every match starts with, if the shape alone tells.
    pub(super) fn prefix(&self) -> Option<String> {
        match self {
            Shape::Literals(literals) => {
                let (first, last) = (literals.first()?, literals.last()?);
                // Sorted: what the first and the last share, all share.
                let shared = first.chars().zip(last.chars()).take_while(|(a, b)| a == b);
                Some(shared.map(|(a, _)| a).collect())
            }
            Shape::Parts { prefix, .. } => Some(prefix.clone()),
            Shape::NotEmpty => Some(String::new()),
            Shape::Glob(_) | Shape::Engine(_) => None,
        }
    }
}

fn parts_match(value: &str, prefix: &str, middle: &[String], suffix: &str) -> bool {
    let Some(rest) = value.strip_prefix(prefix) else {
        return false;
    };
    let Some(mut rest) = rest.strip_suffix(suffix) else {
        return false;
    };
    for part in middle {
        match rest.find(part.as_str()) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// The shape of a pattern that can be matched without the regex engine.
pub(super) fn shape_without_engine(node: &Node) -> Option<Shape> {
    let parts = top_parts(node);
    if let Some(mut found) = literals_of(&parts) {
        found.sort_unstable();
        found.dedup();
        return Some(Shape::Literals(found));
    }
    match parts[..] {
        [Node::Repeat { node, min: 1, max: None, .. }] if is_any(node) => Some(Shape::NotEmpty),
        _ => wildcard_parts(&parts).or_else(|| glob(&parts)),
    }
}

/// What every match starts with.
pub(super) fn prefix(node: &Node) -> String {
    let mut out = String::new();
    for part in top_parts(node) {
        if !extend_prefix(part, &mut out) {
            break;
        }
    }
    out
}

/// Adds what a node surely starts with; true if that is all the node matches.
fn extend_prefix(node: &Node, out: &mut String) -> bool {
    match node {
        Node::Empty => true,
        Node::Char { c, fold } if !fold || is_caseless(*c) => {
            out.push(*c);
            true
        }
        Node::Concat(nodes) => nodes.iter().all(|node| extend_prefix(node, out)),
        Node::Group { node, .. } => extend_prefix(node, out),
        Node::Repeat { node, min: 1.., .. } => {
            extend_prefix(node, out);
            false
        }
        _ => false,
    }
}

/// The parts of the outermost sequence, without anchors at its ends and groups around all of it.
fn top_parts(mut node: &Node) -> Vec<&Node> {
    loop {
        let mut parts = match node {
            Node::Concat(nodes) => nodes.iter().collect(),
            node => vec![node],
        };
        if matches!(parts.first(), Some(Node::Assert(Assert::TextStart))) {
            parts.remove(0);
        }
        if matches!(parts.last(), Some(Node::Assert(Assert::TextEnd))) {
            parts.pop();
        }
        match parts[..] {
            [Node::Group { node: inner, .. }] => node = inner,
            _ => return parts,
        }
    }
}

fn is_any(node: &Node) -> bool {
    matches!(node, Node::Any { newline: true })
}

fn wildcard_parts(parts: &[&Node]) -> Option<Shape> {
    let mut literals = vec![String::new()];
    for part in parts {
        match part {
            Node::Repeat { node, min: 0, max: None, .. } if is_any(node) => literals.push(String::new()),
            Node::Char { c, fold } if !fold || is_caseless(*c) => {
                literals.last_mut().expect("there is always one").push(*c);
            }
            _ => return None,
        }
    }
    let prefix = literals.remove(0);
    let suffix = literals.pop()?;
    Some(Shape::Parts { prefix, middle: literals, suffix })
}

fn glob(parts: &[&Node]) -> Option<Shape> {
    let mut glob = Glob::new();
    for part in parts {
        match part {
            Node::Char { c, fold } if !fold || is_caseless(*c) => glob.char(*c),
            node if is_any(node) => _ = glob.any(1, Some(1)),
            Node::Repeat { node, min, max, .. } if is_any(node) && glob.any(*min, *max) => {}
            _ => return None,
        }
    }
    Some(Shape::Glob(glob))
}

/// Whether the character has no other case.
fn is_caseless(c: char) -> bool {
    c.is_ascii() && !c.is_ascii_alphabetic()
}

/// All strings a sequence matches, if they are few.
fn literals_of(parts: &[&Node]) -> Option<Vec<String>> {
    let mut found = vec![String::new()];
    for part in parts {
        found = product(&found, &literals(part)?)?;
    }
    Some(found)
}

fn literals(node: &Node) -> Option<Vec<String>> {
    match node {
        Node::Empty => Some(vec![String::new()]),
        Node::Char { c, fold } if !fold || is_caseless(*c) => Some(vec![c.to_string()]),
        Node::Class(class) => class_literals(class),
        Node::Concat(nodes) => literals_of(&nodes.iter().collect::<Vec<_>>()),
        Node::Alternate(nodes) => {
            let mut found = Vec::new();
            for node in nodes {
                found.extend(literals(node)?);
                if found.len() > LITERALS_MAX {
                    return None;
                }
            }
            Some(found)
        }
        Node::Repeat { node, min: 0, max: Some(1), .. } => {
            let mut found = literals(node)?;
            found.push(String::new());
            Some(found)
        }
        Node::Group { node, .. } => literals(node),
        _ => None,
    }
}

/// The characters of a small class.
fn class_literals(class: &Class) -> Option<Vec<String>> {
    if class.negated {
        return None;
    }
    let mut found = Vec::new();
    for item in &class.items {
        let ClassItem::Range(low, high) = *item else {
            return None;
        };
        for c in low..=high {
            if found.len() == LITERALS_MAX || (class.fold && !is_caseless(c)) {
                return None;
            }
            found.push(c.to_string());
        }
    }
    Some(found)
}

/// Every string of the one followed by every string of the other.
fn product(left: &[String], right: &[String]) -> Option<Vec<String>> {
    let count = left.len() * right.len();
    let bytes = |strings: &[String]| strings.iter().map(String::len).sum::<usize>();
    if count > LITERALS_MAX || bytes(left) * right.len() + bytes(right) * left.len() > LITERAL_BYTES_MAX {
        return None;
    }
    Some(left.iter().flat_map(|start| right.iter().map(move |end| format!("{start}{end}"))).collect())
}
