//! From the text of a filter to its tree.
//!
//! The text goes through three gates. Its tokens are looked at first: whatever no filter can hold
//! (functions, operators, subqueries) is refused there, and every word that is no keyword of
//! filters is turned into a name, so that fields called `date` or `case` need no quotes and the
//! SQL parser can take none of its many other ways. Then it parses; what comes out is turned
//! into a [`Node`]. Length and depth are bounded before anything recurses.

use sqlparser::ast::{BinaryOperator, Expr, Ident, Spanned, UnaryOperator, Value as SqlValue};
use sqlparser::dialect::GenericDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, TokenizerError};

use super::ast::{FieldPath, MAX_PATH, Node, Test};
use super::error::{FilterError, FilterPlace};
use super::like::{BadPattern, MAX_PATTERN, Pattern};
use super::value::{Comparison, List, Literal, Number, Value};

/// The longest filter, in bytes: room for a list of a hundred thousand ids.
const MAX_TEXT: usize = 1 << 20;
/// The most operators, names and parentheses: what makes a tree deep, be it by its left side.
const MAX_OPERATORS: usize = 2000;
/// The deepest nesting.
const MAX_DEPTH: usize = 40;

/// A filter's tree, and the fields that it looks at, by their numbers.
pub(crate) struct Parsed {
    pub(crate) root: Node,
    pub(crate) fields: Vec<FieldPath>,
}

/// Reads a filter.
pub(crate) fn parse(text: &str) -> Result<Parsed, FilterError> {
    if text.len() > MAX_TEXT {
        return Err(FilterError::TooLong {
            what: "bytes",
            found: text.len(),
            limit: MAX_TEXT,
        });
    }
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, text)
        .tokenize_with_location()
        .map_err(|TokenizerError { message, location }| FilterError::Syntax {
            place: place(location),
            reason: message,
        })?;
    let tokens = admit(tokens)?;
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(3 * MAX_DEPTH)
        .with_tokens_with_locations(tokens);
    let expression = parser.parse_expr().map_err(refused)?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        return Err(FilterError::Syntax {
            place: place(next.span.start),
            reason: format!("{} is not expected here", brief(&next.token)),
        });
    }
    let mut reader = Reader { fields: Vec::new() };
    let root = reader.condition(&expression, MAX_DEPTH)?;
    Ok(Parsed {
        root,
        fields: reader.fields,
    })
}

/// Looks at every token before the parser does.
fn admit(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, FilterError> {
    let mut admitted: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut operators = 0;
    let mut depth = 0_usize;
    for mut token in tokens {
        let at = place(token.span.start);
        let before = admitted.last().map(|token| &token.token);
        let mut counts = true;
        match &mut token.token {
            Token::Whitespace(_) | Token::EOF => continue,
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Comma => counts = false,
            Token::Minus | Token::Plus => {
                counts = !matches!(before, Some(Token::Comma | Token::LParen));
            }
            Token::LParen => {
                if let Some(Token::Word(word)) = before
                    && word.keyword == Keyword::NoKeyword
                {
                    return Err(FilterError::unsupported(
                        format!("the function {}", brief(&word.value)),
                        at,
                    ));
                }
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(FilterError::TooDeep { limit: MAX_DEPTH });
                }
            }
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(word) => {
                if word.quote_style.is_none() && !is_keyword(word.keyword) {
                    word.keyword = Keyword::NoKeyword;
                }
            }
            Token::Period
            | Token::Eq
            | Token::Neq
            | Token::Lt
            | Token::LtEq
            | Token::Gt
            | Token::GtEq => {}
            Token::DoubleEq => {
                return Err(FilterError::Syntax {
                    place: at,
                    reason: "equality is one =".to_owned(),
                });
            }
            other => return Err(FilterError::unsupported(brief(&other), at)),
        }
        operators += usize::from(counts);
        if operators > MAX_OPERATORS {
            return Err(FilterError::TooLong {
                what: "names, operators and parentheses",
                found: operators,
                limit: MAX_OPERATORS,
            });
        }
        admitted.push(token);
    }
    Ok(admitted)
}

