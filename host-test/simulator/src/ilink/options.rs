//! How a simulated iLink server starts.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use gateway_listener::clock::Clock;
use gateway_listener::{ListenerLimits, Names};

/// The person who writes when a request names none.
pub const DEFAULT_USER: &str = "wxid_alice@im.wechat";

/// How a simulator starts.
pub struct SimulatorOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The time that every rule goes by.
    pub clock: Clock,
    /// Whether headers and bodies are compared with those of the official client.
    pub strict: bool,
    /// The long poll's advertised length; polls are answered slightly earlier.
    pub hold: Duration,
    /// The first account's id.
    pub account_id: String,
    /// The first account's bot token; `None` draws one.
    pub token: Option<String>,
    /// The person whom the first account is bound to; `None` is nobody, and then no login ends
    /// its session.
    pub owner: Option<String>,
    /// Exchanges that the wire log keeps; 0 switches it off.
    pub wire_log: usize,
    /// Bytes up to which a file that a bot uploads is kept whole, for
    /// [`Simulator::phone_file`](super::Simulator::phone_file); of a larger one only size and MD5 are kept.
    pub whole_bytes: u64,
    /// The token of the control paths; `None` draws one.
    pub control_token: Option<String>,
    /// Names that clients may call it by, besides those of this machine.
    pub names: Names,
    /// What connections may take.
    pub limits: ListenerLimits,
}

/// Without secrets.
impl fmt::Debug for SimulatorOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &mut out.debug_struct("SimulatorOptions");
        options
            .field("listen", &self.listen)
            .field("strict", &self.strict)
            .field("hold", &self.hold)
            .field("account_id", &self.account_id)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl Default for SimulatorOptions {
    fn default() -> SimulatorOptions {
        SimulatorOptions {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            clock: Clock::new(),
            strict: false,
            hold: Duration::from_secs(35),
            account_id: "b0f5860fdecb@im.bot".to_owned(),
            token: None,
            owner: Some(DEFAULT_USER.to_owned()),
            wire_log: 10_000,
            whole_bytes: 1024 * 1024,
            control_token: None,
            names: Names::default(),
            limits: ListenerLimits::simulator(),
        }
    }
}
