//! Queries as trees of typed parts, which can be printed and made smaller.

use std::fmt;

use tsq_promql::ValueType;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tree {
    pub(crate) value_type: ValueType,
    pub(crate) parts: Vec<Part>,
}

/// A piece of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Text(String),
    Child(Tree),
    /// May be left out.
    Option(Vec<Part>),
}

impl Tree {
    pub(crate) fn new(value_type: ValueType) -> Self {
        Self { value_type, parts: Vec::new() }
    }

    pub(crate) fn text(mut self, text: impl Into<String>) -> Self {
        self.parts.push(Part::Text(text.into()));
        self
    }

    pub(crate) fn child(mut self, child: Tree) -> Self {
        self.parts.push(Part::Child(child));
        self
    }

    /// Adds a text that may be left out. An empty one is no part.
    pub(crate) fn option(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        if !text.is_empty() {
            self.parts.push(Part::Option(vec![Part::Text(text)]));
        }
        self
    }

    /// Trees that are smaller by one change, the smallest first. The first ones are parts that can stand for the whole.
    pub(crate) fn smaller(&self) -> Vec<Tree> {
        let mut found: Vec<Tree> = self.descendants().into_iter().filter(|tree| tree.stands_alone()).cloned().collect();
        found.extend(self.replaced());
        found.sort_by_key(Tree::size);
        found.dedup();
        found
    }

    /// Whether Prometheus answers queries of this type in both kinds of queries.
    fn stands_alone(&self) -> bool {
        matches!(self.value_type, ValueType::Vector | ValueType::Scalar)
    }

    /// Trees with one change somewhere inside.
    fn replaced(&self) -> Vec<Tree> {
        let mut found = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            let mut put = |parts: Vec<Part>| {
                let mut tree = self.clone();
                tree.parts.splice(index..=index, parts);
                found.push(tree);
            };
            match part {
                Part::Text(_) => {}
                Part::Option(_) => put(Vec::new()),
                Part::Child(child) => {
                    let same_type = |tree: &&&Tree| tree.value_type == child.value_type;
                    child
                        .descendants()
                        .iter()
                        .filter(same_type)
                        .for_each(|tree| put(vec![Part::Child((*tree).clone())]));
                    if let Some(simple) = child.simplest() {
                        put(vec![Part::Child(simple)]);
                    }
                    child.replaced().into_iter().for_each(|tree| put(vec![Part::Child(tree)]));
                }
            }
        }
        found
    }

    /// The simplest expression of the same type, if this is not it.
    fn simplest(&self) -> Option<Tree> {
        let text = match self.value_type {
            ValueType::Scalar => "1",
            ValueType::Vector => "lone",
            ValueType::Matrix => "lone[5m]",
            ValueType::String => return None,
        };
        let simplest = Tree::new(self.value_type).text(text);
        (simplest != *self).then_some(simplest)
    }

    /// All expressions inside, not this one.
    fn descendants(&self) -> Vec<&Tree> {
        let children = self.parts.iter().filter_map(|part| match part {
            Part::Child(child) => Some(child),
            _ => None,
        });
        children.flat_map(|child| std::iter::once(child).chain(child.descendants())).collect()
    }

    fn size(&self) -> usize {
        self.to_string().len()
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| part.fmt(f))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Text(text) => f.write_str(text),
            Part::Child(child) => child.fmt(f),
            Part::Option(parts) => parts.iter().try_for_each(|part| part.fmt(f)),
        }
    }
}

#[test]
fn trees_get_smaller_and_keep_their_type() {
    let vector = |text: &str| Tree::new(ValueType::Vector).text(text);
    let range = Tree::new(ValueType::Matrix).child(vector("(a + b)")).text("[5m:1m]").option(" offset 1m");
    let tree = vector("sum").option(" by (x)").text("(").child(vector("rate(").child(range).text(")")).text(")");
    assert_eq!(tree.to_string(), "sum by (x)(rate((a + b)[5m:1m] offset 1m))");
    let smaller: Vec<String> = tree.smaller().iter().map(Tree::to_string).collect();
    for wanted in
        ["(a + b)", "sum(rate((a + b)[5m:1m] offset 1m))", "sum by (x)((a + b))", "sum by (x)(rate(lone[5m]))"]
    {
        assert!(smaller.iter().any(|text| text == wanted), "{wanted} is not in {smaller:?}");
    }
    assert!(!smaller.iter().any(|text| text == "(a + b)[5m:1m] offset 1m"), "no range vector");
    assert!(smaller.is_sorted_by_key(String::len), "the smallest first");
}
