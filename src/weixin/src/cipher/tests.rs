//! Vectors, every split, and everything that can be wrong with a ciphertext.

use base64::prelude::*;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

const KEY: [u8; 16] = [
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
];

fn counting(length: usize) -> Vec<u8> {
    (0..length).map(|index| index as u8).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encrypted(plain: &[u8]) -> Vec<u8> {
    let mut buffer = plain.to_vec();
    Encryptor::new(&KEY).finish(&mut buffer);
    buffer
}

/// Encrypts in pieces of these lengths, over and over; with one buffer, or with one per piece.
fn encrypted_in(plain: &[u8], pieces: &[usize], one_buffer: bool) -> Vec<u8> {
    let mut encryptor = Encryptor::new(&KEY);
    let mut written = Vec::new();
    let mut buffer = Vec::new();
    for piece in cut(plain, pieces) {
        if one_buffer {
            encryptor.reuse(&mut buffer);
        } else {
            buffer = Vec::new();
        }
        buffer.extend_from_slice(piece);
        encryptor.update(&mut buffer);
        written.extend_from_slice(&buffer);
    }
    buffer.clear();
    encryptor.finish(&mut buffer);
    written.extend_from_slice(&buffer);
    written
}

fn decrypted_in(
    mut decryptor: Decryptor,
    encrypted: &[u8],
    pieces: &[usize],
    one_buffer: bool,
) -> Result<Vec<u8>, Broken> {
    let mut written = Vec::new();
    let mut buffer = Vec::new();
    for piece in cut(encrypted, pieces) {
        if one_buffer {
            decryptor.reuse(&mut buffer);
        } else {
            buffer = Vec::new();
        }
        buffer.extend_from_slice(piece);
        decryptor.update(&mut buffer);
        written.extend_from_slice(&buffer);
    }
    decryptor.reuse(&mut buffer);
    let length = decryptor.finish(&mut buffer)?;
    written.extend_from_slice(&buffer);
    assert_eq!(length, written.len() as u64);
    Ok(written)
}

fn cut<'a>(mut bytes: &'a [u8], pieces: &[usize]) -> Vec<&'a [u8]> {
    let mut cut = Vec::new();
    for piece in pieces.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*piece).min(bytes.len()));
        cut.push(piece);
        bytes = rest;
    }
    cut
}

#[test]
fn ciphertexts_are_those_of_openssl() {
    for (length, start, end, digest) in [
        (
            0,
            "00657ea140655a44782747705d422fad",
            "",
            "3621a36cc0c9b9dee5aaa0f27eb199c2dc805741a14d9ecd34e4f781e6a12f93",
        ),
        (
            1,
            "2bba587bfd91b9d5648e1d46f825ae9b",
            "",
            "f0ac2bae1e4999c0ef47867c9e18182370552455d95ea4724db52c3fdcb2269a",
        ),
        (
            15,
            "a27339f25dd0f737139c2a911d196c02",
            "",
            "32478efbe67ebda5e2afbeec082a68eb45ba2206d091a53c9c978bbc5f697ed0",
        ),
        (
            16,
            "279fb74a7572135e8f9b8ef6d1eee003",
            "00657ea140655a44782747705d422fad",
            "d1a4a87e491157e2e046944dd5bbfcd79ad566424d9fbf1dc67d497606437ed5",
        ),
        (
            17,
            "279fb74a7572135e8f9b8ef6d1eee003",
            "aa8dc4e525b3dd7876996be940fd6332",
            "260bae23c7326b6a8360c23cab18f211e6c0bc6b5efbd67bdc3a2f7cc8636403",
        ),
        (
            1000,
            "279fb74a7572135e8f9b8ef6d1eee003",
            "f16743ac34b1da13f2287653bc67b256",
            "4c4c5001672b3b7b08162b09e4643b5ca7572f0afc706c4902a954822a3238cf",
        ),
    ] {
        let encrypted = encrypted(&counting(length));
        assert_eq!(Some(encrypted.len() as u64), padded_len(length as u64));
        assert!(hex(&encrypted).starts_with(start) && hex(&encrypted).ends_with(end));
        assert_eq!(hex(&Sha256::digest(&encrypted)), digest);
        let again = decrypted_in(Decryptor::new(&KEY), &encrypted, &[7], true);
        assert_eq!(again, Ok(counting(length)));
    }
    assert_eq!(
        BASE64_STANDARD.encode(encrypted("Hello, iLink! 你好".as_bytes())),
        "CgylSxWojQYiFWhV7g/fauzOksp7ARrIifrdRNiym00="
    );
}

#[test]
fn padded_lengths_are_those_of_the_official_client() {
    for (plain, padded) in [
        (0, Some(16)),
        (1, Some(16)),
        (15, Some(16)),
        (16, Some(32)),
        (17, Some(32)),
        (1000, Some(1008)),
        (12345, Some(12352)),
        (u64::MAX - 16, Some(u64::MAX - 15)),
        (u64::MAX, None),
    ] {
        assert_eq!(padded_len(plain), padded);
    }
}

