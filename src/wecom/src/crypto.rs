//! The seal of WeCom's callbacks: who wrote a message, and what it says.
//!
//! A message is framed (16 random bytes, its length in four bytes big-endian, the message, the id of
//! the receiver), padded to a multiple of 32, encrypted with AES-256-CBC, and signed with SHA-1 over
//! the sorted token, timestamp, nonce and ciphertext. Facts are those of the platform's documentation
//! (加解密方案说明) and of its public sample.
//!
//! Promises: every check is made whatever the others found, and only then is a message refused, so
//! that neither words nor time tell an outsider which check it was. The [`Refusal`] is for the
//! operator's log alone. SHA-1 and CBC are the platform's choice; nothing is trusted that the
//! signature does not cover.

use aes::Aes256;
use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, general_purpose};
use cbc::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use sha1::{Digest, Sha1};

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater};

use gateway_channel_sdk::clock::apart;

/// Messages are padded to a multiple of so many bytes, which is two blocks of the cipher.
pub const PADDED: usize = 32;
/// What stands before the message: random bytes and the length.
const HEAD: usize = 20;
/// How far a callback's time may be from ours, in milliseconds. Older ones are replays.
pub const MAX_SKEW_MS: u64 = 10 * 60 * 1000;

/// A key has 43 characters, whose last two bits are spare and may have any value.
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);
/// Padding may have been lost on the way of a query.
const TEXT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    general_purpose::PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An EncodingAESKey; a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// Reads the 43 characters that the platform's console shows.
    pub fn parse(text: &str) -> Option<Key> {
        let bytes = KEY_BASE64.decode(text).ok()?;
        bytes.try_into().ok().map(Key)
    }

    /// The key of AES-256.
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The initialisation vector, the same for every message: the key's first half.
    pub(super) fn iv(&self) -> [u8; 16] {
        let mut iv = [0; 16];
        for (place, byte) in iv.iter_mut().zip(&self.0) {
            *place = *byte;
        }
        iv
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// What seals and opens the messages of one receiver; a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Seal {
    /// Signs.
    pub token: String,
    /// Encrypts.
    pub key: Key,
    /// The corp's id of an app of its own, and empty for an AI bot.
    pub receive_id: String,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal")
            .field("receive_id", &self.receive_id)
            .finish_non_exhaustive()
    }
}

/// A sealed message as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed<'a> {
    /// 40 lower-case hex digits.
    pub signature: &'a str,
    /// Seconds since the Unix epoch, in digits.
    pub timestamp: &'a str,
    /// Any text.
    pub nonce: &'a str,
    /// Base64 of the ciphertext.
    pub encrypt: &'a str,
}

/// Why a message is refused: for the operator's log, never for who sent it. It holds no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request is no callback of the platform.
    #[error("it is no callback: {0}")]
    Format(&'static str),
    /// The signature is another.
    #[error("its signature is wrong: is `token` that of the app's callback settings?")]
    Signature,
    /// The time is too far from ours.
    #[error("{}", too_far(*.ahead_ms))]
    Time {
        /// How far ours is ahead, in milliseconds; none where it named no time.
        ahead_ms: Option<i64>,
    },
    /// It was signed and does not decrypt.
    #[error("it does not decrypt: is `encoding-aes-key` that of the app's callback settings?")]
    Content,
    /// It was sealed for another.
    #[error("it is for another receiver: is `corp-id` right?")]
    Receiver,
    /// It is for another app of the corp.
    #[error("it is for another app: is `agent-id` right?")]
    Agent,
}

/// The signature of a ciphertext, in lower-case hex.
pub fn signature(token: &str, timestamp: &str, nonce: &str, encrypt: &str) -> String {
    let mut parts = [token, timestamp, nonce, encrypt].map(str::as_bytes);
    parts.sort_unstable();
    let mut digest = Sha1::new();
    for part in parts {
        digest.update(part);
    }
    let digits = |byte: u8| format!("{byte:02x}");
    digest.finalize().into_iter().map(digits).collect()
}

impl Seal {
    /// Encrypts a message. `random` must be new for each one, since the vector never is. None for a
    /// message of more than 4 GiB.
    pub fn encrypt(&self, random: [u8; 16], message: &[u8]) -> Option<String> {
        let length = u32::try_from(message.len()).ok()?;
        let mut plain = Vec::with_capacity(HEAD + message.len() + self.receive_id.len() + PADDED);
        plain.extend_from_slice(&random);
        plain.extend_from_slice(&length.to_be_bytes());
        plain.extend_from_slice(message);
        plain.extend_from_slice(self.receive_id.as_bytes());
        let padding = PADDED - plain.len() % PADDED;
        plain.resize(plain.len() + padding, padding as u8);
        let (blocks, _) = Array::slice_as_chunks_mut(&mut plain);
        let iv = self.key.iv();
        cbc::Encryptor::<Aes256>::new(self.key.bytes().into(), (&iv).into()).encrypt_blocks(blocks);
        Some(STANDARD.encode(plain))
    }

    /// The signature of a ciphertext of this receiver.
    pub fn sign(&self, timestamp: &str, nonce: &str, encrypt: &str) -> String {
        signature(&self.token, timestamp, nonce, encrypt)
    }

