//! The media's encryption: AES-128-ECB with PKCS#7, in pieces, so that a file of any size takes
//! little memory.

use aes::Aes128;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use md5::{Digest, Md5};

/// Bytes of a cipher block.
pub(crate) const BLOCK: usize = 16;

/// Bytes that are decrypted in one go.
const PIECE: usize = 64 * 1024;

/// Bytes of the ciphertext of so many bytes.
pub(crate) fn padded(size: u64) -> u64 {
    (size / BLOCK as u64 + 1).saturating_mul(BLOCK as u64)
}

/// A file's key. It has no `Debug`, since it is a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) [u8; BLOCK]);

impl Key {
    pub(crate) fn random() -> Key {
        Key(rand::random())
    }

    /// The key in 32 lower-case hex digits.
    pub(crate) fn of_hex(text: &str) -> Option<Key> {
        let mut key = [0; BLOCK];
        let decoded = base16ct::lower::decode(text, &mut key).ok()?;
        (decoded.len() == BLOCK).then_some(Key(key))
    }

    pub(crate) fn hex(self) -> String {
        hex(&self.0)
    }
}

/// Whether this is 16 bytes in lower-case hex.
pub(crate) fn is_hex32(text: &str) -> bool {
    Key::of_hex(text).is_some()
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

/// Encrypts a file, piece by piece.
pub(crate) struct Sealing(Aes128);

impl Sealing {
    pub(crate) fn new(key: Key) -> Sealing {
        Sealing(Aes128::new(&key.0.into()))
    }

    /// Encrypts whole blocks in place; bytes after them stay.
    pub(crate) fn blocks(&self, bytes: &mut [u8]) {
        let (blocks, _) = Array::slice_as_chunks_mut(bytes);
        self.0.encrypt_blocks(blocks);
    }

    /// Pads the file's last piece and encrypts it in place.
    pub(crate) fn last(&self, bytes: &mut Vec<u8>) {
        let padding = BLOCK - bytes.len() % BLOCK;
        bytes.resize(bytes.len() + padding, padding as u8);
        self.blocks(bytes);
    }

    /// As [`Sealing::last`], with a padding that no reader may accept.
    pub(crate) fn last_broken(&self, bytes: &mut Vec<u8>) {
        let padding = BLOCK - bytes.len() % BLOCK;
        bytes.resize(bytes.len() + padding, 0);
        self.blocks(bytes);
    }
}

/// Decrypts a file as it comes, measures it, and keeps it if asked to.
pub(crate) struct Opening {
    cipher: Aes128,
    digest: Md5,
    size: u64,
    kept: Option<Vec<u8>>,
    /// Ciphertext that waits for the rest of its block, or for the end of the file.
    waiting: Vec<u8>,
}

/// A file that was decrypted.
pub(crate) struct Opened {
    pub(crate) size: u64,
    /// MD5 in hex.
    pub(crate) md5: String,
    /// The content, if it was to be kept.
    pub(crate) kept: Option<Vec<u8>>,
}

impl Opening {
    pub(crate) fn new(key: Key, keep: bool) -> Opening {
        Opening {
            cipher: Aes128::new(&key.0.into()),
            digest: Md5::new(),
            size: 0,
            kept: keep.then(Vec::new),
            waiting: Vec::new(),
        }
    }

    /// Takes the next bytes of the ciphertext.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE) {
            self.waiting.extend_from_slice(piece);
            // The last block so far may be the one with the padding, so it stays.
            let whole = self.waiting.len().saturating_sub(1) / BLOCK * BLOCK;
            let rest = self.waiting.split_off(whole);
            let mut decrypted = std::mem::replace(&mut self.waiting, rest);
            let (blocks, _) = Array::slice_as_chunks_mut(&mut decrypted);
            self.cipher.decrypt_blocks(blocks);
            self.take(&decrypted);
        }
    }

    /// The whole file; `None` when its end does not decrypt.
    pub(crate) fn finish(mut self) -> Option<Opened> {
        let mut last = std::mem::take(&mut self.waiting);
        let (blocks, rest) = Array::slice_as_chunks_mut(&mut last);
        if blocks.len() != 1 || !rest.is_empty() {
            return None;
        }
        self.cipher.decrypt_blocks(blocks);
        let padding = usize::from(*last.last()?);
        let size = last.len().checked_sub(padding)?;
        let (plain, padded) = last.split_at(size);
        if padded.is_empty() || padded.iter().any(|byte| usize::from(*byte) != padding) {
            return None;
        }
        self.take(plain);
        Some(Opened {
            size: self.size,
            md5: hex(&self.digest.finalize()),
            kept: self.kept,
        })
    }

    fn take(&mut self, plain: &[u8]) {
        self.digest.update(plain);
        self.size += plain.len() as u64;
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(plain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "00112233445566778899aabbccddeeff";

    fn key() -> Key {
        Key::of_hex(KEY).expect("it is a key")
    }

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut bytes = plain.to_vec();
        Sealing::new(key()).last(&mut bytes);
        bytes
    }

    fn opened(ciphertext: &[u8], pieces: usize) -> Option<Opened> {
        let mut opening = Opening::new(key(), true);
        ciphertext
            .chunks(pieces)
            .for_each(|piece| opening.update(piece));
        opening.finish()
    }

    #[test]
    fn known_plaintexts_have_known_ciphertexts_and_digests() {
        for (size, ciphertext) in [
            (0, "00657ea140655a44782747705d422fad"),
            (1, "2bba587bfd91b9d5648e1d46f825ae9b"),
            (15, "a27339f25dd0f737139c2a911d196c02"),
            (
                16,
                "279fb74a7572135e8f9b8ef6d1eee00300657ea140655a44782747705d422fad",
            ),
            (
                17,
                "279fb74a7572135e8f9b8ef6d1eee003aa8dc4e525b3dd7876996be940fd6332",
            ),
        ] {
            let plain: Vec<u8> = (0..size).collect();
            assert_eq!(hex(&sealed(&plain)), ciphertext);
        }
        let plain: Vec<u8> = (0..1000).map(|index| index as u8).collect();
        let bytes = sealed(&plain);
        assert!(hex(&bytes).ends_with("f16743ac34b1da13f2287653bc67b256"));
        for pieces in [1, 15, 16, 17, 1008] {
            let opened = opened(&bytes, pieces).expect("it decrypts");
            assert_eq!(opened.md5, "cbecbdb0fdd5cec1e242493b6008cc79");
            assert_eq!((opened.size, opened.kept), (1000, Some(plain.clone())));
        }
    }

    #[test]
    fn sizes_are_padded_to_the_next_block() {
        for (size, expected) in [
            (0, 16),
            (1, 16),
            (15, 16),
            (16, 32),
            (17, 32),
            (1000, 1008),
            (12345, 12352),
        ] {
            assert_eq!(padded(size), expected);
            assert_eq!(
                sealed(&vec![7; size as usize]).len() as u64,
                expected,
                "{size}"
            );
        }
        padded(u64::MAX);
    }

    #[test]
    fn a_broken_end_does_not_open() {
        let bytes = sealed(b"a file");
        assert!(opened(&bytes[..15], 16).is_none());
        assert!(opened(&[], 16).is_none());
        let mut broken = b"a file".to_vec();
        Sealing::new(key()).last_broken(&mut broken);
        assert!(opened(&broken, 16).is_none());
        let mut opening = Opening::new(Key([9; BLOCK]), false);
        opening.update(&bytes);
        assert!(opening.finish().is_none());
    }

    #[test]
    fn only_lower_case_hex_of_sixteen_bytes_is_a_key() {
        assert_eq!(key().hex(), KEY);
        for wrong in ["", "00", &KEY.to_uppercase(), &KEY[1..], &format!("{KEY}0")] {
            assert!(Key::of_hex(wrong).is_none(), "{wrong}");
        }
        assert!(Key::of_hex(&format!("+{}", &KEY[1..])).is_none());
    }
}
