//! The bots of the simulator, and the people whom they are bound to.
//!
//! A person has one live bot: binding another one ends the session of the one before. From then
//! on its token is answered with -14 and nothing that the person writes reaches it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLockReadGuard, RwLockWriteGuard};

use super::account::Bot;
use super::{Account, ServerState, Simulator, lock};

/// Bots with a later one in their place that are remembered. The answer to the token of one that
/// is not is the same, and only that it was counted is lost.
const DISPLACED: usize = 1_000;

/// All bots.
#[derive(Default)]
pub(super) struct Bots {
    by_token: HashMap<String, Arc<Bot>>,
    by_account: HashMap<String, Arc<Bot>>,
    /// The live bot of each person who has one.
    by_owner: HashMap<String, Arc<Bot>>,
    /// The bot that was bound last.
    newest: Option<Arc<Bot>>,
    /// The oldest first.
    displaced: VecDeque<Arc<Bot>>,
}

impl Bots {
    pub(super) fn insert(&mut self, bot: &Arc<Bot>, token: String) {
        self.by_account.insert(bot.account.to_string(), bot.clone());
        self.by_token.insert(token, bot.clone());
    }

    /// Makes this bot the live one of this person.
    pub(super) fn bind(&mut self, bot: &Arc<Bot>, user: &str) {
        if let Some(owner) = bot.bind(user)
            && owner != user
        {
            self.by_owner.retain(|_, live| !Arc::ptr_eq(live, bot));
        }
        self.displaced.retain(|other| !Arc::ptr_eq(other, bot));
        self.newest = Some(bot.clone());
        let before = self.by_owner.insert(user.to_owned(), bot.clone());
        let Some(before) = before.filter(|before| !Arc::ptr_eq(before, bot)) else {
            return;
        };
        before.displace();
        self.displaced.push_back(before);
        if self.displaced.len() > DISPLACED
            && let Some(oldest) = self.displaced.pop_front()
        {
            self.by_account.remove(&*oldest.account);
            self.by_token.remove(&oldest.lock().token);
        }
    }
}

impl ServerState {
    pub(super) fn bot(&self, account_id: &str) -> Option<Arc<Bot>> {
        self.bots().by_account.get(account_id).cloned()
    }

    pub(super) fn bot_of_token(&self, token: &str) -> Option<Arc<Bot>> {
        self.bots().by_token.get(token).cloned()
    }

    pub(super) fn all_bots(&self) -> Vec<Arc<Bot>> {
        self.bots().by_account.values().cloned().collect()
    }

    /// The bot that a person writes to, see [`Simulator::bot_of`].
    pub(super) fn bot_of(&self, user: &str) -> Arc<Bot> {
        let bots = self.bots();
        if let Some(own) = bots.by_owner.get(user) {
            return own.clone();
        }
        let newest = bots.newest.as_ref().filter(|_| self.first.is_displaced());
        newest.unwrap_or(&self.first).clone()
    }

    /// Adds the account, or gives the one that exists a new token, which makes it its owner's
    /// live one again.
    pub(super) fn add(&self, account_id: &str) -> Arc<Bot> {
        let token = new_token(account_id);
        let rules = lock(&self.rules).clone();
        let mut bots = self.bots_mut();
        let bot = match bots.by_account.get(account_id).cloned() {
            Some(bot) => {
                let replaced = bot.renew(token.clone());
                bots.by_token.remove(&replaced);
                bot
            }
            None => Arc::new(Bot::new(account_id, token.clone(), rules)),
        };
        bots.insert(&bot, token);
        if let Some(owner) = bot.owner() {
            bots.bind(&bot, &owner);
        }
        drop(bots);
        self.changed.notify_waiters();
        bot
    }

    /// Binds a bot to a person.
    pub(super) fn bind(&self, bot: &Arc<Bot>, user: &str) {
        self.bots_mut().bind(bot, user);
        self.changed.notify_waiters();
    }

    /// Binds a new bot to a person, as each login does.
    pub(super) fn bind_new(&self, user: &str) -> Arc<Bot> {
        let account_id = format!("{:012x}@im.bot", rand::random::<u64>() >> 16);
        let token = new_token(&account_id);
        let mut rules = lock(&self.rules).clone();
        // A session that is over is so until there is a new token, and this is one.
        rules.expiry = None;
        let bot = Arc::new(Bot::new(&account_id, token.clone(), rules));
        let mut bots = self.bots_mut();
        bots.insert(&bot, token);
        bots.bind(&bot, user);
        drop(bots);
        self.changed.notify_waiters();
        bot
    }

