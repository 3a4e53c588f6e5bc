//! From pieces to conditions and orders.

use super::entities::names_attributes;
use super::lexer::{Token, TokenKind, tokens};
use super::{Comparison, Condition, Entity, Field, Filter, Kind, Operator, Order, Scope};
use crate::error::{Error, Result};

/// Conditions of a filter, keys of an order, and values of a list.
const PARTS_MAX: usize = 100;
const VALUES_MAX: usize = 10_000;

/// Fields of datasets.
pub(super) const DATASET_FIELDS: [&str; 3] = ["name", "digest", "context"];

impl Filter {
    /// Parses a filter and the keys of an order.
    ///
    /// # Errors
    /// `Invalid`, saying what is wrong at which character.
    pub(crate) fn parse(filter: &str, order_by: &[String], entity: &'static Entity) -> Result<Self> {
        let mut parser = Parser { tokens: tokens(filter)?, at: 0, entity };
        let conditions = parser.conditions()?;
        if order_by.len() > PARTS_MAX {
            return Err(Error::invalid(format!("Invalid order_by: it has more than {PARTS_MAX} keys")));
        }
        let order = order_by.iter().map(|key| {
            let mut parser = Parser { tokens: tokens(key)?, at: 0, entity };
            parser.order().map_err(|error| Error::invalid(format!("{} in order_by {key:?}", error.message())))
        });
        Ok(Self { entity, conditions, order: order.collect::<Result<_>>()? })
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    entity: &'static Entity,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn take_word(&mut self, keyword: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token { kind: TokenKind::Word(word, None), .. })
            if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(found);
        found
    }

    fn fail<T>(&self, wanted: &str, found: Option<&Token>) -> Result<T> {
        let message = match found {
            None => format!("Invalid filter: expected {wanted} at its end"),
            Some(token) => format!("Invalid filter: expected {wanted} at character {}", token.at),
        };
        Err(Error::invalid(message))
    }

    fn conditions(&mut self) -> Result<Vec<Condition>> {
        let mut found = Vec::new();
        if self.tokens.is_empty() {
            return Ok(found);
        }
        loop {
            found.push(self.condition()?);
            if found.len() > PARTS_MAX {
                return Err(Error::invalid(format!("Invalid filter: it has more than {PARTS_MAX} conditions")));
            }
            if self.at == self.tokens.len() {
                return Ok(found);
            }
            if !self.take_word("AND") {
                let token = self.next();
                return self.fail("AND (there is no OR, and there are no parentheses)", token.as_ref());
            }
        }
    }

    fn condition(&mut self) -> Result<Condition> {
        let field = self.field()?;
        let comparison = self.comparison(&field)?;
        Ok(Condition { field, comparison })
    }

    fn order(&mut self) -> Result<Order> {
        let field = self.field()?;
        if matches!(field, Field::Keyed(Scope::Dataset, _)) {
            return Err(Error::invalid("Invalid order_by: datasets have no order"));
        }
        let descending = self.take_word("DESC");
        if !descending {
            self.take_word("ASC");
        }
        match self.next() {
            None => Ok(Order { field, descending }),
            token => self.fail("ASC, DESC or nothing", token.as_ref()),
        }
    }

