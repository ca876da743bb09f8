//! Which asterisks, underscores and tildes are marks of emphasis, where CommonMark's rule does not say
//! what the writer means.
//!
//! - Chinese, Japanese and Korean have no blanks between words. Beside their letters and punctuation a
//!   mark opens before what begins a phrase (`已经**《书》**`) and closes behind what ends one
//!   (`**结论：**可以`).
//! - An identifier keeps its marks: `__init__`, `__all__.py`, `*args`, `**kwargs`.
//! - Between digits an asterisk multiplies: `2*3*4`. In a path it is a pattern: `a/*.rs`. A single tilde is one of "about": `~5 or 6~`.
//!
//! The first follows the [amendment of CommonMark] that parsers have adopted for these scripts. It is
//! narrower in two points: before what ends a phrase no mark opens, and none closes behind what begins
//! one. So more pairs are right, and `支持*.rs和*.toml` keeps its stars.
//!
//! [amendment of CommonMark]: https://github.com/tats-u/markdown-cjk-friendly/blob/main/specification.md

use super::source::Hint;

/// How far from its opening the closing of an underscore or a path is looked for, in bytes.
const MAX_SPAN: usize = 300;

/// A run of the same delimiter, and what stands beside it.
#[derive(Debug, Clone, Copy)]
struct Run<'a> {
    text: &'a str,
    start: usize,
    end: usize,
    delimiter: u8,
    before: Beside,
    behind: Beside,
}

/// A character beside a run.
#[derive(Debug, Clone, Copy)]
struct Beside {
    char: Option<char>,
    kind: Kind,
    is_cjk: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A blank, or the text's beginning or end.
    Blank,
    /// Also what belongs to one, as an accent.
    Letter,
    /// Punctuation that begins a phrase.
    Opening,
    /// Punctuation that ends a phrase.
    Closing,
    /// Punctuation that does either, and symbols.
    Other,
}

/// What has to be told to the parser, in order.
pub fn hints(markdown: &str) -> Vec<(usize, Hint)> {
    let mut hints = Vec::new();
    let mut is_cjk = None;
    let mut done = 0;
    for at in memchr::memchr3_iter(b'*', b'_', b'~', markdown.as_bytes()) {
        if at < done {
            continue;
        }
        let Some(run) = Run::at(markdown, at) else {
            continue;
        };
        done = run.end;
        match run.delimiter {
            _ if run.start == run.end => {}
            b'_' => done = underscores(run, &mut hints),
            b'~' if run.end - run.start == 1 => run.single_tilde(&mut hints),
            b'*' if run.is_of_text() => run.keep(&mut hints),
            _ => {
                let is_foreign = !(run.before.is_ascii() && run.behind.is_ascii());
                if is_foreign && *is_cjk.get_or_insert_with(|| markdown.contains(self::is_cjk)) {
                    run.flank(&mut hints);
                }
            }
        }
    }
    hints
}

impl<'a> Run<'a> {
    /// The run that begins at an offset. An escaped delimiter is none of it; it may be all.
    fn at(text: &'a str, at: usize) -> Option<Run<'a>> {
        let (outside, inside) = text.split_at_checked(at)?;
        let delimiter = *inside.as_bytes().first()?;
        let length = inside.bytes().take_while(|byte| *byte == delimiter).count();
        let backslashes = outside.len() - outside.trim_end_matches('\\').len();
        let is_escaped = backslashes % 2 == 1;
        Some(Run {
            text,
            start: at + usize::from(is_escaped),
            end: at + length,
            delimiter,
            before: match is_escaped {
                true => Beside::of(Some(char::from(delimiter)), None),
                false => Beside::before(outside),
            },
            behind: Beside::behind(inside.get(length..).unwrap_or_default()),
        })
    }

    fn len(&self) -> usize {
        self.end - self.start
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.end..).unwrap_or_default()
    }

    /// All of it is text.
    fn keep(&self, hints: &mut Vec<(usize, Hint)>) {
        hints.extend((self.start..self.end).map(|at| (at, Hint::Text)));
    }

    /// Asterisks between digits, in a pattern as `a/*.rs`, and those of Python's parameters.
    fn is_of_text(&self) -> bool {
        let is_digit = |beside: Beside| beside.char.is_some_and(|char| char.is_ascii_digit());
        if is_digit(self.before) && is_digit(self.behind) {
            return true;
        }
        // Two before a full stop close what is bold, as an address at the end of a sentence.
        let is_pattern = match self.behind.char {
            Some('/') => true,
            Some('.') => self.len() == 1,
            _ => false,
        };
        if self.before.char == Some('/') && is_pattern {
            return true;
        }
        let (name, after) = split_name(self.rest());
        matches!((self.len(), name), (1, "args") | (2, "kwargs")) && !after.starts_with('*')
    }

