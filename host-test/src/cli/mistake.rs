//! What is wrong with a command line, in one line: clap's own errors have several, and repeat values.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::error::UsageError;

/// The line for an error; `command` is the one that the options were read for.
pub(super) fn line(error: &clap::Error, command: &str, description: &clap::Command) -> UsageError {
    let option = || name_of(error).unwrap_or_else(|| "the command line".to_owned());
    let line = match error.kind() {
        ErrorKind::ValueValidation => {
            let why = text(error, ContextKind::Custom).unwrap_or("has a wrong value");
            // The stores' and agents' own words begin with the option.
            match why.starts_with("--") {
                true => why.to_owned(),
                false => format!("{} {why}", option()),
            }
        }
        ErrorKind::InvalidValue => invalid_value(error, &option()),
        ErrorKind::UnknownArgument => unknown_option(error, command, description),
        ErrorKind::InvalidSubcommand => unknown_command(error, description),
        ErrorKind::TooManyValues | ErrorKind::WrongNumberOfValues => {
            format!("{} takes no value: see --help", option())
        }
        ErrorKind::ArgumentConflict => match text(error, ContextKind::PriorArg) {
            Some(other) => format!(
                "{} and {} exclude each other: leave one out",
                option(),
                first_word(other)
            ),
            None => format!("{} is there twice: leave one out", option()),
        },
        ErrorKind::MissingRequiredArgument => {
            let missing = option();
            format!("{command} names no {missing}: write {command} {missing}")
        }
        _ => "the command line can't be read: see --help".to_owned(),
    };
    UsageError(line)
}

/// No value where there must be one, or none of those that are possible.
fn invalid_value(error: &clap::Error, option: &str) -> String {
    if text(error, ContextKind::InvalidValue).is_none_or(str::is_empty) {
        return format!("{option} has no value: write {option} VALUE");
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) => match values.as_slice() {
            [others @ .., last] if !others.is_empty() => {
                format!("{option} is unknown: use {} or {last}", others.join(", "))
            }
            _ => format!("{option} is unknown: see --help"),
        },
        _ => format!("{option} is unknown: see --help"),
    }
}

/// An option that this command does not have: perhaps another one has it, or a similar one is meant.
fn unknown_option(error: &clap::Error, command: &str, description: &clap::Command) -> String {
    let Some(option) = name_of(error).filter(|name| name.starts_with('-')) else {
        return "the command line has a word too many, behind the command: see --help".to_owned();
    };
    let long = option.strip_prefix("--");
    let has_it = |other: &&clap::Command| {
        let mut options = other.get_arguments();
        long.is_some() && options.any(|other| other.get_long() == long)
    };
    let others = description.get_subcommands().filter(has_it);
    let others: Vec<&str> = others.map(clap::Command::get_name).collect();
    match (others.as_slice(), text(error, ContextKind::SuggestedArg)) {
        ([_, ..], _) => format!(
            "{option} is no option of {command}: it belongs to {}",
            others.join(" and ")
        ),
        ([], Some(similar)) => {
            format!("{option} is no option of {command}: {similar} may be meant, see --help")
        }
        ([], None) => format!("{option} is no option of {command}: see --help"),
    }
}

/// The one word that is repeated: it stands where no value does.
fn unknown_command(error: &clap::Error, description: &clap::Command) -> String {
    let word = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
    let names: Vec<&str> = description
        .get_subcommands()
        .map(clap::Command::get_name)
        .collect();
    let meant = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(similar)) => similar.first(),
        _ => None,
    };
    match (meant, names.as_slice()) {
        (Some(meant), _) => format!("command {word:?} is unknown: {meant} may be meant"),
        (None, [others @ .., last]) => format!(
            "command {word:?} is unknown: use {} or {last}",
            others.join(", ")
        ),
        (None, []) => format!("command {word:?} is unknown"),
    }
}

/// What the error is about, without what stands for its value: `--agent` of `--agent <SPEC>`, and
/// `COMPONENT` of `<COMPONENT>`.
fn name_of(error: &clap::Error) -> Option<String> {
    let written = match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(one) => one,
        ContextValue::Strings(some) => some.first()?,
        _ => return None,
    };
    Some(first_word(written).trim_matches(['<', '>']).to_owned())
}

fn first_word(text: &str) -> &str {
    text.split([' ', '=', '[']).next().unwrap_or(text)
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text),
        ContextValue::Strings(some) => some.first().map(String::as_str),
        _ => None,
    }
}
