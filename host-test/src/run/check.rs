//! `check`: what a component is, whether it keeps the contract, and how it differs from another one.

use std::path::Path;

use super::error::{RunError, other};
use crate::about;
use crate::terminal;
use gateway_conformance::weixin::{IlinkPlatform, PLATFORM};
use gateway_conformance::{CHECKS, Suite};
use gateway_host::clock::Clock;
use gateway_host::runtime::{Plugin, Runtime};

/// Says what a component is and what it may reach; `conformance`: and whether it keeps the contract.
///
/// # Errors
/// [`RunError::Printed`] where this host would not run it: the last line has told why.
pub async fn check(component: &Path, conformance: bool) -> Result<(), RunError> {
    let runtime = Runtime::new(Clock::new()).map_err(other)?;
    let plugin = judged(&runtime, component).await?;
    let size = tokio::fs::metadata(component).await.map_err(other)?.len();
    let about = about::about(&plugin, size);
    say(about.trim_end())?;
    if !conformance {
        return say("this host runs it");
    }
    let suite = Suite::new(&runtime, &plugin).with_platform(IlinkPlatform::default());
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for check in CHECKS {
        if !suite.can_run(check) {
            skipped += 1;
            continue;
        }
        match suite.run(check).await {
            Ok(()) => {
                passed += 1;
                say(&format!("ok      {}", check.name))?;
            }
            Err(why) => {
                failed += 1;
                say(&format!("FAIL    {}: {why}", check.name))?;
            }
        }
    }
    if skipped > 0 {
        let platform = &plugin.descriptor().platform;
        say(&format!(
            "skipped {skipped} checks that need the platform's server: there is a simulated one of \
             {PLATFORM}, and none of {platform}"
        ))?;
    }
    let verdict = match (failed, skipped) {
        (0, 0) => "this host runs it",
        (0, _) => "this host runs it, and whether it keeps the contract is not known",
        (_, _) => "this host would run it, and it does not keep the contract",
    };
    let all = CHECKS.len();
    say(&format!("{passed} of {all} checks passed: {verdict}"))?;
    match failed + skipped {
        0 => Ok(()),
        _ => Err(RunError::Printed),
    }
}

/// Says how a component differs from another one.
///
/// # Errors
/// [`RunError::Printed`] where this host would not swap the other one for it without a word of the
/// operator's, or does not run one of them: the last line has told why.
pub async fn compare(component: &Path, old: &Path) -> Result<(), RunError> {
    let runtime = Runtime::new(Clock::new()).map_err(other)?;
    let old = judged(&runtime, old).await?;
    let new = judged(&runtime, component).await?;
    let (text, is_fine) = about::difference(&new, &old);
    say(&text)?;
    match is_fine {
        true => Ok(()),
        false => Err(RunError::Printed),
    }
}

/// Loads a component, or says why this host does not run it.
async fn judged(runtime: &Runtime, component: &Path) -> Result<Plugin, RunError> {
    match runtime.load(component).await {
        Ok(plugin) => Ok(plugin),
        Err(error) => {
            say(&format!("this host does not run it: {error}"))?;
            Err(RunError::Printed)
        }
    }
}

fn say(text: &str) -> Result<(), RunError> {
    terminal::say(text).map_err(other)
}
