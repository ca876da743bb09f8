//! HTML in pieces: tags, and the text between them.
//!
//! A tag is that of an element of HTML, a comment, a declaration or an instruction. Everything else
//! that looks like a tag is text: a writer who puts `<your-key>` wants it to be read.

use pulldown_cmark::{Event, Parser};

use super::inline::Inline;
use super::page::Page;

/// A part of a HTML text; put together the parts are the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// From `<` to `>`.
    Tag(&'a str),
    /// What is between tags, with its entities.
    Text(&'a str),
}

/// The pieces of `html`. Behind a tag that is not closed all is text.
pub fn pieces(html: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = html;
    let mut is_open_ended = false;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let tag = match tag(rest) {
            _ if is_open_ended => None,
            Extent::Whole(end) => rest.split_at_checked(end),
            Extent::None => None,
            Extent::OpenEnded => {
                is_open_ended = true;
                None
            }
        };
        if let Some((tag, after)) = tag {
            rest = after;
            return Some(Piece::Tag(tag));
        }
        let next = rest
            .bytes()
            .skip(1)
            .position(|byte| !is_open_ended && byte == b'<')
            .map_or(rest.len(), |start| start + 1);
        let (text, after) = rest.split_at_checked(next)?;
        rest = after;
        Some(Piece::Text(text))
    })
}

/// What a tag is in a text without markup; nothing, if it is text itself.
pub fn tag_as_text(tag: &str) -> Option<&'static str> {
    match name(tag) {
        "" => (tag.starts_with("<!") || tag.starts_with("<?")).then_some(""),
        name if !is_element(name) => None,
        name if is_one_of(name, BREAKS) => Some("\n"),
        name if is_one_of(name, "td th") && !tag.starts_with("</") => Some(" "),
        _ => Some(""),
    }
}

/// The text of a block of HTML: its lines that show something, without the indentation that is the
/// tags'.
pub fn text(html: &str) -> String {
    let mut page = Page::with_capacity(html.len());
    let mut inline = Inline::default();
    let mut text = String::new();
    for piece in pieces(html) {
        match piece {
            Piece::Tag(tag) => {
                page.lines(tag_as_text(tag).unwrap_or_default());
                inline.tag(tag, &mut page);
            }
            Piece::Text(piece) => {
                text.clear();
                decode(piece, &mut text);
                page.lines(&inline.text(&text));
            }
        }
    }
    let is_verbatim = is_one_of(name(html.trim_start()), VERBATIM);
    let mut lines = String::new();
    let text = page.into_text();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if !lines.is_empty() {
            lines.push('\n');
        }
        lines.push_str(if is_verbatim { line } else { line.trim() });
    }
    lines
}

/// The value of an attribute of a tag, with its entities decoded.
pub fn attribute(tag: &str, wanted: &str) -> Option<String> {
    let mut rest = tag.get(1 + name(tag).len()..)?;
    loop {
        rest = rest.trim_start_matches(|char: char| char.is_whitespace() || char == '/');
        let end = rest.find(|char: char| char.is_whitespace() || "=/>".contains(char))?;
        let (name, after) = rest.split_at_checked(end)?;
        rest = after.trim_start();
        let Some(value) = rest.strip_prefix('=') else {
            // Without a value; else the tag is at its end.
            if name.is_empty() {
                return None;
            }
            continue;
        };
        let value = value.trim_start();
        let quoted = ['"', '\''].into_iter().find_map(|quote| {
            let inner = value.strip_prefix(quote)?;
            inner.split_once(quote)
        });
        let (value, after) = match quoted {
            Some(quoted) => quoted,
            None => {
                let end = value.find(|char: char| char.is_whitespace() || char == '>');
                value.split_at_checked(end.unwrap_or(value.len()))?
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            let mut decoded = String::new();
            decode(value.trim(), &mut decoded);
            return Some(decoded);
        }
        rest = after;
    }
}

/// Whether a text is nothing but an address.
pub fn is_address(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    (scheme.is_some_and(|scheme| scheme.bytes().all(|byte| byte.is_ascii_alphabetic()))
        || text.starts_with("mailto:"))
        && !text.contains(char::is_whitespace)
}

/// Appends a text with its entities decoded.
fn decode(mut text: &str, out: &mut String) {
    while let Some((before, entity)) = text.find('&').and_then(|at| text.split_at_checked(at)) {
        out.push_str(before);
        let name = entity
            .bytes()
            .skip(1)
            .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'#')
            .count();
        let (entity, after) = match entity.split_at_checked(name + 2) {
            Some((whole, after)) if name > 0 && whole.ends_with(';') => (whole, after),
            _ => entity.split_at_checked(1).unwrap_or((entity, "")),
        };
        // The parser knows the names.
        for event in Parser::new(entity) {
            if let Event::Text(char) = event {
                out.push_str(&char);
            }
        }
        text = after;
    }
    out.push_str(text);
}

