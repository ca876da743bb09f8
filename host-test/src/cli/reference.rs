//! The reference of commands, options and variables: a page of the manual, written from their
//! descriptions. The test fails where the page says something else, and renews it when it is told to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::variables::{self, Variable};
use super::{arguments, unknown};

const RENEW: &str = "UPDATE_DOCS=1 cargo test -p host-test --lib reference";

const HEAD: &str = "\
# Commands, options and variables

`host-test --help` and `host-test COMMAND --help` say the same.
This page is written from these descriptions and from the schemas of the components; do not edit it.
`RENEW` renews it.

Secrets are variables and never options, because other users of a machine can see a command line.

## Commands

Without a command, `host-test` does what `host-test run` does, with the same options.

";

const MEMBERS: &str = "\
## The accounts' file

`--accounts FILE` is a TOML file with one `[[account]]` for each account.
A setting of an account is called like its variable, in lower case and without the prefix: `text_limit` is `WEIXIN_TEXT_LIMIT`.
Where an account has no setting of its own, the variable holds.
An account has these members besides:

| member | meaning |
|---|---|
| `id` | The name of the account. An account of WeChat needs it: it is the id of the bot. An app of WeCom is called by its corp where it has none. |
| `kind` | `weixin`, also where it is left out, or `wecom`. |
| `agent` | Who answers, as `--agent` says it; `openai:` is for `--agent` alone. Without it, the agent of `--agent` answers. |
| `token` | Of WeChat: the token of the bot. Without it, the login that is stored for this id is used. |

`[allow_egress]` at the top of the file pins origins as `--allow-egress` does: `weixin = [\"https://ilinkai.weixin.qq.com\"]`.

## Exit status

| status | meaning |
|---|---|
| 0 | It ended as it was told to. |
| 1 | It failed, or the answer to what was asked is no. |
| 2 | The command line, a variable or a file is wrong. One line on standard error names it and says what would be right. |
| 3 | Another gateway on the same state runs the accounts now. Do not start this one again. |
";

fn page() -> String {
    let mut description = arguments::description();
    description.build();
    let mut page = HEAD.replace("RENEW", RENEW);
    page.push_str("| command | does |\n|---|---|\n");
    let commands = || {
        description
            .get_subcommands()
            .filter(|one| one.get_name() != "help")
    };
    for command in commands() {
        let positionals = command
            .get_positionals()
            .map(|one| match one.is_required_set() {
                true => format!(" {}", value_name(one)),
                false => format!(" [{}]", value_name(one)),
            });
        let usage = format!("{}{}", command.get_name(), positionals.collect::<String>());
        let about = command.get_about().map(ToString::to_string);
        row(&mut page, &[&code(&usage), &about.unwrap_or_default()]);
    }
    page.push_str("\n## Options\n\n| option | of | meaning | default |\n|---|---|---|---|\n");
    // What several commands have alike is told once.
    let mut options: Vec<(String, String, String)> = Vec::new();
    let mut users: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for command in commands() {
        for option in command.get_opts().chain(flags(command)) {
            let Some((usage, meaning, default)) = told(option) else {
                continue;
            };
            let of = users.entry((usage.clone(), meaning.clone())).or_default();
            if of.is_empty() {
                options.push((usage, meaning, default));
            }
            of.push(command.get_name());
        }
    }
    for (usage, meaning, default) in options {
        let of = &users[&(usage.clone(), meaning.clone())];
        let of = match of.len() == commands().count() {
            true => "all".to_owned(),
            false => of.join(", "),
        };
        row(&mut page, &[&code(&usage), &of, &meaning, &default]);
    }
    for (title, variables) in [
        ("Variables of WeChat", variables::of_weixin()),
        ("Variables of WeCom", variables::of_wecom()),
        ("Other variables", variables::others()),
    ] {
        let _ = write!(page, "\n## {title}\n\n");
        page.push_str("| variable | meaning | values | default |\n|---|---|---|---|\n");
        for variable in variables {
            let Variable {
                name,
                meaning,
                values,
                default,
            } = variable;
            let name = name.split(", ").map(code).collect::<Vec<_>>().join(", ");
            row(&mut page, &[&name, &meaning, &values, &default]);
        }
    }
    page.push('\n');
    page.push_str(MEMBERS);
    page
}

/// An option that is no help: how it is written, what it means, and its default.
fn told(option: &clap::Arg) -> Option<(String, String, String)> {
    let long = option.get_long()?;
    if matches!(long, "help" | "version") {
        return None;
    }
    let help = option.get_help()?.to_string();
    let (meaning, default) = match help.split_once(" [default: ") {
        Some((meaning, default)) => (meaning.to_owned(), default.trim_end_matches(']').to_owned()),
        None => (help, String::new()),
    };
    let defaults = option.get_default_values().iter();
    let defaults: Vec<String> = defaults
        .filter(|_| option.get_action().takes_values())
        .map(|value| code(&value.to_string_lossy()))
        .collect();
    let usage = match option.get_action().takes_values() {
        true => format!("--{long} {}", value_name(option)),
        false => format!("--{long}"),
    };
    Some((usage, meaning, default + &defaults.join(", ")))
}

fn flags(command: &clap::Command) -> impl Iterator<Item = &clap::Arg> {
    let is_flag = |one: &&clap::Arg| !one.get_action().takes_values() && one.get_long().is_some();
    command.get_arguments().filter(is_flag)
}

fn value_name(option: &clap::Arg) -> String {
    let names = option.get_value_names().unwrap_or_default();
    names.iter().map(ToString::to_string).collect()
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn row(page: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

fn in_docs(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(path)
}

#[test]
fn the_reference_is_what_the_program_says() {
    let path = in_docs("en/reference.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == page,
        "docs/en/reference.md is not what the program says: `{RENEW}` renews it"
    );
}

#[test]
fn the_chinese_reference_names_every_command_option_and_variable() {
    let page = std::fs::read_to_string(in_docs("zh/reference.md")).unwrap();
    let mut description = arguments::description();
    description.build();
    let commands = description.get_subcommands().map(clap::Command::get_name);
    let mut names: Vec<String> = commands.map(|name| format!("`{name}")).collect();
    names.retain(|name| name != "`help");
    for command in description.get_subcommands() {
        let options = command.get_arguments().filter_map(clap::Arg::get_long);
        let options = options.filter(|option| !matches!(*option, "help" | "version"));
        names.extend(options.map(|option| format!("--{option}")));
    }
    names.extend(unknown::of_platforms());
    let missing: Vec<&String> = names.iter().filter(|name| !page.contains(*name)).collect();
    assert!(missing.is_empty(), "docs/zh/reference.md lacks {missing:?}");
}

#[test]
fn every_variable_is_described() {
    let all = [
        variables::of_weixin(),
        variables::of_wecom(),
        variables::others(),
    ];
    let all: Vec<Variable> = all.into_iter().flatten().collect();
    for variable in &all {
        assert!(variable.meaning.ends_with('.'), "{}", variable.name);
        assert!(!variable.values.is_empty(), "{}", variable.name);
    }
    for name in unknown::of_platforms() {
        assert!(all.iter().any(|variable| variable.name == name), "{name}");
    }
}
