//! Go's regular expression syntax with the flags that Go calls Perl, and a dot that matches line breaks.
//!
//! Errors carry the text Go gives: what is wrong, and the part of the pattern in backquotes.

use super::NESTING_MAX;

/// Most repetitions of one thing, over all the repetitions it is nested in.
const REPEAT_MAX: u32 = 1000;

/// A parsed pattern. Flags are resolved: each node says what it matches.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Empty,
    /// A character; `fold`: in either case.
    Char {
        c: char,
        fold: bool,
    },
    /// Any character; `newline`: also a line break.
    Any {
        newline: bool,
    },
    Class(Class),
    Assert(Assert),
    Concat(Vec<Node>),
    Alternate(Vec<Node>),
    Repeat {
        node: Box<Node>,
        min: u32,
        max: Option<u32>,
        lazy: bool,
    },
    Group {
        node: Box<Node>,
        capture: Option<Capture>,
    },
}

/// A group that captures.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Capture {
    pub(super) name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Assert {
    TextStart,
    TextEnd,
    LineStart,
    LineEnd,
    WordBoundary,
    NoWordBoundary,
}

/// A character class.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Class {
    pub(super) negated: bool,
    pub(super) fold: bool,
    pub(super) items: Vec<ClassItem>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum ClassItem {
    Range(char, char),
    /// Everything outside these ranges.
    Except(&'static [(char, char)]),
    /// A class of the Unicode tables, as the regex crate names it: `sc=Greek`.
    Unicode {
        name: String,
        negated: bool,
    },
}

#[derive(Clone, Copy, Default)]
struct Flags {
    fold: bool,
    multi_line: bool,
    dot_excludes_newline: bool,
    swap_greed: bool,
}

/// A group that is still open.
#[derive(Default)]
struct Frame {
    capture: Option<Capture>,
    outer_flags: Flags,
    alternatives: Vec<Node>,
    /// The current alternative, and how often each part of it repeats at most.
    items: Vec<Item>,
    repeats: u32,
}

struct Item {
    node: Node,
    repeats: u32,
}

type Parse<T> = Result<T, String>;

fn error<T>(what: &str, part: &str) -> Parse<T> {
    Err(format!("{what}: `{part}`"))
}

/// Parses a pattern.
pub(super) fn parse(pattern: &str) -> Parse<Node> {
    let mut parser = Parser {
        pattern,
        rest: pattern,
        flags: Flags::default(),
        frames: Vec::new(),
        frame: Frame::default(),
        names: Vec::new(),
    };
    parser.run()?;
    if !parser.frames.is_empty() {
        return error("missing closing )", pattern);
    }
    Ok(parser.frame.close().node)
}

struct Parser<'a> {
    pattern: &'a str,
    rest: &'a str,
    flags: Flags,
    frames: Vec<Frame>,
    frame: Frame,
    names: Vec<&'a str>,
}

impl<'a> Parser<'a> {
    fn run(&mut self) -> Parse<()> {
        // Where the last token began, if it was a repetition.
        let mut last_repeat = None;
        while let Some(c) = self.rest.chars().next() {
            let before = self.rest;
            let mut repeat = None;
            match c {
                '(' => self.open()?,
                ')' => self.close()?,
                '|' => {
                    self.rest = &self.rest[1..];
                    self.frame.end_alternative();
                }
                '*' | '+' | '?' | '{' => {
                    if let Some((min, max, len)) = repetition(self.rest) {
                        self.rest = &self.rest[len..];
                        self.repeat(min, max, before, last_repeat)?;
                        repeat = Some(before);
                    } else {
                        self.literal('{');
                    }
                }
                '[' => self.class()?,
                '\\' => self.backslash()?,
                '.' => self.push_ascii(Node::Any { newline: !self.flags.dot_excludes_newline }),
                '^' if self.flags.multi_line => self.push_ascii(Node::Assert(Assert::LineStart)),
                '^' => self.push_ascii(Node::Assert(Assert::TextStart)),
                '$' if self.flags.multi_line => self.push_ascii(Node::Assert(Assert::LineEnd)),
                '$' => self.push_ascii(Node::Assert(Assert::TextEnd)),
                c => self.literal(c),
            }
            last_repeat = repeat;
        }
        Ok(())
    }

    fn push(&mut self, node: Node) {
        self.frame.items.push(Item { node, repeats: 1 });
    }

    /// Adds what one ASCII character stands for.
    fn push_ascii(&mut self, node: Node) {
        self.rest = &self.rest[1..];
        self.push(node);
    }

    /// Adds the next character itself.
    fn literal(&mut self, c: char) {
        self.rest = &self.rest[c.len_utf8()..];
        self.push(Node::Char { c, fold: self.flags.fold });
    }

