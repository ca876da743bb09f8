//! What every store must do, for the tests of who writes one.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a promise that is not kept ends the test that asks for it"
)]

use super::{
    Bucket, KEYS_PER_PAGE, KeyPage, MAX_ACCOUNT_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, State,
    StateError,
};

/// Tries every promise of [`State`] and [`Bucket`] on an empty store. It writes to accounts with the
/// names `plain`, `numbers`, `many`, `bounds`, and a few short ones.
///
/// # Panics
/// Where a promise is not kept.
pub async fn conforms(state: &dyn State) {
    shows_its_own_writes(&*state.bucket("plain").unwrap()).await;
    keeps_accounts_apart(state).await;
    refuses_what_is_too_large(state).await;
    increments(&*state.bucket("numbers").unwrap()).await;
    lists_every_key_once(&*state.bucket("many").unwrap()).await;
}

async fn shows_its_own_writes(bucket: &dyn Bucket) {
    for key in [
        "",
        "a",
        "b/ü/\u{10ffff}",
        "a\0b",
        &"k".repeat(MAX_KEY_BYTES),
    ] {
        assert_eq!(bucket.get(key).await.unwrap(), None);
        assert!(!bucket.exists(key).await.unwrap());
        bucket.delete(key).await.unwrap();
        for value in [&b""[..], b"one", b"\0\xff"] {
            bucket.set(key, value.to_vec()).await.unwrap();
            assert_eq!(bucket.get(key).await.unwrap().as_deref(), Some(value));
            assert!(bucket.exists(key).await.unwrap());
        }
        bucket.delete(key).await.unwrap();
        assert_eq!(bucket.get(key).await.unwrap(), None);
    }
    assert_eq!(bucket.list_keys(None).await.unwrap(), KeyPage::default());
}

async fn keeps_accounts_apart(state: &dyn State) {
    // Joined without care, these would meet.
    let accounts = ["", "a", "ab", "abc", "a\0", "\u{1}a"];
    for account in accounts {
        let bucket = state.bucket(account).unwrap();
        for key in ["", "b", "bc", "c"] {
            bucket.set(key, account.into()).await.unwrap();
        }
    }
    for account in accounts {
        // Opened anew, it is the same bucket.
        let bucket = state.bucket(account).unwrap();
        let page = bucket.list_keys(None).await.unwrap();
        assert_eq!(page.keys, ["", "b", "bc", "c"]);
        for key in page.keys {
            assert_eq!(bucket.get(&key).await.unwrap(), Some(account.into()));
        }
    }
}

async fn refuses_what_is_too_large(state: &dyn State) {
    let bucket = state.bucket("bounds").unwrap();
    let key = "k".repeat(MAX_KEY_BYTES + 1);
    let too_long = |error| matches!(error, StateError::KeyTooLong { bytes } if bytes == key.len());
    assert!(too_long(bucket.get(&key).await.unwrap_err()));
    assert!(too_long(bucket.set(&key, vec![1]).await.unwrap_err()));
    assert!(too_long(bucket.delete(&key).await.unwrap_err()));
    assert!(too_long(bucket.exists(&key).await.unwrap_err()));
    assert!(too_long(bucket.increment(&key, 1).await.unwrap_err()));

    bucket.set("value", vec![0; MAX_VALUE_BYTES]).await.unwrap();
    let error = bucket.set("value", vec![1; MAX_VALUE_BYTES + 1]).await;
    assert!(matches!(error, Err(StateError::ValueTooLarge { .. })));
    let value = bucket.get("value").await.unwrap().unwrap();
    assert_eq!(value.len(), MAX_VALUE_BYTES);

    assert!(state.bucket(&"a".repeat(MAX_ACCOUNT_BYTES)).is_ok());
    let error = state
        .bucket(&"a".repeat(MAX_ACCOUNT_BYTES + 1))
        .err()
        .unwrap();
    assert!(matches!(error, StateError::AccountTooLong { .. }));
}

async fn increments(bucket: &dyn Bucket) {
    assert_eq!(bucket.increment("n", 5).await.unwrap(), 5);
    assert_eq!(bucket.increment("n", 0).await.unwrap(), 5);
    assert_eq!(bucket.get("n").await.unwrap().unwrap(), b"5");
    bucket.set("n", u64::MAX.to_string().into()).await.unwrap();
    let error = bucket.increment("n", 1).await.unwrap_err();
    assert!(matches!(error, StateError::Overflow));
    for value in ["", "-1", "1.0", "one"] {
        bucket.set("text", value.into()).await.unwrap();
        let error = bucket.increment("text", 1).await.unwrap_err();
        assert!(matches!(error, StateError::NotANumber), "{value:?}");
        assert_eq!(bucket.get("text").await.unwrap().unwrap(), value.as_bytes());
    }
}

async fn lists_every_key_once(bucket: &dyn Bucket) {
    let expected: Vec<String> = (0..2 * KEYS_PER_PAGE).map(|n| format!("{n:05}")).collect();
    for key in &expected {
        bucket.set(key, Vec::new()).await.unwrap();
    }
    assert_eq!(all_keys(bucket).await, expected);

    // What comes and goes between two pages does not move the others.
    let first = bucket.list_keys(None).await.unwrap();
    assert_eq!(first.keys.len(), KEYS_PER_PAGE);
    for key in first.keys.iter().take(10).chain(first.keys.last()) {
        bucket.delete(key).await.unwrap();
    }
    bucket.set("00000/new", Vec::new()).await.unwrap();
    let second = bucket.list_keys(first.cursor).await.unwrap();
    assert_eq!(second.keys, expected[KEYS_PER_PAGE..]);
    assert_eq!(second.cursor, None);

    let past_the_end = bucket.list_keys(Some("~".repeat(2000))).await.unwrap();
    assert_eq!(past_the_end, KeyPage::default());
}

async fn all_keys(bucket: &dyn Bucket) -> Vec<String> {
    let mut page = bucket.list_keys(None).await.unwrap();
    let mut keys = page.keys;
    while page.cursor.is_some() {
        page = bucket.list_keys(page.cursor).await.unwrap();
        keys.append(&mut page.keys);
    }
    keys
}

#[cfg(all(test, feature = "dir", feature = "redis"))]
mod tests;