    fn field(&mut self) -> Result<Field> {
        const WANTED: &str = "a name such as metrics.loss, params.lr, tags.team or status";
        let token = self.next();
        let (scope, key, at) = match token {
            Some(Token { kind: TokenKind::Word(scope, Some(key)), at }) => {
                (scope[..scope.len() - 1].to_owned(), key, at)
            }
            Some(Token { kind: TokenKind::Word(name, None) | TokenKind::Quoted('`' | '"', name), at }) => {
                match name.split_once('.') {
                    Some((scope, key)) => (scope.to_owned(), key.to_owned(), at),
                    None => (String::new(), name, at),
                }
            }
            token => return self.fail(WANTED, token.as_ref()),
        };
        if scope.is_empty() || names_attributes(&scope) {
            return self.entity.attribute(&key).map(Field::Attribute).ok_or_else(|| {
                let known: Vec<_> = self.entity.attributes.iter().map(|attribute| attribute.names[0]).collect();
                let known = known.join(", ");
                Error::invalid(format!("Invalid attribute key {key:?} at character {at}: the known ones are {known}"))
            });
        }
        let scope = Scope::named(&scope)
            .filter(|scope| self.entity.keyed(*scope).is_some())
            .ok_or_else(|| Error::invalid(format!("Invalid entity type {scope:?} at character {at}")))?;
        if scope == Scope::Dataset && !DATASET_FIELDS.contains(&key.as_str()) {
            let message =
                format!("Invalid dataset key {key:?} at character {at}: the known ones are {DATASET_FIELDS:?}");
            return Err(Error::invalid(message));
        }
        Ok(Field::Keyed(scope, key))
    }

    fn comparison(&mut self, field: &Field) -> Result<Comparison> {
        let kind = match field {
            Field::Attribute(attribute) => attribute.kind,
            Field::Keyed(Scope::Metric, _) => Kind::Number,
            Field::Keyed(..) => Kind::Text,
        };
        let is_keyed = matches!(field, Field::Keyed(Scope::Param | Scope::Tag, _));
        if self.take_word("IS") {
            let negated = self.take_word("NOT");
            let token = self.tokens.get(self.at).cloned();
            if !self.take_word("NULL") {
                return self.fail("NULL or NOT NULL", token.as_ref());
            }
            if !is_keyed {
                return Err(Error::invalid("Invalid filter: IS NULL is for params and tags"));
            }
            return Ok(Comparison::Null { negated });
        }
        let token = self.tokens.get(self.at).cloned();
        for (keyword, ignore_case) in [("LIKE", false), ("ILIKE", true)] {
            if self.take_word(keyword) {
                if kind == Kind::Number {
                    return self.fail("one of = != > >= < <= (it compares with a number)", token.as_ref());
                }
                return Ok(Comparison::Like { pattern: self.text()?, ignore_case });
            }
        }
        let negated = self.take_word("NOT");
        if self.take_word("IN") {
            if kind == Kind::Number || is_keyed {
                return self.fail("another operator: IN is for attributes that are texts", token.as_ref());
            }
            return Ok(Comparison::In { values: self.list()?, negated });
        }
        if negated {
            let token = self.next();
            return self.fail("IN", token.as_ref());
        }
        let operator = self.operator(kind)?;
        match kind {
            Kind::Number => Ok(Comparison::Number(operator, self.number()?)),
            Kind::Text => Ok(Comparison::Text(operator, self.text()?)),
        }
    }

    fn operator(&mut self, kind: Kind) -> Result<Operator> {
        const ALL: [Operator; 6] = [
            Operator::Equal,
            Operator::NotEqual,
            Operator::Less,
            Operator::LessEqual,
            Operator::Greater,
            Operator::GreaterEqual,
        ];
        let allowed = if kind == Kind::Text { &ALL[..2] } else { &ALL[..] };
        let token = self.next();
        let found = match &token {
            Some(Token { kind: TokenKind::Operator(text), .. }) => allowed.iter().find(|known| known.text() == *text),
            _ => None,
        };
        match found {
            Some(operator) => Ok(*operator),
            None if kind == Kind::Text => self.fail("one of = != LIKE ILIKE", token.as_ref()),
            None => self.fail("one of = != > >= < <=", token.as_ref()),
        }
    }

    fn number(&mut self) -> Result<f64> {
        let token = self.next();
        let starts = |word: &str| word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
        let parsed = match &token {
            Some(Token { kind: TokenKind::Word(word, None), .. }) if starts(word) => word.parse::<f64>().ok(),
            _ => None,
        };
        match parsed.filter(|number| number.is_finite()) {
            Some(number) => Ok(number),
            None => self.fail("a number", token.as_ref()),
        }
    }

