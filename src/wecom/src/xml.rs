//! The XML of callbacks: small documents of elements with text.
//!
//! Promises: time and memory are linear in the document's size; there are no entities but XML's own
//! five, no document type, at most [`MAX_DEPTH`] elements within each other and [`MAX_ELEMENTS`] in
//! all. Attributes, comments and processing instructions are passed over, and what is no character is
//! U+FFFD.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};
use serde_json::{Map, Value};

/// How deep elements may be within each other; the platform's are three deep.
pub const MAX_DEPTH: usize = 8;
/// How many elements a document may have; the platform's have some thirty.
pub const MAX_ELEMENTS: usize = 512;

/// An element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

/// Reads a document; returns its outermost element.
///
/// # Errors
/// What is wrong with it, without any of its content.
pub fn parse(document: &[u8]) -> Result<Element, &'static str> {
    // Half a character of a message is no reason to lose it.
    let document = String::from_utf8_lossy(document);
    let mut reader = Reader::from_str(&document);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut elements = 0;
    loop {
        let event = reader
            .read_event()
            .map_err(|_| "the XML is not well-formed")?;
        match event {
            Event::Start(tag) => {
                elements += 1;
                if open.len() >= MAX_DEPTH || elements > MAX_ELEMENTS {
                    return Err("the XML has too many elements");
                }
                open.push(Element {
                    name: tag.name().as_ref().to_owned(),
                    ..Element::default()
                });
            }
            Event::Empty(tag) => {
                elements += 1;
                if open.len() >= MAX_DEPTH || elements > MAX_ELEMENTS {
                    return Err("the XML has too many elements");
                }
                let element = Element {
                    name: tag.name().as_ref().to_owned(),
                    ..Element::default()
                };
                close(element, &mut open, &mut root)?;
            }
            Event::End(_) => {
                let element = open.pop().ok_or("the XML is not well-formed")?;
                close(element, &mut open, &mut root)?;
            }
            Event::Text(text) => say(&text.xml10_content(), &mut open)?,
            Event::CData(text) => say(&text.xml10_content(), &mut open)?,
            Event::GeneralRef(reference) => {
                say(character(&reference)?.encode_utf8(&mut [0; 4]), &mut open)?
            }
            Event::DocType(_) => return Err("the XML has a document type"),
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
            Event::Eof if open.is_empty() => return root.ok_or("the XML has no element"),
            Event::Eof => return Err("the XML is cut off"),
        }
    }
}

fn close(
    element: Element,
    open: &mut [Element],
    root: &mut Option<Element>,
) -> Result<(), &'static str> {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None if root.is_none() => *root = Some(element),
        None => return Err("the XML has more than one document"),
    }
    Ok(())
}

fn say(text: &str, open: &mut [Element]) -> Result<(), &'static str> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim_start_matches('\u{feff}').trim().is_empty() => {}
        None => return Err("the XML has text outside of its element"),
    }
    Ok(())
}

