//! The encryption of files that people send to AI bots: AES-256-CBC with PKCS#7 to 32 over the bare
//! file, in the buffers that the stream is read into.
//!
//! For each window, call [`Decryptor::reuse`], read, call [`Decryptor::update`], and write; at the end,
//! call [`Decryptor::finish`]. Memory does not grow with the stream. Only the padding at the end shows
//! that the file is whole, so what was written before must not be taken for a whole file.

use aes::Aes256;
use cbc::cipher::{Array, BlockModeDecrypt, KeyIvInit};

use super::crypto::{Key, PADDED, padding};

/// Room that a buffer needs besides what is read into it: for the waiting bytes.
pub const HEADROOM: usize = PADDED;

/// Why a ciphertext has no plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// There was no byte; the shortest ciphertext has 32.
    #[error("the encrypted content is empty")]
    Empty,
    /// It ended inside a unit of padding.
    #[error("the encrypted content is cut off: {0} bytes are not a multiple of 32")]
    CutOff(u64),
    /// The padding is wrong: another key, or cut off between two units.
    #[error("the encrypted content does not fit its key, or its end is missing")]
    Padding,
}

/// Decrypts one stream.
pub struct Decryptor {
    cipher: cbc::Decryptor<Aes256>,
    /// Up to 32 bytes that wait for more of the stream.
    waiting: Vec<u8>,
    /// Plain bytes that have left.
    total: u64,
}

impl Decryptor {
    /// For one stream under `key`: the EncodingAESKey in callback mode.
    pub fn new(key: &Key) -> Decryptor {
        Decryptor {
            cipher: cbc::Decryptor::new(key.bytes().into(), (&key.iv()).into()),
            waiting: Vec::with_capacity(PADDED),
            total: 0,
        }
    }

    /// Empties `buffer` and puts the waiting bytes at its front.
    pub fn reuse(&mut self, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.append(&mut self.waiting);
    }

    /// Decrypts what is in `buffer` in place. What is not whole waits, and so does the last whole unit,
    /// since it may hold the padding.
    pub fn update(&mut self, buffer: &mut Vec<u8>) {
        self.rejoin(buffer);
        let last = match buffer.len() % PADDED {
            0 => PADDED.min(buffer.len()),
            unfinished => unfinished,
        };
        let whole = buffer.len() - last;
        self.waiting.extend_from_slice(buffer.split_at(whole).1);
        buffer.truncate(whole);
        self.decrypt(buffer);
        self.total += buffer.len() as u64;
    }

    /// Decrypts what is in `buffer` as the end of the stream and takes its padding off. Returns the
    /// length of the whole plaintext. On an error the buffer is empty.
    ///
    /// # Errors
    /// [`Broken`]: the stream must end with an error, not as if it were whole.
    pub fn finish(mut self, buffer: &mut Vec<u8>) -> Result<u64, Broken> {
        self.rejoin(buffer);
        let total = self.total + buffer.len() as u64;
        let result = if total == 0 {
            Err(Broken::Empty)
        } else if !total.is_multiple_of(PADDED as u64) {
            Err(Broken::CutOff(total))
        } else {
            self.decrypt(buffer);
            let (padding, is_right) = padding(buffer);
            match bool::from(is_right) {
                true => Ok(padding),
                false => Err(Broken::Padding),
            }
        };
        let last = result.map_or(0, |padding| buffer.len().saturating_sub(padding));
        buffer.truncate(last);
        result.map(|_| self.total + last as u64)
    }

    /// For a buffer that was not [`Decryptor::reuse`]d: right too, but it moves the whole content.
    fn rejoin(&mut self, buffer: &mut Vec<u8>) {
        if !self.waiting.is_empty() {
            buffer.splice(..0, self.waiting.drain(..));
        }
    }

    /// Decrypts whole blocks in place.
    #[inline(never)]
    fn decrypt(&mut self, bytes: &mut [u8]) {
        let (blocks, _) = Array::slice_as_chunks_mut(bytes);
        self.cipher.decrypt_blocks(blocks);
    }
}

impl std::fmt::Debug for Decryptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decryptor")
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use cbc::cipher::BlockModeEncrypt;
    use proptest::prelude::*;

    use super::*;

    fn key() -> Key {
        Key::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").unwrap()
    }

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut bytes = plain.to_vec();
        let padding = PADDED - bytes.len() % PADDED;
        bytes.resize(bytes.len() + padding, padding as u8);
        let (blocks, _) = Array::slice_as_chunks_mut(&mut bytes);
        let key = key();
        cbc::Encryptor::<Aes256>::new(key.bytes().into(), (&key.iv()).into())
            .encrypt_blocks(blocks);
        bytes
    }

    fn opened(ciphertext: &[u8], window: usize) -> Result<Vec<u8>, Broken> {
        let mut decryptor = Decryptor::new(&key());
        let mut buffer = Vec::with_capacity(window + HEADROOM);
        let mut plain = Vec::new();
        for piece in ciphertext.chunks(window) {
            decryptor.reuse(&mut buffer);
            buffer.extend_from_slice(piece);
            assert!(buffer.len() <= window + HEADROOM);
            decryptor.update(&mut buffer);
            plain.extend_from_slice(&buffer);
        }
        decryptor.reuse(&mut buffer);
        let total = decryptor.finish(&mut buffer)?;
        plain.extend_from_slice(&buffer);
        assert_eq!(total, plain.len() as u64);
        Ok(plain)
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().map(|char| char.to_digit(16).unwrap()).collect();
        let pairs = digits.chunks(2);
        pairs.map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
    }

    #[test]
    fn known_files_have_known_ciphertexts() {
        let full = [b'A'; 32];
        for (plain, ciphertext) in [
            (
                &b"WeCom"[..],
                "b1140897cf3b1a923d89ca25d843de656c5a05f35dd1e34e73c4075059233e82",
            ),
            (
                &full,
                "cfc6db137e91a49b51b31bce1a7b0f0f40d87b0fcf9efbef16f00d8cc3321400\
                 e10be62d78d700d89c05d72869bc76247310ac787353c82054a2b492bb763adf",
            ),
        ] {
            let ciphertext = bytes(ciphertext);
            assert_eq!(sealed(plain), ciphertext);
            for window in [1, 15, 16, 31, 32, 33, 64, 1000] {
                assert_eq!(opened(&ciphertext, window).as_deref(), Ok(plain));
            }
        }
    }

    #[test]
    fn what_is_cut_off_or_changed_at_its_end_does_not_open() {
        let ciphertext = sealed(&[200; 100]);
        assert_eq!(opened(&[], 10), Err(Broken::Empty));
        assert_eq!(opened(&ciphertext[..127], 10), Err(Broken::CutOff(127)));
        assert_eq!(opened(&ciphertext[..96], 10), Err(Broken::Padding));
        let mut changed = ciphertext;
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(opened(&changed, 10), Err(Broken::Padding));
    }

    proptest! {
        #[test]
        fn any_file_opens_in_any_windows(plain in prop::collection::vec(any::<u8>(), 0..2000), window in 1usize..300) {
            prop_assert_eq!(opened(&sealed(&plain), window), Ok(plain));
        }

        #[test]
        fn any_bytes_open_or_are_broken(bytes in prop::collection::vec(any::<u8>(), 0..500), window in 1usize..300) {
            let _ = opened(&bytes, window);
        }
    }
}