    /// Opens a message that came at `now_ms`, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`Refusal`], after all checks were made.
    pub fn open(&self, now_ms: u64, sealed: Sealed<'_>) -> Result<Vec<u8>, Refusal> {
        let expected = self.sign(sealed.timestamp, sealed.nonce, sealed.encrypt);
        let is_signed = expected.as_bytes().ct_eq(sealed.signature.as_bytes());
        let is_fresh = Choice::from(u8::from(is_fresh(now_ms, sealed.timestamp)));
        let (mut bytes, is_ciphertext) = ciphertext(sealed.encrypt);
        let (blocks, _) = Array::slice_as_chunks_mut(&mut bytes);
        let iv = self.key.iv();
        cbc::Decryptor::<Aes256>::new(self.key.bytes().into(), (&iv).into()).decrypt_blocks(blocks);
        let (padding, is_padded) = padding(&bytes);
        let end = bytes.len().saturating_sub(padding);
        let (message_end, is_framed) = message_end(&bytes, end);
        let is_received = self.is_receiver(&bytes, message_end, end);

        let is_content = is_ciphertext & is_padded & is_framed;
        let is_good = is_signed & is_fresh & is_content & is_received;
        if bool::from(is_good) {
            bytes.truncate(message_end);
            bytes.drain(..HEAD.min(bytes.len()));
            return Ok(bytes);
        }
        Err(if !bool::from(is_signed) {
            Refusal::Signature
        } else if !bool::from(is_fresh) {
            let sent_ms = sent_ms(sealed.timestamp).and_then(|ms| i64::try_from(ms).ok());
            let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
            Refusal::Time {
                ahead_ms: sent_ms.map(|sent_ms| now_ms.saturating_sub(sent_ms)),
            }
        } else if !bool::from(is_content) {
            Refusal::Content
        } else {
            Refusal::Receiver
        })
    }

    /// Whether what stands between the message and the padding is our id. Where it would begin before
    /// the content does, an id of the same length is compared all the same.
    fn is_receiver(&self, plain: &[u8], message_end: usize, end: usize) -> Choice {
        let ours = self.receive_id.as_bytes();
        let start = end.saturating_sub(ours.len());
        let none = vec![0; ours.len()];
        let sent = plain.get(start..end).filter(|id| id.len() == ours.len());
        let is_in_place = (start as u64).ct_eq(&(message_end as u64));
        is_in_place & sent.unwrap_or(&none).ct_eq(ours) & Choice::from(u8::from(sent.is_some()))
    }
}

fn too_far(ahead_ms: Option<i64>) -> String {
    match ahead_ms {
        None => "its time is no number of seconds".to_owned(),
        Some(ahead_ms) => format!(
            "it is signed, and this machine's clock is {} its time: set the clock, best with NTP; until \
             then every callback is refused. If others come through, it is an old one that somebody sends \
             again",
            apart(ahead_ms)
        ),
    }
}

/// The time of a timestamp, in milliseconds since the Unix epoch.
fn sent_ms(timestamp: &str) -> Option<u64> {
    let is_digits = timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = timestamp.parse::<u64>().ok().filter(|_| is_digits);
    seconds.and_then(|seconds| seconds.checked_mul(1000))
}

/// A timestamp that is no number of seconds is as far away as can be.
fn is_fresh(now_ms: u64, timestamp: &str) -> bool {
    sent_ms(timestamp).is_some_and(|sent_ms| sent_ms.abs_diff(now_ms) <= MAX_SKEW_MS)
}

/// The bytes of a ciphertext; zeros of about as many where it is none, so that the work is the same.
fn ciphertext(text: &str) -> (Vec<u8>, Choice) {
    let decoded = TEXT_BASE64.decode(text).ok();
    match decoded.filter(|bytes| !bytes.is_empty() && bytes.len().is_multiple_of(PADDED)) {
        Some(bytes) => (bytes, Choice::from(1)),
        None => (
            vec![0; (text.len() / 4 * 3).next_multiple_of(PADDED).max(PADDED)],
            Choice::from(0),
        ),
    }
}

/// How much of decrypted content is padding, of 1 to 32 bytes, and whether all of it is right. All 32
/// bytes are looked at.
pub(super) fn padding(plain: &[u8]) -> (usize, Choice) {
    let Some(last) = plain.last_chunk::<PADDED>() else {
        return (0, Choice::from(0));
    };
    let [.., length] = *last;
    let mut is_right = !length.ct_eq(&0) & !length.ct_gt(&(PADDED as u8));
    for (distance, byte) in last.iter().rev().enumerate() {
        // Either it is no padding, or it says how much there is.
        is_right &= !length.ct_gt(&(distance as u8)) | byte.ct_eq(&length);
    }
    let length = u8::conditional_select(&0, &length, is_right);
    (usize::from(length), is_right)
}

/// Where the message ends by its own word, and whether that is within the content.
fn message_end(plain: &[u8], end: usize) -> (usize, Choice) {
    let length = plain.get(HEAD - 4..).and_then(<[u8]>::first_chunk::<4>);
    let length = u32::from_be_bytes(*length.unwrap_or(&[0; 4]));
    let message_end = HEAD as u64 + u64::from(length);
    let is_within = !message_end.ct_gt(&(end as u64));
    // What is not within is not used, so a platform of 32 bits loses nothing.
    (message_end as usize, is_within)
}

#[cfg(test)]
mod tests;
