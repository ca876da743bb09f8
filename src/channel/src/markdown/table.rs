//! The layout of a table: columns where they fit into a phone's width, else a block for each row.

use pulldown_cmark::Alignment;
use unicode_width::UnicodeWidthStr;

/// Widest table that is shown in columns; a Chinese character takes two.
const MAX_WIDTH: usize = 32;
const COLUMN_GAP: usize = 2;

/// The table that is being read.
#[derive(Debug, Default)]
pub struct Table {
    alignments: Vec<Alignment>,
    start: usize,
    /// Where the cells end.
    ends: Vec<usize>,
}

impl Table {
    /// Begins a table whose first cell begins at `start`.
    pub fn open(&mut self, alignments: Vec<Alignment>, start: usize) {
        self.alignments = alignments;
        self.start = start;
        self.ends.clear();
    }

    /// Where the first cell begins.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Takes in where a cell ends; the next one begins there.
    pub fn end_cell(&mut self, end: usize) {
        self.ends.push(end);
    }

    /// The table as text. `headers_left` is how many bytes of headers may still be repeated.
    pub fn layout(&self, text: &str, headers_left: &mut usize) -> String {
        let mut start = self.start;
        let cells: Vec<&str> = self
            .ends
            .iter()
            .map(|end| {
                let cell = text.get(start - self.start..end - self.start);
                start = *end;
                cell.unwrap_or_default()
            })
            .collect();
        let columns = self.alignments.len().max(1);
        let mut widths = vec![0; columns];
        for row in cells.chunks(columns) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = display_width(cell).max(*width);
            }
        }
        let total = widths.iter().sum::<usize>() + COLUMN_GAP * (columns - 1);
        if total <= MAX_WIDTH && !text.contains('\n') {
            self.columns(cells.chunks(columns), &widths)
        } else {
            let mut rows = cells.chunks(columns);
            let headers = rows.next().unwrap_or_default();
            records(headers, rows, headers_left)
        }
    }

    fn columns<'a>(&self, rows: impl Iterator<Item = &'a [&'a str]>, widths: &[usize]) -> String {
        let mut out = String::new();
        for row in rows.filter(|row| row.iter().any(|cell| !cell.is_empty())) {
            if !out.is_empty() {
                out.push('\n');
            }
            let line = out.len();
            let mut blanks = 0;
            for ((cell, width), alignment) in row.iter().zip(widths).zip(&self.alignments) {
                let missing = width.saturating_sub(display_width(cell));
                let before = match alignment {
                    Alignment::Right => missing,
                    Alignment::Center => missing / 2,
                    Alignment::Left | Alignment::None => 0,
                };
                out.extend(std::iter::repeat_n(' ', blanks + before));
                out.push_str(cell);
                blanks = missing - before + COLUMN_GAP;
            }
            out.truncate(line + out.get(line..).unwrap_or_default().trim_end().len());
        }
        out
    }
}

/// A block for each row, a line for each cell.
fn records<'a>(
    headers: &[&str],
    rows: impl ExactSizeIterator<Item = &'a [&'a str]>,
    headers_left: &mut usize,
) -> String {
    if rows.len() == 0 {
        return headers.join("  ");
    }
    let mut out = String::new();
    for (index, row) in rows.enumerate() {
        let mut is_first = true;
        for (header, cell) in headers.iter().zip(row) {
            // The first row says all headers, so that none is lost; then it depends.
            let header = match headers_left.checked_sub(header.len()) {
                Some(left) if index > 0 => {
                    *headers_left = left;
                    *header
                }
                None if index > 0 => "",
                _ => *header,
            };
            if header.is_empty() && cell.is_empty() {
                continue;
            }
            if !out.is_empty() {
                out.push_str(if is_first { "\n\n" } else { "\n" });
            }
            is_first = false;
            out.push_str(header);
            if !header.is_empty() {
                out.push_str(if cell.is_empty() { ":" } else { ": " });
            }
            out.push_str(cell);
        }
    }
    out
}

fn display_width(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.width()
    }
}