fn is_keyword(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::AND
            | Keyword::OR
            | Keyword::NOT
            | Keyword::IS
            | Keyword::NULL
            | Keyword::TRUE
            | Keyword::FALSE
            | Keyword::UNKNOWN
            | Keyword::IN
            | Keyword::BETWEEN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::ESCAPE
    )
}

fn place(location: Location) -> FilterPlace {
    FilterPlace {
        line: location.line,
        column: location.column,
    }
}

fn refused(error: ParserError) -> FilterError {
    match error {
        ParserError::RecursionLimitExceeded => FilterError::TooDeep { limit: MAX_DEPTH },
        ParserError::TokenizerError(reason) | ParserError::ParserError(reason) => {
            let (reason, place) = placed(&reason);
            FilterError::Syntax {
                place,
                reason: brief(&reason),
            }
        }
    }
}

/// Takes the place off the end of what the parser says: " at Line: 1, Column: 13".
fn placed(reason: &str) -> (&str, FilterPlace) {
    let split = || {
        let (reason, place) = reason.rsplit_once(" at Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        let (line, column) = (line.parse().ok()?, column.parse().ok()?);
        Some((reason, FilterPlace { line, column }))
    };
    split().unwrap_or((reason, FilterPlace::default()))
}

/// A piece of the filter, to be shown in a message.
fn brief(piece: &dyn std::fmt::Display) -> String {
    let text = piece.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// One side of a comparison.
enum Operand {
    Field(usize),
    Literal(Literal),
}

struct Reader {
    fields: Vec<FieldPath>,
}

impl Reader {
    /// Turns an expression into a condition; `depth` is how much deeper it may nest.
    fn condition(&mut self, expression: &Expr, depth: usize) -> Result<Node, FilterError> {
        let depth = depth
            .checked_sub(1)
            .ok_or(FilterError::TooDeep { limit: MAX_DEPTH })?;
        Ok(match expression {
            Expr::Nested(inner) => self.condition(inner, depth)?,
            Expr::BinaryOp {
                op: op @ (BinaryOperator::And | BinaryOperator::Or),
                ..
            } => {
                let mut nodes = Vec::new();
                for side in chain(expression, op) {
                    nodes.push(self.condition(side, depth)?);
                }
                match op {
                    BinaryOperator::And => Node::And(nodes),
                    _ => Node::Or(nodes),
                }
            }
            Expr::BinaryOp { left, op, right } => {
                let comparison = match op {
                    BinaryOperator::Eq => Comparison::Equal,
                    BinaryOperator::NotEq => Comparison::NotEqual,
                    BinaryOperator::Lt => Comparison::Less,
                    BinaryOperator::LtEq => Comparison::LessOrEqual,
                    BinaryOperator::Gt => Comparison::Greater,
                    BinaryOperator::GtEq => Comparison::GreaterOrEqual,
                    _ => return Err(unsupported(expression)),
                };
                compare(self.operand(left)?, comparison, self.operand(right)?)
            }
            Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr,
            } => Node::Not(Box::new(self.condition(expr, depth)?)),
            Expr::IsNull(inner) => self.is_null(inner, depth)?,
            Expr::IsNotNull(inner) => Node::Not(Box::new(self.is_null(inner, depth)?)),
            Expr::IsTrue(inner) => self.is(inner, Some(true), depth)?,
            Expr::IsFalse(inner) => self.is(inner, Some(false), depth)?,
            Expr::IsUnknown(inner) => self.is(inner, None, depth)?,
            Expr::IsNotTrue(inner) => Node::Not(Box::new(self.is(inner, Some(true), depth)?)),
            Expr::IsNotFalse(inner) => Node::Not(Box::new(self.is(inner, Some(false), depth)?)),
            Expr::IsNotUnknown(inner) => Node::Not(Box::new(self.is(inner, None, depth)?)),
            Expr::InList {
                expr,
                list,
                negated,
            } => {
                let list = list
                    .iter()
                    .map(|entry| match self.operand(entry)? {
                        Operand::Literal(literal) => Ok(literal),
                        Operand::Field(_) => Err(FilterError::unsupported(
                            format!("the field {} in a list", brief(entry)),
                            start(entry),
                        )),
                    })
                    .collect::<Result<Vec<Literal>, FilterError>>()?;
                let node = test(self.operand(expr)?, Test::In(List::new(list)));
                negate(*negated, node)
            }
            Expr::Between {
                expr,
                negated,
                low,
                high,
            } => {
                let (low, high) = (self.operand(low)?, self.operand(high)?);
                let node = match (self.operand(expr)?, low, high) {
                    (Operand::Field(field), Operand::Literal(low), Operand::Literal(high))
                        if low.value().order(&high.value()).is_some() =>
                    {
                        Node::Test(field, Test::Between(low, high))
                    }
                    (value, low, high) => {
                        let again = match &value {
                            Operand::Field(field) => Operand::Field(*field),
                            Operand::Literal(literal) => Operand::Literal(literal.clone()),
                        };
                        Node::And(vec![
                            compare(value, Comparison::GreaterOrEqual, low),
                            compare(again, Comparison::LessOrEqual, high),
                        ])
                    }
                };
                negate(*negated, node)
            }
            Expr::Like {
                negated,
                any: false,
                expr,
                pattern,
                escape_char,
            } => negate(
                *negated,
                self.like(expr, pattern, escape_char.as_deref(), false)?,
            ),
            Expr::ILike {
                negated,
                any: false,
                expr,
                pattern,
                escape_char,
            } => negate(
                *negated,
                self.like(expr, pattern, escape_char.as_deref(), true)?,
            ),
            other => match self.operand(other)? {
                Operand::Field(field) => Node::Test(field, Test::Holds),
                Operand::Literal(Literal::Bool(truth)) => Node::Constant(Some(truth)),
                Operand::Literal(Literal::Null) => Node::Constant(None),
                Operand::Literal(_) => {
                    return Err(FilterError::unsupported(
                        format!("{} as a condition", brief(other)),
                        start(other),
                    ));
                }
            },
        })
    }

    fn is_null(&mut self, inner: &Expr, depth: usize) -> Result<Node, FilterError> {
        match bare(inner) {
            operand @ (Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::Value(_)
            | Expr::UnaryOp {
                op: UnaryOperator::Minus | UnaryOperator::Plus,
                ..
            }) => Ok(test(self.operand(operand)?, Test::IsNull)),
            condition => self.is(condition, None, depth),
        }
    }

    fn is(&mut self, inner: &Expr, truth: Option<bool>, depth: usize) -> Result<Node, FilterError> {
        Ok(Node::Is(Box::new(self.condition(inner, depth)?), truth))
    }

    fn like(
        &mut self,
        expr: &Expr,
        pattern: &Expr,
        escape: Option<&Expr>,
        ignore_case: bool,
    ) -> Result<Node, FilterError> {
        let escape = match escape {
            None => None,
            Some(written) => match self.operand(written)? {
                Operand::Literal(Literal::Text(text)) if text.chars().count() <= 1 => {
                    text.chars().next()
                }
                _ => {
                    return Err(FilterError::unsupported(
                        format!("ESCAPE {}, which is not one character", brief(written)),
                        start(written),
                    ));
                }
            },
        };
        let operand = self.operand(expr)?;
        match self.operand(pattern)? {
            Operand::Literal(Literal::Text(text)) => {
                let pattern =
                    Pattern::new(&text, escape, ignore_case).map_err(|bad| match bad {
                        BadPattern::TooLong => FilterError::TooLong {
                            what: "characters of a pattern",
                            found: text.chars().count(),
                            limit: MAX_PATTERN,
                        },
                        BadPattern::EndsInEscape => FilterError::Syntax {
                            place: start(pattern),
                            reason: format!("the pattern {} ends in its escape", brief(pattern)),
                        },
                    })?;
                Ok(test(operand, Test::Like(pattern)))
            }
            Operand::Literal(Literal::Null) => Ok(Node::Constant(None)),
            _ => Err(FilterError::unsupported(
                format!("the pattern {}, which is no text", brief(pattern)),
                start(pattern),
            )),
        }
    }

    fn operand(&mut self, expression: &Expr) -> Result<Operand, FilterError> {
        match bare(expression) {
            Expr::Identifier(name) => self.field(std::slice::from_ref(name)),
            Expr::CompoundIdentifier(names) => self.field(names),
            Expr::Value(value) => match &value.value {
                SqlValue::Number(digits, false) => number(digits, expression),
                SqlValue::SingleQuotedString(text) => {
                    Ok(Operand::Literal(Literal::Text(text.clone())))
                }
                SqlValue::Boolean(truth) => Ok(Operand::Literal(Literal::Bool(*truth))),
                SqlValue::Null => Ok(Operand::Literal(Literal::Null)),
                _ => Err(unsupported(expression)),
            },
            Expr::UnaryOp {
                op: op @ (UnaryOperator::Minus | UnaryOperator::Plus),
                expr,
            } => match &**expr {
                Expr::Value(value) => match &value.value {
                    SqlValue::Number(digits, false) => {
                        let sign = if *op == UnaryOperator::Minus { "-" } else { "" };
                        number(&format!("{sign}{digits}"), expression)
                    }
                    _ => Err(unsupported(expression)),
                },
                _ => Err(unsupported(expression)),
            },
            _ => Err(unsupported(expression)),
        }
    }

    fn field(&mut self, names: &[Ident]) -> Result<Operand, FilterError> {
        if names.len() > MAX_PATH {
            return Err(FilterError::TooLong {
                what: "keys of a path",
                found: names.len(),
                limit: MAX_PATH,
            });
        }
        let path = FieldPath(names.iter().map(|name| name.value.clone()).collect());
        let known = self.fields.iter().position(|known| *known == path);
        Ok(Operand::Field(known.unwrap_or_else(|| {
            self.fields.push(path);
            self.fields.len() - 1
        })))
    }
}

/// The sides of a chain of equal operators, first to last, however long: such a chain is deep on
/// its left.
fn chain<'a>(expression: &'a Expr, operator: &BinaryOperator) -> Vec<&'a Expr> {
    let mut sides = Vec::new();
    let mut rest = expression;
    while let Expr::BinaryOp { left, op, right } = rest
        && op == operator
    {
        sides.push(&**right);
        rest = left;
    }
    sides.push(rest);
    sides.reverse();
    sides
}

