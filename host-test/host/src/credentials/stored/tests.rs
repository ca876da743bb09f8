//! Who may change what: properties over random servers and random stores.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const IDS: [&str; 4] = ["a", "b", "c", ""];
const PERSONS: [&str; 3] = ["alice", "bob", ""];
const PLATFORMS: [&str; 2] = ["weixin", "qq"];
const ORIGINS: [&str; 3] = ["platform", "http://a:80", "http://b:80"];
const TOKENS: [&str; 5] = ["t0", "t1", "t2", "t3", "t4"];

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    (0..texts.len()).prop_map(|place| texts[place].to_owned())
}

prop_compose! {
    fn a_home()(platform in one_of(&PLATFORMS), origin in one_of(&ORIGINS)) -> Home {
        Home { platform, origin }
    }
}

fn a_holder() -> impl Strategy<Value = Holder> {
    (one_of(&IDS), 0..3).prop_map(|(id, kind)| match kind {
        0 => Holder::Account(id),
        1 => Holder::Operator(Some(id)),
        _ => Holder::Operator(None),
    })
}

prop_compose! {
    fn a_credential()(
        account in one_of(&IDS),
        is_own in any::<bool>(),
        home in a_home(),
        is_old in any::<bool>(),
        bot in one_of(&IDS),
        token in one_of(&TOKENS),
        owner in one_of(&PERSONS),
    ) -> Credential {
        Credential {
            account,
            is_own: is_own || is_old,
            platform: home.platform,
            origin: (!is_old).then_some(home.origin),
            bot: Some(bot),
            secrets: [("bot-token".to_owned(), token)].into(),
            owner: (!owner.is_empty()).then_some(owner),
            config: BTreeMap::new(),
            saved_ms: 0,
        }
    }
}

prop_compose! {
    fn replaced_values()(
        account in one_of(&IDS),
        is_own in any::<bool>(),
        home in a_home(),
        values in vec(one_of(&TOKENS), 1..3),
    ) -> Replaced {
        Replaced {
            account,
            is_own,
            platform: home.platform,
            origin: home.origin,
            values: values.iter().map(|value| digest(value)).collect(),
        }
    }
}

prop_compose! {
    fn a_store()(
        credentials in vec(a_credential(), 0..8),
        replaced in vec(one_of(&TOKENS), 0..3),
        replaced_of in vec(replaced_values(), 0..5),
    ) -> Stored {
        Stored {
            credentials,
            replaced: replaced.iter().map(|value| digest(value)).collect(),
            replaced_of,
        }
    }
}

/// What a server may say, in any mixture: ids and persons of others, tokens that others have.
fn what_was_brought() -> impl Strategy<Value = Brought> {
    (one_of(&IDS), one_of(&TOKENS), one_of(&PERSONS)).prop_map(|(bot, token, owner)| Brought {
        bot,
        secrets: [("bot-token".to_owned(), token)].into(),
        owner: (!owner.is_empty()).then_some(owner),
        config: BTreeMap::new(),
        saved_ms: 7,
    })
}

/// What belongs to others than a holder at a home: each record, byte by byte and in its order.
fn of_others(stored: &Stored, holder: &Holder, home: &Home) -> String {
    let is_mine = |account: &str, is_own: bool, is_here: bool| {
        let is_account = holder.account().is_none_or(|mine| mine == account);
        is_here && is_own == holder.is_own() && is_account
    };
    let credentials: Vec<&Credential> = stored
        .credentials
        .iter()
        .filter(|other| !is_mine(&other.account, other.is_own, other.is_at(home)))
        .collect();
    let mut replaced: Vec<String> = stored
        .replaced_of
        .iter()
        .filter(|other| {
            let is_here = other.is_of(&other.account, home);
            !is_mine(&other.account, other.is_own, is_here)
        })
        .map(|other| serde_json::to_string(other).unwrap())
        .collect();
    replaced.sort();
    serde_json::to_string(&(credentials, &stored.replaced, replaced)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_login_leaves_every_byte_of_others_as_it_was(
        stored in a_store(),
        holder in a_holder(),
        home in a_home(),
        logins in vec((what_was_brought(), vec(one_of(&TOKENS), 0..2)), 1..4),
    ) {
        let mut now = stored.clone();
        for (brought, in_use) in logins {
            let before = now.clone();
            let kept = now.keep(&holder, &home, &brought, &in_use);
            prop_assert_eq!(
                of_others(&before, &holder, &home),
                of_others(&now, &holder, &home)
            );
            // What others' lookups find is what they found.
            for account in IDS.iter().filter(|account| holder.account().is_some_and(|mine| mine != **account)) {
                for platform in PLATFORMS {
                    for origin in ORIGINS {
                        let there = Home { platform: platform.to_owned(), origin: origin.to_owned() };
                        prop_assert_eq!(before.find(account, &there), now.find(account, &there));
                        for token in TOKENS {
                            prop_assert_eq!(
                                before.is_replaced(account, &there, token),
                                now.is_replaced(account, &there, token)
                            );
                        }
                    }
                }
            }
            match kept {
                Err(_) => {
                    prop_assert!(holder.account().is_none());
                    prop_assert_eq!(&before, &now);
                }
                Ok(account) => {
                    prop_assert_eq!(holder.account().unwrap_or(&brought.bot), &account);
                    let found = now.find(&account, &home).unwrap();
                    prop_assert_eq!(&found.secrets, &brought.secrets);
                    prop_assert_eq!(found.is_own, holder.is_own());
                    let token = &brought.secrets["bot-token"];
                    prop_assert!(!now.is_replaced(&account, &home, token));
                    for value in in_use.iter().filter(|value| *value != token) {
                        let is_used = now.credentials.iter().any(|other| {
                            other.account == account && other.is_at(&home)
                                && other.secrets.values().any(|used| used == value)
                        });
                        prop_assert!(is_used || now.is_replaced(&account, &home, value));
                    }
                }
            }
        }
    }

    #[test]
    fn a_server_is_told_what_its_holder_got_there_and_nothing_else(
        stored in a_store(),
        holder in a_holder(),
        home in a_home(),
    ) {
        let told = stored.values(&holder, &home, "bot-token");
        let mut mine = stored.credentials.clone();
        mine.retain(|credential| {
            credential.is_own == holder.is_own()
                && credential.platform == home.platform
                && credential.origin.as_deref() == Some(&home.origin)
                && holder.account().is_none_or(|account| account == credential.account)
        });
        let mine: Vec<String> = mine.iter().map(|one| one.secrets["bot-token"].clone()).collect();
        prop_assert_eq!(told, mine);
    }
}

fn brought(bot: &str, token: &str, owner: &str) -> Brought {
    Brought {
        bot: bot.to_owned(),
        secrets: [("bot-token".to_owned(), token.to_owned())].into(),
        owner: Some(owner.to_owned()),
        config: BTreeMap::new(),
        saved_ms: 1,
    }
}

#[test]
fn a_conflict_says_whose_the_id_is() {
    let here = Home::at("weixin", ["http://a"]);
    let anybody = Holder::Operator(None);
    for (holder, home, expected) in [
        (
            Holder::Account("b".to_owned()),
            here.clone(),
            "a configured account has",
        ),
        (
            Holder::Account("b".to_owned()),
            Home::at("weixin", ["http://b"]),
            "a configured account has",
        ),
        (
            anybody.clone(),
            Home::at("qq", ["http://a"]),
            "a login on the platform qq has",
        ),
        (
            anybody.clone(),
            Home::at("weixin", ["http://b"]),
            "a login at http://b:80 has",
        ),
        (
            anybody.clone(),
            Home::at("weixin", []),
            "a login at platform has",
        ),
    ] {
        let mut stored = Stored::default();
        stored
            .keep(&holder, &home, &brought("b", "t", "bob"), &[])
            .unwrap();
        let before = stored.clone();
        let claim = brought("b", "evil", "bob");
        let error = stored.keep(&anybody, &here, &claim, &[]).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains("nothing is changed"), "{error}");
        assert_eq!(stored, before);
    }
}

