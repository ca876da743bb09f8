//! The key of a piece of media in all the forms that clients and servers write it.
//!
//! Nothing that comes in panics, and neither `Debug` nor an error shows any of a key. What goes out
//! has the official client's forms alone: with other forms the API says yes and phones show nothing.

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, prelude::BASE64_STANDARD};

/// Longest text that is looked at; the longest form has 44 bytes.
const MAX_TEXT_BYTES: usize = 256;

/// As lenient as the clients that wrote the text: padding may be missing, spare bits may be set.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An AES-128 key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 16]);

/// A text that is no key in any form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the media's key is in no known form: neither 32 hex digits nor base64 of them or of 16 bytes"
)]
pub struct Unreadable;

impl Key {
    /// The key of these bytes.
    pub fn new(bytes: [u8; 16]) -> Key {
        Key(bytes)
    }

    /// The first readable key of several fields in the order of their trust; none when all are
    /// empty. For an image: `image_item.aeskey`, then `media.aes_key`.
    ///
    /// # Errors
    /// When a field holds something and none holds a key.
    pub fn first_of(fields: &[&str]) -> Result<Option<Key>, Unreadable> {
        let mut filled = fields.iter().filter(|field| !field.trim().is_empty());
        let Some(first) = filled.next() else {
            return Ok(None);
        };
        Key::parse(first)
            .or_else(|error| filled.find_map(|field| Key::parse(field).ok()).ok_or(error))
            .map(Some)
    }

    /// Reads 32 hex digits in either case, or base64, of either alphabet and with or without
    /// padding, of 16 bytes or of 32 hex digits.
    ///
    /// # Errors
    /// For any other text.
    pub fn parse(text: &str) -> Result<Key, Unreadable> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Unreadable);
        }
        let text: Vec<u8> = text
            .bytes()
            .filter(|byte| !byte.is_ascii_whitespace())
            .map(|byte| match byte {
                b'-' => b'+',
                b'_' => b'/',
                byte => byte,
            })
            .collect();
        // 32 digits are base64 of 24 bytes too, which is no form of a key.
        from_hex(&text)
            .or_else(|| {
                let bytes = LENIENT.decode(&text).ok()?;
                bytes
                    .as_slice()
                    .try_into()
                    .ok()
                    .or_else(|| from_hex(&bytes))
            })
            .map(Key)
            .ok_or(Unreadable)
    }

    /// For the cipher.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// 32 lowercase hex digits, as `getuploadurl` wants it.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Base64 of the hex digits, as `media.aes_key` of a sent item wants it.
    pub fn to_base64_of_hex(self) -> String {
        BASE64_STANDARD.encode(self.to_hex())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(REDACTED)")
    }
}

fn from_hex(digits: &[u8]) -> Option<[u8; 16]> {
    let digits: &[u8; 32] = digits.try_into().ok()?;
    let (pairs, _) = digits.as_chunks::<2>();
    let mut key = [0; 16];
    for (byte, [high, low]) in key.iter_mut().zip(pairs) {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: Key = Key([
        0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
        0xff,
    ]);
    const SECOND: Key = Key([
        0xde, 0xad, 0xbe, 0xef, 0xca, 0xfe, 0xba, 0xbe, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd,
        0xef,
    ]);

    #[test]
    fn every_form_in_the_wild_is_read() {
        for (text, expect) in [
            ("00112233445566778899aabbccddeeff", FIRST),
            ("00112233445566778899AABBCCDDEEFF", FIRST),
            ("00112233445566778899aAbBcCdDeEfF", FIRST),
            (" 00112233445566778899aabbccddeeff\n", FIRST),
            ("ABEiM0RVZneImaq7zN3u/w==", FIRST),
            ("ABEiM0RVZneImaq7zN3u/w", FIRST),
            ("ABEiM0RVZneImaq7zN3u_w==", FIRST),
            ("ABEiM0RVZneImaq7zN3u_w", FIRST),
            ("ABEiM0RVZneImaq7zN3u/x==", FIRST),
            ("MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmY=", FIRST),
            ("MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmY", FIRST),
            ("MDAxMTIyMzM0NDU1NjY3Nzg4OTlBQUJCQ0NEREVFRkY=", FIRST),
            ("deadbeefcafebabe0123456789abcdef", SECOND),
            ("3q2+78r+ur4BI0VniavN7w==", SECOND),
            ("3q2-78r-ur4BI0VniavN7w", SECOND),
            ("ZGVhZGJlZWZjYWZlYmFiZTAxMjM0NTY3ODlhYmNkZWY=", SECOND),
        ] {
            assert_eq!(Key::parse(text), Ok(expect), "{text}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            "",
            "====",
            "00112233445566778899aabbccddeef",
            "00112233445566778899aabbccddeeff0",
            "+0112233445566778899aabbccddeeffzz",
            "g0112233445566778899aabbccddeeff",
            "MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmc=",
            "ABEiM0RVZneImaq7zN3u",
            "密密密密密密密密密密密密",
            &"A".repeat(10_000_000),
        ] {
            assert_eq!(Key::parse(text), Err(Unreadable));
        }
    }

    #[test]
    fn what_is_emitted_is_what_the_official_client_emits() {
        assert_eq!(FIRST.to_hex(), "00112233445566778899aabbccddeeff");
        assert_eq!(
            FIRST.to_base64_of_hex(),
            "MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJiY2NkZGVlZmY="
        );
        assert_eq!(
            SECOND.to_base64_of_hex(),
            "ZGVhZGJlZWZjYWZlYmFiZTAxMjM0NTY3ODlhYmNkZWY="
        );
    }

    #[test]
    fn the_field_that_can_be_read_counts() {
        let hex = "00112233445566778899aabbccddeeff";
        let other = "3q2+78r+ur4BI0VniavN7w==";
        assert_eq!(Key::first_of(&[hex, other]), Ok(Some(FIRST)));
        assert_eq!(Key::first_of(&["", other]), Ok(Some(SECOND)));
        assert_eq!(Key::first_of(&["nonsense", other]), Ok(Some(SECOND)));
        assert_eq!(Key::first_of(&["nonsense", ""]), Err(Unreadable));
        assert_eq!(Key::first_of(&[" ", ""]), Ok(None));
        assert_eq!(Key::first_of(&[]), Ok(None));
    }

    #[test]
    fn debug_output_shows_no_key() {
        assert_eq!(format!("{FIRST:?}"), "Key(REDACTED)");
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_read_again(bytes: [u8; 16]) {
            let key = Key::new(bytes);
            prop_assert_eq!(Key::parse(&key.to_hex()), Ok(key));
            prop_assert_eq!(Key::parse(&key.to_base64_of_hex()), Ok(key));
            prop_assert_eq!(Key::parse(&BASE64_STANDARD.encode(bytes)), Ok(key));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = Key::parse(&text);
        }
    }
}
