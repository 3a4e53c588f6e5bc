//! MLflow's filter language: comparisons joined by AND, and the order of what is found. Parsed here, compiled to SQL
//! with parameters: no text of a client becomes SQL.

mod compile;
mod entities;
mod lexer;
mod like;
mod parser;

pub(crate) use compile::Query;
pub(crate) use entities::{
    Attribute, EXPERIMENTS, Entity, Kind, LOGGED_MODELS, MODEL_VERSIONS, REGISTERED_MODELS, RUNS, Scope,
};
pub(crate) use like::like;

/// A filter and an order.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) entity: &'static Entity,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) order: Vec<Order>,
}

/// What is compared or ordered by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
    Attribute(&'static Attribute),
    /// A metric, param, tag or field of a dataset by its key.
    Keyed(Scope, String),
}

/// One comparison.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    pub(crate) field: Field,
    pub(crate) comparison: Comparison,
}

/// How a field compares, and with what.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Comparison {
    Number(Operator, f64),
    Text(Operator, String),
    Like { pattern: String, ignore_case: bool },
    In { values: Vec<String>, negated: bool },
    Null { negated: bool },
}

/// An operator of comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Operator {
    /// As it is written in filters, and in SQL.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
        }
    }
}

/// One key of the order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Order {
    pub(crate) field: Field,
    pub(crate) descending: bool,
}
