//! Values that filters compare, and how they compare.

use std::cmp::Ordering;

/// What SQL says of a condition: true, false, or (`None`) unknown.
pub(crate) type Truth = Option<bool>;

/// A number, exactly as it was written: whole numbers of 64 bits never pass through a float.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    /// A whole number; one of JSON lies between -2^63 and 2^64 - 1.
    Int(i128),
    /// Any other number; never NaN.
    Float(f64),
}

impl Number {
    /// Which of the two numbers is greater, as real numbers.
    pub(crate) fn order(self, other: Number) -> Ordering {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => a.cmp(&b),
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Number::Int(a), Number::Float(b)) => order_mixed(a, b),
            (Number::Float(a), Number::Int(b)) => order_mixed(b, a).reverse(),
        }
    }
}

/// Compares without rounding the whole number to a float, which from 2^53 on would make
/// different numbers equal.
fn order_mixed(int: i128, float: f64) -> Ordering {
    // Beyond every whole number that there is here; floats below are exact as i128.
    if float.abs() >= 1e30 {
        return 0.0.partial_cmp(&float).unwrap_or(Ordering::Equal);
    }
    let whole = float.trunc();
    int.cmp(&(whole as i128)).then_with(|| {
        let rest = float - whole;
        0.0.partial_cmp(&rest).unwrap_or(Ordering::Equal)
    })
}

/// What a field of a payload holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// JSON null, or no such field.
    Null,
    Bool(bool),
    Number(Number),
    Text(&'a str),
    /// An object or an array: it is not null, and it compares with nothing.
    Other,
}

impl Value<'_> {
    /// How the two compare; `None` if SQL does not know: one is null, or they are of different
    /// types. Texts compare by code points, which is bytewise in UTF-8.
    pub(crate) fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::Number(a), Value::Number(b)) => Some(a.order(*b)),
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }
}

/// A value written in a filter.
#[derive(Clone, Debug)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
}

impl Literal {
    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Literal::Null => Value::Null,
            Literal::Bool(value) => Value::Bool(*value),
            Literal::Number(value) => Value::Number(*value),
            Literal::Text(value) => Value::Text(value),
        }
    }
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub(crate) fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }
    }

    /// The comparison that says the same with its sides exchanged.
    pub(crate) fn flipped(self) -> Comparison {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::LessOrEqual => Comparison::GreaterOrEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterOrEqual => Comparison::LessOrEqual,
            same => same,
        }
    }
}

/// The literals of an `IN`, sorted, so that a long list costs a row no more than a short one.
#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    pub(crate) numbers: Vec<Number>,
    pub(crate) texts: Vec<String>,
    /// Whether false, and whether true, is in the list.
    pub(crate) bools: [bool; 2],
    pub(crate) null: bool,
}

impl List {
    pub(crate) fn new(literals: impl IntoIterator<Item = Literal>) -> List {
        let mut list = List::default();
        for literal in literals {
            match literal {
                Literal::Null => list.null = true,
                Literal::Bool(value) => list.bools[usize::from(value)] = true,
                Literal::Number(number) => list.numbers.push(number),
                Literal::Text(text) => list.texts.push(text),
            }
        }
        list.numbers.sort_unstable_by(|a, b| a.order(*b));
        list.numbers.dedup_by(|a, b| a.order(*b).is_eq());
        list.texts.sort_unstable();
        list.texts.dedup();
        list
    }

    /// Whether `value` is in the list: unknown if it is not, but one of the list is null or of
    /// another type.
    pub(crate) fn holds(&self, value: &Value<'_>) -> Truth {
        let found = match value {
            Value::Null | Value::Other => return None,
            Value::Bool(value) => self.bools[usize::from(*value)],
            Value::Number(value) => self.numbers.binary_search_by(|n| n.order(*value)).is_ok(),
            Value::Text(value) => self
                .texts
                .binary_search_by(|text| text.as_str().cmp(value))
                .is_ok(),
        };
        match found {
            true => Some(true),
            false if self.knows_others(value) => Some(false),
            false => None,
        }
    }

    /// Whether every entry compares with values of the type of `value`.
    pub(crate) fn knows_others(&self, value: &Value<'_>) -> bool {
        let numbers = self.numbers.is_empty() || matches!(value, Value::Number(_));
        let texts = self.texts.is_empty() || matches!(value, Value::Text(_));
        let bools = self.bools == [false; 2] || matches!(value, Value::Bool(_));
        !self.null && numbers && texts && bools
    }
}

/// `AND` of SQL.
pub(crate) fn and(truths: impl IntoIterator<Item = Truth>) -> Truth {
    let mut all = Some(true);
    for truth in truths {
        match truth {
            Some(false) => return Some(false),
            Some(true) => {}
            None => all = None,
        }
    }
    all
}

/// `OR` of SQL.
pub(crate) fn or(truths: impl IntoIterator<Item = Truth>) -> Truth {
    and(truths.into_iter().map(not)).map(|none| !none)
}

/// `NOT` of SQL.
pub(crate) fn not(truth: Truth) -> Truth {
    truth.map(|truth| !truth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_never_rounded() {
        let int = |n: i128| Number::Int(n);
        let at = |f: f64| Number::Float(f);
        let big = 1_i128 << 53;
        assert_eq!(int(big + 1).order(at(big as f64)), Ordering::Greater);
        assert_eq!(at(big as f64).order(int(big + 1)), Ordering::Less);
        assert_eq!(int(big).order(at(big as f64)), Ordering::Equal);
        let most = i128::from(u64::MAX);
        assert_eq!(int(most).order(at(most as f64)), Ordering::Less); // the float is 2^64
        assert_eq!(
            int(i128::from(i64::MIN)).order(at(-(2f64.powi(63)))),
            Ordering::Equal
        );
        assert_eq!(int(3).order(at(3.5)), Ordering::Less);
        assert_eq!(int(-3).order(at(-3.5)), Ordering::Greater);
        assert_eq!(int(0).order(at(-0.0)), Ordering::Equal);
        assert_eq!(int(0).order(at(5e-324)), Ordering::Less);
        assert_eq!(int(most).order(at(1e300)), Ordering::Less);
        assert_eq!(int(most).order(at(-1e300)), Ordering::Greater);
        assert_eq!(at(f64::INFINITY).order(int(most)), Ordering::Greater);
    }

    #[test]
    fn truth_tables_of_sql() {
        let (t, f, u) = (Some(true), Some(false), None);
        for (a, b, both, either) in [
            (t, t, t, t),
            (t, f, f, t),
            (t, u, u, t),
            (f, t, f, t),
            (f, f, f, f),
            (f, u, f, u),
            (u, t, u, t),
            (u, f, f, u),
            (u, u, u, u),
        ] {
            assert_eq!((and([a, b]), or([a, b])), (both, either), "{a:?} {b:?}");
        }
        assert_eq!([t, f, u].map(not), [f, t, u]);
        assert_eq!((and([]), or([])), (t, f));
    }
}
