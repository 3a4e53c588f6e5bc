//! From conditions to SQL. Texts and numbers of clients become parameters.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::entities::{Entity, Kind, Scope};
use super::{Comparison, Condition, Field, Filter, Operator, Order};
use crate::catalog::key_of;
use crate::error::Result;

/// A key that no run has.
const NO_KEY: i64 = -1;

/// A tag that counts as `false` where it is missing: MLflow's clients leave prompts out of lists of models by it.
const PROMPT_TAG: &str = "mlflow.prompt.is_prompt";

/// A search as SQL: which numbers, in which order.
#[derive(Debug)]
pub(crate) struct Query {
    entity: &'static Entity,
    joins: Vec<String>,
    conditions: Vec<String>,
    order: Vec<String>,
    pub(crate) args: Vec<Value>,
    /// Keys that are joined already; the number of each is its place.
    joined: Vec<(Scope, String)>,
}

impl Filter {
    /// The search as SQL.
    pub(crate) fn compile(&self, connection: &Connection) -> Result<Query> {
        let mut query = Query {
            entity: self.entity,
            joins: Vec::new(),
            conditions: Vec::new(),
            order: Vec::new(),
            args: Vec::new(),
            joined: Vec::new(),
        };
        for condition in &self.conditions {
            query.add_condition(connection, condition)?;
        }
        for order in &self.order {
            query.add_order(connection, order)?;
        }
        query.order.push(self.entity.order.to_owned());
        Ok(query)
    }
}

impl Query {
    /// The SQL that gives numbers; its last two parameters are a limit and an offset.
    pub(crate) fn sql(&self) -> String {
        let Entity { table, id, .. } = self.entity;
        let (joins, order) = (self.joins.join(" "), self.order.join(", "));
        let conditions = if self.conditions.is_empty() { "1".to_owned() } else { self.conditions.join(" AND ") };
        let args = self.args.len();
        format!(
            "SELECT {id} FROM {table} {joins} WHERE {conditions} ORDER BY {order} LIMIT ?{} OFFSET ?{}",
            args + 1,
            args + 2
        )
    }

    /// Adds a condition that is no text of a client.
    pub(crate) fn and(&mut self, condition: impl Into<String>) {
        self.conditions.push(condition.into());
    }

    /// Adds a parameter and gives its name.
    pub(crate) fn arg(&mut self, value: impl Into<Value>) -> String {
        self.args.push(value.into());
        format!("?{}", self.args.len())
    }

    fn add_condition(&mut self, connection: &Connection, condition: &Condition) -> Result<()> {
        let sql = match &condition.field {
            Field::Attribute(attribute) => {
                let column = match attribute.kind {
                    Kind::Text => format!("coalesce({}, '')", attribute.sql),
                    Kind::Number => attribute.sql.to_owned(),
                };
                self.compared(&column, &condition.comparison)
            }
            Field::Keyed(Scope::Dataset, field) => self.dataset(field, &condition.comparison),
            Field::Keyed(scope, key) => {
                let alias = self.join(connection, *scope, key)?;
                let column = match key.as_str() {
                    PROMPT_TAG => format!("coalesce({alias}.value, 'false')"),
                    _ => format!("{alias}.value"),
                };
                let compared = self.compared(&column, &condition.comparison);
                match condition.comparison {
                    // NaN is stored as NULL beside a key: it differs from every number.
                    Comparison::Number(Operator::NotEqual, _) => {
                        format!("({alias}.key IS NOT NULL AND ({alias}.value IS NULL OR {compared}))")
                    }
                    _ => compared,
                }
            }
        };
        self.conditions.push(sql);
        Ok(())
    }

    fn compared(&mut self, column: &str, comparison: &Comparison) -> String {
        match comparison {
            Comparison::Number(operator, number) => format!("{column} {} {}", operator.text(), self.arg(*number)),
            Comparison::Text(operator, text) => format!("{column} {} {}", operator.text(), self.arg(text.clone())),
            Comparison::Like { pattern, ignore_case } => {
                let function = if *ignore_case { "text_ilike" } else { "text_like" };
                format!("{function}({}, {column})", self.arg(pattern.clone()))
            }
            Comparison::In { values, negated } => {
                let args: Vec<_> = values.iter().map(|value| self.arg(value.clone())).collect();
                format!("{column} {}IN ({})", if *negated { "NOT " } else { "" }, args.join(", "))
            }
            Comparison::Null { negated } => format!("{column} IS {}NULL", if *negated { "NOT " } else { "" }),
        }
    }

    fn dataset(&mut self, field: &str, comparison: &Comparison) -> String {
        let compared = match field {
            "context" => {
                let compared = self.compared("t.value", comparison);
                format!("t.key = 'mlflow.data.context' AND {compared}")
            }
            "name" => self.compared("d.name", comparison),
            _ => self.compared("d.digest", comparison),
        };
        format!(
            "EXISTS (SELECT 1 FROM inputs i JOIN datasets d ON d.id = i.dataset LEFT JOIN input_tags t \
             ON t.run = i.run AND t.dataset = i.dataset WHERE i.run = {} AND {compared})",
            self.entity.id
        )
    }

    /// The name under which what things have for a key is joined.
    fn join(&mut self, connection: &Connection, scope: Scope, key: &str) -> Result<String> {
        let known = self.joined.iter().position(|(known, name)| *known == scope && name == key);
        if let Some(place) = known {
            return Ok(format!("k{place}"));
        }
        let alias = format!("k{}", self.joined.len());
        self.joined.push((scope, key.to_owned()));
        let (table, owner, interned) = self.entity.keyed(scope).expect("the parser checked the scope");
        let arg = match interned {
            true => {
                let key = key_of(connection, key)?.unwrap_or(NO_KEY);
                self.arg(key)
            }
            false => self.arg(key.to_owned()),
        };
        let id = self.entity.id;
        self.joins.push(format!("LEFT JOIN {table} {alias} ON {alias}.key = {arg} AND {alias}.{owner} = {id}"));
        Ok(alias)
    }

    /// Numbers before NaN before things that lack the key, in both directions.
    fn add_order(&mut self, connection: &Connection, order: &Order) -> Result<()> {
        let direction = if order.descending { "DESC" } else { "ASC" };
        match &order.field {
            Field::Attribute(attribute) => {
                self.order.push(format!("{} IS NULL", attribute.sql));
                self.order.push(format!("{} {direction}", attribute.sql));
            }
            Field::Keyed(scope, key) => {
                let alias = self.join(connection, *scope, key)?;
                self.order.push(format!("{alias}.key IS NULL"));
                self.order.push(format!("{alias}.value IS NULL"));
                self.order.push(format!("{alias}.value {direction}"));
            }
        }
        Ok(())
    }
}