    fn text(&mut self) -> Result<String> {
        match self.next() {
            Some(Token { kind: TokenKind::Quoted('\'' | '"', text), .. }) => Ok(text),
            token => self.fail("a text in quotes", token.as_ref()),
        }
    }

    fn list(&mut self) -> Result<Vec<String>> {
        let token = self.next();
        if !matches!(token, Some(Token { kind: TokenKind::Open, .. })) {
            return self.fail("a list such as ('a', 'b')", token.as_ref());
        }
        let mut values = Vec::new();
        loop {
            values.push(self.text()?);
            if values.len() > VALUES_MAX {
                return Err(Error::invalid(format!("Invalid filter: a list has more than {VALUES_MAX} values")));
            }
            match self.next() {
                Some(Token { kind: TokenKind::Comma, .. }) => {
                    // A comma may come last, as in Python's tuples of one.
                    if matches!(self.tokens.get(self.at), Some(Token { kind: TokenKind::Close, .. })) {
                        self.at += 1;
                        return Ok(values);
                    }
                }
                Some(Token { kind: TokenKind::Close, .. }) => return Ok(values),
                token => return self.fail("a comma or the end of the list", token.as_ref()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EXPERIMENTS, RUNS};
    use super::*;

    fn parse(filter: &str) -> Result<Vec<Condition>> {
        Ok(Filter::parse(filter, &[], &RUNS)?.conditions)
    }

    #[test]
    fn filters_of_all_forms() {
        for filter in [
            "",
            "  ",
            "metrics.accuracy >= 0.5 and params.lr = '0.1'",
            "metric.`a b/c` != -1e-5 AND metrics.\"x.y\"<2",
            "parameters.\"a b\" LIKE 'x%' AND tags.mlflow.source.name ILIKE \"%y\"",
            "tag.team IS NULL and params.x is not null",
            "status = 'FINISHED' and attributes.start_time > 17",
            "run_id IN ('a', 'b',) and attr.run_name NOT IN (\"c\")",
            "attributes.`Run name` = 'x' and `metrics.loss`>1",
            "dataset.name = 'd' and datasets.context LIKE 'tr%'",
        ] {
            assert!(parse(filter).is_ok(), "{filter}: {:?}", parse(filter));
        }
        let one = &parse("metrics.a.b = 1").unwrap()[0];
        assert_eq!(one.field, Field::Keyed(Scope::Metric, "a.b".to_owned()));
    }

    #[test]
    fn errors_say_where() {
        for (filter, at) in [
            ("metrics.a > 'x'", "character 13"),
            ("metrics.a LIKE 'x'", "character 11"),
            ("params.a > 'x'", "character 10"),
            ("params.a = 5", "character 12"),
            ("params.a = 'x' or params.b = 'y'", "character 16"),
            ("params.a = 'x", "character 12"),
            ("nothing = 'x'", "character 1"),
            ("things.x = 'x'", "character 1"),
            ("dataset.size = 'x'", "character 1"),
            ("status IN 'x'", "character 11"),
            ("start_time IN ('x')", "character 12"),
            ("metrics.a >", "at its end"),
            ("metrics.a > nan", "character 13"),
            ("(metrics.a > 1)", "character 1"),
            ("params.a = 'x';", "character 15"),
            ("status IS NULL", "IS NULL"),
        ] {
            let error = parse(filter).unwrap_err();
            assert!(error.message().contains(at), "{filter}: {error}");
        }
        assert!(Filter::parse("metrics.a > 1", &[], &EXPERIMENTS).is_err());
    }

    #[test]
    fn orders() {
        let order = |key: &str| Filter::parse("", &[key.to_owned()], &RUNS).map(|filter| filter.order[0].clone());
        assert!(order("metrics.`a b` DESC").unwrap().descending);
        assert!(!order("start_time").unwrap().descending && !order("params.x asc").unwrap().descending);
        for wrong in ["", "metrics.a UP", "nothing", "dataset.name", "metrics.a DESC DESC"] {
            assert!(order(wrong).is_err(), "{wrong}");
        }
    }
}