    fn open(&mut self) -> Parse<()> {
        let capture = if self.rest.starts_with("(?") {
            match self.open_special()? {
                Opened::Group(capture) => capture,
                Opened::Flags(flags) => {
                    self.flags = flags;
                    return Ok(());
                }
                Opened::FlagGroup(flags) => {
                    self.enter(None, flags)?;
                    return Ok(());
                }
            }
        } else {
            self.rest = &self.rest[1..];
            Some(Capture { name: None })
        };
        self.enter(capture, self.flags)
    }

    fn enter(&mut self, capture: Option<Capture>, flags: Flags) -> Parse<()> {
        if self.frames.len() == NESTING_MAX {
            return error("expression nests too deeply", self.pattern);
        }
        let inner = Frame { capture, outer_flags: self.flags, ..Frame::default() };
        self.frames.push(std::mem::replace(&mut self.frame, inner));
        self.flags = flags;
        Ok(())
    }

    /// `(?flags)`, `(?flags:`, `(?P<name>` or `(?<name>`.
    fn open_special(&mut self) -> Parse<Opened> {
        for opening in ["(?P<", "(?<"] {
            if let Some(after) = self.rest.strip_prefix(opening) {
                return self.open_named(after);
            }
        }
        let start = self.rest;
        let mut rest = &start[2..];
        let (mut flags, mut negative, mut seen) = (self.flags, false, false);
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                'i' => flags.fold = !negative,
                'm' => flags.multi_line = !negative,
                's' => flags.dot_excludes_newline = negative,
                'U' => flags.swap_greed = !negative,
                '-' if !negative => {
                    (negative, seen) = (true, false);
                    continue;
                }
                ':' | ')' if !negative || seen => {
                    self.rest = rest;
                    return Ok(if c == ':' { Opened::FlagGroup(flags) } else { Opened::Flags(flags) });
                }
                _ => break,
            }
            seen = true;
        }
        if rest.is_empty() && !start.contains(')') {
            return error("missing closing )", self.pattern);
        }
        error("invalid or unsupported Perl syntax", &start[..start.len() - rest.len()])
    }

    fn open_named(&mut self, after: &'a str) -> Parse<Opened> {
        let Some(end) = after.find('>') else {
            return error("invalid named capture", self.rest);
        };
        let name = &after[..end];
        let whole = &self.rest[..self.rest.len() - after.len() + end + 1];
        let valid = !name.is_empty() && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
        if !valid {
            return error("invalid named capture", whole);
        }
        self.rest = &after[end + 1..];
        // Go lets groups share a name, and finds the first of them by it.
        let first = !self.names.contains(&name);
        self.names.push(name);
        Ok(Opened::Group(Some(Capture { name: first.then(|| name.to_owned()) })))
    }

    fn close(&mut self) -> Parse<()> {
        let Some(outer) = self.frames.pop() else {
            return error("unexpected )", self.pattern);
        };
        self.rest = &self.rest[1..];
        let inner = std::mem::replace(&mut self.frame, outer);
        self.flags = inner.outer_flags;
        let item = inner.close_group();
        self.frame.items.push(item);
        Ok(())
    }

    /// Applies a repetition to the last item. `before` is the text from the repetition on.
    fn repeat(&mut self, min: u32, max: Option<u32>, before: &str, last_repeat: Option<&str>) -> Parse<()> {
        let question = self.rest.starts_with('?');
        if question {
            self.rest = &self.rest[1..];
        }
        let part = &before[..before.len() - self.rest.len()];
        if let Some(last) = last_repeat {
            return error("invalid nested repetition operator", &last[..last.len() - self.rest.len()]);
        }
        if min > REPEAT_MAX || max.is_some_and(|max| max > REPEAT_MAX || max < min) {
            return error("invalid repeat count", part);
        }
        let Some(Item { node, repeats }) = self.frame.items.pop() else {
            return error("missing argument to repetition operator", part);
        };
        let most = max.unwrap_or(min).max(1);
        let repeats = repeats.saturating_mul(most);
        if most >= 2 && repeats > REPEAT_MAX {
            return error("invalid repeat count", part);
        }
        let lazy = question != self.flags.swap_greed;
        self.frame.items.push(Item { node: Node::Repeat { node: Box::new(node), min, max, lazy }, repeats });
        Ok(())
    }

    fn backslash(&mut self) -> Parse<()> {
        let assert = match self.rest.as_bytes().get(1) {
            Some(b'A') => Some(Assert::TextStart),
            Some(b'z') => Some(Assert::TextEnd),
            Some(b'b') => Some(Assert::WordBoundary),
            Some(b'B') => Some(Assert::NoWordBoundary),
            Some(b'Q') => {
                self.quoted();
                return Ok(());
            }
            _ => None,
        };
        if let Some(assert) = assert {
            self.rest = &self.rest[2..];
            self.push(Node::Assert(assert));
            return Ok(());
        }
        if let Some(items) = self.class_escape()? {
            self.push(Node::Class(Class { negated: false, fold: self.flags.fold, items }));
            return Ok(());
        }
        let c = self.escape()?;
        self.push(Node::Char { c, fold: self.flags.fold });
        Ok(())
    }

    /// `\Q...\E`; the end of the pattern ends it too.
    fn quoted(&mut self) {
        let text = &self.rest[2..];
        let (text, rest) = text.split_once("\\E").unwrap_or((text, ""));
        for c in text.chars() {
            self.push(Node::Char { c, fold: self.flags.fold });
        }
        self.rest = rest;
    }

    /// A class that begins with a backslash, if there is one: `\d`, `\pL`, `\p{Greek}`.
    fn class_escape(&mut self) -> Parse<Option<Vec<ClassItem>>> {
        let Some(letter) = self.rest.strip_prefix('\\').and_then(|rest| rest.chars().next()) else {
            return Ok(None);
        };
        let ranges: &'static [(char, char)] = match letter {
            'd' | 'D' => &DIGIT,
            's' | 'S' => &SPACE,
            'w' | 'W' => &WORD,
            'p' | 'P' => return self.unicode_class(letter == 'P').map(|item| Some(vec![item])),
            _ => return Ok(None),
        };
        self.rest = &self.rest[2..];
        Ok(Some(if letter.is_ascii_uppercase() {
            vec![ClassItem::Except(ranges)]
        } else {
            ranges.iter().map(|&(low, high)| ClassItem::Range(low, high)).collect()
        }))
    }

    fn unicode_class(&mut self, negated: bool) -> Parse<ClassItem> {
        let start = self.rest;
        let after = &start[2..];
        let len = match after.chars().next() {
            Some('{') => after.find('}').map(|end| end + 1),
            Some(c) => Some(c.len_utf8()),
            None => None,
        };
        let Some(len) = len else {
            return error("invalid character class range", start);
        };
        self.rest = &after[len..];
        let name = after[..len].trim_start_matches('{').trim_end_matches('}');
        let (name, caret) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
        match unicode_name(name) {
            Some(name) => Ok(ClassItem::Unicode { name, negated: negated != caret }),
            None => error("invalid character class range", &start[..2 + len]),
        }
    }

    /// A backslash and what follows it, when that is one character.
    fn escape(&mut self) -> Parse<char> {
        let start = self.rest;
        let Some(c) = start[1..].chars().next() else {
            return error("trailing backslash at end of expression", "");
        };
        self.rest = &start[1 + c.len_utf8()..];
        let value = match c {
            'a' => Some('\u{7}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            'x' => self.hex(),
            // A lone digit would be a reference to a group, which Go does not have.
            '1'..='7' if !self.rest.starts_with(|c| matches!(c, '0'..='7')) => None,
            '0'..='7' => self.octal(c),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c),
            _ => None,
        };
        let end = start.len() - self.rest.len();
        value.map_or_else(|| error("invalid escape sequence", &start[..end]), Ok)
    }

    fn hex(&mut self) -> Option<char> {
        let (digits, after) = match self.rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}')?,
            None => self.rest.split_at_checked(2)?,
        };
        self.rest = after;
        if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        char::from_u32(u32::from_str_radix(digits, 16).ok()?)
    }

    /// Up to two more octal digits.
    fn octal(&mut self, first: char) -> Option<char> {
        let mut value = u32::from(first) - u32::from('0');
        for _ in 0..2 {
            let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else {
                break;
            };
            value = value * 8 + digit;
            self.rest = &self.rest[1..];
        }
        char::from_u32(value)
    }

    fn class(&mut self) -> Parse<()> {
        let start = self.rest;
        self.rest = &self.rest[1..];
        let negated = self.rest.starts_with('^');
        if negated {
            self.rest = &self.rest[1..];
        }
        let mut items = Vec::new();
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            self.class_item(start, &mut items)?;
        }
        self.rest = &self.rest[1..];
        self.push(Node::Class(Class { negated, fold: self.flags.fold, items }));
        Ok(())
    }

    fn class_item(&mut self, class: &str, items: &mut Vec<ClassItem>) -> Parse<()> {
        if let Some(named) = self.posix_class()? {
            items.extend(named);
            return Ok(());
        }
        if let Some(escaped) = self.class_escape()? {
            items.extend(escaped);
            return Ok(());
        }
        let start = self.rest;
        let low = self.class_char(class)?;
        let mut high = low;
        // A dash before the closing bracket is itself.
        if self.rest.len() >= 2 && self.rest.starts_with('-') && !self.rest.starts_with("-]") {
            self.rest = &self.rest[1..];
            high = self.class_char(class)?;
            if high < low {
                return error("invalid character class range", &start[..start.len() - self.rest.len()]);
            }
        }
        items.push(ClassItem::Range(low, high));
        Ok(())
    }

    fn class_char(&mut self, class: &str) -> Parse<char> {
        match self.rest.chars().next() {
            None => error("missing closing ]", class),
            Some('\\') => self.escape(),
            Some(c) => {
                self.rest = &self.rest[c.len_utf8()..];
                Ok(c)
            }
        }
    }

    /// `[:name:]` or `[:^name:]`, if that comes next.
    fn posix_class(&mut self) -> Parse<Option<Vec<ClassItem>>> {
        let Some(end) = self.rest.strip_prefix("[:").and_then(|rest| rest.find(":]")) else {
            return Ok(None);
        };
        let whole = &self.rest[..end + 4];
        let name = &self.rest[2..end + 2];
        let (name, negated) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
        let Some((_, ranges)) = POSIX.iter().find(|(known, _)| *known == name) else {
            return error("invalid character class range", whole);
        };
        self.rest = &self.rest[end + 4..];
        Ok(Some(if negated {
            vec![ClassItem::Except(ranges)]
        } else {
            ranges.iter().map(|&(low, high)| ClassItem::Range(low, high)).collect()
        }))
    }
}

