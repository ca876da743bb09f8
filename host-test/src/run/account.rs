//! Which account is run: the one that the environment names, that of the last login, or the
//! simulator's.

use std::collections::BTreeMap;

use crate::cli::{WEIXIN, Wanted};
use gateway_host::account::AccountOptions;
use gateway_host::credentials::{Credentials, CredentialsError, Home};
use gateway_host::login::account_of;
use gateway_host::media::MediaRules;

/// The name of the credential that `WEIXIN_TOKEN` holds.
pub const TOKEN: &str = "bot-token";

/// What can be run.
pub enum Choice {
    /// An account of a real server.
    Account(AccountOptions),
    /// None is known, and a login would bring one.
    Login,
    /// None is known, and there is no server but the simulated one.
    Simulator,
}

/// Where the `WEIXIN_` variables lead.
pub fn home(config: &BTreeMap<String, String>) -> Home {
    Home::at(WEIXIN, config.get("base-url").map(String::as_str))
}

/// Chooses among what is good there.
///
/// # Errors
/// When the stored credentials can't be read.
pub fn choose(
    wanted: &Wanted,
    credentials: &Credentials,
    config: &BTreeMap<String, String>,
    media: &MediaRules,
) -> Result<Choice, CredentialsError> {
    let home = home(config);
    let stored = match wanted {
        Wanted::Given { id, token } => {
            if !credentials.is_replaced(id, &home, token)? {
                return Ok(Choice::Account(AccountOptions {
                    id: id.clone(),
                    secrets: BTreeMap::from([(TOKEN.to_owned(), token.clone())]),
                    config: config.clone(),
                    media: media.clone(),
                }));
            }
            match credentials.find(id, &home)? {
                Some(credential) => Some(credential),
                None => credentials.latest(&home)?,
            }
        }
        Wanted::Stored(id) => credentials.find(id, &home)?,
        Wanted::Latest => credentials.latest(&home)?,
    };
    Ok(match stored {
        Some(credential) => Choice::Account(account_of(credential, config, media.clone())),
        None if *wanted == Wanted::Latest && !config.contains_key("base-url") => Choice::Simulator,
        None => Choice::Login,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_host::credentials::{Brought, Holder};
    use gateway_host::state::StateSpec;

    const BASE: [(&str, &str); 1] = [("base-url", "http://127.0.0.1:1/")];

    fn map(config: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = config.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn chosen(wanted: &Wanted, credentials: &Credentials, config: &[(&str, &str)]) -> String {
        match choose(wanted, credentials, &map(config), &MediaRules::default()).unwrap() {
            Choice::Account(account) => format!("{} {}", account.id, account.secrets[TOKEN]),
            Choice::Login => "login".to_owned(),
            Choice::Simulator => "simulator".to_owned(),
        }
    }

    fn brought(bot: &str, token: &str) -> Brought {
        Brought {
            bot: bot.into(),
            secrets: BTreeMap::from([(TOKEN.into(), token.into())]),
            owner: None,
            config: BTreeMap::new(),
            saved_ms: 0,
        }
    }

    #[test]
    fn the_environment_wins_until_a_login_replaces_its_token() {
        let credentials = Credentials::of(&StateSpec::Memory).of_operator();
        let given = Wanted::Given {
            id: "env".into(),
            token: "t0".into(),
        };
        let stored = |id: &str| Wanted::Stored(id.into());
        let here = home(&map(&BASE));
        assert_eq!(chosen(&Wanted::Latest, &credentials, &[]), "simulator");
        assert_eq!(chosen(&Wanted::Latest, &credentials, &BASE), "login");
        assert_eq!(chosen(&stored("a"), &credentials, &BASE), "login");
        assert_eq!(chosen(&given, &credentials, &BASE), "env t0");
        let anybody = Holder::Operator(None);
        credentials
            .keep(&anybody, &here, &brought("a", "t1"), &[])
            .unwrap();
        assert_eq!(chosen(&Wanted::Latest, &credentials, &BASE), "a t1");
        assert_eq!(chosen(&stored("a"), &credentials, &BASE), "a t1");
        assert_eq!(chosen(&stored("b"), &credentials, &BASE), "login");
        assert_eq!(chosen(&given, &credentials, &BASE), "env t0");
        // A token is of use where it came from, and nowhere else.
        for elsewhere in [
            "http://127.0.0.1:2",
            "https://127.0.0.1:1",
            "http://localhost:1",
        ] {
            let elsewhere = [("base-url", elsewhere)];
            assert_eq!(chosen(&Wanted::Latest, &credentials, &elsewhere), "login");
            assert_eq!(chosen(&stored("a"), &credentials, &elsewhere), "login");
        }
        assert_eq!(chosen(&Wanted::Latest, &credentials, &[]), "simulator");

        // The runner noticed that the environment's token is of no use any more.
        credentials.replace("env", &here, &["t0".into()]).unwrap();
        assert_eq!(chosen(&given, &credentials, &BASE), "a t1");
        // A login for the environment's account keeps its id.
        let holder = credentials.holder("env");
        credentials
            .keep(&holder, &here, &brought("b", "t2"), &["t0".into()])
            .unwrap();
        assert_eq!(chosen(&given, &credentials, &BASE), "env t2");
        assert_eq!(chosen(&stored("env"), &credentials, &BASE), "env t2");
        assert_eq!(chosen(&Wanted::Latest, &credentials, &BASE), "env t2");
        assert_eq!(chosen(&stored("b"), &credentials, &BASE), "login");
    }

    #[test]
    fn a_configured_accounts_login_is_not_the_operators_own() {
        let credentials = Credentials::of(&StateSpec::Memory);
        let here = home(&map(&BASE));
        let holder = credentials.holder("tenant");
        credentials
            .keep(&holder, &here, &brought("b", "t"), &[])
            .unwrap();
        assert_eq!(chosen(&Wanted::Latest, &credentials, &BASE), "login");
        let named = Wanted::Stored("tenant".into());
        assert_eq!(chosen(&named, &credentials, &BASE), "tenant t");
    }
}
