//! AES-128-ECB with PKCS#7 over a stream, in the buffers that the stream is read into.
//!
//! No byte is copied but the up to 16 that wait for the rest of their block, and memory does not
//! grow with the stream. A transfer has one buffer with [`HEADROOM`] to spare and goes round:
//!
//! ```text
//! reuse(buffer)    empties it and puts the waiting bytes at its front
//! read             appends to it, up to its capacity
//! update(buffer)   leaves in it what can be written now
//! write            and round again; at the end of the stream: finish(buffer)
//! ```
//!
//! A broken ciphertext is an error of [`Decryptor::finish`]. Until then nobody can tell, so what was
//! written before must not be taken for a whole file. ECB proves nothing about its content: one wrong
//! key in 256 leaves a padding that looks right, so compare the length with what the sender said.

use aes::{Aes128, Block};
use ecb::cipher::block_padding::{Padding, Pkcs7};
use ecb::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, KeyInit};

/// Bytes of a block.
pub const BLOCK: usize = 16;
/// Room that a buffer needs besides what is read into it: for the waiting bytes or the padding.
pub const HEADROOM: usize = BLOCK;

/// Bytes of the ciphertext of `plain` bytes: the next multiple of 16, a whole block more for a
/// multiple. None past `u64`.
pub fn padded_len(plain: u64) -> Option<u64> {
    (plain / BLOCK as u64 + 1).checked_mul(BLOCK as u64)
}

/// Why a ciphertext has no plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// There was no byte; the shortest ciphertext has 16.
    #[error("the encrypted content is empty")]
    Empty,
    /// It ended inside a block.
    #[error("the encrypted content is cut off: {0} bytes are not whole blocks of 16")]
    CutOff(u64),
    /// The padding is wrong: another key, or cut off between two blocks.
    #[error("the encrypted content does not fit its key, or its end is missing")]
    Padding,
}

/// Encrypts one stream.
#[derive(Debug)]
pub struct Encryptor {
    cipher: ecb::Encryptor<Aes128>,
    waiting: Waiting,
}

impl Encryptor {
    /// For one stream under `key`.
    pub fn new(key: &[u8; 16]) -> Encryptor {
        Encryptor {
            cipher: ecb::Encryptor::new(key.into()),
            waiting: Waiting::default(),
        }
    }

    /// Empties `buffer` and puts the waiting bytes, up to 15, at its front.
    pub fn reuse(&mut self, buffer: &mut Vec<u8>) {
        self.waiting.reuse(buffer);
    }

    /// Encrypts what is in `buffer` in place; bytes of an unfinished block wait.
    pub fn update(&mut self, buffer: &mut Vec<u8>) {
        self.waiting.rejoin(buffer);
        self.waiting.keep(buffer, buffer.len() % BLOCK);
        encrypt(&mut self.cipher, buffer);
    }

    /// Encrypts what is in `buffer` as the end of the stream, with its padding.
    pub fn finish(&mut self, buffer: &mut Vec<u8>) {
        self.waiting.rejoin(buffer);
        let padding = BLOCK - buffer.len() % BLOCK;
        buffer.resize(buffer.len() + padding, padding as u8);
        encrypt(&mut self.cipher, buffer);
    }
}

/// Decrypts one stream, or passes on one that is not encrypted.
#[derive(Debug)]
pub struct Decryptor {
    cipher: Option<ecb::Decryptor<Aes128>>,
    waiting: Waiting,
    /// Plain bytes that have left.
    total: u64,
}

impl Decryptor {
    /// For one stream under `key`.
    pub fn new(key: &[u8; 16]) -> Decryptor {
        Decryptor {
            cipher: Some(ecb::Decryptor::new(key.into())),
            waiting: Waiting::default(),
            total: 0,
        }
    }

    /// For one stream that is plain already: every byte passes, and there is no end to check.
    pub fn plain() -> Decryptor {
        Decryptor {
            cipher: None,
            waiting: Waiting::default(),
            total: 0,
        }
    }

    /// Empties `buffer` and puts the waiting bytes, up to 16, at its front.
    pub fn reuse(&mut self, buffer: &mut Vec<u8>) {
        self.waiting.reuse(buffer);
    }

    /// Decrypts what is in `buffer` in place. An unfinished block waits, and so does the last whole
    /// one, since it may hold the padding.
    pub fn update(&mut self, buffer: &mut Vec<u8>) {
        if let Some(cipher) = &mut self.cipher {
            self.waiting.rejoin(buffer);
            let last = match buffer.len() % BLOCK {
                0 => BLOCK.min(buffer.len()),
                unfinished => unfinished,
            };
            self.waiting.keep(buffer, last);
            decrypt(cipher, buffer);
        }
        self.total += buffer.len() as u64;
    }

    /// Decrypts what is in `buffer` as the end of the stream and takes its padding off. Returns the
    /// length of the whole plaintext. On an error the buffer is empty.
    ///
    /// # Errors
    /// [`Broken`]: the stream must end with an error, not as if it were whole.
    pub fn finish(&mut self, buffer: &mut Vec<u8>) -> Result<u64, Broken> {
        self.waiting.rejoin(buffer);
        let total = self.total + buffer.len() as u64;
        let Some(cipher) = &mut self.cipher else {
            return Ok(total);
        };
        let last = if total == 0 {
            Err(Broken::Empty)
        } else if !total.is_multiple_of(BLOCK as u64) {
            Err(Broken::CutOff(total))
        } else {
            Pkcs7::unpad_blocks(decrypt(cipher, buffer))
                .map(<[u8]>::len)
                .map_err(|_| Broken::Padding)
        };
        buffer.truncate(last.unwrap_or(0));
        last.map(|last| self.total + last as u64)
    }
}

/// Encrypts whole blocks in place.
///
/// There is one of this and one of [`decrypt`], and neither is inlined, so that the compiler inlines
/// the rounds of the cipher into them: in WebAssembly that is worth up to a quarter of the speed.
#[inline(never)]
fn encrypt<'a>(cipher: &mut ecb::Encryptor<Aes128>, bytes: &'a mut [u8]) -> &'a [Block] {
    let (blocks, _) = Array::slice_as_chunks_mut(bytes);
    cipher.encrypt_blocks(blocks);
    blocks
}

/// Decrypts whole blocks in place.
#[inline(never)]
fn decrypt<'a>(cipher: &mut ecb::Decryptor<Aes128>, bytes: &'a mut [u8]) -> &'a [Block] {
    let (blocks, _) = Array::slice_as_chunks_mut(bytes);
    cipher.decrypt_blocks(blocks);
    blocks
}

/// The bytes that wait for more of the stream.
#[derive(Default)]
struct Waiting {
    bytes: [u8; BLOCK],
    length: usize,
}

impl Waiting {
    fn reuse(&mut self, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(self.take());
    }

    /// For a buffer that was not [`Waiting::reuse`]d: right too, but it moves the whole content.
    fn rejoin(&mut self, buffer: &mut Vec<u8>) {
        if self.length > 0 {
            buffer.splice(..0, self.take().iter().copied());
        }
    }

    /// Takes the last `length` bytes, at most a block.
    fn keep(&mut self, buffer: &mut Vec<u8>, length: usize) {
        let kept = buffer.split_at(buffer.len() - length).1;
        for (slot, byte) in self.bytes.iter_mut().zip(kept) {
            *slot = *byte;
        }
        self.length = length;
        buffer.truncate(buffer.len() - length);
    }

    fn take(&mut self) -> &[u8] {
        self.bytes.split_at(std::mem::take(&mut self.length)).0
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.length)
    }
}

#[cfg(test)]
mod tests;
