//! Filters against an evaluator that shares nothing with them: expressions are drawn as trees,
//! written as SQL for the one and walked over `serde_json` values by the other.

mod index;
mod parse;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::Filter;
use super::payload::FieldReader;

/// What the filter says of a payload, without any index.
fn says(filter: &Filter, payload: Option<&str>) -> Option<bool> {
    let mut reader = FieldReader::new(&filter.0.fields);
    reader.read(payload.map(str::as_bytes), |values| {
        filter.0.root.evaluate(values)
    })
}

fn truth(filter: &str, payload: &str) -> Option<bool> {
    says(&Filter::parse(filter).unwrap(), Some(payload))
}

/// A literal or a field.
#[derive(Clone, Debug)]
enum Side {
    Field(&'static str),
    Literal(Json),
}

/// An expression.
#[derive(Clone, Debug)]
enum Drawn {
    Compare(Side, &'static str, Side),
    Between(bool, Side, Side, Side),
    In(bool, Side, Vec<Json>),
    Like(bool, bool, Side, String),
    Null(bool, Side),
    Bare(Side),
    Is(bool, Box<Drawn>, Option<bool>),
    Not(Box<Drawn>),
    And(Vec<Drawn>),
    Or(Vec<Drawn>),
}

fn literal_sql(literal: &Json) -> String {
    match literal {
        Json::Null => "NULL".to_owned(),
        Json::Bool(true) => "TRUE".to_owned(),
        Json::Bool(false) => "false".to_owned(),
        Json::String(text) => format!("'{}'", text.replace('\'', "''")),
        number => number.to_string(),
    }
}

impl Side {
    fn sql(&self) -> String {
        match self {
            Side::Field(name) => (*name).to_owned(),
            Side::Literal(literal) => literal_sql(literal),
        }
    }

    fn value(&self, payload: &Json) -> Json {
        match self {
            Side::Literal(literal) => literal.clone(),
            Side::Field(name) => {
                let keys: Vec<String> = match *name {
                    "\"o.x\"" => vec!["o.x".to_owned()],
                    name => name.split('.').map(str::to_owned).collect(),
                };
                let mut value = payload;
                for key in keys {
                    match value.get(&key) {
                        Some(inner) if value.is_object() => value = inner,
                        _ => return Json::Null,
                    }
                }
                value.clone()
            }
        }
    }
}

/// Compares whole numbers by their digits and floats by subtraction of what is exact.
fn naive_order(a: &Json, b: &Json) -> Option<i32> {
    let sign = |order: std::cmp::Ordering| order as i32;
    match (a, b) {
        (Json::String(a), Json::String(b)) => Some(sign(a.chars().cmp(b.chars()))),
        (Json::Bool(a), Json::Bool(b)) => Some(i32::from(*a) - i32::from(*b)),
        (Json::Number(x), Json::Number(y)) => {
            let int =
                |n: &serde_json::Number| n.as_i64().map(i128::from).or(n.as_u64().map(i128::from));
            match (int(x), int(y)) {
                (Some(x), Some(y)) => Some(sign(x.cmp(&y))),
                (None, None) => x.as_f64()?.partial_cmp(&y.as_f64()?).map(sign),
                (Some(_), None) => naive_order(b, a).map(|sign| -sign),
                (None, Some(int)) => {
                    let float = x.as_f64()?;
                    // A float of 2^63 or more is a whole number.
                    if float.abs() < 9e18 {
                        let floor = float.floor();
                        let order = (floor as i128).cmp(&int);
                        let above = order.is_eq() && float > floor;
                        Some(if above { 1 } else { sign(order) })
                    } else {
                        Some(sign((float as i128).cmp(&int)))
                    }
                }
            }
        }
        _ => None,
    }
}

fn naive_compare(a: &Json, operator: &str, b: &Json) -> Option<bool> {
    let order = naive_order(a, b)?;
    Some(match operator {
        "=" => order == 0,
        "<>" | "!=" => order != 0,
        "<" => order < 0,
        "<=" => order <= 0,
        ">" => order > 0,
        _ => order >= 0,
    })
}

fn naive_like(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|from| naive_like(&text[from..], rest)),
        [c, rest @ ..] => {
            text.first().is_some_and(|t| *c == '_' || t == c) && naive_like(&text[1..], rest)
        }
    }
}

