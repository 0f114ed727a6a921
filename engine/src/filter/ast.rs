//! Filters as they are evaluated.

use std::fmt;

use super::like::Pattern;
use super::value::{Comparison, List, Literal, Truth, Value, and, not, or};

/// The most segments of a path, which bounds how deep payloads are followed.
pub(crate) const MAX_PATH: usize = 64;

/// Where a field is in a payload: the keys of nested objects, outermost first. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FieldPath(pub(crate) Vec<String>);

impl FieldPath {
    /// Reads a path as it is declared for an index: keys with dots between them; a key of other
    /// characters than letters, digits and `_` stands in double quotes, doubled inside.
    ///
    /// `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<FieldPath> {
        let mut keys = Vec::new();
        let mut rest = text;
        loop {
            let key;
            (key, rest) = match rest.strip_prefix('"') {
                Some(quoted) => quoted_key(quoted)?,
                None => {
                    let end = rest.find('.').unwrap_or(rest.len());
                    let (key, behind) = rest.split_at(end);
                    if key.is_empty() || key.contains('"') {
                        return None;
                    }
                    (key.to_owned(), behind)
                }
            };
            keys.push(key);
            if rest.is_empty() {
                return (keys.len() <= MAX_PATH).then_some(FieldPath(keys));
            }
            rest = rest.strip_prefix('.')?;
        }
    }
}

/// A key up to its closing quote, and what follows.
fn quoted_key(text: &str) -> Option<(String, &str)> {
    let mut key = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        key.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                key.push('"');
                rest = more;
            }
            None => return Some((key, rest)),
        }
    }
}

/// The one way to write the path: equal paths, and only they, give equal texts.
impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, key) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(".")?;
            }
            let bare = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_');
            if bare {
                f.write_str(key)?;
            } else {
                write!(f, "\"{}\"", key.replace('"', "\"\""))?;
            }
        }
        Ok(())
    }
}

/// A condition. Fields are numbered: their values come in a slice.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Constant(Truth),
    /// A condition on one field.
    Test(usize, Test),
    CompareFields(usize, Comparison, usize),
    /// `IS TRUE`, `IS FALSE`, `IS UNKNOWN`.
    Is(Box<Node>, Truth),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
}

/// What is asked of one field.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    /// The field itself, as a condition.
    Holds,
    IsNull,
    /// With a literal that is not null.
    Compare(Comparison, Literal),
    /// Between two literals of one type, both included.
    Between(Literal, Literal),
    In(List),
    Like(Pattern),
}

impl Node {
    /// What the condition says of a row whose fields have these values.
    pub(crate) fn evaluate(&self, values: &[Value<'_>]) -> Truth {
        let value = |field: usize| values.get(field).unwrap_or(&Value::Null);
        match self {
            Node::Constant(truth) => *truth,
            Node::Test(field, test) => test.evaluate(value(*field)),
            Node::CompareFields(left, comparison, right) => value(*left)
                .order(value(*right))
                .map(|order| comparison.holds(order)),
            Node::Is(inner, truth) => Some(inner.evaluate(values) == *truth),
            Node::Not(inner) => not(inner.evaluate(values)),
            Node::And(all) => and(all.iter().map(|node| node.evaluate(values))),
            Node::Or(any) => or(any.iter().map(|node| node.evaluate(values))),
        }
    }
}

impl Test {
    /// What the test says of this value.
    pub(crate) fn evaluate(&self, value: &Value<'_>) -> Truth {
        match self {
            Test::Holds => match value {
                Value::Bool(value) => Some(*value),
                _ => None,
            },
            Test::IsNull => Some(value.is_null()),
            Test::Compare(comparison, literal) => value
                .order(&literal.value())
                .map(|order| comparison.holds(order)),
            Test::Between(low, high) => {
                let above = value.order(&low.value()).map(|order| order.is_ge());
                and([above, value.order(&high.value()).map(|order| order.is_le())])
            }
            Test::In(list) => list.holds(value),
            Test::Like(pattern) => match value {
                Value::Text(text) => Some(pattern.matches(text)),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_they_are_written() {
        let keys = |text: &str| FieldPath::parse(text).map(|path| path.0);
        assert_eq!(keys("year"), Some(vec!["year".to_owned()]));
        assert_eq!(keys("a.b"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(
            keys("\"a.b\".\"\"\"\""),
            Some(vec!["a.b".to_owned(), "\"".to_owned()])
        );
        assert_eq!(keys("\"\""), Some(vec![String::new()]));
        for bad in ["", ".", "a.", ".a", "a..b", "\"a", "\"a\"b", "a\"b"] {
            assert_eq!(keys(bad), None, "{bad}");
        }
        assert_eq!(keys(&vec!["a"; MAX_PATH + 1].join(".")), None);
        for text in ["a.b", "\"a.b\"", "\"\".\"x y\"", "a.\"\"\"\"", "é_1"] {
            assert_eq!(FieldPath::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(FieldPath::parse("\"a\"").unwrap().to_string(), "a");
    }
}