/// What `(?` began.
enum Opened {
    Group(Option<Capture>),
    FlagGroup(Flags),
    /// No group: flags for the rest of the surrounding one.
    Flags(Flags),
}

impl Frame {
    fn end_alternative(&mut self) {
        let mut items = std::mem::take(&mut self.items);
        self.repeats = items.iter().map(|item| item.repeats).max().unwrap_or(1).max(self.repeats);
        self.alternatives.push(match items.len() {
            0 => Node::Empty,
            1 => items.remove(0).node,
            _ => Node::Concat(items.into_iter().map(|item| item.node).collect()),
        });
    }

    fn close(mut self) -> Item {
        self.end_alternative();
        let node =
            if self.alternatives.len() == 1 { self.alternatives.remove(0) } else { Node::Alternate(self.alternatives) };
        Item { node, repeats: self.repeats }
    }

    fn close_group(mut self) -> Item {
        let capture = self.capture.take();
        let Item { node, repeats } = self.close();
        Item { node: Node::Group { node: Box::new(node), capture }, repeats }
    }
}

/// Bounds and length of the repetition the text begins with. None if it begins with a brace that is itself.
fn repetition(text: &str) -> Option<(u32, Option<u32>, usize)> {
    match text.as_bytes()[0] {
        b'*' => return Some((0, None, 1)),
        b'+' => return Some((1, None, 1)),
        b'?' => return Some((0, Some(1), 1)),
        _ => {}
    }
    let end = text.find('}')?;
    let (min, max) = match text[1..end].split_once(',') {
        None => (count(&text[1..end])?, Some(count(&text[1..end])?)),
        Some((min, "")) => (count(min)?, None),
        Some((min, max)) => (count(min)?, Some(count(max)?)),
    };
    Some((min, max, end + 1))
}

