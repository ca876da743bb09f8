//! Reads JSON into types, and says in a sentence what is wrong with it and where.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde_json::Value;

/// A member of an object that may be missing, which is not the same as being `null`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Member<T> {
    #[default]
    Missing,
    Given(T),
}

impl<T> Member<T> {
    pub(crate) fn given(self) -> Option<T> {
        match self {
            Member::Missing => None,
            Member::Given(value) => Some(value),
        }
    }

    pub(crate) fn is_given(&self) -> bool {
        matches!(self, Member::Given(_))
    }

    /// Puts the value, if it is given, where `place` is.
    pub(crate) fn set(&self, place: &mut T)
    where
        T: Clone,
    {
        if let Member::Given(value) = self {
            place.clone_from(value);
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Member<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Member<T>, D::Error> {
        T::deserialize(deserializer).map(Member::Given)
    }
}

/// A duration, written in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Millis(pub(crate) Duration);

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
        struct Milliseconds;

        impl Visitor<'_> for Milliseconds {
            type Value = Millis;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("milliseconds, a whole number from 0")
            }

            fn visit_u64<E>(self, milliseconds: u64) -> Result<Millis, E> {
                Ok(Millis(Duration::from_millis(milliseconds)))
            }
        }

        deserializer.deserialize_u64(Milliseconds)
    }
}

/// Reads what a request says.
///
/// # Errors
/// A sentence that names the member that is wrong.
pub(crate) fn read<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        match error.path().to_string().as_str() {
            "." => format!("{}.", error.inner()),
            path => format!("`{path}`: {}.", error.inner()),
        }
    })
}