fn naive_and(all: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let all: Vec<Option<bool>> = all.collect();
    if all.contains(&Some(false)) {
        Some(false)
    } else if all.contains(&None) {
        None
    } else {
        Some(true)
    }
}

impl Drawn {
    fn sql(&self) -> String {
        let not = |negated: &bool| if *negated { "NOT " } else { "" };
        let join = |nodes: &[Drawn], word: &str| {
            let nodes: Vec<String> = nodes.iter().map(Drawn::sql).collect();
            format!("({})", nodes.join(word))
        };
        match self {
            Drawn::Compare(a, operator, b) => format!("{} {operator} {}", a.sql(), b.sql()),
            Drawn::Between(negated, a, low, high) => {
                format!(
                    "{} {}BETWEEN {} and {}",
                    a.sql(),
                    not(negated),
                    low.sql(),
                    high.sql()
                )
            }
            Drawn::In(negated, a, list) => {
                let list: Vec<String> = list.iter().map(literal_sql).collect();
                format!("{} {}IN ({})", a.sql(), not(negated), list.join(", "))
            }
            Drawn::Like(negated, fold, a, pattern) => {
                let like = if *fold { "ILIKE" } else { "like" };
                let pattern = pattern.replace('\'', "''");
                format!("{} {}{like} '{pattern}'", a.sql(), not(negated))
            }
            Drawn::Null(negated, a) => format!("{} IS {}NULL", a.sql(), not(negated)),
            Drawn::Bare(a) => a.sql(),
            Drawn::Is(negated, inner, truth) => {
                let truth = truth.map_or("UNKNOWN", |truth| if truth { "TRUE" } else { "FALSE" });
                format!("({}) is {}{truth}", inner.sql(), not(negated))
            }
            Drawn::Not(inner) => format!("NOT ({})", inner.sql()),
            Drawn::And(nodes) => join(nodes, " AND "),
            Drawn::Or(nodes) => join(nodes, " or "),
        }
    }

    fn evaluate(&self, payload: &Json) -> Option<bool> {
        let negate = |negated: &bool, truth: Option<bool>| truth.map(|truth| truth != *negated);
        match self {
            Drawn::Compare(a, operator, b) => {
                naive_compare(&a.value(payload), operator, &b.value(payload))
            }
            Drawn::Between(negated, a, low, high) => {
                let value = a.value(payload);
                let sides = [
                    naive_compare(&value, ">=", &low.value(payload)),
                    naive_compare(&value, "<=", &high.value(payload)),
                ];
                negate(negated, naive_and(sides.into_iter()))
            }
            Drawn::In(negated, a, list) => {
                let value = a.value(payload);
                let differs = list.iter().map(|entry| naive_compare(&value, "<>", entry));
                negate(negated, naive_and(differs).map(|all_differ| !all_differ))
            }
            Drawn::Like(negated, fold, a, pattern) => match a.value(payload) {
                Json::String(text) => {
                    let fold = |s: &str| {
                        if *fold {
                            s.to_lowercase()
                        } else {
                            s.to_owned()
                        }
                    };
                    let chars = |s: &str| fold(s).chars().collect::<Vec<char>>();
                    negate(negated, Some(naive_like(&chars(&text), &chars(pattern))))
                }
                _ => None,
            },
            Drawn::Null(negated, a) => Some(a.value(payload).is_null() != *negated),
            Drawn::Bare(a) => a.value(payload).as_bool(),
            Drawn::Is(negated, inner, truth) => {
                Some((inner.evaluate(payload) == *truth) != *negated)
            }
            Drawn::Not(inner) => negate(&true, inner.evaluate(payload)),
            Drawn::And(nodes) => naive_and(nodes.iter().map(|node| node.evaluate(payload))),
            Drawn::Or(nodes) => {
                naive_and(nodes.iter().map(|n| n.evaluate(payload).map(|t| !t))).map(|t| !t)
            }
        }
    }
}

