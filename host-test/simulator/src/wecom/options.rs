//! How a simulated WeCom starts.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use gateway_listener::clock::Clock;
use gateway_listener::{ListenerLimits, Names};

/// The person who writes when nobody is named.
pub const DEFAULT_USER: &str = "alice";

/// How a simulated WeCom starts.
pub struct WecomOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The time that every rule goes by.
    pub clock: Clock,
    /// The corp's id.
    pub corp_id: String,
    /// The app's id.
    pub agent_id: u64,
    /// The app's secret; `None` draws one.
    pub secret: Option<String>,
    /// The Token of the callback settings; `None` draws one.
    pub token: Option<String>,
    /// The EncodingAESKey of the callback settings, 43 characters; `None` draws one.
    pub encoding_aes_key: Option<String>,
    /// The token of the control paths; `None` draws one.
    pub control_token: Option<String>,
    /// Names that clients may call it by, besides those of this machine.
    pub names: Names,
    /// What connections may take.
    pub limits: ListenerLimits,
}

/// Without secrets.
impl fmt::Debug for WecomOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &mut out.debug_struct("WecomOptions");
        options
            .field("listen", &self.listen)
            .field("corp_id", &self.corp_id)
            .field("agent_id", &self.agent_id)
            .finish_non_exhaustive()
    }
}

impl Default for WecomOptions {
    fn default() -> WecomOptions {
        WecomOptions {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            clock: Clock::new(),
            corp_id: "ww1234567890abcdef".to_owned(),
            agent_id: 1_000_002,
            secret: None,
            token: None,
            encoding_aes_key: None,
            control_token: None,
            names: Names::default(),
            limits: ListenerLimits::simulator(),
        }
    }
}
