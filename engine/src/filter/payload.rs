//! Fields out of JSON payloads.

use simd_json::{Buffers, Node, StaticNode, Tape};

use super::ast::FieldPath;
use super::value::{Number, Value};

/// Nesting beyond which a payload is refused.
const MAX_DEPTH: usize = 512;

/// Which fields are wanted, as a tree: objects that many of them lie in are gone through once.
#[derive(Clone, Debug, Default)]
struct Wanted {
    /// Ascending by key.
    children: Vec<(String, Wanted)>,
    /// The number of the field that ends here.
    field: Option<usize>,
}

impl Wanted {
    fn add(&mut self, keys: &[String], field: usize) {
        let Some((key, keys)) = keys.split_first() else {
            self.field = Some(field);
            return;
        };
        let at = match self.child(key) {
            Ok(at) => at,
            Err(at) => {
                self.children.insert(at, (key.clone(), Wanted::default()));
                at
            }
        };
        self.children[at].1.add(keys, field);
    }

    fn child(&self, key: &str) -> Result<usize, usize> {
        self.children.binary_search_by(|(k, _)| k.as_str().cmp(key))
    }

    /// Takes what is wanted of the value at `at` of the tape.
    fn take<'a>(&self, tape: &[Node<'a>], at: usize, values: &mut [Value<'a>]) {
        let Some(node) = tape.get(at) else {
            return;
        };
        if let Some(slot) = self.field.and_then(|field| values.get_mut(field)) {
            *slot = value(node);
        }
        let &Node::Object { len, .. } = node else {
            return;
        };
        if self.children.is_empty() {
            return;
        }
        let mut at = at + 1;
        for _ in 0..len {
            if let Some(Node::String(key)) = tape.get(at)
                && let Ok(child) = self.child(key)
            {
                let (_, child) = &self.children[child];
                // The last of several equal keys counts, with all that is in it.
                child.forget(values);
                child.take(tape, at + 1, values);
            }
            at += 1 + tape.get(at + 1).map_or(1, nodes);
        }
    }

    fn forget(&self, values: &mut [Value<'_>]) {
        if let Some(slot) = self.field.and_then(|field| values.get_mut(field)) {
            *slot = Value::Null;
        }
        for (_, child) in &self.children {
            child.forget(values);
        }
    }
}

/// Nodes of the tape that a value takes.
fn nodes(node: &Node<'_>) -> usize {
    match node {
        Node::Object { count, .. } | Node::Array { count, .. } => 1 + count,
        Node::String(_) | Node::Static(_) => 1,
    }
}

fn value<'a>(node: &Node<'a>) -> Value<'a> {
    match *node {
        Node::String(text) => Value::Text(text),
        Node::Object { .. } | Node::Array { .. } => Value::Other,
        Node::Static(StaticNode::Null) => Value::Null,
        Node::Static(StaticNode::Bool(value)) => Value::Bool(value),
        Node::Static(StaticNode::I64(number)) => Value::Number(Number::Int(number.into())),
        Node::Static(StaticNode::U64(number)) => Value::Number(Number::Int(number.into())),
        Node::Static(StaticNode::F64(number)) => Value::Number(Number::Float(number)),
    }
}

/// Reads fields out of payloads, one after another, and keeps its buffers.
pub(crate) struct FieldReader {
    wanted: Wanted,
    fields: usize,
    parser: Parser,
}

/// The buffers of the JSON parser.
pub(crate) struct Parser {
    /// The parser unescapes texts where they are: it works on a copy.
    text: Vec<u8>,
    buffers: Buffers,
    tape: Option<Tape<'static>>,
}

impl Parser {
    pub(crate) fn new() -> Parser {
        Parser {
            text: Vec::new(),
            buffers: Buffers::with_max_depth(0, MAX_DEPTH),
            tape: None,
        }
    }