    fn bots(&self) -> RwLockReadGuard<'_, Bots> {
        self.bots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn bots_mut(&self) -> RwLockWriteGuard<'_, Bots> {
        self.bots.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Simulator {
    /// The account that this person writes to: their own live one, else the first, and if a login
    /// has ended the first one's session, the one that was bound last.
    pub fn bot_of(&self, user: &str) -> Account {
        self.handle(self.server().bot_of(user))
    }

    /// Binds a new bot to this person, as a login with another client does: the one before gets
    /// -14 from now on.
    pub fn log_in_elsewhere(&self, user: &str) -> Account {
        self.handle(self.server().bind_new(user))
    }
}

pub(super) fn new_token(account_id: &str) -> String {
    format!("{account_id}:{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::client::{Client, strict_simulator, texts};
    use super::super::{DEFAULT_USER, SimulatorOptions};
    use super::*;

    const BOB: &str = "wxid_bob@im.wechat";

    #[tokio::test]
    async fn a_binding_ends_the_one_before_and_its_open_poll() {
        let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
        let first = simulator.first().clone();
        assert_eq!(first.owner().as_deref(), Some(DEFAULT_USER));
        simulator.say(DEFAULT_USER, "to the first");
        let client = Client::new(&simulator);
        assert_eq!(texts(&client.poll("").await), ["to the first"]);
        simulator
            .faults(
                &json!({"cursor": "consume", "session": {"expired": "ret", "after_ms": 60_000}}),
            )
            .unwrap();
        let waiting = client.clone();
        let poll = tokio::spawn(async move { waiting.poll("").await });
        simulator
            .wait_for(|simulator| simulator.counters().polls_open == 1)
            .await;
        let second = simulator.log_in_elsewhere(DEFAULT_USER);
        let stale = json!({"errcode": -14, "errmsg": "session timeout"});
        assert_eq!(poll.await.unwrap(), stale);
        for (endpoint, body) in [
            ("getupdates", json!({"get_updates_buf": ""})),
            ("sendmessage", json!({"msg": {}})),
            ("msg/notifystart", json!({})),
            ("getconfig", json!({"ilink_user_id": "a"})),
        ] {
            assert_eq!(client.call(endpoint, body).await, stale, "{endpoint}");
        }
        assert!(!first.is_live() && second.is_live());
        assert_eq!(first.counters().starts, 1);
        // The rule of the older sessions is not the new one's.
        simulator
            .first()
            .server
            .clock
            .advance(std::time::Duration::from_secs(61));
        simulator.say(DEFAULT_USER, "to the second");
        let client = Client::of(&simulator, &second);
        assert_eq!(texts(&client.poll("").await), ["to the second"]);
        assert_ne!(second.token(), first.token());
        assert!(second.token().starts_with(&format!("{}:", second.id())));
        let hex = second.id().strip_suffix("@im.bot").unwrap();
        assert!(hex.len() == 12 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[tokio::test]
    async fn people_write_to_their_own_bot_or_to_one_that_lives() {
        let simulator = strict_simulator().await;
        let other = simulator.add_account("0123456789ab@im.bot");
        let of = |user: &str| simulator.bot_of(user).id().to_owned();
        assert_eq!((other.owner(), of(BOB)), (None, simulator.account_id()));
        other.bind(BOB);
        assert_eq!(of(BOB), other.id());
        let second = simulator.log_in_elsewhere(DEFAULT_USER);
        assert_eq!(of(DEFAULT_USER), second.id());
        assert_eq!(of("wxid_carol@im.wechat"), second.id());
        // A new token makes a bot the live one again.
        simulator.first().replace_token();
        assert_eq!(of(DEFAULT_USER), simulator.account_id());
        assert!(simulator.first().is_live() && !second.is_live());
        // A bot that goes to another person leaves the first one without.
        other.bind(DEFAULT_USER);
        assert!(!simulator.first().is_live() && other.is_live());
        assert_eq!(of(BOB), other.id());
    }

    #[tokio::test]
    async fn only_the_newest_of_the_displaced_are_remembered() {
        let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
        let first = Client::new(&simulator);
        for _ in 0..DISPLACED + 5 {
            simulator.log_in_elsewhere(DEFAULT_USER);
        }
        assert_eq!(simulator.server().all_bots().len(), DISPLACED + 1);
        assert_eq!(first.poll("").await["errcode"], -14);
        assert_eq!(simulator.counters().polls, 0);
    }
}
