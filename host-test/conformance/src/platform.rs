//! What a check needs of a platform: a server that plays it, with one account and two people.
//!
//! The author of a channel implements [`SimulatedPlatform`] and [`PlatformServer`] for the fake server
//! of the channel's tests, and gives it to [`Suite::with_platform`](crate::Suite::with_platform).

use std::any::Any;

use futures::future::BoxFuture;
use gateway_host::account::AccountOptions;
use gateway_host::clock::Clock;

/// A platform of which servers can be started.
pub trait SimulatedPlatform: Send + Sync {
    /// The platform's name, as a component's description has it.
    fn name(&self) -> &str;

    /// Whether its servers can do this. Checks that need what they can't do are not run.
    fn can(&self, ability: Ability) -> bool {
        let _ = ability;
        false
    }

    /// Starts a server for one check. All its times go by `clock`.
    ///
    /// # Errors
    /// A sentence.
    fn start(&self, clock: Clock) -> BoxFuture<'_, Result<Box<dyn PlatformServer>, String>>;
}

/// What not every platform has, or not every simulated server can play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ability {
    /// Files in both directions: [`PlatformServer::send_file`], [`PlatformServer::file`].
    Media,
    /// Messages that are handed out again: [`PlatformServer::repeat`].
    Repeats,
    /// A person can be answered for a limited time after a message: the description has a
    /// `reply-window`, and the server refuses what comes later.
    ReplyWindow,
    /// Typing indicators: [`PlatformServer::is_typing`].
    Typing,
}

/// A running server, which ends with the value. `Any` is for checks of one platform alone: they get
/// their own server back.
pub trait PlatformServer: Any + Send + Sync {
    /// The bot's account: its id, its credentials, and the configuration that leads the component
    /// here, without a pace between messages.
    fn account(&self) -> AccountOptions;

    /// Two people. The first one writes; the second one may be unknown to the server.
    fn people(&self) -> [Person; 2];

    /// The first person writes a text. Returns the id that the component gives the message.
    fn say(&self, text: &str) -> String;

    /// The same with a quote of an earlier message of this person; none where people can't quote.
    fn say_with_quote(&self, text: &str, quoted: &str) -> Option<String> {
        let _ = (text, quoted);
        None
    }

    /// When a message was written, in milliseconds since the Unix epoch; none where it is not known.
    fn sent_at(&self, message: &str) -> Option<u64> {
        let _ = message;
        None
    }

    /// The texts that the first person sees of the bot, in order.
    fn answers(&self) -> Vec<String>;

    /// What the server has counted.
    fn counters(&self) -> Counters;

    /// Switches a fault on, or off again; several can be on at once.
    ///
    /// # Errors
    /// A sentence, where the server can't play it.
    fn fault(&self, fault: Fault, is_on: bool) -> Result<(), String>;

    /// In how many ways the server can refuse a credential, see [`Fault::CredentialRefused`].
    fn credential_refusals(&self) -> usize {
        1
    }

    /// What the component has done that no client of the platform may do, a sentence each.
    fn violations(&self) -> Vec<String> {
        Vec::new()
    }

    /// Hands out once more what was handed out before ([`Ability::Repeats`]). A platform that does so
    /// in several ways takes another one at each call.
    fn repeat(&self, message: &str) {
        let _ = message;
    }

    /// Whether the first person sees that the bot is typing ([`Ability::Typing`]).
    fn is_typing(&self) -> bool {
        false
    }

    /// The first person sends a file ([`Ability::Media`]). Returns the id of the message.
    fn send_file(&self, name: &str, bytes: Vec<u8>) -> Option<String> {
        let _ = (name, bytes);
        None
    }

    /// The file that the bot sent with this message, where the person can open it
    /// ([`Ability::Media`]).
    fn file(&self, message: &str) -> Option<Vec<u8>> {
        let _ = message;
        None
    }
}

/// Somebody who can write to the bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The id that the component gives the sender of a message.
    pub id: String,
    /// The id of the conversation with the bot alone.
    pub conversation: String,
}

/// What a server has counted since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Polls that began.
    pub polls: u64,
    /// Polls that wait for an answer now.
    pub polls_open: u64,
    /// Polls that were answered; none of those that the client broke off.
    pub polls_answered: u64,
    /// Requests that send a message, whatever became of them.
    pub sends: u64,
}

/// What a server does wrong, or otherwise than at its best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// What was handed to a poll is not handed out again, whatever the client says of it.
    NothingTwice,
    /// The next five polls fail, each in another way: a status 502, a body that is no JSON, an answer
    /// that is cut, a lost connection, and the platform's own error. With fewer ways some come twice.
    PollsFail,
    /// The next two polls and the next two sends are redirected to another origin.
    Redirects,
    /// Requests that send get no answer, and no message reaches anybody.
    SendsStall,
    /// The next two requests that send are refused for now: the first with a status 503, the second
    /// with the platform's word for too many requests.
    SendsRefusedForNow,
    /// The account's credential is refused everywhere, in the way with this number, from 0.
    CredentialRefused(usize),
}
