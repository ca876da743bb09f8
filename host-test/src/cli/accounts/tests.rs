//! Files of accounts, right and wrong.

use super::*;

fn read(text: &str) -> Result<Vec<ConfiguredAccount>, String> {
    let limit = |limit: &str| BTreeMap::from([("text-limit".to_owned(), limit.to_owned())]);
    let defaults = Defaults {
        weixin: limit("100"),
        wecom: limit("300"),
    };
    parse(text, &defaults).map(|file| file.accounts)
}

#[test]
fn accounts_have_the_settings_of_the_environment() {
    let accounts = read(
        r#"
        [[account]]
        id = "a@im.bot"
        token = " t "
        base_url = "http://127.0.0.1:1"
        allowed_users = ["alice", "bob"]
        send_interval_ms = 0
        part_marks = true
        agent = "http://127.0.0.1:2"
        [[account]]
        id = "b@im.bot"
        text_limit = 200
        "#,
    )
    .unwrap();
    assert_eq!(accounts.len(), 2);
    let (first, second) = (&accounts[0], &accounts[1]);
    assert_eq!(
        (&*first.platform, &*first.secrets["bot-token"]),
        ("weixin", "t")
    );
    assert!(second.secrets.is_empty());
    assert_eq!(first.config["allowed-users"], "alice,bob");
    assert_eq!(first.config["send-interval-ms"], "0");
    assert_eq!(first.config["part-marks"], "on");
    assert_eq!(first.config["text-limit"], "100");
    assert!(first.agent.is_some() && second.agent.is_none());
    assert_eq!(second.config["text-limit"], "200");
    assert!(!format!("{first:?}").contains('t') || !format!("{first:?}").contains("\"t\""));
    assert_eq!(read("").unwrap(), []);
}

#[test]
fn an_app_of_wecom_is_called_by_its_corp_unless_it_has_an_id() {
    let app = |more: &str| {
        format!(
            "[[account]]\nkind = \"wecom\"\ncorp_id = \"ww1\"\nagent_id = 1000002\n\
             secret = \"s3cret\"\ntoken = \"t0ken\"\nencoding_aes_key = \"{}\"\n{more}\n",
            "k".repeat(43)
        )
    };
    let text = app("allowed_users = [\"alice\"]") + &app("id = \"second\"\ntext_limit = 5");
    let accounts = read(&text).unwrap();
    let [first, second] = accounts.as_slice() else {
        panic!("{accounts:?}");
    };
    assert_eq!((&*first.id, &*second.id), ("ww1", "second"));
    let secrets = [("corp-secret".to_owned(), "s3cret".to_owned())].into();
    assert!(first.platform == "wecom" && first.secrets == secrets);
    assert_eq!(first.config["agent-id"], "1000002");
    assert_eq!(first.config["token"], "t0ken");
    assert_eq!(first.config["allowed-users"], "alice");
    assert_eq!(first.config["text-limit"], "300");
    assert_eq!(second.config["text-limit"], "5");
    let shown = format!("{first:?}");
    for secret in ["s3cret", "t0ken", "kkk"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(
        read(&(app("") + &app("")))
            .unwrap_err()
            .contains("same `id`")
    );
}

#[test]
fn origins_are_pinned_for_a_platform() {
    let text = "[allow_egress]\nweixin = [\"https://a.example\", \"https://*.b.example\"]\n\
                wecom = []\n[[account]]\nid = \"a\"";
    let file = parse(text, &Defaults::default()).unwrap();
    assert_eq!(file.accounts.len(), 1);
    let origins = [
        "https://a.example".to_owned(),
        "https://*.b.example".to_owned(),
    ];
    assert_eq!(file.allow_egress["weixin"], origins);
    assert_eq!(file.allow_egress["wecom"], [""; 0]);
    assert_eq!(file.allow_egress.len(), 2);
}

#[test]
fn a_mistake_is_one_line_that_names_it_and_no_secret() {
    for (text, expect) in [
        ("[account]\nid = \"a\"", "two brackets"),
        ("x = 1", "`x` is unknown"),
        ("allow_egress = \"https://a\"", "`allow_egress` must have"),
        (
            "[allow_egress]\nweixin = \"https://a\"",
            "`allow_egress` must",
        ),
        ("[allow_egress]\nweixin = [1]", "`allow_egress` must"),
        ("[allow_egress]\nqq = []", "a platform of it is unknown"),
        ("[allow_egress]\nweixin = [\"http://a\"]", "https://"),
        (
            "[allow_egress]\nweixin = [\"https://a/b\"]",
            "host and a port",
        ),
        ("[[account]]", "account 1: it has no `id`"),
        ("[[account]]\nid = \"\"", "account 1: `id` must be a text"),
        ("[[account]]\nid=\"a\"\nkind=\"qq\"", "`kind` is unknown"),
        ("[[account]]\nid=\"a\"\nkind=1", "`kind` is unknown"),
        (
            "[[account]]\nkind=\"wecom\"",
            "account 1: `corp_id` is missing",
        ),
        (
            "[[account]]\nkind=\"wecom\"\nencoding_aes_key=\"s3cret\"\ncorp_id=\"a\"\nagent_id=1\ntoken=\"t\"",
            "`encoding_aes_key` is not the 43",
        ),
        (
            "[[account]]\nkind=\"wecom\"\nbot_agent=\"a\"",
            "`bot_agent` is no setting of a wecom account",
        ),
        (
            "[[account]]\nkind=\"wecom\"\nagent-id=1",
            "`agent-id` is no setting",
        ),
        ("[[account]]\nid=\"a\"\nsecret=\"s3cret\"", "`secret`"),
        (
            "[[account]]\nid=\"s3cret\"\n[[account]]\nid=\"s3cret\"",
            "accounts 1 and 2 have the same `id`",
        ),
        ("[[account]]\nid=\"a\"\ncolour=\"red\"", "`colour`"),
        ("[[account]]\nid=\"a\"\ntext_limit=0", "text_limit"),
        ("[[account]]\nid=\"a\"\nallowed_users=[1]", "list of texts"),
        ("[[account]]\nid=\"a\"\ndm_policy=\"everyone\"", "dm_policy"),
        ("[[account]]\nid=\"a\"\nagent=\"x\"", "`agent` is unknown"),
        ("[[account]]\nid=\"a\"\ntoken=\"s3cret", "line 3"),
        ("[[account]]\nid=\"a\"\ntoken=5", "`token`"),
        (
            "[[account]]\nid=\"a\"\ntoken='\"s3cret\"'",
            "account 1: `token` has quotation marks",
        ),
        (
            "[[account]]\nid=\"a\"\ntoken=\"Bearer s3cret\"",
            "`token` starts with",
        ),
        ("[[account]]\nid='\"a\"'", "account 1: `id` has quotation"),
        (
            "[[account]]\nid=\"a\"\nallowed_users=[\"*\"]",
            "`allowed_users` has a *",
        ),
        (
            "[[account]]\nid=\"a\"\nallowed_users=['\"b\"', \"c\"]",
            "`allowed_users` has quotation marks",
        ),
        (
            "[[account]]\nid=\"a\"\nallowed_users=\"b;c\"",
            "`allowed_users` has something in it",
        ),
        (
            "[[account]]\nid=\"a\"\nbase_url='\"http://b\"'",
            "`base_url` has quotation marks",
        ),
        (
            "[[account]]\nkind=\"wecom\"\nsecret=\"'s3cret'\"",
            "`secret` has quotation marks",
        ),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(expect), "{text}: {error}");
        assert!(
            !error.contains("s3cret") && error.lines().count() == 1,
            "{error}"
        );
    }
}

