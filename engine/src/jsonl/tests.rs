//! Tests of reading JSON lines.

use super::*;
use proptest::prelude::*;

fn read(text: impl Into<Vec<u8>>) -> Result<JsonlRows, JsonlError> {
    JsonlReader::new("f.jsonl", std::io::Cursor::new(text.into()), 12).read(1000)
}

fn refuses(text: impl Into<Vec<u8>>, line: u64, words: &str) {
    let error = read(text).unwrap_err();
    let message = error.to_string();
    assert_eq!(error.line, line, "{message}");
    assert!(message.contains(words), "{message}");
    assert!(
        message.starts_with(&format!("f.jsonl, line {line}: ")),
        "{message}"
    );
}

#[test]
fn lines_are_rows() {
    let text = concat!(
        "{\"id\": 18446744073709551614, \"code\": \"Ff0f\", \"payload\": {\"a\": 1e0, \"b\": \"},\"}}\r\n",
        "\n  \n",
        "{\"payload\":null,\"code\":\"0000\",\"id\":0}\n",
        "{ \"payload\" : [ 1 , {\"x\":\"\\u00e9\"} ] , \"id\":3,\"code\":\"0102\"}",
    );
    let rows = read(text).unwrap();
    assert_eq!(rows.ids.as_deref(), Some(&[u64::MAX - 1, 0, 3][..]));
    assert_eq!(rows.codes, [0xff, 0x0f, 0, 0, 1, 2]);
    let payloads: Vec<Option<&str>> = rows.payloads.iter().map(Option::as_deref).collect();
    assert_eq!(
        payloads,
        [
            Some("{\"a\": 1e0, \"b\": \"},\"}"),
            None,
            Some("[ 1 , {\"x\":\"\\u00e9\"} ]")
        ]
    );
    let none = read("{\"code\": \"0102\"}\n").unwrap();
    assert_eq!((none.ids, none.payloads), (None, vec![None]));
    assert!(read("").unwrap().is_empty());
    assert!(read(" \n\n").unwrap().is_empty());
}

#[test]
fn rows_come_in_pieces() {
    let text = "{\"id\": 1, \"code\": \"0000\"}\n".repeat(10);
    let mut reader = JsonlReader::new("f", std::io::Cursor::new(text.into_bytes()), 12);
    let sizes: Vec<usize> = (0..5).map(|_| reader.read(4).unwrap().len()).collect();
    assert_eq!((sizes, reader.line()), (vec![4, 4, 2, 0, 0], 10));
}

#[test]
fn payloads_may_stand_alone() {
    let read = |text: &'static [u8], rows| {
        PayloadsReader::new("p.jsonl", std::io::Cursor::new(text)).read(rows)
    };
    let text = b" {\"a\": 1} \n\nnull\n\"x\"";
    let found = read(text, 10).unwrap();
    let found: Vec<Option<&str>> = found.iter().map(Option::as_deref).collect();
    assert_eq!(found, [Some("{\"a\": 1}"), None, Some("\"x\"")]);
    assert_eq!(read(text, 2).unwrap().len(), 2);
    for bad in [&b"1\n{"[..], b"1\n1 2", b"1\n\"\xff\""] {
        let error = read(bad, 10).unwrap_err().to_string();
        assert!(
            error.starts_with("p.jsonl, line 2: it is not JSON"),
            "{error}"
        );
    }
}

#[test]
fn what_is_no_row_is_told_with_its_line() {
    let good = "{\"id\": 1, \"code\": \"0000\"}\n";
    let after = |line: &str| format!("{good}\n{line}\n{good}");
    refuses(after("{\"id\": 1"), 3, "not JSON");
    refuses(after("7"), 3, "no object");
    refuses(
        after("{\"id\": 1, \"code\": \"0000\", \"paylod\": 1}"),
        3,
        "\"paylod\"",
    );
    refuses(
        after("{\"id\": 1, \"id\": 1, \"code\": \"0000\"}"),
        3,
        "\"id\" twice",
    );
    for id in [
        "-1",
        "1.0",
        "18446744073709551615",
        "18446744073709551616",
        "\"1\"",
        "null",
    ] {
        refuses(
            after(&format!("{{\"id\": {id}, \"code\": \"0000\"}}")),
            3,
            "its id",
        );
    }
    refuses(after("{\"id\": 2}"), 3, "no code");
    refuses(after("{\"id\": 2, \"code\": \"00g0\"}"), 3, "hexadecimal");
    refuses(after("{\"id\": 2, \"code\": 7}"), 3, "hexadecimal");
    refuses(
        after("{\"id\": 2, \"code\": \"000000\"}"),
        3,
        "6 hexadecimal digits",
    );
    refuses(
        after("{\"id\": 2, \"code\": \"0010\"}"),
        3,
        "beyond its width of 12",
    );
    refuses(after("{\"code\": \"0000\"}"), 3, "all lines ids, or none");
    refuses(
        "{\"code\": \"0000\"}\n{\"id\": 1, \"code\": \"0000\"}",
        2,
        "an id",
    );
    refuses(
        b"{\"code\": \"0000\", \"payload\": \"\xff\"}".to_vec(),
        1,
        "not JSON",
    );
    refuses("[".repeat(100_000), 1, "not JSON");
    let missing = JsonlReader::open("/nonexistent/x.jsonl", 12).unwrap_err();
    let message = missing.to_string();
    assert!(message.starts_with("/nonexistent/x.jsonl: "), "{message}");
}

/// A collection takes it, so what `export` makes of it `import` must take: 16 MiB a line were too few.
#[test]
fn a_large_payload_comes_back() {
    let payload = format!("\"{}\"", "x".repeat(17 << 20));
    let mut lines = JsonlWriter::new(Vec::new());
    lines.write(7, &[1, 2], Some(&payload)).unwrap();
    let rows = read(lines.finish().unwrap()).unwrap();
    assert_eq!((rows.ids, rows.codes), (Some(vec![7]), vec![1, 2]));
    assert!(rows.payloads[0].as_ref() == Some(&payload));
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f32>()
            .prop_filter("finite", |n| n.is_finite())
            .prop_map(|n| format!("{n:e}")),
        "[a-z{}:,\\[\\]\"\\\\é ]{0,8}".prop_map(|s| serde_json::to_string(&s).unwrap()),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|v| format!("[ {} ]", v.join(", "))),
            prop::collection::vec(("[a-c:\"]{0,2}", inner), 0..4).prop_map(|v| {
                let pair = |(k, v): &(String, String)| {
                    format!("{} : {v}", serde_json::to_string(k).unwrap())
                };
                format!("{{{}}}", v.iter().map(pair).collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

proptest! {
    /// Payloads come out letter by letter, wherever they stand in their line.
    #[test]
    fn payloads_are_kept_as_they_are_written(payload in json(), first: bool) {
        let line = match first {
            true => format!("{{\"payload\":{payload},\"code\":\"0000\"}}"),
            false => format!("{{\"code\":\"0000\" , \"payload\": {payload} }}"),
        };
        let rows = read(line).unwrap();
        let expected = (payload != "null").then_some(payload);
        prop_assert_eq!(&rows.payloads[0], &expected);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(bytes);
    }

    #[test]
    fn no_mutation_panics(at in 0usize..60, byte: u8) {
        let mut line = b"{\"id\": 12, \"payload\": {\"a\": [1, \"x\"]}, \"code\": \"0000\"}\n".to_vec();
        let at = at % line.len();
        line[at] = byte;
        let _ = read(line);
    }
}
