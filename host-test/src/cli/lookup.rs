//! How a variable of the environment is read.

use std::ffi::OsString;

use super::error::UsageError;
use super::value;

/// Finds a variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A variable's text, checked for what no value may be; none when it is not set.
///
/// # Errors
/// One line that names the variable.
pub(super) fn text(lookup: Lookup<'_>, name: &str) -> Result<Option<String>, UsageError> {
    let Some(text) = lookup(name) else {
        return Ok(None);
    };
    let text = text
        .into_string()
        .map_err(|_| UsageError(format!("{name} is no UTF-8 text")))?;
    value::check(name, text.trim()).map_err(|why| UsageError(format!("{name} {why}")))?;
    Ok(Some(text))
}

/// A variable's value without blanks around it; none when nothing is left.
pub(super) fn set(lookup: Lookup<'_>, name: &str) -> Result<Option<String>, UsageError> {
    let value = text(lookup, name)?.map(|value| value.trim().to_owned());
    Ok(value.filter(|value| !value.is_empty()))
}

/// The same for a token.
pub(super) fn token(lookup: Lookup<'_>, name: &str) -> Result<Option<String>, UsageError> {
    let token = set(lookup, name)?;
    if let Some(token) = &token {
        value::check_token(token).map_err(|why| UsageError(format!("{name} {why}")))?;
    }
    Ok(token)
}
