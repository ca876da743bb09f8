//! The faults of an endpoint.

use std::collections::VecDeque;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::fault::Fault;

/// The faults of an endpoint, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultQueue(VecDeque<Fault>);

impl FaultQueue {
    /// The fault of the next request, if there is one; counts that request.
    pub(crate) fn next(&mut self) -> Option<Fault> {
        while self.0.front().is_some_and(|fault| fault.limit.is_over()) {
            self.0.pop_front();
        }
        let fault = self.0.front_mut()?;
        fault.limit.hits().then(|| fault.clone())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

impl FromIterator<Fault> for FaultQueue {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> FaultQueue {
        FaultQueue(faults.into_iter().collect())
    }
}

/// One fault, a list of faults, or `null` for none.
impl<'de> Deserialize<'de> for FaultQueue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FaultQueue, D::Error> {
        struct Faults;

        impl<'de> Visitor<'de> for Faults {
            type Value = FaultQueue;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a fault, a list of faults, or null")
            }

            fn visit_unit<E>(self) -> Result<FaultQueue, E> {
                Ok(FaultQueue::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FaultQueue, A::Error> {
                let fault = Fault::deserialize(MapAccessDeserializer::new(map))?;
                Ok([fault].into_iter().collect())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<FaultQueue, A::Error> {
                let mut faults = VecDeque::new();
                while let Some(fault) = list.next_element()? {
                    faults.push_back(fault);
                }
                Ok(FaultQueue(faults))
            }
        }

        deserializer.deserialize_any(Faults)
    }
}