enum Extent {
    None,
    Whole(usize),
    OpenEnded,
}

/// How far the tag reaches that `html` begins with.
fn tag(html: &str) -> Extent {
    let end = if html.starts_with("<!--") {
        html.find("-->").map(|start| start + 3)
    } else if html.starts_with("<?") {
        html.find("?>").map(|start| start + 2)
    } else if html.starts_with("<![CDATA[") {
        html.find("]]>").map(|start| start + 3)
    } else if html.starts_with("<!") {
        html.find('>').map(|start| start + 1)
    } else if is_element(name(html)) {
        let mut quote = None;
        let stop = html.bytes().enumerate().skip(1).find(|(_, byte)| {
            match (quote, byte) {
                (None, b'"' | b'\'') => quote = Some(*byte),
                (Some(open), close) if open == *close => quote = None,
                _ => {}
            }
            quote.is_none() && matches!(byte, b'<' | b'>')
        });
        match stop {
            Some((_, b'<')) => return Extent::None,
            stop => stop.map(|(start, _)| start + 1),
        }
    } else {
        return Extent::None;
    };
    end.map_or(Extent::OpenEnded, Extent::Whole)
}

/// The name of a tag; empty for a comment and what is none.
pub fn name(tag: &str) -> &str {
    let Some(inner) = tag.strip_prefix('<') else {
        return "";
    };
    let inner = inner.strip_prefix('/').unwrap_or(inner);
    let end = inner
        .bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        .count();
    match inner.split_at_checked(end) {
        Some((name, after))
            if after.starts_with(['>', '/']) || after.starts_with(char::is_whitespace) =>
        {
            name
        }
        _ => "",
    }
}

/// Whether a name is that of an element of HTML.
pub fn is_element(name: &str) -> bool {
    is_one_of(name, BREAKS) || is_one_of(name, OTHERS)
}

/// Whether a name is in a list of them, whatever its case.
pub fn is_one_of(name: &str, names: &str) -> bool {
    !name.is_empty()
        && names
            .split_ascii_whitespace()
            .any(|known| known.eq_ignore_ascii_case(name))
}

/// Elements that begin or end a line.
const BREAKS: &str = "address article aside blockquote body br caption center dd details dialog dir \
    div dl dt fieldset figcaption figure footer form frameset h1 h2 h3 h4 h5 h6 head header hr html \
    legend li main menu nav ol optgroup option p pre script search section style summary table \
    tbody textarea tfoot thead title tr ul";

const OTHERS: &str = "a abbr acronym applet area audio b base basefont bdi bdo big button canvas cite \
    code col colgroup data datalist del dfn em embed font frame i iframe img input ins kbd label \
    link map mark meta meter noframes noscript object output param picture progress q rp rt ruby s \
    samp select slot small source span strike strong sub sup svg td template th time track tt u \
    var video wbr";

/// Elements whose content is shown as it is written.
const VERBATIM: &str = "pre script style textarea";
