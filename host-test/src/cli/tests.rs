//! Command lines, right and wrong.

use std::ffi::OsString;
use std::path::PathBuf;

use gateway_host::agent::{AgentSpec, Words};
use gateway_host::egress::credential::Secret;
use gateway_host::media::origin::Origin;
use gateway_host::state::{Durability, StateSpec};

use super::parse::VERSION;
use super::*;

fn read(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Command, String> {
    let lookup = |name: &str| {
        environment
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, value)| OsString::from(value))
    };
    parse(arguments.iter().map(OsString::from), &lookup)
        .map(|(command, _)| command)
        .map_err(|error| error.to_string())
}

#[test]
fn no_command_is_run_with_the_defaults() {
    for arguments in [&[] as &[&str], &["run"]] {
        let Command::Run(options) = read(arguments, &[]).unwrap() else {
            panic!("not run");
        };
        assert_eq!(
            options.state,
            StateSpec::Directory(PathBuf::from("./weixin-state"))
        );
        assert_eq!(options.durability, Durability::Process);
        assert_eq!(options.agent, AgentSpec::Echo);
        assert_eq!(options.selection, Selection::Latest);
    }
}

#[test]
fn a_mistake_is_one_line_that_names_it() {
    for (arguments, expect) in [
        (
            &["--agnet", "echo"] as &[&str],
            "--agnet is no option of run: --agent may be meant",
        ),
        (&["login", "--stat", "memory"], "--state may be meant"),
        (&["-x"], "-x is no option of run"),
        (&["--agent=echo", "--admin="], "--admin is no address"),
        (&["--component", ""], "--component has no value"),
        (&["--agent"], "--agent has no value"),
        (&["--agent", "x"], "--agent is unknown"),
        (&["--state", "x"], "--state"),
        (&["--durability", "much"], "--durability"),
        (&["--log-format", "xml"], "--log-format"),
        (&["walk"], "command \"walk\" is unknown: use run, login"),
        (&["simulater"], "simulator may be meant"),
        (&["completions"], "completions SHELL"),
        (&["completions", "cmd"], "SHELL is unknown: use bash, "),
        (&["man", "walk"], "command \"walk\" is unknown"),
        (&["run", "fast"], "a word too many"),
        (&["check"], "check COMPONENT"),
        (&["simulator", "--listen", "here"], "--listen"),
        (
            &["simulator", "--agent", "echo"],
            "--agent is no option of simulator",
        ),
        (
            &["run", "--listen", "127.0.0.1:1"],
            "--listen is no option of run",
        ),
        (&["run", "--media-dir", "/nowhere"], "--media-dir /nowhere"),
        (&["run", "--admin", "x"], "--admin is no address"),
        (
            &["run", "--admin", "127.0.0.1:0"],
            "HOST_ADMIN_TOKEN is missing",
        ),
        (
            &["simulator", "--admin", "127.0.0.1:0"],
            "--admin is no option of simulator",
        ),
        (
            &["run", "--agent", "openai:http://localhost/v1"],
            "OPENAI_MODEL is missing",
        ),
        (
            &["run", "--system-prompt", "be brief"],
            "--system-prompt is for --agent openai:",
        ),
        (&["run", "--webhooks", "x"], "--webhooks is no address"),
        (
            &["run", "--allow-host", "https://gateway.example"],
            "--allow-host \"https://gateway.example\" is no name",
        ),
        (
            &["simulator", "--allow-host", "sim:8000"],
            "--allow-host \"sim:8000\" is no name",
        ),
        (
            &["login", "--allow-host", "sim"],
            "--allow-host is no option of login",
        ),
        (&["run", "--tls-cert", "c.pem"], "--tls-key is missing"),
        (&["run", "--tls-key", "k.pem"], "--tls-cert is missing"),
        (
            &["run", "--tls-cert", "c.pem", "--tls-key", "k.pem"],
            "--tls-cert is for --admin and --webhooks",
        ),
        (
            &["simulator", "--tls-cert", "c.pem"],
            "--tls-cert is no option of simulator",
        ),
        (
            &["login", "--webhooks", "127.0.0.1:1"],
            "--webhooks is no option of login",
        ),
        (
            &["login", "--component", "a", "--component", "b"],
            "login takes one",
        ),
        (
            &["run", "--accounts", "x", "--simulator"],
            "exclude each other",
        ),
        (&["--simulator=yes"], "--simulator"),
        (&["--media-origin", "8000"], "--media-origin is refused"),
        (&["--media-origin", "ftp://x"], "--media-origin is refused"),
        (
            &["login", "--media-origin", "http://x"],
            "it belongs to run",
        ),
        (&["--agent-env"], "--agent-env has no value"),
        (&["--agent-env", ""], "--agent-env names no variable"),
        (&["--agent-env", "-"], "--agent-env names no variable"),
        (&["--agent-env", "A=b"], "--agent-env names no variable"),
        (&["check", "x", "--agent-env", "A"], "it belongs to run"),
        (&["--allow-egress", "https://a.example"], "PLATFORM=ORIGIN"),
        (
            &["--allow-egress", "qq=https://a.example"],
            "the platform is unknown",
        ),
        (&["--allow-egress", "weixin=http://a.example"], "https://"),
        (
            &["--allow-egress", "weixin=https://a.example/b"],
            "host and a port",
        ),
        (
            &["check", "a", "--allow-egress", "weixin=https://a.example"],
            "--allow-egress is no option of check",
        ),
        (&["run", "--against", "x"], "--against is no option of run"),
        (
            &["check", "a", "--run", "--against", "b"],
            "exclude each other",
        ),
    ] {
        let error = read(arguments, &[]).unwrap_err();
        assert!(error.contains(expect), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn secrets_of_the_environment_are_read_where_they_are_used_and_never_shown() {
    let environment = [
        ("HOST_ADMIN_TOKEN", "hunter2"),
        ("OPENAI_MODEL", "small"),
        ("OPENAI_API_KEY", "hunter2"),
    ];
    let arguments = [
        "--admin",
        "[::1]:80",
        "--agent",
        "openai:http://localhost/v1",
        "--system-prompt",
        "Be brief.",
    ];
    let Command::Run(options) = read(&arguments, &environment).unwrap() else {
        panic!("not run");
    };
    assert!(!format!("{options:?}").contains("hunter2"));
    assert_eq!(options.admin.unwrap().0, "[::1]:80".parse().unwrap());
    let openai = options.agent_settings.openai;
    assert_eq!(openai.model, "small");
    assert_eq!(openai.system_prompt.as_deref(), Some("Be brief."));
    assert!(openai.key.is_some());
    for (arguments, environment, expect) in [
        (
            &arguments[..2],
            ("HOST_ADMIN_TOKEN", " "),
            "HOST_ADMIN_TOKEN",
        ),
        (&arguments[2..], ("OPENAI_MODEL", ""), "OPENAI_MODEL"),
    ] {
        let error = read(arguments, &[environment]).unwrap_err();
        assert!(error.starts_with(expect), "{error}");
    }
    let environment = [("OPENAI_MODEL", "small"), ("OPENAI_API_KEY", "a\nb")];
    let error = read(&arguments[2..], &environment).unwrap_err();
    assert!(error.starts_with("OPENAI_API_KEY"), "{error}");
}

#[test]
fn what_is_named_for_media_and_agents_is_kept() {
    let arguments = [
        "--media-dir",
        "/",
        "--media-origin",
        "http://127.0.0.1:9000",
        "--media-origin=https://nas.local/x",
        "--agent-env",
        "-HTTPS_PROXY",
        "--agent-env=WEIXIN_TOKEN",
    ];
    let Command::Run(options) = read(&arguments, &[]).unwrap() else {
        panic!("not run");
    };
    let origins: Vec<String> = options
        .media_origins
        .iter()
        .map(Origin::to_string)
        .collect();
    assert_eq!(origins, ["http://127.0.0.1:9000", "https://nas.local"]);
    assert_eq!(options.media_dirs.len(), 1);
    let said = format!("{:?}", options.agent_settings.environment);
    assert!(
        said.contains(r#"{"HTTPS_PROXY": false, "WEIXIN_TOKEN": true}"#),
        "{said}"
    );
}

#[test]
fn options_are_shown_without_secrets() {
    let variables = [
        ("WEIXIN_TOKEN", "c4nary"),
        ("WEIXIN_ACCOUNT_ID", "bot"),
        ("WEIXIN_SIM_TOKEN", "c4nary"),
        ("WEIXIN_BOT_AGENT", "c4nary/1.0"),
    ];
    for command in ["run", "login", "simulator"] {
        let shown = format!("{:?}", read(&[command], &variables).unwrap());
        assert!(!shown.contains("c4nary"), "{shown}");
    }
}

/// A value may be a secret that was put where it does not belong.
#[test]
fn no_mistake_repeats_a_value_that_may_be_a_secret() {
    for arguments in [
        &["--admin", "hunter2"] as &[&str],
        &["--webhooks", "hunter2"],
        &["--agent", "hunter2"],
        &["--agent", "http://u:hunter2@x"],
        &["--agent", "openai:hunter2"],
        &["--state", "hunter2"],
        &["--state", "redis://:hunter2@x:y"],
        &["--durability", "hunter2"],
        &["--log-format", "hunter2"],
        &["--media-origin", "http://u:hunter2@x"],
        &["--agent-env", "A=hunter2"],
        &["simulator", "--listen", "hunter2"],
        &["run", "hunter2"],
        &["check", "x", "hunter2"],
        &["--simulator=hunter2"],
        &["--watch=hunter2"],
    ] {
        let error = read(arguments, &[]).unwrap_err();
        assert!(!error.contains("hunter2"), "{arguments:?}: {error}");
    }
    // Each variable that is read, with each kind of text in it that it may not hold.
    let account = [
        ("WECOM_CORP_ID", "ww1"),
        ("WECOM_AGENT_ID", "1"),
        ("WECOM_SECRET", "s"),
        ("WECOM_TOKEN", "t"),
        ("WECOM_ENCODING_AES_KEY", "hunter2"),
    ];
    let others = ["HOST_ADMIN_TOKEN", "OPENAI_MODEL", "OPENAI_API_KEY"].map(str::to_owned);
    let names = unknown::of_platforms().into_iter().chain(others);
    assert!(names.clone().count() > 35);
    for name in names {
        for value in [
            "hunter2",
            "http://u:hunter2@x",
            "https://x/?hunter2",
            " hunter2\n",
        ] {
            let mut environment = account.to_vec();
            environment.push((name.as_str(), value));
            environment.reverse();
            if let Err(error) = read(&["--admin", "127.0.0.1:1"], &environment) {
                assert!(!error.contains("hunter2"), "{name}={value}: {error}");
            }
        }
    }
}

#[test]
fn a_token_selects_the_real_server_unless_the_simulator_is_asked_for() {
    let environment = [("WEIXIN_TOKEN", "t"), ("WEIXIN_ACCOUNT_ID", "bot@im.bot")];
    let Command::Run(options) = read(&[], &environment).unwrap() else {
        panic!("not run");
    };
    let given = matches!(&options.selection, Selection::Given { id, .. } if id == "bot@im.bot");
    assert!(given && !options.simulator);
    let Command::Run(options) = read(&["--simulator"], &environment).unwrap() else {
        panic!("not run");
    };
    assert!(options.simulator);
}

#[test]
fn an_app_of_wecom_stands_beside_the_other_account() {
    let key = "k".repeat(43);
    let environment = [
        ("WECOM_CORP_ID", "ww1"),
        ("WECOM_AGENT_ID", "1000002"),
        ("WECOM_SECRET", "hunter2"),
        ("WECOM_TOKEN", "hunter2"),
        ("WECOM_ENCODING_AES_KEY", &key),
    ];
    let arguments = [
        "--webhooks",
        "127.0.0.1:8080",
        "--component",
        "a",
        "--component",
        "b",
    ];
    let Command::Run(options) = read(&arguments, &environment).unwrap() else {
        panic!("not run");
    };
    let shown = format!("{options:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains(&key),
        "{shown}"
    );
    assert_eq!(options.webhooks, Some("127.0.0.1:8080".parse().unwrap()));
    assert_eq!(options.components.len(), 2);
    assert_eq!(options.selection, Selection::Latest);
    assert_eq!(options.wecom.unwrap().id, "ww1");
    let error = read(&["--accounts", "x"], &environment).unwrap_err();
    assert!(
        error.starts_with("WECOM_CORP_ID names one account"),
        "{error}"
    );
    let error = read(&[], &environment[..4]).unwrap_err();
    assert!(
        error.starts_with("WECOM_ENCODING_AES_KEY is missing"),
        "{error}"
    );
}

#[test]
fn the_simulators_token_is_one_that_a_header_carries() {
    for arguments in [&["run"] as &[&str], &["simulator"]] {
        for wrong in ["a b", "\u{e9}", "a\tb"] {
            let error = read(arguments, &[("WEIXIN_SIM_TOKEN", wrong)]).unwrap_err();
            assert!(error.starts_with("WEIXIN_SIM_TOKEN"), "{error}");
            assert!(!error.contains(wrong), "{error}");
        }
    }
    let preset = |value| match read(&["simulator"], &[("WEIXIN_SIM_TOKEN", value)]) {
        Ok(Command::Simulator { token, .. }) => token,
        other => panic!("{other:?}"),
    };
    assert_eq!(preset("s3cret"), Some(Secret::new("s3cret")));
    assert_eq!(preset(" "), None);
}

#[test]
fn the_command_may_stand_among_the_options_and_the_last_value_counts() {
    for arguments in [
        &["login", "--state", "memory", "--log-format", "json"] as &[&str],
        &["--state", "memory", "login", "--log-format=json"],
        &[
            "--log-format",
            "json",
            "--state=dir:x",
            "login",
            "--state",
            "memory",
        ],
    ] {
        let arguments = arguments.iter().map(OsString::from);
        let (command, format) = parse(arguments, &|_| None).unwrap();
        let Command::Login(options) = command else {
            panic!("not login");
        };
        assert_eq!(
            (options.state, format),
            (StateSpec::Memory, LogFormat::Json)
        );
    }
    // What begins like an option may be a text, and the name of a variable.
    let arguments = ["--system-prompt", "--be brief", "--agent-env", "-A"];
    let arguments = [&arguments[..], &["--agent", "openai:http://localhost"]].concat();
    let Command::Run(options) = read(&arguments, &[("OPENAI_MODEL", "small")]).unwrap() else {
        panic!("not run");
    };
    let prompt = options.agent_settings.openai.system_prompt;
    assert_eq!(prompt.as_deref(), Some("--be brief"));
}

#[test]
fn help_completions_and_manual_pages_are_printed_and_name_the_options() {
    let printed = |arguments: &[&str]| match read(arguments, &[]) {
        Ok(Command::Print(text)) => text,
        other => panic!("{arguments:?}: {other:?}"),
    };
    for arguments in [&["--version"] as &[&str], &["run", "-V"]] {
        assert_eq!(printed(arguments), VERSION);
    }
    for arguments in [&["--help"] as &[&str], &["help"], &["-h"]] {
        let text = printed(arguments);
        for word in ["run", "login", "simulator", "check", "completions", "man"] {
            assert!(text.contains(&format!("\n  {word} ")), "{word}: {text}");
        }
    }
    for arguments in [
        &["run", "--help"] as &[&str],
        &["--agent", "echo", "--help"],
        &["help", "run"],
        &["man", "run"],
        &["completions", "bash"],
        &["completions", "fish"],
    ] {
        let text = printed(arguments).replace('\\', "");
        for option in ["webhooks", "outage-after", "allow-egress", "log-format"] {
            assert!(text.contains(option), "{arguments:?}: {option}: {text}");
        }
    }
    assert!(printed(&["--help"]).contains("Usage: host-test [COMMAND] [OPTIONS]"));
    assert!(printed(&["run", "--help"]).contains("Usage: host-test run [OPTIONS]"));
    assert!(!printed(&["login", "--help"]).contains("--webhooks"));
    assert!(printed(&["man"]).contains("host"));
    for line in printed(&["run", "--help"]).lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn the_defaults_are_those_of_the_library() {
    let Command::Run(options) = read(&[], &[]).unwrap() else {
        panic!("not run");
    };
    assert_eq!(options.agent_settings.words, Words::default());
}

#[test]
fn clap_finds_no_fault_in_the_description() {
    arguments::description().debug_assert();
}
