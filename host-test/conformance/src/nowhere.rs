//! The platform of a suite without a simulated one: what a component can be asked all the same.

use std::collections::BTreeMap;

use gateway_host::account::AccountOptions;
use gateway_host::media::MediaRules;
use gateway_host::runtime::Plugin;

use crate::platform::{Counters, Fault, Person, PlatformServer};

/// Where nothing listens.
const ORIGIN: &str = "http://127.0.0.1:1";

/// A platform that nobody plays: an account can be set up, and no instance of it is started.
pub(crate) struct Nowhere {
    account: AccountOptions,
}

impl Nowhere {
    /// An account that this component's description allows.
    pub(crate) fn of(plugin: &Plugin) -> Nowhere {
        let about = plugin.descriptor();
        let credentials = about
            .egress
            .iter()
            .filter_map(|rule| rule.credential.as_ref());
        let secrets = credentials.map(|used| (used.name.clone(), "a secret of nobody".to_owned()));
        let origins = about.origins.iter();
        let config = origins.map(|key| (key.clone(), ORIGIN.to_owned()));
        Nowhere {
            account: AccountOptions {
                id: "nobody".to_owned(),
                secrets: secrets.collect(),
                config: config.collect::<BTreeMap<_, _>>(),
                media: MediaRules::default(),
            },
        }
    }
}

impl PlatformServer for Nowhere {
    fn account(&self) -> AccountOptions {
        self.account.clone()
    }

    fn people(&self) -> [Person; 2] {
        ["alice", "bob"].map(|id| Person {
            id: id.to_owned(),
            conversation: id.to_owned(),
        })
    }

    fn say(&self, _: &str) -> String {
        String::new()
    }

    fn answers(&self) -> Vec<String> {
        Vec::new()
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }

    fn fault(&self, _: Fault, _: bool) -> Result<(), String> {
        Err("there is no server".to_owned())
    }
}