    /// Parses a text and hands `read` its values, or why there are none.
    pub(crate) fn parse<T>(
        &mut self,
        text: &[u8],
        read: impl FnOnce(Result<(&[Node<'_>], &Buffers), simd_json::Error>) -> T,
    ) -> T {
        self.text.clear();
        self.text.extend_from_slice(text);
        let mut tape = self.tape.take().unwrap_or_else(Tape::null).reset();
        let parsed = simd_json::fill_tape(&mut self.text, &mut self.buffers, &mut tape);
        let result = read(parsed.map(|()| (tape.0.as_slice(), &self.buffers)));
        self.tape = Some(tape.reset());
        result
    }
}

impl FieldReader {
    pub(crate) fn new<'a>(paths: impl IntoIterator<Item = &'a FieldPath>) -> FieldReader {
        let mut wanted = Wanted::default();
        let mut fields = 0;
        for path in paths {
            wanted.add(&path.0, fields);
            fields += 1;
        }
        FieldReader {
            wanted,
            fields,
            parser: Parser::new(),
        }
    }

    /// Hands `read` the values of the fields. All are null where there is no payload, or one
    /// that is no object or no JSON: the engine refuses to write the latter, but whoever uses
    /// storage by itself can.
    pub(crate) fn read<T>(
        &mut self,
        payload: Option<&[u8]>,
        read: impl FnOnce(&[Value<'_>]) -> T,
    ) -> T {
        let fields = self.fields;
        let Some(payload) = payload else {
            return read(&vec![Value::Null; fields]);
        };
        let wanted = &self.wanted;
        self.parser.parse(payload, |parsed| {
            let mut values = vec![Value::Null; fields];
            if let Ok((tape, _)) = parsed {
                wanted.take(tape, 0, &mut values);
            }
            read(&values)
        })
    }
}

/// Refuses a payload that filters could not read.
pub(crate) fn check(parser: &mut Parser, payload: &[u8]) -> Result<(), String> {
    parser.parse(payload, |parsed| match parsed {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(payload: &str, paths: &[&str]) -> Vec<String> {
        let paths: Vec<FieldPath> = paths.iter().map(|p| FieldPath::parse(p).unwrap()).collect();
        let mut reader = FieldReader::new(&paths);
        let show = |values: &[Value<'_>]| values.iter().map(|v| format!("{v:?}")).collect();
        let first: Vec<String> = reader.read(Some(payload.as_bytes()), show);
        // What an earlier payload left in the buffers must not show.
        reader.read(Some(br#"{"a": 9, "b": {"c": "left"}}"#), |_| ());
        assert_eq!(reader.read(Some(payload.as_bytes()), show), first);
        first
    }

    #[test]
    fn fields_are_found_wherever_they_are() {
        let payload = r#"{"x": [1, {"a": 2}], "a": "t\u00e9\n", "b": {"q": {}, "c": {"d": -7}}, "n": null, "f": 1.5}"#;
        assert_eq!(
            read(
                payload,
                &["a", "b.c.d", "b", "n", "f", "b.c", "x.a", "a.b", "zz", "x"]
            ),
            [
                "Text(\"té\\n\")",
                "Number(Int(-7))",
                "Other",
                "Null",
                "Number(Float(1.5))",
                "Other",
                "Null",
                "Null",
                "Null",
                "Other"
            ]
        );
        assert_eq!(
            read(r#"{"a.b": 1, "a": {"b": 2}}"#, &["a.b", "\"a.b\""]),
            ["Number(Int(2))", "Number(Int(1))"]
        );
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        let payload = r#"{"a": 1, "o": {"x": 1, "y": 2}, "a": 2, "o": {"x": 3}}"#;
        assert_eq!(
            read(payload, &["a", "o.x", "o.y"]),
            ["Number(Int(2))", "Number(Int(3))", "Null"]
        );
        assert_eq!(read(r#"{"o": {"x": 1}, "o": 5}"#, &["o.x"]), ["Null"]);
    }

    #[test]
    fn numbers_are_exact() {
        let payload = r#"{"a": 18446744073709551615, "b": -9223372036854775808,
            "c": 9007199254740993, "d": 123456789012345678901234567890, "e": 0.1, "f": -0}"#;
        assert_eq!(
            read(payload, &["a", "b", "c", "d", "e", "f"]),
            [
                "Number(Int(18446744073709551615))",
                "Number(Int(-9223372036854775808))",
                "Number(Int(9007199254740993))",
                "Number(Float(1.2345678901234568e29))",
                "Number(Float(0.1))",
                "Number(Int(0))",
            ]
        );
    }

    #[test]
    fn what_is_no_object_has_no_fields() {
        let deep = "[".repeat(100_000);
        let nested = format!("{}1{}", "{\"a\":".repeat(600), "}".repeat(600));
        for payload in [
            "",
            " ",
            "7",
            "[{\"a\": 1}]",
            "null",
            "{\"a\": 1",
            "{\"a\": 1} x",
            "\"a\"",
            "{\"a\": 1e}",
            "\u{0}",
            &deep,
            &nested,
        ] {
            assert_eq!(read(payload, &["a"]), ["Null"], "{payload}");
        }
        let bytes = [b'{', b'"', b'a', b'"', b':', b'"', 0xff, b'"', b'}'];
        let mut reader = FieldReader::new(&[FieldPath::parse("a").unwrap()]);
        assert!(reader.read(Some(&bytes), |values| values[0].is_null()));
        assert!(reader.read(None, |values| values[0].is_null()));
        assert!(check(&mut Parser::new(), &bytes).is_err());
        assert!(check(&mut Parser::new(), b"{\"a\": [1]}").is_ok());
    }
}