    /// One that opens or closes nothing for the parser needs no hint.
    fn single_tilde(&self, hints: &mut Vec<(usize, Hint)>) {
        if self.before.kind != Kind::Letter || self.behind.kind != Kind::Letter {
            self.keep(hints);
        }
    }

    /// Tells where a run opens or closes, whatever punctuation stands beside it.
    fn flank(&self, hints: &mut Vec<(usize, Hint)>) {
        use Kind::{Closing, Letter, Opening, Other};
        let opens = match (self.before.kind, self.behind.kind) {
            (Letter, Opening | Other) => self.before.is_cjk || self.behind.is_cjk,
            (Letter, Closing) => self.before.is_cjk && self.is_before_path(),
            (Opening | Other, Opening) => self.before.is_cjk || self.behind.is_cjk,
            _ => false,
        };
        let closes = match (self.before.kind, self.behind.kind) {
            (Closing | Other, Letter) => self.before.is_cjk || self.behind.is_cjk,
            (Closing, Closing | Other) => self.before.is_cjk || self.behind.is_cjk,
            _ => false,
        };
        if closes {
            hints.push((self.start, Hint::Letter));
        }
        if opens {
            hints.push((self.end, Hint::Letter));
        }
    }

    /// Bold paths and names with a dot, but no patterns as `**/*.rs`.
    fn is_before_path(&self) -> bool {
        let rest = self.rest();
        if self.len() != 2 || !rest.starts_with(['/', '.']) {
            return false;
        }
        let path = rest.bytes().take(MAX_SPAN);
        let length = path.take_while(|byte| byte.is_ascii_graphic() && *byte != b'*');
        let after = rest.get(length.count()..).unwrap_or_default();
        after.starts_with("**") && !after.starts_with("***")
    }
}

impl Beside {
    fn before(text: &str) -> Beside {
        let mut chars = text.chars().rev();
        let char = chars.next();
        Beside::of(char, chars.next())
    }

    fn behind(text: &str) -> Beside {
        let mut chars = text.chars();
        let char = chars.next();
        let beside = Beside::of(char, None);
        // An exclamation mark may begin an image.
        match (char, chars.next()) {
            (Some('!'), Some('[')) => Beside {
                kind: Kind::Opening,
                ..beside
            },
            _ => beside,
        }
    }