#[test]
fn what_is_remembered_is_bounded_and_of_others_nothing_is_forgotten() {
    let home = Home::at("weixin", ["http://a"]);
    let mut stored = Stored::default();
    let tenant = Holder::Account("tenant".to_owned());
    let old = ["old".to_owned()];
    stored
        .keep(&tenant, &home, &brought("x", "t", "tina"), &old)
        .unwrap();
    for number in 0..2 * MAX_OWN_REPLACED {
        // The same person binds one bot after the other.
        let bot = format!("bot{number}");
        let next = brought(&bot, &format!("{bot}-token"), "alice");
        stored
            .keep(&Holder::Operator(None), &home, &next, &[])
            .unwrap();
    }
    let neighbour = Holder::Account("neighbour".to_owned());
    for number in 0..2 * MAX_REPLACED {
        let next = brought("b", &format!("{number}"), "bob");
        stored.keep(&neighbour, &home, &next, &[]).unwrap();
    }
    assert!(stored.is_replaced("tenant", &home, "old"));
    assert_eq!(stored.credentials.len(), 3);
    let own = stored.replaced_of.iter().filter(|replaced| replaced.is_own);
    assert_eq!(own.count(), MAX_OWN_REPLACED);
    let most = stored
        .replaced_of
        .iter()
        .map(|replaced| replaced.values.len());
    assert_eq!(most.max(), Some(MAX_REPLACED));
    assert!(stored.is_replaced("neighbour", &home, &format!("{}", 2 * MAX_REPLACED - 2)));
}

#[test]
fn a_home_is_a_platform_and_its_origin_in_one_spelling() {
    for (urls, origin) in [
        (&[] as &[&str], "platform"),
        (&["HTTP://Example.com"], "http://example.com:80"),
        (
            &["https://example.com:443/secret/path?x"],
            "https://example.com:443",
        ),
        (&["http://[::1]:8080/"], "http://[::1]:8080"),
        (
            &["https://b.example", "https://a.example/"],
            "https://a.example:443 https://b.example:443",
        ),
        (
            &["https://a.example", "https://a.example/x"],
            "https://a.example:443",
        ),
    ] {
        let home = Home::at("weixin", urls.iter().copied());
        assert_eq!((&*home.platform, &*home.origin), ("weixin", origin));
    }
}

#[test]
fn nothing_of_a_credential_is_shown() {
    let mut stored = Stored::default();
    let home = Home::at("weixin", []);
    stored
        .keep(
            &Holder::Operator(None),
            &home,
            &brought("a", "s3cret", "b"),
            &[],
        )
        .unwrap();
    assert!(!format!("{stored:?}").contains("s3cret"));
}

#[test]
fn what_a_login_brought_is_shown_without_its_secrets() {
    let pair = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let brought = Brought {
        bot: "bot".to_owned(),
        secrets: pair("bot-token", "s3cret"),
        owner: None,
        config: pair("app-key", "s3cret"),
        saved_ms: 1,
    };
    let shown = format!("{brought:?}");
    assert!(
        shown.contains("bot-token") && shown.contains("app-key"),
        "{shown}"
    );
    assert!(!shown.contains("s3cret"), "{shown}");
}
