//! Splits long text into parts that fit a platform's limits.
//!
//! A cut comes after a blank line, a line, a sentence or a word: the first of these that occurs in the
//! second half of what fits. A cut is never inside a grapheme or a URL, and in Markdown never inside a
//! row of a table, unless that element alone is over a limit. The parts put together are the text again,
//! apart from marks and from fences that are closed and opened again.
//!
//! No part is over either limit. The time is linear in the length of the text.

mod cut_point;
mod fence;

use fence::Fence;

#[cfg(test)]
mod tests;

/// Longest text of one platform message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In Unicode scalar values.
    pub chars: usize,
    /// In the platform's own unit.
    pub size: usize,
    /// What `size` counts.
    pub unit: Unit,
}

/// What a platform counts the length of a text in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of UTF-8.
    Bytes,
    /// Code units of UTF-16: two for most emoji.
    Utf16,
}

impl Unit {
    /// The length of a character; at most its bytes.
    fn len(self, char: char) -> usize {
        match self {
            Unit::Bytes => char.len_utf8(),
            Unit::Utf16 => char.len_utf16(),
        }
    }
}

/// What is added to the parts. With limits under 40 nothing is added.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SplitOptions {
    /// The text is Markdown: when a block of code is cut, each part gets its own fences.
    pub fences: bool,
    /// When there are several parts, each ends with a line that numbers it: `(1/3)`.
    pub marks: bool,
}

/// Smallest limit with room for fences and marks.
const MIN_FOR_ADDITIONS: usize = 40;

/// Splits `text`. Blank text has no parts.
pub fn split(text: &str, limits: Limits, options: SplitOptions) -> Vec<String> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    if cut_point::longest_prefix(text, limits) == text.len() {
        return vec![text.to_owned()];
    }
    let has_room = limits.chars.min(limits.size) >= MIN_FOR_ADDITIONS;
    let is_markdown = options.fences && has_room;
    let fences = if is_markdown {
        fence::fences(text)
    } else {
        Vec::new()
    };
    // The more parts there are, the longer are the marks, and the more parts there are.
    let mut digits = usize::from(options.marks && has_room);
    loop {
        let mark = mark_len(digits);
        let parts = cut(text, limits.without(mark, mark), &fences, is_markdown);
        if digits == 0 {
            return parts.iter().map(Part::render).collect();
        }
        let n_parts = parts.len().to_string();
        if n_parts.len() <= digits {
            let numbered = (1..).zip(&parts);
            return numbered.map(|(n, part)| part.marked(n, &n_parts)).collect();
        }
        digits = n_parts.len();
    }
}

/// Length of a mark with its line end, for numbers of so many digits.
fn mark_len(digits: usize) -> usize {
    match digits {
        0 => 0,
        digits => "\n(/)".len() + 2 * digits,
    }
}

impl Limits {
    fn min(self, other: Limits) -> Limits {
        Limits {
            chars: self.chars.min(other.chars),
            size: self.size.min(other.size),
            unit: self.unit,
        }
    }

    /// Leaves out a text of so many characters and bytes.
    fn without(self, chars: usize, bytes: usize) -> Limits {
        Limits {
            chars: self.chars.saturating_sub(chars),
            size: self.size.saturating_sub(bytes),
            unit: self.unit,
        }
    }
}

/// A part of the text, with what is added to it.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    /// The fence that is opened again.
    opened: Option<&'a Fence<'a>>,
    /// The part begins within a line.
    is_within_line: bool,
    /// The fence that is closed.
    closed: Option<&'a Fence<'a>>,
}

impl Part<'_> {
    fn render(&self) -> String {
        let mut out = String::with_capacity(self.text.len() + 2 * MIN_FOR_ADDITIONS);
        if let Some(fence) = self.opened {
            fence.open(self.is_within_line, &mut out);
        }
        out.push_str(self.text);
        if let Some(fence) = self.closed {
            end_line(&mut out);
            fence.close(&mut out);
        }
        out
    }

    fn marked(&self, number: usize, n_parts: &str) -> String {
        let mut out = self.render();
        end_line(&mut out);
        out.push_str(&format!("({number}/{n_parts})"));
        out
    }
}

fn end_line(text: &mut String) {
    if !text.ends_with('\n') {
        text.push('\n');
    }
}