/// Of any member, and of each kind of value, wherever in the file: nothing of it is in the error.
#[test]
fn a_secret_in_the_wrong_member_is_not_repeated() {
    const MEMBERS: [&str; 20] = [
        "id",
        "kind",
        "agent",
        "token",
        "base_url",
        "cdn_base_url",
        "allowed_users",
        "dm_policy",
        "group_policy",
        "text_limit",
        "send_interval_ms",
        "markdown",
        "max_parts",
        "part_marks",
        "merge_ms",
        "corp_id",
        "agent_id",
        "encoding_aes_key",
        "api_base_url",
        "unknown",
    ];
    const VALUES: [&str; 12] = [
        "\"s3cret\"",
        "s3cret",
        "\"s3cret",
        "\"\"\"\ns3cret\n\"\"\"",
        "[\"s3cret\", 5]",
        "{s3cret = 1, s3cret = 2}",
        "{a = \"s3cret\"}",
        "\"http://u:s3cret@host/\"",
        "\"https://host/?s3cret#s3cret\"",
        "\"exec:s3cret\\u0000\"",
        "\"\\s3cret\"",
        "0xs3cret",
    ];
    let mut mistakes = 0;
    for member in MEMBERS {
        for value in VALUES {
            for text in [
                format!("[[account]]\n{member} = {value}\n"),
                format!("[[account]]\nid = \"a\"\n{member} = {value}\n"),
                format!("[[account]]\nkind = \"wecom\"\n{member} = {value}\n"),
                format!("[[account]]\n{member} = {value}\n{member} = {value}\n"),
                format!("[[account]]\nid = {value}\n[[account]]\nid = {value}\n"),
                format!("{member} = {value}\n"),
                format!("[account]\n{member} = {value}\n"),
                format!("[[account]]\n{member} {value}\n"),
            ] {
                if let Err(error) = read(&text) {
                    mistakes += 1;
                    assert!(!error.contains("s3cret"), "{text}: {error}");
                    assert_eq!(error.lines().count(), 1, "{error}");
                }
            }
        }
    }
    assert!(mistakes > 1500, "{mistakes}");
}