/// Few different values of every type, with neighbours that a careless comparison confuses.
fn scalar() -> impl Strategy<Value = Json> {
    prop_oneof![
        3 => (-2_i64..4).prop_map(Json::from),
        1 => prop::sample::select(vec![
            json!(0.5), json!(1.0), json!(-0.0), json!(2.5), json!(1e300), json!(-1e300), json!(5e-324),
            json!(9007199254740992_i64), json!(9007199254740993_i64), json!(9007199254740992.0),
            json!(i64::MIN), json!(i64::MAX), json!(u64::MAX), json!(u64::MAX - 1),
            json!(9223372036854775807.0), json!(9223372036854775808_u64), json!(18446744073709551616.0),
        ]),
        3 => prop::sample::select(vec!["", "a", "ab", "abc", "b", "A", "é", "aé", "'", "a%b", "😀", "\u{ffff}", "true", "1"])
            .prop_map(Json::from),
        2 => any::<bool>().prop_map(Json::from),
        1 => Just(Json::Null),
    ]
}

const FIELDS: [&str; 7] = ["n", "s", "b", "o", "o.x", "o.y.z", "\"o.x\""];

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![
        4 => prop::sample::select(FIELDS.to_vec()).prop_map(Side::Field),
        3 => scalar().prop_map(Side::Literal),
    ]
}

fn bare() -> impl Strategy<Value = Side> {
    prop_oneof![
        4 => prop::sample::select(FIELDS.to_vec()).prop_map(Side::Field),
        1 => prop::sample::select(vec![json!(true), json!(false), Json::Null]).prop_map(Side::Literal),
    ]
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let operator = prop::sample::select(vec!["=", "<>", "!=", "<", "<=", ">", ">="]);
    let truth = prop::sample::select(vec![Some(true), Some(false), None]);
    let leaf = prop_oneof![
        5 => (side(), operator, side()).prop_map(|(a, o, b)| Drawn::Compare(a, o, b)),
        2 => (any::<bool>(), side(), side(), side()).prop_map(|(n, a, l, h)| Drawn::Between(n, a, l, h)),
        2 => (any::<bool>(), side(), prop::collection::vec(scalar(), 1..5))
            .prop_map(|(n, a, list)| Drawn::In(n, a, list)),
        2 => (any::<bool>(), any::<bool>(), side(), "[abAé%_]{0,4}")
            .prop_map(|(n, f, a, p)| Drawn::Like(n, f, a, p)),
        1 => (any::<bool>(), side()).prop_map(|(n, a)| Drawn::Null(n, a)),
        1 => bare().prop_map(Drawn::Bare),
    ];
    leaf.prop_recursive(4, 12, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Drawn::And),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Drawn::Or),
            inner.clone().prop_map(|node| Drawn::Not(Box::new(node))),
            (any::<bool>(), inner, truth.clone()).prop_map(|(n, node, t)| Drawn::Is(
                n,
                Box::new(node),
                t
            )),
        ]
    })
}

