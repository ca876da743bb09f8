//! Answers to a request with a credential in its path: they may repeat the URL, in a header, an error
//! page or a link, so the credential is taken out of them.
//!
//! The value is replaced by its placeholder while the answer streams through, at most the length of one
//! value behind. `path.rs` refuses values that another may spell in more ways than these, and values
//! that are too short to be told from other text.

use aho_corasick::AhoCorasick;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::credential::Secret;
use super::path;

/// Replaces one credential in a stream of bytes.
pub(super) struct Redactor {
    finder: AhoCorasick,
    placeholder: String,
    /// The length of the longest spelling.
    longest: usize,
    /// What may be the beginning of a value.
    held: BytesMut,
}

impl Redactor {
    /// For the credential `name` with this value. None where nothing can search for it.
    pub fn new(name: &str, secret: &Secret) -> Option<Redactor> {
        let value = secret.expose();
        // As it is, as it was sent, in the three ways in which others encode a part of a URL, and as
        // JSON for HTML.
        let component = path::encoded(value).replace(':', "%3A");
        let form = component.replace('~', "%7E");
        let strict = utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
        let json = value.replace('=', "\\u003d");
        let spellings = [
            value.to_owned(),
            path::encoded(value),
            component,
            form,
            strict,
            json,
        ];
        let longest = spellings.iter().map(String::len).max().unwrap_or_default();
        let finder = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(spellings)
            .ok()?;
        Some(Redactor {
            finder,
            placeholder: format!("{{{{{name}}}}}"),
            longest,
            held: BytesMut::new(),
        })
    }

    /// Removes the headers that hold the value.
    pub fn clean(&self, headers: &mut HeaderMap) {
        let leaking: Vec<_> = headers
            .iter()
            .filter(|(_, value)| self.finder.is_match(value.as_bytes()))
            .map(|(name, _)| name.clone())
            .collect();
        for name in leaking {
            headers.remove(name);
        }
    }

    /// The bytes that may be handed on once `data` has arrived.
    pub fn push(&mut self, data: Bytes) -> Bytes {
        let mut data = match self.held.is_empty() {
            true => data,
            false => {
                self.held.extend_from_slice(&data);
                self.held.split().freeze()
            }
        };
        let (clean, done) = self.replaced(&data);
        // The rest may be the beginning of a value.
        let end = data.len().saturating_sub(self.longest - 1).max(done);
        self.held.extend_from_slice(&data.split_off(end));
        let rest = data.split_off(done);
        match clean {
            None => rest,
            Some(mut clean) => {
                clean.extend_from_slice(&rest);
                clean.freeze()
            }
        }
    }

    /// Whether something is left for [`Redactor::finish`].
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// What stands where the value was.
    pub fn placeholder(&self) -> &str {
        &self.placeholder
    }

    /// The credential's name.
    pub fn name(&self) -> &str {
        self.placeholder.trim_matches(['{', '}'])
    }

    /// What is left at the end.
    pub fn finish(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// What is before the end of the last value, with placeholders, and where that is.
    fn replaced(&self, data: &[u8]) -> (Option<BytesMut>, usize) {
        let mut clean: Option<BytesMut> = None;
        let mut done = 0;
        for found in self.finder.find_iter(data) {
            let clean = clean.get_or_insert_default();
            clean.extend_from_slice(data.get(done..found.start()).unwrap_or_default());
            clean.extend_from_slice(self.placeholder.as_bytes());
            done = found.end();
        }
        (clean, done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "1234:AbC-dEf";

    fn redactor() -> Redactor {
        Redactor::new("token", &Secret::new(VALUE)).unwrap()
    }

    #[test]
    fn a_value_is_found_however_the_stream_is_cut() {
        let text =
            format!("a {VALUE}{VALUE} b 1234:AbC- 1234%3AAbC%2DdEf 1234%3aAbC%2ddEf {VALUE}");
        let expected = "a {{token}}{{token}} b 1234:AbC- {{token}} {{token}} {{token}}";
        for size in 1..text.len() {
            let mut redactor = redactor();
            let mut clean = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                clean.extend_from_slice(&redactor.push(Bytes::copy_from_slice(piece)));
                assert!(redactor.held.len() < redactor.longest);
            }
            clean.extend_from_slice(&redactor.finish());
            assert_eq!(String::from_utf8(clean).unwrap(), expected, "{size}");
        }
    }

    #[test]
    fn a_header_with_the_value_is_removed() {
        let mut headers = HeaderMap::new();
        headers.insert("link", format!("</bot{VALUE}/x>").parse().unwrap());
        headers.insert("server", "nginx".parse().unwrap());
        redactor().clean(&mut headers);
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn a_value_is_found_however_it_is_spelled() {
        let mut redactor = Redactor::new("token", &Secret::new("a~b:c-d@e=f_g.h")).unwrap();
        for spelling in [
            "a~b:c-d@e=f_g.h",
            "a~b:c-d%40e%3Df_g.h",
            "a~b%3Ac-d%40e%3Df_g.h",
            "a%7Eb%3Ac-d%40e%3Df_g.h",
            "a%7Eb%3ac%2Dd%40e%3df%5Fg%2Eh",
            "a~b:c-d@e\\u003df_g.h",
        ] {
            let mut clean = redactor.push(format!("<{spelling}>").into()).to_vec();
            clean.extend_from_slice(&redactor.finish());
            assert_eq!(clean, b"<{{token}}>", "{spelling}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_has_no_value_arrives_as_it_is(pieces in proptest::collection::vec("[1234:AbC\\-dEfx]{0,9}", 0..20)) {
            let text = pieces.concat();
            proptest::prop_assume!(!text.contains(VALUE));
            let mut redactor = redactor();
            let mut out = Vec::new();
            for piece in pieces {
                out.extend_from_slice(&redactor.push(piece.into()));
            }
            out.extend_from_slice(&redactor.finish());
            proptest::prop_assert_eq!(out, text.as_bytes());
        }
    }
}
