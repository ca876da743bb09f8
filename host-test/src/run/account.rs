//! Which account is run: the one that the environment names, that of the last login, or the
//! simulator's.

use std::collections::BTreeMap;

use crate::account::AccountOptions;
use crate::cli::Wanted;
use crate::credentials::{Credentials, CredentialsError};
use crate::login::account_of;
use crate::media::MediaRules;

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

/// Chooses.
///
/// # Errors
/// When the stored credentials can't be read.
pub fn choose(
    wanted: &Wanted,
    credentials: &Credentials,
    config: &BTreeMap<String, String>,
    media: &MediaRules,
) -> Result<Choice, CredentialsError> {
    let stored = match wanted {
        Wanted::Given { id, token } => {
            if !credentials.is_replaced(token)? {
                return Ok(Choice::Account(AccountOptions {
                    id: id.clone(),
                    secrets: BTreeMap::from([(TOKEN.to_owned(), token.clone())]),
                    config: config.clone(),
                    media: media.clone(),
                }));
            }
            credentials.latest()?
        }
        Wanted::Stored(id) => credentials.get(id)?,
        Wanted::Latest => credentials.latest()?,
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
    use crate::credentials::Credential;
    use crate::state::StateSpec;

    fn chosen(wanted: &Wanted, credentials: &Credentials, config: &[(&str, &str)]) -> String {
        let config = config
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        match choose(wanted, credentials, &config, &MediaRules::default()).unwrap() {
            Choice::Account(account) => format!("{} {}", account.id, account.secrets[TOKEN]),
            Choice::Login => "login".to_owned(),
            Choice::Simulator => "simulator".to_owned(),
        }
    }

    #[test]
    fn the_environment_wins_until_a_login_replaces_its_token() {
        let credentials = Credentials::of(&StateSpec::Memory);
        let given = Wanted::Given {
            id: "env".into(),
            token: "t0".into(),
        };
        let base = [("base-url", "http://127.0.0.1:1")];
        assert_eq!(chosen(&Wanted::Latest, &credentials, &[]), "simulator");
        assert_eq!(chosen(&Wanted::Latest, &credentials, &base), "login");
        assert_eq!(
            chosen(&Wanted::Stored("a".into()), &credentials, &[]),
            "login"
        );
        assert_eq!(chosen(&given, &credentials, &[]), "env t0");
        let credential = Credential {
            account: "a".into(),
            secrets: BTreeMap::from([(TOKEN.into(), "t1".into())]),
            owner: None,
            config: BTreeMap::new(),
            saved_ms: 0,
        };
        credentials.store(credential, &[]).unwrap();
        assert_eq!(chosen(&Wanted::Latest, &credentials, &[]), "a t1");
        assert_eq!(
            chosen(&Wanted::Stored("a".into()), &credentials, &[]),
            "a t1"
        );
        assert_eq!(
            chosen(&Wanted::Stored("b".into()), &credentials, &[]),
            "login"
        );
        assert_eq!(chosen(&given, &credentials, &[]), "env t0");
        let latest = credentials.latest().unwrap().unwrap();
        credentials.store(latest, &["t0".into()]).unwrap();
        assert_eq!(chosen(&given, &credentials, &[]), "a t1");
    }
}