/// Digits without a leading zero. Numbers too large to hold are too large to repeat.
fn count(digits: &str) -> Option<u32> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some(digits.parse().unwrap_or(u32::MAX))
}

/// How the regex crate names a general category or script, if it knows it.
fn unicode_name(name: &str) -> Option<String> {
    if name.is_empty() || !name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphabetic()) {
        return None;
    }
    [format!("gc={name}"), format!("sc={name}")]
        .into_iter()
        .find(|name| regex::Regex::new(&format!("\\p{{{name}}}")).is_ok())
}

const DIGIT: [(char, char); 1] = [('0', '9')];
/// Without the vertical tab, unlike `[:space:]`.
const SPACE: [(char, char); 3] = [('\t', '\n'), ('\u{c}', '\r'), (' ', ' ')];
const WORD: [(char, char); 4] = [('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];

/// The named classes, all ASCII.
const POSIX: [(&str, &[(char, char)]); 14] = [
    ("alnum", &[('0', '9'), ('A', 'Z'), ('a', 'z')]),
    ("alpha", &[('A', 'Z'), ('a', 'z')]),
    ("ascii", &[('\0', '\u{7f}')]),
    ("blank", &[('\t', '\t'), (' ', ' ')]),
    ("cntrl", &[('\0', '\u{1f}'), ('\u{7f}', '\u{7f}')]),
    ("digit", &DIGIT),
    ("graph", &[('!', '~')]),
    ("lower", &[('a', 'z')]),
    ("print", &[(' ', '~')]),
    ("punct", &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
    ("space", &[('\t', '\r'), (' ', ' ')]),
    ("upper", &[('A', 'Z')]),
    ("word", &WORD),
    ("xdigit", &[('0', '9'), ('A', 'F'), ('a', 'f')]),
];
