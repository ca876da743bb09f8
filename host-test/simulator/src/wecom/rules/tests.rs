//! What rules and faults are read from.

use serde_json::json;

use super::{RuleChanges, Rules};
use crate::faults::Effect;
use crate::wecom::Endpoint;

#[test]
fn a_mistake_is_named_and_changes_nothing() {
    for (changes, expect) in [
        (json!([]), "must be a JSON object"),
        (json!({"tokens": 1}), "`tokens`: unknown field `tokens`"),
        (json!({"token_ms": "x"}), "token_ms"),
        (json!({"message/send": {"status": 99}}), "from 200 to 599"),
        (
            json!({"message/send": {"cut": "body", "errcode": 1}}),
            "more than one",
        ),
        (json!({"*": {"speed": 1}}), "`*.speed`"),
        (json!({"callback": {"times": 1}}), "does not say"),
        (json!({"callback": {"wrong": "all"}}), "wrong"),
        (json!({"users": "alice"}), "`users`: invalid type"),
        (json!({"send_limit": {"per": 1}}), "`send_limit.per`"),
    ] {
        let read = RuleChanges::read(&changes);
        let mistake = read
            .and_then(|changes| changes.check())
            .err()
            .unwrap_or_default();
        assert!(mistake.contains(expect), "{changes}: {mistake}");
    }
}

#[test]
fn faults_come_in_their_order_and_end() {
    let changes = json!({"gettoken": [
        {"status": 500, "skip": 1, "times": 1},
        {"errcode": -1, "times": 1},
    ]});
    let mut rules = RuleChanges::read(&changes)
        .unwrap()
        .applied(&Rules::default());
    let mut next = || match rules.fault(Endpoint::GetToken).map(|fault| fault.effect) {
        Some(Effect::Status(status)) => i64::from(status.code),
        Some(Effect::Result(result)) => result["errcode"].as_i64().unwrap(),
        _ => 0,
    };
    assert_eq!([next(), next(), next(), next()], [0, 500, -1, 0]);
    let reset = RuleChanges::new().reset().applied(&rules);
    assert!(reset.faults.is_empty());
}
