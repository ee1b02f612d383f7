//! Text to syntax tree, and what is said of a text that is none.

use cel::IdedExpr;
use cel::common::ast::SourceInfo;
use cel::parser::Parser;

use super::{ExpressionError, hints};

/// Longer expressions are refused, so that none can exhaust the compiler.
const LONGEST: usize = 4_096;

pub(super) fn parse(source: &str) -> Result<(IdedExpr, SourceInfo), ExpressionError> {
    if source.len() > LONGEST {
        let message =
            format!("the expression has {} bytes; the longest has {LONGEST}", source.len());
        let help =
            Some("part it: a `map` before can add fields, filters can follow each other".into());
        return Err(ExpressionError { message, help, range: 0..source.len() });
    }
    Parser::new().parse_with_source_info(source).map_err(|errors| first_of(source, &errors))
}

/// The first error of the parser, whose lines and columns count from 1 and characters, not bytes.
fn first_of(source: &str, errors: &cel::ParseErrors) -> ExpressionError {
    let Some(error) = errors.errors.first() else {
        let message = "the expression cannot be read".to_owned();
        return ExpressionError { message, help: None, range: 0..source.len() };
    };
    let line = usize::try_from(error.pos.0 - 1).unwrap_or(0);
    let column = usize::try_from(error.pos.1 - 1).unwrap_or(0);
    let start: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = source.get(start..).unwrap_or_default();
    let range = hints::token_at(source, start + byte_offset(rest, column));
    let (message, help) =
        told(error.msg.lines().next().unwrap_or_default(), &source[range.clone()]);
    ExpressionError { message: format!("syntax error: {message}"), help, range }
}

/// The parser's sentence in the words of this project, and what was meant.
fn told(sentence: &str, token: &str) -> (String, Option<String>) {
    let sentence = sentence.trim_start_matches("Syntax error: ");
    let help = hints::meant(token).map(str::to_owned);
    let is = |beginning: &str| sentence.starts_with(beginning);
    if is("token recognition error") && token.starts_with(['\'', '"']) {
        let help = "it ends with the quote that it began with; inside, `\\` stands before one";
        return ("this text is not closed".to_owned(), Some(help.to_owned()));
    }
    if is("Incomplete") {
        let help = "a choice is written `condition ? one : other`";
        return ("`?` without its `:`".to_owned(), Some(help.to_owned()));
    }
    if is("reserved identifier") {
        return (format!("`{token}` is a reserved word"), help);
    }
    if is("invalid argument to has()") {
        return ("`has` is not supported".to_owned(), hints::meant("has").map(str::to_owned));
    }
    let unexpected = ["token recognition", "mismatched input", "extraneous input", "no viable"];
    if unexpected.into_iter().any(is) {
        return match token {
            "" => ("the expression ends too early".to_owned(), None),
            token => (format!("unexpected `{token}`"), help),
        };
    }
    // The parser goes on to name every token that it would have taken.
    let found = sentence.split(" expecting").next().unwrap_or_default();
    (found.replace("'<EOF>'", "the end"), help)
}

/// The byte at which a character begins.
fn byte_offset(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte)
}
