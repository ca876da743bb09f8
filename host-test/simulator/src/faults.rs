//! Faults: what a simulated server does to a request instead of, or around, its true answer.
//!
//! Both simulated servers have the same faults. A Rust program builds one with [`Fault`] and
//! gives it to [`Simulator::fault`](crate::Simulator::fault) or to the changes of a server's
//! rules, [`ilink::RuleChanges`](crate::ilink::RuleChanges) and
//! [`wecom::RuleChanges`](crate::wecom::RuleChanges). Over HTTP, `POST /sim/faults` takes the same as
//! JSON. Both refuse a mistake with a sentence, and then nothing changes.
//!
//! | member of a fault | meaning |
//! |---|---|
//! | `times` | it ends after so many requests; without it, it stays until it is cleared |
//! | `skip` | so many requests pass untouched first |
//! | `delay_ms` | wait, after the request took effect (if it does), before the answer |
//! | `processed` | `true`: the request takes effect although the answer is `status`, `body` or `ret` |
//!
//! and at most one of these. Without any, the true answer is given after the delay.
//!
//! | member | servers | meaning |
//! |---|---|---|
//! | `status` | both | this HTTP status with an HTML page; of the CDN with `x-error-message` and `x-error-code`, if `message` and `code` are given |
//! | `redirect` | iLink | 302, or the `status` that is given, to this URL |
//! | `body` | both | 200 with this text, which may be empty, HTML or broken JSON |
//! | `ret`, `errcode`, `errmsg` | both (`ret`: iLink) | 200 with a JSON object of those that are given |
//! | `without` | iLink | the true answer without these members: `["get_updates_buf"]`; of `upload` without these headers: `["x-encrypted-param"]` |
//! | `truncated` | both | `true`: the first half of the true answer, as if it were whole |
//! | `mangled` | both | the true answer with bytes that no encoder would write: `{"before", "behind", "replace": {FIND: WITH}}`, each character up to U+00FF one byte |
//! | `cut` | both | the connection is closed `"before"` the request takes effect, `"after"` it took effect without any answer, or in the middle of the `"body"` |
//! | `stall` | both | nothing more comes `"before"` it takes effect, after the `"headers"`, or in the middle of the `"body"` |
//! | `drip_ms` | iLink | the true answer, a byte at a time, of `download` a KiB, this far apart |
//! | `answer` | `sendmessage` | `"black-hole"` accepts with `{"ret":0}` and shows nothing, `"empty"` accepts with `{}`, `"no-ret"` with the id alone, `"string-id"` with the id as a string |
//! | `answer` | `getuploadurl` | `"full-url"` (the default), `"param"`, `"both"` or `"neither"` |
//! | `answer` | the login's two | this JSON object, such as `{"status": "unheard-of"}` |
//! | `upload_full_url` | `getuploadurl` | this string instead of the true one, beside `answer` or alone |
//! | `read_ms` | `upload` | the body is read in pieces, this far apart |
//! | `wrong_key` | `download` | `true` serves a ciphertext under another key |
//! | `bad_padding` | `download` | `true` serves a ciphertext whose padding is wrong |
//! | `extra_bytes` | `download` | so many bytes follow the file, without a `Content-Length` |
//!
//! For example `{"getupdates": {"status": 524, "delay_ms": 17000, "times": 3}}`. The body of an
//! upload is its request's: `cut` and `stall` of `"body"` happen while half of it is read, and
//! after a `stall` of `"headers"` an upload is never answered.

mod effect;
mod fault;
mod limit;
mod mangle;
mod queue;

pub use effect::{CutAt, Reference, SentAs, StallAt};
pub(crate) use effect::{DownloadAs, Effect, UploadUrl};
pub use fault::Fault;
pub(crate) use limit::Limit;
pub use mangle::Mangle;
pub(crate) use queue::FaultQueue;