/// The expression without parentheses around it.
fn bare(expression: &Expr) -> &Expr {
    let mut bare = expression;
    while let Expr::Nested(inner) = bare {
        bare = inner;
    }
    bare
}

fn negate(negated: bool, node: Node) -> Node {
    match negated {
        true => Node::Not(Box::new(node)),
        false => node,
    }
}

fn test(operand: Operand, test: Test) -> Node {
    match operand {
        Operand::Field(field) => Node::Test(field, test),
        Operand::Literal(literal) => Node::Constant(test.evaluate(&literal.value())),
    }
}

fn compare(left: Operand, comparison: Comparison, right: Operand) -> Node {
    let with = |field, comparison, literal: Literal| match literal.value() {
        Value::Null => Node::Constant(None),
        _ => Node::Test(field, Test::Compare(comparison, literal)),
    };
    match (left, right) {
        (Operand::Field(left), Operand::Field(right)) => {
            Node::CompareFields(left, comparison, right)
        }
        (Operand::Field(field), Operand::Literal(literal)) => with(field, comparison, literal),
        (Operand::Literal(literal), Operand::Field(field)) => {
            with(field, comparison.flipped(), literal)
        }
        (Operand::Literal(left), Operand::Literal(right)) => {
            let order = left.value().order(&right.value());
            Node::Constant(order.map(|order| comparison.holds(order)))
        }
    }
}

fn number(digits: &str, expression: &Expr) -> Result<Operand, FilterError> {
    let number = match digits.parse::<i128>() {
        Ok(int) if (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&int) => Number::Int(int),
        // As JSON is read: other numbers are floats.
        _ => match digits.parse::<f64>() {
            Ok(float) if float.is_finite() => Number::Float(float),
            _ => {
                return Err(FilterError::unsupported(
                    format!("the number {}", brief(expression)),
                    start(expression),
                ));
            }
        },
    };
    Ok(Operand::Literal(Literal::Number(number)))
}

fn start(expression: &Expr) -> FilterPlace {
    place(expression.span().start)
}

fn unsupported(expression: &Expr) -> FilterError {
    FilterError::unsupported(brief(expression), start(expression))
}
