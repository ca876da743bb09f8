//! The text that is being written: lines with a common beginning, and the gaps between blocks.

/// Longest beginning of a line in bytes: what is nested deeper is not indented more, so that the
/// text does not grow with the square of the depth.
const MAX_PREFIX: usize = 24;

/// What has to come before the next block.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// It goes on in the same line.
    #[default]
    None,
    /// A new line.
    Line,
    /// An empty line.
    Blank,
}

/// A text in the making.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    /// What each line begins with.
    prefix: String,
    gap: Gap,
    /// Where the line begins that is being written.
    line: usize,
    /// Where its content begins, behind the prefix.
    content: usize,
    /// The prefix outside of the table that is open: its cells have none.
    outside: String,
}

impl Page {
    /// An empty page.
    pub fn with_capacity(bytes: usize) -> Page {
        Page {
            text: String::with_capacity(bytes),
            ..Page::default()
        }
    }

    /// All of it.
    pub fn into_text(mut self) -> String {
        self.text.truncate(self.text.trim_end().len());
        self.text
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// What was written since it was `start` bytes long.
    pub fn since(&self, start: usize) -> &str {
        self.text.get(start..).unwrap_or_default()
    }

    /// The character before an offset of the text, in the same line.
    pub fn char_before(&self, offset: usize) -> Option<char> {
        self.text.get(self.content..offset)?.chars().next_back()
    }

    /// Replaces what was written since the text was `start` bytes long. What
    /// is in several lines stays.
    pub fn replace_since(&mut self, start: usize, text: &str) {
        if start >= self.content && !self.since(start).contains('\n') {
            self.text.truncate(start);
            self.text.push_str(text);
        }
    }

    /// Asks for a gap before what comes next.
    pub fn gap(&mut self, gap: Gap) {
        self.gap = gap;
    }

    /// Asks for a gap if there is none yet.
    pub fn at_least(&mut self, gap: Gap) {
        if self.gap == Gap::None {
            self.gap = gap;
        }
    }

    /// Writes text without line ends.
    pub fn text(&mut self, text: &str) {
        if self.gap != Gap::None {
            self.flush();
        }
        self.text.push_str(text);
    }

    /// Writes text with line ends.
    pub fn lines(&mut self, text: &str) {
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                self.line();
            }
            self.text(line);
        }
    }

    /// Writes the gap that was asked for. A block that shows nothing leaves no line behind.
    pub fn flush(&mut self) {
        let gap = std::mem::take(&mut self.gap);
        if gap == Gap::None {
            return;
        }
        self.trim();
        if self.text.len() <= self.content {
            self.text.truncate(self.line);
            self.text.push_str(&self.prefix);
            self.content = self.text.len();
            return;
        }
        if gap == Gap::Blank {
            self.line();
        }
        self.line();
    }

    /// Ends a line.
    pub fn line(&mut self) {
        self.trim();
        self.text.push('\n');
        self.line = self.text.len();
        self.text.push_str(&self.prefix);
        self.content = self.text.len();
    }

    /// Ends a line that shows something: a break within a block makes no empty lines.
    pub fn line_break(&mut self) {
        self.flush();
        self.trim();
        if self.text.len() > self.content {
            self.line();
        } else {
            self.text.truncate(self.line);
            self.text.push_str(&self.prefix);
            self.content = self.text.len();
        }
    }

    /// Writes the mark of a quote or an item; the lines below it begin with `prefix`. Returns the
    /// length of the prefix outside of it.
    pub fn open(&mut self, mark: &str, prefix: &str) -> usize {
        self.flush();
        let outside = self.prefix.len();
        let is_shown = outside + prefix.len() <= MAX_PREFIX;
        if is_shown || mark != prefix {
            self.text.push_str(mark);
        }
        if is_shown {
            self.prefix.push_str(prefix);
        }
        outside
    }

    /// The prefix outside is that of the lines again.
    pub fn close(&mut self, outside: usize) {
        self.prefix.truncate(outside);
    }

    /// Puts `new` instead of `old` if that is what was written last, else behind it.
    pub fn replace_or_append(&mut self, old: &str, new: &str) {
        self.flush();
        if self.text.ends_with(old) {
            self.text.truncate(self.text.len() - old.len());
        }
        self.text.push_str(new);
    }

    /// Begins a table. Returns where its cells begin.
    pub fn begin_table(&mut self) -> usize {
        self.flush();
        self.outside = std::mem::take(&mut self.prefix);
        self.text.len()
    }

    /// Begins a cell.
    pub fn begin_cell(&mut self) {
        self.line = self.text.len();
        self.content = self.line;
    }

    /// Ends a cell. Returns where.
    pub fn end_cell(&mut self) -> usize {
        self.trim();
        self.text.len()
    }

    /// Takes the cells back, which begin at `start`.
    pub fn end_table(&mut self, start: usize) -> String {
        let cells = self.text.split_off(start);
        self.prefix = std::mem::take(&mut self.outside);
        self.line = start;
        self.content = start;
        cells
    }

    /// Removes the blanks at the end of the line.
    fn trim(&mut self) {
        let line = self.text.get(self.line..).unwrap_or_default();
        let kept = line.trim_end().len();
        if kept < line.len() {
            self.text.truncate(self.line + kept);
        }
    }
}
