//! What rules and faults are read from, and how long they last.

use std::time::Duration;

use serde_json::{Value, json};

use super::{RuleChanges, Rules};
use crate::faults::Effect;
use crate::ilink::Endpoint;

fn rules() -> Rules {
    Rules::new(false, Duration::from_secs(35))
}

fn apply(rules: &mut Rules, changes: Value) -> Result<(), String> {
    let changes = RuleChanges::read(&changes)?;
    changes.check()?;
    changes.apply(rules, &self::rules(), Duration::from_secs(100));
    Ok(())
}

#[test]
fn faults_come_in_order_and_end() {
    let mut rules = rules();
    let list =
        json!({"sendmessage": [{"ret": -1, "times": 2, "skip": 1}, {"status": 500, "times": 1}]});
    apply(&mut rules, list).unwrap();
    let mut next = || match rules.fault(Endpoint::SendMessage).map(|fault| fault.effect) {
        None => "none",
        Some(Effect::Result(_)) => "result",
        Some(Effect::Status(status)) if status.code == 500 => "status",
        Some(_) => "other",
    };
    let seen: Vec<&str> = (0..6).map(|_| next()).collect();
    assert_eq!(seen, ["none", "result", "result", "status", "none", "none"]);
    assert!(rules.fault(Endpoint::GetUpdates).is_none());
}

#[test]
fn a_star_is_each_endpoint_and_null_clears() {
    let mut rules = rules();
    apply(&mut rules, json!({"*": {"cut": "before"}})).unwrap();
    assert!(
        Endpoint::ALL
            .into_iter()
            .all(|endpoint| rules.fault(endpoint).is_some())
    );
    apply(&mut rules, json!({"getconfig": null})).unwrap();
    assert!(rules.fault(Endpoint::GetConfig).is_none());
    assert!(rules.fault(Endpoint::SendTyping).is_some());
    apply(&mut rules, json!({"reset": true, "budget": null})).unwrap();
    assert!(rules.fault(Endpoint::SendTyping).is_none());
    assert_eq!(rules.budget, None);
}

#[test]
fn a_session_expires_from_and_until() {
    let mut rules = rules();
    let session = json!({"session": {"expired": "ret", "after_ms": 1000, "for_ms": 500}});
    apply(&mut rules, session).unwrap();
    let expiry = rules.expiry.expect("it was set");
    assert_eq!(expiry.answer(Duration::from_millis(100_999)), None);
    assert!(
        expiry
            .answer(Duration::from_millis(101_000))
            .unwrap()
            .contains("\"ret\":-14")
    );
    assert_eq!(expiry.answer(Duration::from_millis(101_500)), None);
}

#[test]
fn mistakes_are_named() {
    for (changes, named) in [
        (json!({"budgett": 3}), "budgett"),
        (json!({"hold_ms": "1"}), "hold_ms"),
        (json!({"hold_ms": -1}), "hold_ms"),
        (
            json!({"cursor": "back"}),
            "`rewind`, `acknowledge`, `consume`",
        ),
        (json!({"getupdates": {"status": 99}}), "getupdates.status"),
        (json!({"getupdates": {"stats": 500}}), "getupdates.stats"),
        (
            json!({"getupdates": {"answer": "empty"}}),
            "getupdates.answer",
        ),
        (
            json!({"getupdates": {"status": 500, "cut": "body"}}),
            "more than one",
        ),
        (json!({"getupdates": 3}), "getupdates"),
        (
            json!({"getupdates": {"extra_bytes": 3}}),
            "getupdates.extra_bytes",
        ),
        (json!({"upload": {"message": "why"}}), "upload"),
        (
            json!({"getupdates": {"status": 500, "message": "why"}}),
            "getupdates.message",
        ),
        (json!({"*": {"wrong_key": true}}), "*.wrong_key"),
        (
            json!({"account": "b@im.bot", "qr_ms": 1}),
            "`qr_ms` is of the login",
        ),
        (
            json!({"account": "b@im.bot", "get_bot_qrcode": null}),
            "`get_bot_qrcode` is of the login",
        ),
        (
            json!({"download": {"redirect": "a\nb"}}),
            "download.redirect",
        ),
        (json!({"files": {"key": "lost"}}), "base64-hex-upper"),
        (json!({"cdn_base_url": 3}), "cdn_base_url"),
        (json!({"burst": {"per_second": -1}}), "burst.per_second"),
        (json!({"session": {"expired": true}}), "session.expired"),
        (
            json!({"inbound": {"duplicate": "twice"}}),
            "inbound.duplicate",
        ),
    ] {
        let error = apply(&mut rules(), changes.clone()).expect_err("it is wrong");
        assert!(error.contains(named), "{changes}: {error}");
    }
}
