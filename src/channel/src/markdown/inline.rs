//! What tags do to the text between them: links, images, scripts, strikes.

use std::borrow::Cow;

use super::html;
use super::page::Page;
use super::script::Script;
use super::strike::{self, strike};

/// The inline elements of HTML that are open, with where their text begins.
#[derive(Debug, Default)]
pub struct Inline {
    links: Vec<(usize, String)>,
    scripts: Vec<(usize, Script)>,
    strikes: usize,
}

impl Inline {
    /// Takes in a tag, and writes what it is.
    pub fn tag(&mut self, tag: &str, page: &mut Page) {
        let is_closing = tag.starts_with("</");
        if let Some(script) = Script::of(tag) {
            page.flush();
            match is_closing {
                true => self.end_script(script, page),
                false => self.scripts.push((page.len(), script)),
            }
            return;
        }
        if strike::is_tag(tag) {
            self.strikes = match is_closing {
                true => self.strikes.saturating_sub(1),
                false => self.strikes + 1,
            };
            return;
        }
        match html::name(tag).to_ascii_lowercase().as_str() {
            "a" if is_closing => {
                if let Some((start, address)) = self.links.pop() {
                    write_address(page, start, &address);
                }
            }
            "a" => {
                page.flush();
                let address = html::attribute(tag, "href").unwrap_or_default();
                self.links.push((page.len(), address));
            }
            "img" => {
                page.flush();
                let start = page.len();
                page.text(&html::attribute(tag, "alt").unwrap_or_default());
                let address = html::attribute(tag, "src").unwrap_or_default();
                // A `data:` address holds the image itself, so there is nothing to link to.
                if !address.starts_with("data:") {
                    write_address(page, start, &address);
                }
            }
            _ => {}
        }
    }

    /// A text, struck out where it is.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.strikes {
            0 => Cow::Borrowed(text),
            _ => strike(text),
        }
    }

    fn end_script(&mut self, script: Script, page: &mut Page) {
        let Some((start, _)) = self.scripts.pop() else {
            return;
        };
        let before = page.char_before(start);
        let written = script.write(page.since(start), before);
        if let Some(written) = written {
            page.replace_since(start, &written);
        }
    }
}

/// An address follows its text, which begins at `start`, unless the text says it.
pub fn write_address(page: &mut Page, start: usize, address: &str) {
    let text = page.since(start);
    if address.is_empty() || text == address || address.strip_prefix("mailto:") == Some(text) {
        return;
    }
    if text.is_empty() {
        page.text(address);
    } else {
        page.text(" (");
        page.text(address);
        page.text(")");
    }
}
