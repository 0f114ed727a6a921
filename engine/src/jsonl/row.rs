//! One row, out of its line.

use std::ops::Range;

use simd_json::{Node, StaticNode};

use super::JsonlReason;
use crate::filter::Parser;

/// What a line says.
pub(super) struct JsonlRow {
    pub(super) id: Option<u64>,
    pub(super) code: Vec<u8>,
    pub(super) payload: Option<String>,
}

/// The row that is written in `text`, with a code of `bits` bits.
pub(super) fn parse(parser: &mut Parser, text: &[u8], bits: u32) -> Result<JsonlRow, JsonlReason> {
    parser.parse(text, |parsed| {
        let (tape, buffers) = parsed.map_err(|e| JsonlReason::NotJson(e.to_string()))?;
        let Some(Node::Object { len, .. }) = tape.first() else {
            return Err(JsonlReason::NotAnObject);
        };
        let mut values = top_level(text, buffers.structural_indexes());
        let (mut id, mut code, mut payload) = (None, None, None);
        let mut at = 1;
        for _ in 0..*len {
            let (key, value) = (tape.get(at), tape.get(at + 1));
            let (Some(Node::String(key)), Some(value)) = (key, value) else {
                return Err(JsonlReason::NotAnObject);
            };
            let written = values.next().unwrap_or_default();
            let repeated = match *key {
                "id" => id.replace(read_id(value)?).is_some().then_some("id"),
                "code" => code
                    .replace(read_code(value, bits)?)
                    .is_some()
                    .then_some("code"),
                "payload" => {
                    let written = match value {
                        Node::Static(StaticNode::Null) => None,
                        _ => text.get(written).map(|bytes| bytes.trim_ascii().to_vec()),
                    };
                    payload.replace(written).is_some().then_some("payload")
                }
                other => {
                    return Err(JsonlReason::UnknownKey(other.chars().take(60).collect()));
                }
            };
            if let Some(key) = repeated {
                return Err(JsonlReason::RepeatedKey(key));
            }
            at += 2 + match value {
                Node::Object { count, .. } | Node::Array { count, .. } => *count,
                Node::String(_) | Node::Static(_) => 0,
            };
        }
        let payload = payload.flatten().map(String::from_utf8).transpose();
        Ok(JsonlRow {
            id,
            code: code.ok_or(JsonlReason::NoCode)?,
            // The whole line is UTF-8: the parser has seen to that.
            payload: payload.map_err(|e| JsonlReason::NotJson(e.to_string()))?,
        })
    })
}

/// Where the values of the outermost object are written, in order, with the space around them;
/// `structure` are the places of the characters that JSON is made of, none of which lies in a
/// text.
fn top_level<'a>(
    text: &'a [u8],
    structure: &'a [u32],
) -> impl Iterator<Item = Range<usize>> + use<'a> {
    let mut depth = 0_usize;
    let mut start = 0;
    structure.iter().filter_map(move |&at| {
        let at = at as usize;
        match text.get(at)? {
            b'{' | b'[' => depth += 1,
            b':' if depth == 1 => start = at + 1,
            b',' if depth == 1 => return Some(start..at),
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(start..at);
                }
            }
            _ => {}
        }
        None
    })
}

fn read_id(value: &Node<'_>) -> Result<u64, JsonlReason> {
    let id = match value {
        Node::Static(StaticNode::U64(id)) => Some(*id),
        Node::Static(StaticNode::I64(id)) => u64::try_from(*id).ok(),
        _ => None,
    };
    id.filter(|&id| id != crate::RESERVED_ID)
        .ok_or(JsonlReason::BadId)
}

fn read_code(value: &Node<'_>, bits: u32) -> Result<Vec<u8>, JsonlReason> {
    let Node::String(text) = value else {
        return Err(JsonlReason::NotHexadecimal);
    };
    let digit = |c: char| c.to_digit(16).map(|digit| digit as u8);
    let digits: Option<Vec<u8>> = text.chars().map(digit).collect();
    let digits = digits.ok_or(JsonlReason::NotHexadecimal)?;
    let (found, expected) = (digits.len(), 2 * bits.div_ceil(8) as usize);
    if found != expected {
        return Err(JsonlReason::Width {
            found,
            expected,
            bits,
        });
    }
    let pairs = digits.as_chunks::<2>().0.iter();
    let code: Vec<u8> = pairs.map(|[high, low]| high << 4 | low).collect();
    let used = bits % 8;
    if used != 0 && code.last().is_some_and(|last| last >> used != 0) {
        return Err(JsonlReason::PaddingBits(bits));
    }
    Ok(code)
}
