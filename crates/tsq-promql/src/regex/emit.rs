//! Writes a parsed pattern in the syntax of the regex crate.

use std::fmt::Write;

use super::parse::{Assert, Class, ClassItem, Node};

/// The pattern, bound to the whole text.
pub(super) fn anchored(node: &Node) -> String {
    let mut out = String::from("\\A(?:");
    emit(node, &mut out);
    out.push_str(")\\z");
    out
}

/// Depth of recursion is bounded by the nesting of groups.
fn emit(node: &Node, out: &mut String) {
    match node {
        Node::Empty => {}
        Node::Char { c, fold: false } => push_char(*c, out),
        Node::Char { c, fold: true } => {
            out.push_str("(?i:");
            push_char(*c, out);
            out.push(')');
        }
        Node::Any { newline: true } => out.push_str("(?s:.)"),
        Node::Any { newline: false } => out.push_str("[^\\n]"),
        Node::Class(class) => emit_class(class, out),
        Node::Assert(assert) => out.push_str(match assert {
            Assert::TextStart => "\\A",
            Assert::TextEnd => "\\z",
            Assert::LineStart => "(?m:^)",
            Assert::LineEnd => "(?m:$)",
            Assert::WordBoundary => "(?-u:\\b)",
            Assert::NoWordBoundary => "(?-u:\\B)",
        }),
        Node::Concat(nodes) => nodes.iter().for_each(|node| emit(node, out)),
        Node::Alternate(nodes) => {
            for (index, node) in nodes.iter().enumerate() {
                if index > 0 {
                    out.push('|');
                }
                emit(node, out);
            }
        }
        Node::Repeat { node, min, max, lazy } => {
            out.push_str("(?:");
            emit(node, out);
            out.push(')');
            emit_repetition(*min, *max, out);
            if *lazy {
                out.push('?');
            }
        }
        Node::Group { node, capture } => {
            // A name the regex crate would refuse: the group keeps its number.
            let name = capture.as_ref().and_then(|capture| capture.name.as_ref());
            match name.filter(|name| !name.starts_with(|c: char| c.is_ascii_digit())) {
                Some(name) => {
                    let _ = write!(out, "(?P<{name}>");
                }
                None if capture.is_some() => out.push('('),
                None => out.push_str("(?:"),
            }
            emit(node, out);
            out.push(')');
        }
    }
}

fn emit_repetition(min: u32, max: Option<u32>, out: &mut String) {
    let _ = match (min, max) {
        (0, None) => write!(out, "*"),
        (1, None) => write!(out, "+"),
        (0, Some(1)) => write!(out, "?"),
        (min, None) => write!(out, "{{{min},}}"),
        (min, Some(max)) => write!(out, "{{{min},{max}}}"),
    };
}

fn emit_class(class: &Class, out: &mut String) {
    out.push_str(if class.fold { "(?i:[" } else { "[" });
    if class.negated {
        out.push('^');
    }
    for item in &class.items {
        match item {
            ClassItem::Range(low, high) => emit_range(*low, *high, out),
            ClassItem::Except(ranges) => {
                out.push_str("[^");
                ranges.iter().for_each(|&(low, high)| emit_range(low, high, out));
                out.push(']');
            }
            ClassItem::Unicode { name, negated } => {
                let _ = write!(out, "\\{}{{{name}}}", if *negated { 'P' } else { 'p' });
            }
        }
    }
    out.push_str(if class.fold { "])" } else { "]" });
}

fn emit_range(low: char, high: char, out: &mut String) {
    push_char(low, out);
    if low != high {
        out.push('-');
        push_char(high, out);
    }
}

/// The character itself, inside and outside of classes.
fn push_char(c: char, out: &mut String) {
    if "\\.+*?()|[]{}^$#&-~".contains(c) {
        out.push('\\');
    }
    out.push(c);
}
