use proptest::prelude::*;

use super::*;

const OWN_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const TIMESTAMP: &str = "1409659813";
const NOW_MS: u64 = 1_409_659_813_000;
const NONCE: &str = "1372623149";
const RANDOM: [u8; 16] = *b"0123456789abcdef";

fn seal(receive_id: &str) -> Seal {
    Seal {
        token: "testToken123".into(),
        key: Key::parse(OWN_KEY).unwrap(),
        receive_id: receive_id.into(),
    }
}

fn sealed<'a>(encrypt: &'a str, signature: &'a str) -> Sealed<'a> {
    Sealed {
        signature,
        timestamp: TIMESTAMP,
        nonce: NONCE,
        encrypt,
    }
}

#[test]
fn known_messages_have_known_ciphertexts_and_signatures() {
    let corp = "ww1234567890abcdef";
    let aligned = "x".repeat(26);
    for (message, receive_id, encrypt, signature) in [
        (
            "1616140317555161061",
            corp,
            "4j/AuRx71kQlxVlzbpsMWFHe92iq4VdHki6B+j5nrthRk2KUXXihce9rRwtOSRUwCeQeOFYj61J61HM4HhNS9w==",
            "af99961d04f1be744a03674192e012ae76f5ff1c",
        ),
        (
            "你好",
            corp,
            "4j/AuRx71kQlxVlzbpsMWBAkB/NbygDiHxIVUaGmENmVmXZuKS41uwj8QCqZxzmn+pfmaxEkPuqmx+iQWGf7kw==",
            "97880255260ae4896f58dfd595201ca88a4385e9",
        ),
        (
            r#"{"msgtype":"text"}"#,
            "",
            "4j/AuRx71kQlxVlzbpsMWBISlvomC6YoH8j5nFCfw7DZ/Is91fYwteHV/AkIXJdXMKgFtYaSiO2hYFvak58dnw==",
            "da532375e4fbf30ceaf5ae8e419742c11f601ef5",
        ),
        (
            &aligned,
            corp,
            "4j/AuRx71kQlxVlzbpsMWLdwa700XSzOWDMkXDdU+WosU+ewEoBShSctEkjIMzDlQzkP7INyRb86ZWTT3GnJIvNRJD3/itxxl/PhoQP3KdhoypNop0Tn8tWzgFXUn5fY",
            "83eaa113fbff9d8450e6e2f63a83323ff0cea5db",
        ),
    ] {
        let seal = seal(receive_id);
        assert_eq!(seal.encrypt(RANDOM, message.as_bytes()).unwrap(), encrypt);
        assert_eq!(seal.sign(TIMESTAMP, NONCE, encrypt), signature);
        let opened = seal.open(NOW_MS, sealed(encrypt, signature));
        assert_eq!(opened.as_deref(), Ok(message.as_bytes()));
    }
}

#[test]
fn the_public_sample_of_the_platform_opens() {
    let seal = Seal {
        token: "QDG6eK".into(),
        key: Key::parse("jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C").unwrap(),
        receive_id: "wx5823bf96d3bd56c7".into(),
    };
    let encrypt =
        "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ==";
    let sample = Sealed {
        signature: "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3",
        timestamp: "1409659589",
        nonce: "263014780",
        encrypt,
    };
    assert_eq!(
        seal.sign(sample.timestamp, sample.nonce, encrypt),
        sample.signature
    );
    let opened = seal.open(1_409_659_589_000, sample);
    assert_eq!(opened.as_deref(), Ok(&b"1616140317555161061"[..]));
}