    /// A variation selector is what it selects a form of.
    fn of(char: Option<char>, base: Option<char>) -> Beside {
        let is_selector =
            |char| matches!(char, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
        let char = match char {
            Some(selector) if is_selector(selector) => base,
            char => char,
        };
        Beside {
            char,
            kind: char.map_or(Kind::Blank, kind),
            is_cjk: char.is_some_and(|char| is_cjk(char) || is_ambiguous(char)),
        }
    }

    fn is_ascii(&self) -> bool {
        self.char.is_none_or(|char| char.is_ascii())
    }
}

/// Punctuation that Chinese, Japanese and Korean share with other scripts.
fn is_ambiguous(char: char) -> bool {
    matches!(char, '“' | '”' | '‘' | '’' | '…' | '—' | '–' | '·')
}

fn kind(char: char) -> Kind {
    match char {
        '(' | '[' | '{' | '<' | '（' | '《' | '「' | '『' | '【' | '〔' | '〈' | '〖' | '〘'
        | '〚' | '［' | '｛' | '｢' | '＜' | '«' | '“' | '‘' | '〝' | '｟' | '﹁' | '﹃' | '︵'
        | '︽' => Kind::Opening,
        ')' | ']' | '}' | '>' | '.' | ',' | ';' | ':' | '!' | '?' | '%' | '/' | '）' | '》'
        | '」' | '』' | '】' | '〕' | '〉' | '〗' | '〙' | '〛' | '］' | '｝' | '｣' | '＞'
        | '»' | '”' | '’' | '〞' | '〟' | '｠' | '﹂' | '﹄' | '︶' | '︾' | '。' | '，' | '、'
        | '；' | '：' | '！' | '？' | '．' | '｡' | '､' | '％' | '…' | '‥' => {
            Kind::Closing
        }
        char if char.is_whitespace() => Kind::Blank,
        char if char.is_alphanumeric() || is_mark(char) => Kind::Letter,
        _ => Kind::Other,
    }
}

/// Accents, the marks of Japanese syllables, and what joins characters.
fn is_mark(char: char) -> bool {
    matches!(char, '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{3099}' | '\u{309a}')
}

/// Chinese, Japanese and Korean: wide characters that are no emoji, and all of Hangul.
fn is_cjk(char: char) -> bool {
    matches!(
        char,
        '\u{1100}'..='\u{11ff}'
            | '\u{20a9}'
            | '\u{2e80}'..='\u{303e}'
            | '\u{3041}'..='\u{a4cf}'
            | '\u{a960}'..='\u{a97f}'
            | '\u{ac00}'..='\u{d7ff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{fe10}'..='\u{fe19}'
            | '\u{fe30}'..='\u{fe6b}'
            | '\u{ff01}'..='\u{ffee}'
            | '\u{16fe0}'..='\u{18dff}'
            | '\u{1aff0}'..='\u{1b2ff}'
            | '\u{20000}'..='\u{3fffd}'
    )
}

/// Underscores at the beginning of a word. Returns how far they are told.
fn underscores(run: Run<'_>, hints: &mut Vec<(usize, Hint)>) -> usize {
    if run.len() > 2 || run.behind.kind == Kind::Blank {
        return run.end;
    }
    if let Some(closing) = identifier(run) {
        run.keep(hints);
        closing.keep(hints);
        return closing.end;
    }
    cjk_underscores(run, hints).unwrap_or(run.end)
}

/// The closing run of an identifier that begins and ends with underscores.
fn identifier(run: Run<'_>) -> Option<Run<'_>> {
    // A letter before it: no emphasis begins here.
    if run.before.kind == Kind::Letter
        || !run.rest().starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        return None;
    }
    let (name, after) = split_name(run.rest());
    let word = name.trim_end_matches('_');
    if name.len() - word.len() != run.len() {
        return None;
    }
    let is_known = run.len() == 2
        && DUNDERS
            .split_ascii_whitespace()
            .any(|dunder| dunder == word);
    (is_known || is_in_path(run, after)).then_some(())?;
    Run::at(run.text, run.end + word.len())
}

/// Whether what stands beside a name makes it one of a program.
fn is_in_path(run: Run<'_>, after: &str) -> bool {
    let before = run.text.get(..run.start).unwrap_or_default();
    let is_member =
        before.ends_with(['/', '.', '@', '$']) || before.ends_with("->") || before.ends_with("::");
    let mut chars = after.chars();
    let is_owner = match (chars.next(), chars.next()) {
        (Some('.'), Some(next)) => next.is_ascii_alphanumeric() || next == '_',
        (Some('('), _) => run.len() == 2 || after.starts_with("()"),
        (Some('['), Some(next)) => next.is_ascii_digit() || matches!(next, '"' | '\''),
        (Some('-'), Some('>')) | (Some(':'), Some(':')) => true,
        (Some('/'), Some(next)) => next.is_ascii_alphanumeric() || next == '_',
        _ => false,
    };
    is_member || is_owner
}

/// The letters, digits and underscores that a text begins with, and what follows.
fn split_name(text: &str) -> (&str, &str) {
    let length = text
        .bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        .count();
    text.split_at_checked(length).unwrap_or((text, ""))
}

/// Underscores around Chinese, Japanese or Korean, beside a letter on one side: `__注意：__请`. With
/// letters on both sides they are part of a name.
fn cjk_underscores(run: Run<'_>, hints: &mut Vec<(usize, Hint)>) -> Option<usize> {
    let span = run.rest();
    let span = span.get(..span.floor_char_boundary(MAX_SPAN))?;
    let span = span.split('\n').next()?;
    let inner = span.split('_').next()?;
    if inner.len() == span.len() || inner.contains('`') || !inner.contains(is_cjk) {
        return None;
    }
    let closing = Run::at(run.text, run.end + inner.len())?;
    if closing.len() != run.len() || closing.before.kind == Kind::Blank {
        return None;
    }
    let opens = run.before.kind != Kind::Letter;
    let closes = closing.behind.kind != Kind::Letter;
    // One alone may be part of a name, unless punctuation stands within.
    let is_phrase =
        |beside: Beside| run.len() == 2 || (beside.is_cjk && beside.kind != Kind::Letter);
    if opens && !closes && is_phrase(closing.before) {
        hints.push((closing.end, Hint::BlankBehind));
    } else if closes && !opens && is_phrase(run.behind) {
        hints.push((run.start, Hint::BlankBefore));
    }
    Some(closing.end)
}

/// What languages and tools put between two underscores: Python, C, JavaScript. Words that a writer
/// may want in bold are left out.
const DUNDERS: &str = "abs add aenter aexit aiter all anext annotations asm attribute author await \
    bases bool builtin builtins bytes call cached ceil class classcell closure contains COUNTER \
    cplusplus DATE deepcopy defaults del delattr delete delitem dict dir divmod doc enter eq exit \
    file FILE float floordiv format fspath func FUNCTION future ge get getattr getattribute getitem \
    getnewargs getstate globals gt hash iadd imul init inline int invert isub iter kwdefaults le len \
    length_hint LINE loader lshift lt main match_args matmul mocks mod module mro mul name ne neg new \
    next NEXT_DATA package path pos post_init pow prepare PRETTY_FUNCTION proto pycache qualname radd \
    reduce reduce_ex repr reversed rmul rshift rsub set set_name setattr setitem setstate sizeof slots \
    snapshots spec str stdcall sub subclasshook tests TIME TIMESTAMP truediv typeof VA_ARGS version \
    volatile weakref wrapped xor DEV ENV webpack_public_path webpack_require";
