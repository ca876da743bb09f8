//! The rules that the simulated WeCom goes by.
//!
//! A Rust program builds [`RuleChanges`] of them and gives these to
//! [`WecomSimulator::change`](super::WecomSimulator::change). Over HTTP they are one JSON object,
//! given to `POST /sim/faults`; [`WecomSimulator::faults`](super::WecomSimulator::faults) takes it,
//! too. Keys that are not named stay as they are. A mistake is refused with a sentence, and then
//! nothing changes.
//!
//! | key | value | default |
//! |---|---|---|
//! | `reset` | `true`: first back to the rules of the start | |
//! | `token_ms` | life of an access token | 7200000 |
//! | `media_ms` | life of a media id | three days |
//! | `answer_ms` | within which a callback has to be answered | 5000 |
//! | `redeliveries` | how often a callback comes again that was not answered with 200 | 3 |
//! | `send_limit` | `{"sends", "within_ms"}`: more sends than that are 45009 | `null` |
//! | `address` | 60020 on all calls but `gettoken`, for a caller with this address | `null` |
//! | `users` | who is of the corp; others are in `invaliduser`. `null` is everybody | `null` |
//! | `unlicensed` | who has no licence | `[]` |
//! | `callback` | what is wrong with callbacks, see below | `null` |
//! | an endpoint, or `*` for each one | a fault, a list of faults in order, or `null` | `null` |
//!
//! Endpoints are `gettoken`, `message/send`, `media/upload` and `media/get`. A fault is written as
//! [`faults`](crate::faults) has it.
//!
//! `callback` is `{"times", "skip"}` with one of
//!
//! - `"wrong"`: `"signature"`, `"time"` (an hour ago), `"content"`, `"receiver"`, `"agent"`: the
//!   callback is made so, and signed for what it is;
//! - `"duplicate"`: `true` delivers it once more although it was answered;
//! - `"unanswered"`: `true` takes any answer for none.

mod callback_fault;
mod changes;
mod current;
#[cfg(test)]
mod tests;

pub use callback_fault::CallbackFault;
pub(super) use callback_fault::Odd;
pub use changes::RuleChanges;
pub(super) use current::Rules;
pub use current::SendLimit;