#[test]
fn a_key_has_43_characters_and_spare_bits() {
    assert!(Key::parse("jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C").is_some());
    let key = |last: char| Key::parse(&format!("{}{last}", OWN_KEY.trim_end_matches('8')));
    assert!(key('8') == key('9') && key('8') != key('4') && key('-').is_none());
    for wrong in [
        "",
        OWN_KEY.trim_start_matches('A'),
        &format!("{OWN_KEY}="),
        &format!("{OWN_KEY}A"),
        &OWN_KEY.replace('Q', "!"),
        &OWN_KEY.replace("CQ", "é"),
    ] {
        assert!(Key::parse(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn what_is_wrong_is_told_to_the_operator_alone() {
    let ours = seal("ww1234567890abcdef");
    let encrypt = ours.encrypt(RANDOM, b"hello").unwrap();
    let signature = ours.sign(TIMESTAMP, NONCE, &encrypt);
    fn open(seal: &Seal, now_ms: u64, sealed: Sealed<'_>) -> Refusal {
        seal.open(now_ms, sealed).unwrap_err()
    }
    let good = sealed(&encrypt, &signature);
    let upper = signature.to_uppercase();
    let short = signature.strip_suffix(|_: char| true).unwrap();
    for wrong in ["", "0", short, &upper] {
        let refusal = open(&ours, NOW_MS, sealed(&encrypt, wrong));
        assert_eq!(refusal, Refusal::Signature);
    }
    for now_ms in [0, NOW_MS - 600_001, NOW_MS + 600_001, u64::MAX] {
        let refusal = open(&ours, now_ms, good);
        assert!(
            matches!(refusal, Refusal::Time { ahead_ms: Some(_) }),
            "{refusal}"
        );
    }
    for now_ms in [NOW_MS - 600_000, NOW_MS + 600_000] {
        assert!(ours.open(now_ms, good).is_ok());
    }
    for timestamp in ["", "+1409659813", "-1", "x", "99999999999999999999999"] {
        let signature = ours.sign(timestamp, NONCE, &encrypt);
        let odd = Sealed {
            signature: &signature,
            timestamp,
            ..good
        };
        assert_eq!(open(&ours, NOW_MS, odd), Refusal::Time { ahead_ms: None });
    }
    for receive_id in ["", "ww", "ww1234567890abcdeF", "ww1234567890abcdefg"] {
        let refusal = open(&seal(receive_id), NOW_MS, good);
        assert_eq!(refusal, Refusal::Receiver, "{receive_id}");
    }
    let other = Seal {
        key: Key::parse("jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C").unwrap(),
        ..ours.clone()
    };
    assert_eq!(open(&other, NOW_MS, good), Refusal::Content);
    let long = STANDARD.encode(vec![7; 48]);
    let empty = String::new();
    for encrypt in [&empty, &long, &"!".to_owned(), &"A".repeat(44)] {
        let signature = ours.sign(TIMESTAMP, NONCE, encrypt);
        let refusal = open(&ours, NOW_MS, sealed(encrypt, &signature));
        assert_eq!(refusal, Refusal::Content, "{encrypt}");
    }
}

/// A frame of any bytes, encrypted and signed as it is.
fn framed(plain: &[u8]) -> Result<Vec<u8>, Refusal> {
    let seal = seal("ww");
    let mut bytes = plain.to_vec();
    let (blocks, _) = Array::slice_as_chunks_mut(&mut bytes);
    let iv = seal.key.iv();
    cbc::Encryptor::<Aes256>::new(seal.key.bytes().into(), (&iv).into()).encrypt_blocks(blocks);
    let encrypt = STANDARD.encode(bytes);
    let signature = seal.sign(TIMESTAMP, NONCE, &encrypt);
    seal.open(NOW_MS, sealed(&encrypt, &signature))
}

#[test]
fn frames_and_paddings_that_lie_are_refused() {
    let frame = |length: u32, rest: &[u8], padding: &[u8]| {
        [&RANDOM, &length.to_be_bytes()[..], rest, padding].concat()
    };
    assert_eq!(framed(&frame(3, b"abcww", &[7; 7])), Ok(b"abc".to_vec()));
    assert_eq!(framed(&frame(0, b"ww", &[10; 10])), Ok(Vec::new()));
    for (length, rest, padding, refusal) in [
        (4, &b"abcww"[..], &[7; 7][..], Refusal::Receiver),
        (5, b"abcww", &[7; 7], Refusal::Receiver),
        (6, b"abcww", &[7; 7], Refusal::Content),
        (u32::MAX, b"abcww", &[7; 7], Refusal::Content),
        (3, b"abcww", &[7, 7, 7, 7, 7, 6, 7], Refusal::Content),
        (3, b"abcww", &[7, 7, 7, 7, 7, 7, 0], Refusal::Content),
        (3, b"abcww", &[7, 7, 7, 7, 7, 7, 33], Refusal::Content),
        (3, b"abcww", &[7, 7, 7, 7, 7, 7, 8], Refusal::Content),
        // Right for PKCS#7, and too short for a receiver.
        (3, b"abcww", &[1; 7], Refusal::Receiver),
        (0, b"", &[12; 12], Refusal::Receiver),
    ] {
        let got = framed(&frame(length, rest, padding));
        assert_eq!(got, Err(refusal), "{length} {rest:?} {padding:?}");
    }
    assert_eq!(framed(&[32; 32]), Err(Refusal::Content));
}

proptest! {
    #[test]
    fn what_was_sealed_opens(
        message in prop::collection::vec(any::<u8>(), 0..300),
        receive_id in "[a-z0-9]{0,40}",
        random: [u8; 16],
    ) {
        let seal = seal(&receive_id);
        let encrypt = seal.encrypt(random, &message).unwrap();
        let signature = seal.sign(TIMESTAMP, NONCE, &encrypt);
        prop_assert_eq!(seal.open(NOW_MS, sealed(&encrypt, &signature)), Ok(message));
    }

    #[test]
    fn no_byte_can_be_changed(at in 0usize..200, bit in 0u8..7) {
        let seal = seal("ww1234567890abcdef");
        let encrypt = seal.encrypt(RANDOM, b"hello, world").unwrap();
        let signature = seal.sign(TIMESTAMP, NONCE, &encrypt);
        let parts = [signature.as_str(), TIMESTAMP, NONCE, &encrypt].map(str::to_owned);
        let mut at = at % parts.iter().map(String::len).sum::<usize>();
        let mut parts = parts.map(String::into_bytes);
        for part in &mut parts {
            match part.get_mut(at) {
                Some(byte) => { *byte ^= 1 << bit; break; }
                None => at -= part.len(),
            }
        }
        let [signature, timestamp, nonce, encrypt] = parts.map(|part| String::from_utf8(part).unwrap());
        let changed = Sealed {
            signature: &signature,
            timestamp: &timestamp,
            nonce: &nonce,
            encrypt: &encrypt,
        };
        prop_assert!(seal.open(NOW_MS, changed).is_err());
    }

    #[test]
    fn no_signed_byte_of_a_ciphertext_breaks_anything(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
        let _ = framed(&bytes[..bytes.len() / 16 * 16]);
        let seal = seal("");
        let text = String::from_utf8_lossy(&bytes);
        let _ = seal.open(NOW_MS, Sealed { signature: &text, timestamp: &text, nonce: &text, encrypt: &text });
    }
}

#[test]
fn a_wrong_clock_is_told_with_how_far_it_is_off() {
    let ours = seal("ww1234567890abcdef");
    let encrypt = ours.encrypt([7; 16], b"x").unwrap();
    let signature = ours.sign(TIMESTAMP, NONCE, &encrypt);
    for (now_ms, expect) in [
        (NOW_MS + 24 * 3_600_000, "1 day ahead of"),
        (NOW_MS - 24 * 3_600_000, "1 day behind"),
        (NOW_MS + 660_000, "11 min ahead of"),
        (NOW_MS - 8 * 3_600_000, "8 h behind"),
        (0, "behind"),
        (u64::MAX, "ahead of"),
    ] {
        let refusal = ours.open(now_ms, sealed(&encrypt, &signature)).unwrap_err();
        let told = refusal.to_string();
        assert!(
            told.contains(expect) && told.contains("set the clock"),
            "{told}"
        );
    }
}