fn payload() -> impl Strategy<Value = Json> {
    let value = prop_oneof![
        8 => scalar().prop_map(Some),
        2 => Just(None),
        1 => Just(Some(json!([1]))),
        1 => Just(Some(json!({}))),
    ];
    let inner = prop_oneof![
        1 => value.clone(),
        3 => (value.clone(), value.clone()).prop_map(|(x, z)| {
            let mut object = json!({"y": {}});
            if let Some(x) = x {
                object["x"] = x;
            }
            if let Some(z) = z {
                object["y"]["z"] = z;
            }
            Some(object)
        }),
    ];
    // Each field holds mostly one type, so that indexes of that kind have something in them.
    let mostly =
        |usual: BoxedStrategy<Json>| prop_oneof![4 => usual.prop_map(Some), 1 => value.clone()];
    let fields = (
        mostly((-2_i64..4).prop_map(Json::from).boxed()),
        mostly(
            prop::sample::select(vec!["", "a", "ab", "abc", "b", "é"])
                .prop_map(Json::from)
                .boxed(),
        ),
        mostly(any::<bool>().prop_map(Json::from).boxed()),
        inner,
        value.clone(),
    );
    let object = fields.prop_map(|(n, s, b, o, dotted)| {
        let pairs = [("n", n), ("s", s), ("b", b), ("o", o), ("o.x", dotted)];
        let pairs = pairs
            .into_iter()
            .filter_map(|(k, v)| Some((k.to_owned(), v?)));
        Json::Object(pairs.collect())
    });
    prop_oneof![20 => object, 1 => scalar(), 1 => Just(json!([{"n": 1}]))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn filters_say_what_a_naive_evaluator_says(expression in drawn(), payloads in prop::collection::vec(payload(), 1..8)) {
        let sql = expression.sql();
        let filter = Filter::parse(&sql).unwrap();
        for payload in &payloads {
            let expected = expression.evaluate(payload);
            prop_assert_eq!(says(&filter, Some(&payload.to_string())), expected, "{} of {}", sql, payload);
        }
        prop_assert_eq!(says(&filter, None), expression.evaluate(&Json::Null));
    }
}

#[test]
fn examples_by_hand() {
    let (t, f, u) = (Some(true), Some(false), None);
    let payload = r#"{"year": 2020, "label": "cat", "ok": true, "score": 0.1, "n": null,
        "exif": {"iso": 100, "shot on": "x"}, "tags": ["a"], "big": 9007199254740993}"#;
    for (filter, expected) in [
        ("label = 'cat' and year >= 2020", t),
        ("label = 'cat' and year > 2020", f),
        ("label = 'dog' or year > 2020", f),
        ("year = '2020'", u),
        ("not year = '2020'", u),
        ("missing = 1", u),
        ("missing = 1 or ok", t),
        ("missing = 1 and not ok", f),
        ("missing is null and n is null and label is not null", t),
        ("tags is null", f),
        ("tags = tags", u),
        ("exif.iso = 100 and exif.\"shot on\" = 'x'", t),
        ("exif.iso.x is null", t),
        ("score = 0.1 and score <> 0.10000000000000002", t),
        ("big = 9007199254740993 and big <> 9007199254740992.0", t),
        ("year = 2020.0", t),
        ("year = 2.02e3", t),
        ("-year = 1 or true", None), // Refused: see below.
        ("year in (2019, 2020)", t),
        ("year not in (2019, null)", u),
        ("year in (2020, null)", t),
        ("year in ('2020')", u),
        ("year in (2019, '2020')", u),
        ("label in ('a', 'cat')", t),
        ("year between 2020 and 2020", t),
        ("year not between 2020 and 2021", f),
        ("year between 2021 and null", f),
        ("year between 2019 and null", u),
        ("label between 'cas' and 'cau'", t),
        (
            "label like 'c%' and label not like 'C%' and label ilike 'C_T'",
            t,
        ),
        ("year like '2%'", u),
        ("ok and ok is true and (year = '1') is unknown", t),
        ("label is unknown", t), // A text is no truth.
        ("label is null", f),
        ("ok > false", t),
        ("2019 < year", t),
        ("1 < 2 and 'a' < 'b'", t),
        ("null is null", t),
        ("null", u),
        ("year = null", u),
        ("year is not false", t),
        ("'it''s' = 'it''s'", t),
        ("'a\\' = 'a\\'", t), // A backslash is a letter as any other.
    ] {
        if filter.starts_with('-') {
            assert!(Filter::parse(filter).is_err());
            continue;
        }
        assert_eq!(truth(filter, payload), expected, "{filter}");
    }
}
