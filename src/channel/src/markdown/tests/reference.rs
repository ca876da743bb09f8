//! What the text of a document is by another parser, written as ours is but for blanks.

#![expect(clippy::string_slice, reason = "a panic fails the test")]

use std::collections::HashMap;

use markdown::mdast::Node;
use markdown::{Constructs, ParseOptions};

use crate::markdown::html;

/// The text of `source` without blanks, bullets, bars of quotes and rules.
pub fn text(source: &str) -> String {
    let options = ParseOptions {
        constructs: Constructs {
            gfm_footnote_definition: true,
            gfm_label_start_footnote: true,
            gfm_strikethrough: true,
            gfm_table: true,
            gfm_task_list_item: true,
            ..Constructs::default()
        },
        gfm_strikethrough_single_tilde: false,
        ..ParseOptions::default()
    };
    let root = markdown::to_mdast(source, &options).unwrap();
    let mut reference = Reference {
        source,
        ..Reference::default()
    };
    reference.definitions(&root);
    reference.node(&root, true);
    let mut at = 0;
    while at < reference.notes.len() {
        let label = reference.notes[at].clone();
        at += 1;
        reference.out.push_str(&format!("[{at}]"));
        if let Some(note) = reference.note_nodes.get(&label).cloned() {
            reference.children(&note, true);
        }
    }
    skeleton(&reference.out)
}

/// A text without blanks, without strokes and without the marks that flattening adds on its own.
pub fn skeleton(text: &str) -> String {
    text.chars()
        .filter(|char| !char.is_whitespace() && !matches!(char, '•' | '│' | '—' | '\u{336}'))
        .collect()
}

#[derive(Default)]
struct Reference<'a> {
    source: &'a str,
    out: String,
    addresses: HashMap<String, String>,
    note_nodes: HashMap<String, Vec<Node>>,
    notes: Vec<String>,
    /// The links of HTML that are open: where their text begins, and their addresses.
    links: Vec<(usize, String)>,
}

impl Reference<'_> {
    fn definitions(&mut self, node: &Node) {
        match node {
            Node::Definition(it) => {
                let address = || it.url.clone();
                self.addresses
                    .entry(key(&it.identifier))
                    .or_insert_with(address);
            }
            Node::FootnoteDefinition(it) => {
                let note = || it.children.clone();
                self.note_nodes
                    .entry(key(&it.identifier))
                    .or_insert_with(note);
            }
            _ => {}
        }
        for child in node.children().into_iter().flatten() {
            self.definitions(child);
        }
    }

    fn children(&mut self, nodes: &[Node], is_block: bool) {
        for node in nodes {
            self.node(node, is_block);
        }
    }

    fn node(&mut self, node: &Node, is_block: bool) {
        match node {
            Node::Text(it) => self.out.push_str(&it.value),
            Node::InlineCode(it) => self.out.push_str(&it.value),
            Node::Code(it) => self.out.push_str(&it.value),
            Node::Html(it) => self.html(&it.value, is_block),
            Node::Link(it) => self.link(&it.children, &it.url),
            Node::LinkReference(it) => {
                let address = self.addresses.get(&key(&it.identifier)).cloned();
                self.link(&it.children, &address.unwrap_or_default());
            }
            Node::Image(it) => self.address(&it.alt, &it.url),
            Node::ImageReference(it) => {
                let address = self.addresses.get(&key(&it.identifier)).cloned();
                self.address(&it.alt, &address.unwrap_or_default());
            }
            Node::List(list) => {
                let mut number = list.start.unwrap_or(0);
                for item in &list.children {
                    if list.ordered {
                        let start = item.position().unwrap().start.offset;
                        let delimiter = self.source[start..].chars().find(|c| !c.is_ascii_digit());
                        self.out
                            .push_str(&format!("{number}{}", delimiter.unwrap()));
                        number += 1;
                    }
                    self.node(item, true);
                }
            }
            Node::ListItem(it) => {
                self.out.push_str(match it.checked {
                    Some(true) => "☑",
                    Some(false) => "☐",
                    None => "",
                });
                self.children(&it.children, true);
            }
            Node::Table(it) => {
                // GFM ignores the cells that have no header.
                for row in it.children.iter().filter_map(|row| row.children()) {
                    self.children(&row[..row.len().min(it.align.len())], false);
                }
            }
            Node::FootnoteReference(it) => {
                let key = key(&it.identifier);
                let known = self.notes.iter().position(|label| *label == key);
                let number = known.unwrap_or_else(|| {
                    self.notes.push(key);
                    self.notes.len() - 1
                });
                self.out.push_str(&format!("[{}]", number + 1));
            }
            Node::FootnoteDefinition(_) | Node::Definition(_) => {}
            Node::Paragraph(_) | Node::Heading(_) => {
                self.children(node.children().unwrap(), false);
            }
            other => {
                for child in other.children().into_iter().flatten() {
                    self.node(child, is_block);
                }
            }
        }
    }

    fn link(&mut self, children: &[Node], url: &str) {
        let start = self.out.len();
        self.children(children, false);
        let text = self.out.split_off(start);
        self.address(&text, url);
    }

    fn address(&mut self, text: &str, url: &str) {
        self.out.push_str(text);
        if text.trim().is_empty() {
            self.out.push_str(url);
        } else if !url.is_empty()
            && url.strip_prefix("mailto:").unwrap_or(url) != text
            && url != text
        {
            self.out.push_str(&format!("({url})"));
        }
    }

    fn html(&mut self, value: &str, is_block: bool) {
        if !is_block {
            match html::tag_as_text(value) {
                Some(_) => self.tag(value),
                None => self.out.push_str(value),
            }
            return;
        }
        let mut rest = value;
        while let Some(start) = rest.find('<') {
            self.entities(&rest[..start]);
            rest = &rest[start..];
            let end = match rest {
                comment if comment.starts_with("<!--") => comment.find("-->").map(|end| end + 3),
                tag => unquoted(tag).map(|end| end + 1),
            };
            match end {
                Some(end) if html::tag_as_text(&rest[..end]).is_some() => {
                    self.tag(&rest[..end]);
                    rest = &rest[end..];
                }
                _ => {
                    self.out.push('<');
                    rest = &rest[1..];
                }
            }
        }
        self.entities(rest);
    }

    fn tag(&mut self, tag: &str) {
        if tag == "</a>" {
            if let Some((start, url)) = self.links.pop() {
                let text = self.out.split_off(start);
                self.address(&text, &url);
            }
        } else if tag.starts_with("<a ") {
            let url = tag
                .split("href=\"")
                .nth(1)
                .and_then(|url| url.split('"').next());
            let url = url.unwrap_or_default().to_owned();
            self.links.push((self.out.len(), url));
        } else if tag.starts_with("<img ") {
            let url = tag
                .split("src=\"")
                .nth(1)
                .and_then(|url| url.split('"').next());
            self.address("", url.unwrap_or_default());
        }
    }

    fn entities(&mut self, text: &str) {
        // The only one in a block of HTML of the examples.
        self.out.push_str(&text.replace("&quot;", "\""));
    }
}

/// Where the first `>` is that is in no quotes.
fn unquoted(tag: &str) -> Option<usize> {
    let mut quote = None;
    tag.char_indices()
        .find(|(_, char)| {
            match (quote, char) {
                (None, '"' | '\'') => quote = Some(*char),
                (Some(open), close) if open == *close => quote = None,
                _ => {}
            }
            quote.is_none() && *char == '>'
        })
        .map(|(at, _)| at)
}

fn key(identifier: &str) -> String {
    identifier.to_lowercase()
}
