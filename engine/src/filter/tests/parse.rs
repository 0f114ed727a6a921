//! What is refused, how it is told, and what no text can do.

use proptest::prelude::*;

use super::truth;
use crate::filter::{Filter, FilterError};

fn refusal(text: &str) -> FilterError {
    match Filter::parse(text) {
        Err(crate::Error::Filter(error)) => error,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn what_a_filter_cannot_say_is_told_with_its_place() {
    let mut wrong = Vec::new();
    for (text, words) in [
        (
            "lower(label) = 'cat'",
            &["function lower", "column 6", "IN (...)"][..],
        ),
        ("a = 1 and count(*) > 3", &["function count", "column 16"]),
        ("a + 1 = 2", &["a", "+ 1", "column 1"]),
        ("year = 2020 and a * 2 > 1", &["*", "column 19"]),
        ("a = (select 1)", &["cannot be read", "column"]),
        ("a in (select 1)", &["column"]),
        ("a in (b, 1)", &["field b", "list", "column 7"]),
        ("a = b = c", &["cannot have"]),
        ("5", &["5 as a condition", "column 1"]),
        ("a and 'x'", &["'x' as a condition", "column 7"]),
        ("a like b", &["pattern b", "no text"]),
        ("a like 'x' escape 'ab'", &["ESCAPE 'ab'"]),
        ("a like 'x!' escape '!'", &["ends in its escape"]),
        ("a == 1", &["one =", "column 3"]),
        ("a = 1;", &[";", "column 6"]),
        ("a::int = 1", &["::", "column 2"]),
        ("a[0] = 1", &["[", "column 2"]),
        ("a -> 'b' = 1", &["->"]),
        ("a = $1", &["$1"]),
        ("a = 1e999", &["1e999"]),
        ("a = X'00'", &["00"]),
        ("a = 10L", &["10L"]),
        ("a = 1 b", &["not expected", "column 7"]),
        ("a =", &["cannot be read"]),
        ("", &["cannot be read"]),
        ("a = 'x", &["cannot be read", "column"]),
        ("(a = 1", &["cannot be read"]),
        ("a = 1)", &[")", "column 6"]),
        ("a = 1\nand b ~ 2", &["line 2, column 7"]),
        ("a in ()", &["column"]),
        ("- a = 1", &["-"]),
    ] {
        let message = refusal(text).to_string();
        let lacks = words.iter().find(|word| !message.contains(*word));
        if lacks.is_some() || message.len() > 400 {
            wrong.push(format!("{text}: no {lacks:?} in {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn fields_may_be_called_anything() {
    for name in [
        "date",
        "case",
        "select",
        "interval",
        "cast",
        "exists",
        "array",
        "timestamp",
        "position",
        "group",
        "end",
        "from",
        "x",
        "_1",
        "year",
        "if",
        "all",
        "any",
        "struct",
        "map",
        "replace",
    ] {
        let payload = format!("{{\"{name}\": 7, \"o\": {{\"{name}\": 8}}}}");
        assert_eq!(
            truth(&format!("{name} = 7"), &payload),
            Some(true),
            "{name}"
        );
        assert_eq!(
            truth(&format!("o.{name} = 8 and not {name} = 8"), &payload),
            Some(true)
        );
    }
    assert_eq!(truth("\"and\" = 1", "{\"and\": 1}"), Some(true));
    assert_eq!(truth("\"a\"\"b\" = 1", "{\"a\\\"b\": 1}"), Some(true));
    assert_eq!(truth("Été = 1 and été is null", "{\"Été\": 1}"), Some(true));
    assert_eq!(truth("a = 1 -- the rest\n", "{\"a\": 1}"), Some(true));
}

#[test]
fn no_length_and_no_depth_overflows_the_stack() {
    let chain = |word: &str, count: usize| vec!["a = 1"; count].join(word);
    assert_eq!(truth(&chain(" and ", 600), "{\"a\": 1}"), Some(true));
    assert_eq!(truth(&chain(" or ", 600), "{\"a\": 2}"), Some(false));
    let mixed = "a = 1 and b = 1 or ".repeat(250) + "a = 1";
    assert_eq!(truth(&mixed, "{\"a\": 1}"), Some(true));
    let list: Vec<String> = (0..100_000).map(|n| (n - 50_000).to_string()).collect();
    assert_eq!(
        truth(&format!("a in ({})", list.join(",")), "{\"a\": 49999}"),
        Some(true)
    );
    let nested = |open: &str, close: &str, count: usize| {
        format!("{}a = 1{}", open.repeat(count), close.repeat(count))
    };
    assert_eq!(truth(&nested("(", ")", 30), "{\"a\": 1}"), Some(true));
    assert_eq!(truth(&nested("not ", "", 30), "{\"a\": 1}"), Some(true));
    for text in [
        nested("(", ")", 41),
        nested("(", ")", 100_000),
        nested("not ", "", 60),
        nested("not ", "", 100_000),
        nested("", " is true", 60),
        nested("", " is true", 30_000),
        nested("", " = 1", 100_000),
        nested("- ", "", 100_000),
        nested("a in (", ")", 100_000),
        nested("a between ", " and 1", 1_000),
        nested("a between ", "", 30_000),
        nested("not (a or ", ")", 39),
        chain(" and ", 10_000),
        vec!["a"; 100].join("."),
        "(".repeat(1 << 21),
        "a like '".to_owned() + &"_".repeat(2000) + "'",
    ] {
        let error = Filter::parse(&text).unwrap_err().to_string();
        assert!(error.len() < 500, "{error}");
    }
}

#[test]
fn backtracking_does_not_multiply() {
    let begun = std::time::Instant::now();
    for open in [
        "(",
        "not (",
        "a in (",
        "a between (",
        "a = (",
        "(a or (",
        "(a, (",
        "(((not -",
        "a is null and (",
        "(a) = (",
        "\"a\" (",
        "a like (",
        "(a.b (",
        "(a, b) = (",
    ] {
        for inside in ["a = ", "1 2", ")", "a b", "(a, b", "a = 1"] {
            for count in [1, 13, 19, 39] {
                let text = format!("{}{inside}{}", open.repeat(count), ")".repeat(count));
                let _ = Filter::parse(&text);
            }
        }
    }
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

/// Pieces that parsers stumble over.
fn piece() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a",
        "b.c",
        "\"x y\"",
        "1",
        "-1",
        "1.5",
        "'t'",
        "NULL",
        "TRUE",
        "=",
        "<>",
        "<",
        "and",
        "or",
        "not",
        "(",
        ")",
        "in",
        "in (",
        "between",
        "like",
        "ilike",
        "escape",
        "is",
        "is null",
        "is true",
        "is not",
        ",",
        ".",
        "-",
        "+",
        "date",
        "case",
        "when",
        "interval",
        "cast",
        "select",
        "exists",
        "all",
        "any",
        "unknown",
        "e'x'",
        "U&'x'",
        "$$x$$",
        "/*",
        "--",
        "*",
        "[",
        "::",
        "@",
        "#",
        "\u{0}",
        "😀",
        "\\",
        "'",
        "\"",
        "`q`",
        "distinct from",
        "similar to",
        "at time zone",
        "collate",
        "over (",
    ])
    .prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_text_panics_or_hangs(pieces in prop::collection::vec(piece(), 0..60), spaced: bool) {
        let text = pieces.join(if spaced { " " } else { "" });
        let begun = std::time::Instant::now();
        if let Ok(filter) = Filter::parse(&text) {
            let _ = super::says(&filter, Some("{\"a\": 1, \"b\": {\"c\": \"t\"}}"));
        }
        prop_assert!(begun.elapsed().as_secs() < 5, "{}", text);
    }

    #[test]
    fn no_characters_panic(text in "\\PC{0,60}") {
        let _ = Filter::parse(&text);
    }
}
