//! Superscripts and subscripts without markup: `10⁶`, `H₂O`, and where a character has no such form
//! `x^(a/b)`, `x_(a,b)`.

use std::ops::Range;

use super::html;

/// Longest text that is written behind a `^` or `_`, in characters.
const MAX_CHARS: usize = 40;
/// Longest text that is looked at, in bytes: scripts may be nested.
const MAX_BYTES: usize = 400;

/// Which of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// `<sup>`
    Super,
    /// `<sub>`
    Sub,
}

impl Script {
    /// The script that a tag begins or ends.
    pub fn of(tag: &str) -> Option<Script> {
        match html::name(tag) {
            name if name.eq_ignore_ascii_case("sup") => Some(Script::Super),
            name if name.eq_ignore_ascii_case("sub") => Some(Script::Sub),
            _ => None,
        }
    }

    /// What is written of a text; none where it is to be written as it is, as small print.
    /// `before` is what stands directly before it.
    pub fn write(self, text: &str, before: Option<char>) -> Option<String> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let is_attached =
            before.is_some_and(|char| char.is_alphanumeric() || ")]}'\u{2019}>".contains(char));
        let compact: String = text.chars().filter(|char| !char.is_whitespace()).collect();
        let is_number = compact
            .chars()
            .all(|char| char.is_ascii_digit() || SIGNS.contains(char));
        if is_number || (is_attached && compact.chars().count() <= MAX_CHARS) {
            match compact.as_str() {
                "TM" if self == Script::Super => return Some("™".to_owned()),
                _ => {
                    let small = compact.chars().map(|char| self.small(char));
                    if let Some(small) = small.collect() {
                        return Some(small);
                    }
                }
            }
        }
        let text = text.trim();
        // A reference: `[1]`.
        let is_reference = text.starts_with('[') && text.ends_with(']');
        let is_long = text.contains('\n') || text.chars().count() > MAX_CHARS;
        if !is_attached || is_reference || is_long || html::is_address(text) {
            return None;
        }
        let mark = self.mark();
        let is_whole = text.chars().count() == 1
            || (text.starts_with('(') && text.ends_with(')') && text.matches('(').count() == 1);
        Some(match is_whole {
            true => format!("{mark}{text}"),
            false => format!("{mark}({text})"),
        })
    }

    fn mark(self) -> char {
        match self {
            Script::Super => '^',
            Script::Sub => '_',
        }
    }

    /// The form of a character.
    fn small(self, char: char) -> Option<char> {
        let forms = match self {
            Script::Super => SUPER,
            Script::Sub => SUB,
        };
        let (plain, small) = forms;
        let index = plain.chars().position(|known| known == char)?;
        small.chars().nth(index)
    }
}

/// What stands beside digits.
const SIGNS: &str = "+-−=()";

type Forms = (&'static str, &'static str);

pub(super) const SUPER: Forms = (
    "0123456789+-−=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVWβγδθφχ′″*°†®©™",
    "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂᵝᵞᵟᶿᵠᵡ′″*°†®©™",
);

pub(super) const SUB: Forms = (
    "0123456789+-−=()aehijklmnoprstuvxβγρφχ",
    "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ",
);

/// The scripts of a source that is edited, with their tags.
#[derive(Debug, Default)]
pub struct Scripts {
    open: Vec<(Script, Range<usize>)>,
}

impl Scripts {
    /// Handles the tag at a range. Returns the replacements; none for a tag of another kind.
    pub fn tag(
        &mut self,
        source: &str,
        range: &Range<usize>,
    ) -> Option<Vec<(Range<usize>, String)>> {
        let tag = source.get(range.clone()).unwrap_or_default();
        let script = Script::of(tag)?;
        if !tag.starts_with("</") {
            self.open.push((script, range.clone()));
            return Some(Vec::new());
        }
        let Some((script, opening)) = self.open.pop() else {
            return Some(Vec::new());
        };
        let inner = source.get(opening.end..range.start).unwrap_or_default();
        let before = source.get(..opening.start).unwrap_or_default();
        let before = before.chars().next_back();
        let is_short = inner.len() <= MAX_BYTES;
        let has_markup = is_short && inner.contains(['*', '_', '`', '[', '<', '&', '\\', '~', '|']);
        if !has_markup && let Some(written) = script.write(inner, before) {
            return Some(vec![(opening.start..range.end, written)]);
        }
        // A reference as a link stays one.
        let is_attached = before.is_some_and(char::is_alphanumeric) && !inner.starts_with('[');
        let marks = match has_markup && is_attached {
            true => (format!("{}(", script.mark()), ")".to_owned()),
            false => Default::default(),
        };
        Some(vec![(opening, marks.0), (range.clone(), marks.1)])
    }
}
