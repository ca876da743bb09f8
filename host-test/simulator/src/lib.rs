//! Simulated servers of the platforms, for tests of a gateway and for trying one out.
//!
//! A server promises to know the wire only from the protocol's description. It works on raw JSON
//! and XML and shares no type with the components, so that a wrong field cannot be mirrored and
//! pass. Any client of the platform can use it.
//!
//! [`ilink`] is Tencent's iLink with its CDN, [`wecom`] is the API and the callbacks of an app of
//! WeCom. [`faults`] make both of them misbehave.
//!
//! ```
//! use std::time::Duration;
//!
//! use gateway_simulator::ilink::{Endpoint, RuleChanges};
//! use gateway_simulator::{Fault, Simulator, SimulatorOptions};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let simulator = Simulator::start(SimulatorOptions::default()).await?;
//!
//! // A client polls `simulator.base_url()` with this token.
//! let token = simulator.token();
//!
//! // A person writes. The client gets it with its next poll.
//! let message = simulator.say("wxid_alice@im.wechat", "hello");
//! assert_eq!(message["item_list"][0]["text_item"]["text"], "hello");
//!
//! // Nobody has answered yet.
//! assert!(simulator.answers("wxid_alice@im.wechat").is_empty());
//!
//! // The next three polls fail as behind a slow proxy, and a person takes any number of sends.
//! let slow_proxy = Fault::status(524).after(Duration::from_secs(17)).times(3);
//! simulator.change(&RuleChanges::new().budget(None).fault(Endpoint::GetUpdates, slow_proxy))?;
//!
//! simulator.shutdown().await;
//! # drop(token);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(missing_debug_implementations)]
#![allow(
    clippy::indexing_slicing,
    reason = "a missing member of JSON reads as null, and what is written to is an object of this crate"
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::string_slice,
        clippy::panic,
        reason = "a test that fails ends so"
    )
)]

mod body;
mod controlled;
pub mod faults;
mod gate;
pub mod ilink;
mod json;
mod query;
mod recent;
mod response;
mod sync;
pub mod wecom;

pub use faults::Fault;
pub use ilink::{
    Account, Act, Content, Counters, DEFAULT_USER, Event, File, LoginCounters, MediaKind, QrCode,
    Repeat, Simulator, SimulatorOptions, Typing,
};