fn character(reference: &BytesRef<'_>) -> Result<char, &'static str> {
    if reference.is_char_ref() {
        let character = reference.resolve_char_ref().ok().flatten();
        return Ok(character.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    match reference.as_ref() {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err("the XML has an entity"),
    }
}

impl Element {
    /// The text of the first child with this name, without blanks around it; none when it is empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.raw(name)
            .map(str::trim)
            .filter(|text| !text.is_empty())
    }

    /// The text of the first child with this name, as it is.
    pub fn raw(&self, name: &str) -> Option<&str> {
        let child = self.children.iter().find(|child| child.name == name);
        child.map(|child| child.text.as_str())
    }

    /// The elements within.
    pub fn children(&self) -> impl Iterator<Item = &Element> {
        self.children.iter()
    }

    /// Whether there are elements within.
    pub fn has_children(&self) -> bool {
        !self.children.is_empty()
    }

    /// The children as a JSON object, but those that `hidden` names, at any depth. Of several with one
    /// name it is an array.
    pub fn to_json(&self, hidden: &[&str]) -> Value {
        if self.children.is_empty() {
            return Value::String(self.text.clone());
        }
        let mut members: Map<String, Value> = Map::new();
        for child in &self.children {
            if hidden.contains(&child.name.as_str()) {
                continue;
            }
            let value = child.to_json(hidden);
            match members.get_mut(&child.name) {
                None => drop(members.insert(child.name.clone(), value)),
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
            }
        }
        Value::Object(members)
    }
}

/// A text as the content of an element: in a CDATA section, without what XML has no place for.
pub fn cdata(text: &str) -> String {
    let text: String = text
        .chars()
        .filter(|char| matches!(char, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..))
        .collect();
    format!("<![CDATA[{}]]>", text.replace("]]>", "]]]]><![CDATA[>"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_read_in_all_its_spellings() {
        let document = "\u{feff}<?xml version=\"1.0\"?>\n<xml a='1'>\n<!-- x -->\
            <A><![CDATA[a]]><![CDATA[<b>]]></A><B>1 &lt; 2 &amp;&#38;&#x4f60;</B><C/><D> \n </D>\
            <E><F>1</F><F>2</F><F>3</F><Token>SECRET</Token></E><A>second</A></xml>\n";
        let root = parse(document.as_bytes()).unwrap();
        assert_eq!(root.text("A"), Some("a<b>"));
        assert_eq!(root.text("B"), Some("1 < 2 &&你"));
        assert_eq!((root.text("C"), root.raw("C")), (None, Some("")));
        assert_eq!((root.text("D"), root.text("X")), (None, None));
        assert_eq!(
            root.to_json(&["Token", "D"]),
            json!({"A": ["a<b>", "second"], "B": "1 < 2 &&你", "C": "", "E": {"F": ["1", "2", "3"]}})
        );
    }

    #[test]
    fn hostile_documents_are_refused() {
        let laughs = "<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">\
            <!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;\">]><xml><A>&c;</A></xml>";
        let external = "<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><xml>&a;</xml>";
        let deep = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        let wide = |count: usize| format!("<a>{}</a>", "<b/>".repeat(count));
        for (document, expect) in [
            (laughs.to_owned(), "the XML has a document type"),
            (external.to_owned(), "the XML has a document type"),
            (
                "<!DOCTYPE x><xml/>".to_owned(),
                "the XML has a document type",
            ),
            ("<xml>&a;</xml>".to_owned(), "the XML has an entity"),
            (deep(9), "the XML has too many elements"),
            (deep(100_000), "the XML has too many elements"),
            (wide(512), "the XML has too many elements"),
            ("<xml><A>".to_owned(), "the XML is cut off"),
            ("<xml></a>".to_owned(), "the XML is not well-formed"),
            ("<xml><![CDATA[".to_owned(), "the XML is not well-formed"),
            ("<a/><b/>".to_owned(), "the XML has more than one document"),
            (
                "hello".to_owned(),
                "the XML has text outside of its element",
            ),
            (String::new(), "the XML has no element"),
        ] {
            let start: String = document.chars().take(80).collect();
            assert_eq!(parse(document.as_bytes()), Err(expect), "{start}");
        }
        assert!(parse(deep(8).as_bytes()).is_ok() && parse(wide(511).as_bytes()).is_ok());
    }

    #[test]
    fn what_is_no_character_does_not_lose_the_message() {
        for (content, expect) in [
            (&b"a\xffb"[..], "a\u{fffd}b"),
            (b"\xe4\xbd", "\u{fffd}"),
            (b"&#0;&#xd83d;&#x110000;&#x41;", "\u{fffd}\u{fffd}\u{fffd}A"),
            (b"<![CDATA[\x1b[31m\x08\x00]]>", "\u{1b}[31m\u{8}\0"),
            (b"\xef\xbf\xbe", "\u{fffe}"),
            (b"\xc0\x80", "\u{fffd}\u{fffd}"),
        ] {
            let document = [b"<xml><A>", content, b"</A></xml>"].concat();
            assert_eq!(parse(&document).unwrap().raw("A"), Some(expect));
        }
    }

    #[test]
    fn attributes_are_passed_over_however_many_they_are() {
        // Compared with each other, as a parser has to that reads them, they would take minutes.
        let attributes = " a=''".repeat(500_000);
        assert!(parse(format!("<xml{attributes}/>").as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text in "\\PC*|[\\]>\n]*") {
            let document = format!("<xml><A>{}</A></xml>", cdata(&text));
            let root = parse(document.as_bytes()).unwrap();
            prop_assert_eq!(root.raw("A").unwrap(), text);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let _ = parse(&[b"<xml>".to_vec(), bytes].concat());
        }
    }
}
