//! Patterns of texts, single wildcards (`.`) and runs of them (`.*`, `.+`), matched without the regex engine: such as
//! unescaped host names and version numbers.

/// Single wildcards that one run may begin with.
const WILDCARDS_MAX: u32 = 1000;

/// Texts and wildcards in order.
#[derive(Debug)]
pub(super) struct Glob {
    /// Divided by runs of any length.
    parts: Vec<Part>,
}

/// What has a fixed number of characters.
#[derive(Debug, Default)]
struct Part(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(String),
    /// So many characters, whatever they are.
    Any(usize),
}

impl Glob {
    /// A pattern that matches the empty value alone.
    pub(super) fn new() -> Self {
        Self { parts: vec![Part::default()] }
    }

    fn last(&mut self) -> &mut Vec<Piece> {
        &mut self.parts.last_mut().expect("there is always one").0
    }

    /// Adds a character.
    pub(super) fn char(&mut self, c: char) {
        match self.last().last_mut() {
            Some(Piece::Text(text)) => text.push(c),
            _ => self.last().push(Piece::Text(c.to_string())),
        }
    }

    /// Adds wildcards, `min` of them or, when there is no `max`, that many or more; `false` when it cannot say so.
    pub(super) fn any(&mut self, min: u32, max: Option<u32>) -> bool {
        if min > WILDCARDS_MAX || max.is_some_and(|max| max != min) {
            return false;
        }
        if min > 0 {
            self.last().push(Piece::Any(min as usize));
        }
        if max.is_none() {
            self.parts.push(Part::default());
        }
        true
    }

    /// Whether the whole value matches.
    pub(super) fn is_match(&self, value: &str) -> bool {
        let [first, rest @ ..] = &self.parts[..] else { return false };
        let Some(mut value) = first.strip(value) else { return false };
        let [middle @ .., last] = rest else { return value.is_empty() };
        for part in middle {
            // The leftmost place leaves the most for what follows.
            match part.find(value) {
                Some(after) => value = after,
                None => return false,
            }
        }
        last.ends(value)
    }
}

impl Part {
    /// What follows the part at the start of a value, if it is there.
    fn strip<'v>(&self, value: &'v str) -> Option<&'v str> {
        self.0.iter().try_fold(value, |value, piece| match piece {
            Piece::Text(text) => value.strip_prefix(text.as_str()),
            Piece::Any(count) => {
                let mut chars = value.chars();
                chars.nth(count - 1)?;
                Some(chars.as_str())
            }
        })
    }

    /// What follows the first place that has the part.
    fn find<'v>(&self, value: &'v str) -> Option<&'v str> {
        let mut rest = value;
        loop {
            // A text that it begins with leads to the next place at once.
            if let Some(Piece::Text(text)) = self.0.first() {
                rest = &rest[rest.find(text.as_str())?..];
            }
            if let Some(after) = self.strip(rest) {
                return Some(after);
            }
            let mut chars = rest.chars();
            chars.next()?;
            rest = chars.as_str();
        }
    }

    /// Whether a value ends with the part.
    fn ends(&self, value: &str) -> bool {
        let chars = |piece: &Piece| match piece {
            Piece::Text(text) => text.chars().count(),
            Piece::Any(count) => *count,
        };
        let start = match self.0.iter().map(chars).sum::<usize>() {
            0 => return true,
            count => value.char_indices().rev().nth(count - 1),
        };
        start.is_some_and(|(start, _)| self.strip(&value[start..]).is_some_and(str::is_empty))
    }
}
