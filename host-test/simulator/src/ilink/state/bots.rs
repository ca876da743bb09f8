//! The bots of the simulator, and the people whom they are bound to.
//!
//! A person has one live bot: binding another one ends the session of the one before. From then
//! on its token is answered with -14 and nothing that the person writes reaches it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::bot::Bot;

/// Bots with a later one in their place that are remembered. The answer to the token of one that
/// is not is the same, and only that it was counted is lost.
pub(crate) const DISPLACED: usize = 1_000;

/// All bots.
#[derive(Default)]
pub(crate) struct Bots {
    pub(super) by_token: HashMap<String, Arc<Bot>>,
    pub(super) by_account: HashMap<String, Arc<Bot>>,
    /// The live bot of each person who has one.
    pub(super) by_owner: HashMap<String, Arc<Bot>>,
    /// The bot that was bound last.
    pub(super) newest: Option<Arc<Bot>>,
    /// The oldest first.
    displaced: VecDeque<Arc<Bot>>,
}

impl Bots {
    pub(crate) fn insert(&mut self, bot: &Arc<Bot>, token: String) {
        self.by_account.insert(bot.account.to_string(), bot.clone());
        self.by_token.insert(token, bot.clone());
    }

    /// Makes this bot the live one of this person.
    pub(crate) fn bind(&mut self, bot: &Arc<Bot>, user: &str) {
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

pub(crate) fn new_token(account_id: &str) -> String {
    format!("{account_id}:{:032x}", rand::random::<u128>())
}