#[test]
fn a_broken_ciphertext_ends_in_an_error() {
    let whole = encrypted(&counting(1000));
    let decrypt = |bytes: &[u8]| decrypted_in(Decryptor::new(&KEY), bytes, &[100], true);
    assert_eq!(decrypt(&[]), Err(Broken::Empty));
    assert_eq!(decrypt(&whole[..5]), Err(Broken::CutOff(5)));
    assert_eq!(decrypt(&whole[..1007]), Err(Broken::CutOff(1007)));
    assert_eq!(decrypt(&whole[..992]), Err(Broken::Padding));
    assert_eq!(decrypt(&whole[..16]), Err(Broken::Padding));
    assert_eq!(
        decrypt(&[&whole[..], &[0; 16]].concat()),
        Err(Broken::Padding)
    );
}

#[test]
fn a_wrong_key_is_noticed_all_but_once_in_256() {
    let whole = encrypted(&counting(100));
    let unnoticed = (0..=255)
        .filter(|key| decrypted_in(Decryptor::new(&[*key; 16]), &whole, &[50], true).is_ok())
        .count();
    assert!(unnoticed < 5, "{unnoticed}");
}

#[test]
fn pieces_of_every_length_give_the_same_bytes() {
    for length in 0..70 {
        let plain = counting(length);
        let whole = encrypted(&plain);
        for piece in 1..40 {
            for one_buffer in [true, false] {
                assert_eq!(encrypted_in(&plain, &[piece], one_buffer), whole);
                let again = decrypted_in(Decryptor::new(&KEY), &whole, &[piece], one_buffer);
                assert_eq!(again.as_ref(), Ok(&plain));
            }
        }
    }
}

#[test]
fn the_last_block_waits_for_the_end() {
    let mut decryptor = Decryptor::new(&KEY);
    let mut buffer = encrypted(&counting(32));
    decryptor.update(&mut buffer);
    assert_eq!(buffer, counting(32));
    decryptor.update(&mut Vec::new());
    decryptor.reuse(&mut buffer);
    assert_eq!(buffer.len(), 16);
    assert_eq!(decryptor.finish(&mut buffer), Ok(32));
    assert!(buffer.is_empty());
}

#[test]
fn a_buffer_with_headroom_never_grows() {
    let window = 4096;
    let mut buffer = Vec::with_capacity(window + HEADROOM);
    let allocation = (buffer.as_ptr(), buffer.capacity());
    let mut encryptor = Encryptor::new(&KEY);
    let mut decryptor = Decryptor::new(&KEY);
    for length in [window, 1, window, 15, 16, window] {
        encryptor.reuse(&mut buffer);
        buffer.resize((buffer.len() + length).min(buffer.capacity()), 7);
        encryptor.update(&mut buffer);
        decryptor.reuse(&mut buffer);
        buffer.resize((buffer.len() + length).min(buffer.capacity()), 7);
        decryptor.update(&mut buffer);
    }
    encryptor.reuse(&mut buffer);
    buffer.resize(window, 7);
    encryptor.finish(&mut buffer);
    assert_eq!((buffer.as_ptr(), buffer.capacity()), allocation);
}

#[test]
fn debug_output_shows_neither_key_nor_content() {
    let mut decryptor = Decryptor::new(&KEY);
    decryptor.update(&mut counting(20));
    let debug = format!("{decryptor:?} {:?}", Encryptor::new(&KEY));
    assert!(debug.contains("4 bytes") && !debug.contains('['), "{debug}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_split_gives_the_same_bytes(
        plain in prop::collection::vec(any::<u8>(), 0..70_000),
        pieces in prop::collection::vec(prop_oneof![1..40_usize, 1..70_000_usize], 1..8),
        others in prop::collection::vec(prop_oneof![1..40_usize, 1..70_000_usize], 1..8),
        one_buffer: bool,
    ) {
        let whole = encrypted(&plain);
        prop_assert_eq!(&encrypted_in(&plain, &pieces, one_buffer), &whole);
        let again = decrypted_in(Decryptor::new(&KEY), &whole, &others, one_buffer);
        prop_assert_eq!(again.as_ref(), Ok(&plain));
        let passed = decrypted_in(Decryptor::plain(), &plain, &others, one_buffer);
        prop_assert_eq!(passed, Ok(plain));
    }

    #[test]
    fn no_key_and_no_bytes_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        key: [u8; 16],
        piece in 1..50_usize,
    ) {
        let result = decrypted_in(Decryptor::new(&key), &bytes, &[piece], true);
        prop_assert!(result.is_err() || bytes.len() % 16 == 0);
    }
}
