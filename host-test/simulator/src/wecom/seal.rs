//! How the platform seals what it posts, and opens what is answered: written from the platform's
//! description alone.

use aes::Aes256;
use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD};
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use sha1::{Digest, Sha1};

/// Bytes that a message is padded to a multiple of.
const UNIT: usize = 32;

/// The app's callback settings.
#[derive(Clone)]
pub(super) struct Seal {
    pub(super) token: String,
    pub(super) encoding_aes_key: String,
    pub(super) receive_id: String,
}

impl Seal {
    /// Whether the key is one.
    pub(super) fn is_usable(&self) -> bool {
        self.key().is_some()
    }

    fn key(&self) -> Option<[u8; 32]> {
        let lenient = GeneralPurpose::new(&ALPHABET, NO_PAD.with_decode_allow_trailing_bits(true));
        let bytes = lenient.decode(&self.encoding_aes_key).ok()?;
        bytes.try_into().ok()
    }

    /// The content of `Encrypt`.
    pub(super) fn encrypt(&self, random: [u8; 16], message: &[u8]) -> String {
        let key = self.key().unwrap_or_default();
        let (iv, _) = key.split_at(16);
        let mut bytes = random.to_vec();
        bytes.extend((message.len() as u32).to_be_bytes());
        bytes.extend(message);
        bytes.extend(self.receive_id.bytes());
        let padding = UNIT - bytes.len() % UNIT;
        bytes.extend(std::iter::repeat_n(padding as u8, padding));
        let length = bytes.len();
        let cipher = cbc::Encryptor::<Aes256>::new_from_slices(&key, iv);
        // The lengths are those of AES-256, and the content is whole blocks.
        let sealed = cipher.ok().and_then(|cipher| {
            Some(
                cipher
                    .encrypt_padded::<NoPadding>(&mut bytes, length)
                    .ok()?
                    .to_vec(),
            )
        });
        STANDARD.encode(sealed.unwrap_or_default())
    }

    /// The content of a passive reply's `Encrypt`, or why it is none.
    pub(super) fn decrypt(&self, encrypt: &str) -> Result<Vec<u8>, &'static str> {
        let key = self.key().ok_or("the simulator has no key")?;
        let (iv, _) = key.split_at(16);
        let mut bytes = STANDARD
            .decode(encrypt)
            .map_err(|_| "Encrypt is no base64")?;
        if bytes.is_empty() || !bytes.len().is_multiple_of(UNIT) {
            return Err("Encrypt is no multiple of 32 bytes");
        }
        let cipher = cbc::Decryptor::<Aes256>::new_from_slices(&key, iv)
            .map_err(|_| "the simulator has no key")?;
        let plain = cipher
            .decrypt_padded::<NoPadding>(&mut bytes)
            .map_err(|_| "Encrypt does not decrypt")?;
        let padding = usize::from(plain.last().copied().unwrap_or_default());
        let content = plain.len().checked_sub(padding);
        let (content, padded) = content
            .filter(|_| (1..=UNIT).contains(&padding))
            .map(|length| plain.split_at(length))
            .ok_or("the padding is wrong")?;
        if padded.iter().any(|byte| usize::from(*byte) != padding) {
            return Err("the padding is wrong");
        }
        let (length, rest) = content
            .get(16..)
            .and_then(<[u8]>::split_first_chunk::<4>)
            .ok_or("the content is too short")?;
        let length = u32::from_be_bytes(*length) as usize;
        let (message, receiver) = rest.split_at_checked(length).ok_or("the length is wrong")?;
        if receiver != self.receive_id.as_bytes() {
            return Err("it is sealed for another receiver");
        }
        Ok(message.to_vec())
    }

    /// `msg_signature`.
    pub(super) fn sign(&self, timestamp: &str, nonce: &str, encrypt: &str) -> String {
        let mut parts = [&*self.token, timestamp, nonce, encrypt];
        parts.sort_unstable();
        let digest = Sha1::digest(parts.concat());
        base16ct::lower::encode_string(&digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_sample_and_a_known_message_are_sealed_alike() {
        let sample = Seal {
            token: "QDG6eK".into(),
            encoding_aes_key: "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C".into(),
            receive_id: "wx5823bf96d3bd56c7".into(),
        };
        let echo = "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ==";
        assert_eq!(
            sample.sign("1409659589", "263014780", echo),
            "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3"
        );
        assert_eq!(
            sample.decrypt(echo).as_deref(),
            Ok(&b"1616140317555161061"[..])
        );
        let own = Seal {
            token: "testToken123".into(),
            encoding_aes_key: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8".into(),
            receive_id: "ww1234567890abcdef".into(),
        };
        let aligned = "x".repeat(26);
        for (message, encrypt) in [
            (
                "你好",
                "4j/AuRx71kQlxVlzbpsMWBAkB/NbygDiHxIVUaGmENmVmXZuKS41uwj8QCqZxzmn+pfmaxEkPuqmx+iQWGf7kw==",
            ),
            (
                &aligned,
                "4j/AuRx71kQlxVlzbpsMWLdwa700XSzOWDMkXDdU+WosU+ewEoBShSctEkjIMzDlQzkP7INyRb86ZWTT3GnJIvNRJD3/itxxl/PhoQP3KdhoypNop0Tn8tWzgFXUn5fY",
            ),
        ] {
            assert_eq!(
                own.encrypt(*b"0123456789abcdef", message.as_bytes()),
                encrypt
            );
            assert_eq!(own.decrypt(encrypt).as_deref(), Ok(message.as_bytes()));
            assert!(sample.decrypt(encrypt).is_err());
        }
        for wrong in ["", "!", "AAAA"] {
            assert!(own.decrypt(wrong).is_err());
        }
    }
}