fn cut<'a>(
    text: &'a str,
    limits: Limits,
    fences: &'a [Fence<'a>],
    is_markdown: bool,
) -> Vec<Part<'a>> {
    let fences: Vec<&Fence<'a>> = fences.iter().filter(|fence| fence.fits(limits)).collect();
    let mut parts = Vec::new();
    let mut opened: Option<&Fence<'a>> = None;
    let mut from = 0;
    while from < text.len() {
        let cutter = Cutter {
            text,
            from,
            room: opened.map_or(limits, |fence| fence.room_behind(limits)),
            fences: &fences,
            is_markdown,
        };
        let end = cutter.cut();
        parts.push(Part {
            text: text.get(from..end.at).unwrap_or_default(),
            opened,
            is_within_line: !text.get(..from).unwrap_or_default().ends_with('\n'),
            closed: end.inside,
        });
        opened = end.inside;
        from = end.at;
    }
    parts
}

/// Finds the end of the part that begins at `from`.
struct Cutter<'a, 'f> {
    text: &'a str,
    from: usize,
    room: Limits,
    fences: &'f [&'a Fence<'a>],
    is_markdown: bool,
}

/// Where a part ends.
#[derive(Debug, Clone, Copy)]
struct CutPoint<'a> {
    /// Offset in the text.
    at: usize,
    /// The block of code that is cut here.
    inside: Option<&'a Fence<'a>>,
}

impl<'a> CutPoint<'a> {
    fn outside(at: usize) -> CutPoint<'a> {
        CutPoint { at, inside: None }
    }

    fn inside(fence: &'a Fence<'a>, at: usize) -> CutPoint<'a> {
        let inside = Some(fence);
        CutPoint { at, inside }
    }
}

impl<'a> Cutter<'a, '_> {
    fn cut(&self) -> CutPoint<'a> {
        let rest = self.rest();
        let unclosed = self.fences.last().filter(|fence| fence.is_unclosed());
        let room = unclosed.map_or(self.room, |fence| fence.room_before(self.room));
        if cut_point::longest_prefix(rest, room) == rest.len() {
            return CutPoint {
                at: self.text.len(),
                inside: unclosed.copied(),
            };
        }
        let end = self.cut_within(self.room);
        if end.inside.is_none() {
            return end;
        }
        // Keeps room for every fence that may have to be closed here.
        let window = self.from + cut_point::longest_prefix(rest, self.room);
        let first = self
            .fences
            .partition_point(|fence| fence.after <= self.from);
        let fences = self.fences.get(first..).unwrap_or_default().iter();
        let room = fences
            .take_while(|fence| fence.start < window)
            .map(|fence| fence.room_before(self.room))
            .reduce(Limits::min)
            .unwrap_or(self.room);
        self.cut_within(room)
    }

    fn cut_within(&self, room: Limits) -> CutPoint<'a> {
        let window = cut_point::longest_prefix(self.rest(), room);
        let mut end = self.from + cut_point::best_cut(self.rest(), window);
        let next = self.fences.partition_point(|fence| fence.after <= end);
        let fence = self.fences.get(next).filter(|fence| fence.start < end);
        let Some(fence) = fence.copied() else {
            if self.is_markdown {
                end = self.before_row(end);
            }
            return CutPoint::outside(end);
        };
        if fence.start > self.from && (end <= fence.body || fence.start - self.from > window / 2) {
            return CutPoint::outside(fence.start);
        }
        if end <= fence.body {
            end = self.from + window;
        }
        if end < fence.end {
            return CutPoint::inside(fence, end);
        }
        // The code fits, and the closing fence does not.
        if cut_point::longest_prefix(self.rest(), self.room) >= fence.after - self.from {
            return CutPoint::outside(fence.after);
        }
        let code = self.text.get(self.from.max(fence.body)..fence.end);
        let lines = code
            .and_then(|code| code.strip_suffix('\n'))
            .unwrap_or_default();
        match lines.rfind('\n') {
            Some(line) => CutPoint::inside(fence, self.from.max(fence.body) + line + 1),
            None if fence.end > self.from => CutPoint::inside(fence, fence.end),
            None => CutPoint::inside(fence, end),
        }
    }

    /// The same end, or the start of the table row that it cuts, if that row alone fits.
    fn before_row(&self, end: usize) -> usize {
        let before = self.text.get(self.from..end).unwrap_or_default();
        let Some(line) = before.rfind('\n').map(|start| self.from + start + 1) else {
            return end;
        };
        let rest = self.text.get(line..).unwrap_or_default();
        let (row, after) = rest
            .split_at_checked(cut_point::longest_prefix(rest, self.room))
            .unwrap_or_default();
        let row = match row.split_once('\n') {
            Some((row, _)) => row,
            None if after.is_empty() => row,
            None => return end,
        };
        if row.contains('|') { line } else { end }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.from..).unwrap_or_default()
    }
}
