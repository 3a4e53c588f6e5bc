//! The shape of JSON: its keys in order and the types of its values. A repeated key is no shape.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// What kind of value stands where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Null,
    Bool,
    Number,
    Text,
    /// The different shapes among the elements.
    List(Vec<Shape>),
    /// Keys in the order in which they are written.
    Object(Vec<(String, Shape)>),
}

impl Shape {
    /// The shape of a JSON text.
    pub(crate) fn of(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Whether a value of shape `other` can be read by what reads this one: lists may be empty in either, and objects of
    /// `other` have `more` keys if that is set.
    pub(crate) fn matches(&self, other: &Self, more: bool) -> bool {
        match (self, other) {
            (Self::List(one), Self::List(two)) => {
                one.is_empty()
                    || two.is_empty()
                    || (one.iter().all(|a| two.iter().any(|b| a.matches(b, more)))
                        && two.iter().all(|b| one.iter().any(|a| a.matches(b, more))))
            }
            (Self::Object(one), Self::Object(two)) => {
                (one.len() == two.len() || (more && one.len() < two.len()))
                    && one.iter().zip(two).all(|(a, b)| a.0 == b.0 && a.1.matches(&b.1, more))
            }
            _ => self == other,
        }
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated keys")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Bool)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Number)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut shapes = Vec::new();
        while let Some(shape) = list.next_element()? {
            if !shapes.contains(&shape) {
                shapes.push(shape);
            }
        }
        Ok(Shape::List(shapes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut pairs: Vec<(String, Shape)> = Vec::new();
        while let Some((key, shape)) = map.next_entry::<String, Shape>()? {
            if pairs.iter().any(|(known, _)| *known == key) {
                return Err(serde::de::Error::custom(format!("the key {key:?} is repeated")));
            }
            pairs.push((key, shape));
        }
        Ok(Shape::Object(pairs))
    }
}

#[test]
fn shapes() {
    let shape = |text: &str| Shape::of(text.as_bytes());
    let one = shape(r#"{"a":[1,2.5],"b":{"c":"x","d":null}}"#).expect("JSON");
    assert!(one.matches(&shape(r#"{"a":[],"b":{"c":"y","d":null}}"#).expect("JSON"), false));
    assert!(!one.matches(&shape(r#"{"a":["1"],"b":{"c":"y","d":null}}"#).expect("JSON"), true), "another type");
    assert!(!one.matches(&shape(r#"{"b":{"c":"y","d":null},"a":[1]}"#).expect("JSON"), true), "another order");
    let longer = shape(r#"{"a":[1],"b":{"c":"y","d":null,"e":1}}"#).expect("JSON");
    assert!(one.matches(&longer, true) && !one.matches(&longer, false) && !longer.matches(&one, true));
    assert!(shape(r#"{"a":1,"a":2}"#).is_err(), "a repeated key");
}
