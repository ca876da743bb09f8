//! Bytes that no encoder would write, in an answer that is otherwise true.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;

/// Puts bytes before, behind and into a true answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Members")]
pub struct Mangle {
    before: Vec<u8>,
    behind: Vec<u8>,
    replace: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Each character of the texts up to U+00FF is one byte.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a JSON object")]
#[derive(Default)]
struct Members {
    before: String,
    behind: String,
    replace: BTreeMap<String, String>,
}

impl TryFrom<Members> for Mangle {
    type Error = &'static str;

    fn try_from(members: Members) -> Result<Mangle, &'static str> {
        let replace = members.replace.into_iter();
        let replace = replace.map(|(find, with)| Ok((find.into_bytes(), bytes(&with)?)));
        Ok(Mangle {
            before: bytes(&members.before)?,
            behind: bytes(&members.behind)?,
            replace: replace.collect::<Result<_, &'static str>>()?,
        })
    }
}

fn bytes(text: &str) -> Result<Vec<u8>, &'static str> {
    let bytes = text.chars().map(|char| u8::try_from(u32::from(char)));
    let bytes: Result<Vec<u8>, _> = bytes.collect();
    bytes.map_err(|_| "a character is above U+00FF; write its bytes instead")
}

impl Mangle {
    /// Changes nothing yet.
    pub fn new() -> Mangle {
        Mangle::default()
    }

    /// These bytes come before the answer.
    pub fn before(mut self, bytes: impl Into<Vec<u8>>) -> Mangle {
        self.before = bytes.into();
        self
    }

    /// These bytes come behind the answer.
    pub fn behind(mut self, bytes: impl Into<Vec<u8>>) -> Mangle {
        self.behind = bytes.into();
        self
    }

    /// Each `find` in the answer becomes `with`.
    pub fn replace(mut self, find: impl Into<Vec<u8>>, with: impl Into<Vec<u8>>) -> Mangle {
        self.replace.push((find.into(), with.into()));
        self
    }

    /// The answer with these bytes.
    pub(crate) fn apply(&self, answer: &[u8]) -> Bytes {
        let mut body = answer.to_vec();
        for (find, with) in &self.replace {
            body = replaced(&body, find, with);
        }
        [&self.before[..], &body, &self.behind].concat().into()
    }
}

fn replaced(body: &[u8], find: &[u8], with: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((first, behind)) = rest.split_first() {
        match rest.strip_prefix(find).filter(|_| !find.is_empty()) {
            Some(behind) => {
                replaced.extend_from_slice(with);
                rest = behind;
            }
            None => {
                replaced.push(*first);
                rest = behind;
            }
        }
    }
    replaced
}
