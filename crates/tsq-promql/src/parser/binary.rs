//! Precedence of binary operators and what may follow them: `bool`, `on`, `group_left`, `fill`.

use super::{Parse, Parser, Within, fail};
use crate::ast::{BinaryOp, Group, Matching};
use crate::go_text::quote;
use crate::lexer::{Kind, Word};

/// How strongly `^` binds; signs leave weaker operators to what surrounds them.
pub(super) const POWER: u8 = 12;

/// How strongly an operator binds to its left and right side.
pub(super) fn binding(op: BinaryOp) -> (u8, u8) {
    let level = match op {
        BinaryOp::Or => 2,
        BinaryOp::And | BinaryOp::Unless => 4,
        BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Less
        | BinaryOp::LessEqual
        | BinaryOp::Greater
        | BinaryOp::GreaterEqual
        | BinaryOp::TrimUpper
        | BinaryOp::TrimLower => 6,
        BinaryOp::Add | BinaryOp::Sub => 8,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 10,
        // The only one that groups to the right.
        BinaryOp::Pow => return (POWER, POWER),
    };
    (level, level + 1)
}

impl Parser<'_> {
    /// `bool` and how the vectors match.
    #[inline(never)]
    pub(super) fn binary_modifiers(&mut self) -> Parse<Box<(bool, Matching)>> {
        let return_bool = self.accept(Kind::Word(Word::Bool))?;
        let mut matching = Matching::default();
        if let Kind::Word(word @ (Word::On | Word::Ignoring)) = self.token.kind {
            self.advance()?;
            matching.explicit = true;
            matching.on = word == Word::On;
            matching.labels = self.grouping_labels()?;
            self.group_modifier(&mut matching)?;
        }
        self.fill_modifiers(&mut matching)?;
        Ok(Box::new((return_bool, matching)))
    }

    fn group_modifier(&mut self, matching: &mut Matching) -> Parse<()> {
        matching.group = match self.token.kind {
            Kind::Word(Word::GroupLeft) => Group::Left,
            Kind::Word(Word::GroupRight) => Group::Right,
            _ => return Ok(()),
        };
        self.advance()?;
        if self.token.kind == Kind::LeftParen {
            matching.include = self.grouping_labels()?;
        }
        Ok(())
    }

    fn fill_modifiers(&mut self, matching: &mut Matching) -> Parse<()> {
        if self.accept(Kind::Word(Word::Fill))? {
            let value = self.fill_value()?;
            (matching.fill_left, matching.fill_right) = (Some(value), Some(value));
            return Ok(());
        }
        loop {
            let side = match self.token.kind {
                Kind::Word(Word::FillLeft) if matching.fill_left.is_none() => &mut matching.fill_left,
                Kind::Word(Word::FillRight) if matching.fill_right.is_none() => &mut matching.fill_right,
                _ => return Ok(()),
            };
            self.advance()?;
            *side = Some(self.fill_value()?);
        }
    }

    fn fill_value(&mut self) -> Parse<f64> {
        self.expect(Kind::LeftParen)?;
        let value = self.signed_number()?;
        self.expect(Kind::RightParen)?;
        Ok(value)
    }

    /// A number or duration with at most one sign.
    pub(super) fn signed_number(&mut self) -> Parse<f64> {
        let negate = self.token.kind == Kind::Op(BinaryOp::Sub);
        if matches!(self.token.kind, Kind::Op(BinaryOp::Add | BinaryOp::Sub)) {
            self.advance()?;
        }
        if !matches!(self.token.kind, Kind::Number | Kind::Duration) {
            return self.unexpected();
        }
        let token = self.advance()?;
        let value = self.number(token)?;
        Ok(if negate { -value } else { value })
    }

    /// `(label, "label", ...)`
    pub(super) fn grouping_labels(&mut self) -> Parse<Vec<String>> {
        self.expect(Kind::LeftParen).within("grouping opts", "\"(\"")?;
        let mut labels = Vec::new();
        while self.token.kind != Kind::RightParen {
            labels.push(self.grouping_label().within("grouping opts", "label")?);
            match self.token.kind {
                Kind::Comma => {
                    self.advance()?;
                }
                Kind::RightParen => {}
                _ => return self.unexpected().within("grouping opts", "\",\" or \")\""),
            }
        }
        self.advance()?;
        Ok(labels)
    }

    fn grouping_label(&mut self) -> Parse<String> {
        if self.token.kind == Kind::String {
            let token = self.advance()?;
            let label = self.string(token)?;
            if label.is_empty() {
                return fail(token.range, format!("invalid label name for grouping: {}", quote(&label)));
            }
            return Ok(label);
        }
        if !is_label_name(self.token.kind) {
            return self.unexpected();
        }
        let token = self.advance()?;
        Ok(self.text_of(token.range).to_owned())
    }
}

/// Whether the token can name a label in `by`, `on` and their like.
fn is_label_name(kind: Kind) -> bool {
    use BinaryOp::{And, Atan2, Or, Unless};
    match kind {
        Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregate(_) | Kind::Op(And | Or | Unless | Atan2) => true,
        Kind::Word(word) => word != Word::Without,
        _ => false,
    }
}
