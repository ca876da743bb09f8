//! Which platform an account's part of the store belongs to: a mark in a bucket that no component
//! can open.
//!
//! Promise: no component opens what a component of another platform has stored.

use super::{State, StateError};

/// The bucket of the mark, before the account's id.
const BUCKET: &str = "platform";
/// Its key.
const KEY: &str = "platform";
/// The platforms that are older than the mark. Their stores may lack it, and belong to no other platform.
const BEFORE: [&str; 2] = ["weixin", "wecom"];

/// Why a store is not opened.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It belongs to another platform.
    #[error(
        "what is stored of the account {account:?} belongs to {owner}, and the component is for the \
         platform {platform:?}: give this account another id, or another state"
    )]
    Foreign {
        /// The account's id.
        account: String,
        /// Whose it is, in words.
        owner: String,
        /// The platform of the component.
        platform: String,
    },
    /// The store failed.
    #[error(transparent)]
    Failed(#[from] StateError),
}

/// Claims an account's part of the store for a platform. If nobody has claimed it yet, the claim is
/// for good. `bucket` is one of the account's own.
///
/// # Errors
/// When it belongs to another platform, and when the store fails.
pub(crate) async fn claim(
    state: &dyn State,
    account: &str,
    bucket: &str,
    platform: &str,
) -> Result<(), ClaimError> {
    let mark = state.bucket(&format!("{BUCKET}/{account}"))?;
    let foreign = |owner: String| ClaimError::Foreign {
        account: account.to_owned(),
        owner,
        platform: platform.to_owned(),
    };
    match mark.get(KEY).await? {
        Some(owner) if owner == platform.as_bytes() => Ok(()),
        Some(owner) => {
            let owner = String::from_utf8_lossy(&owner).into_owned();
            Err(foreign(format!("the platform {owner:?}")))
        }
        None => {
            let is_used = || async {
                let page = state.bucket(bucket)?.list_keys(None).await?;
                Ok::<_, StateError>(!page.keys.is_empty())
            };
            if !BEFORE.contains(&platform) && is_used().await? {
                return Err(foreign("weixin or wecom, by its age".to_owned()));
            }
            Ok(mark.set(KEY, platform.as_bytes().to_vec()).await?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryState;
    use super::*;

    async fn claimed(state: &MemoryState, account: &str, platform: &str) -> Result<(), String> {
        let bucket = format!("state/{account}");
        let claimed = claim(state, account, &bucket, platform).await;
        claimed.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_store_belongs_to_the_platform_that_was_there_first() {
        let state = MemoryState::default();
        for platform in ["weixin", "wecom", "qq"] {
            claimed(&state, platform, platform).await.unwrap();
            claimed(&state, platform, platform).await.unwrap();
            for other in ["weixin", "wecom", "qq", "Weixin", "weixin2", ""] {
                if other == platform {
                    continue;
                }
                let error = claimed(&state, platform, other).await.unwrap_err();
                assert!(error.contains(&format!("belongs to the platform {platform:?}")));
            }
        }
        // Another account's mark is another one.
        claimed(&state, "platform", "qq").await.unwrap();
        claimed(&state, "platform/qq", "wecom").await.unwrap();
    }

    #[tokio::test]
    async fn what_was_stored_before_the_mark_is_weixins_or_wecoms() {
        for (platform, is_taken) in [("weixin", true), ("wecom", true), ("qq", false)] {
            let state = MemoryState::default();
            let before = state.bucket("state/a").unwrap();
            before.set("generation", b"1".to_vec()).await.unwrap();
            let result = claimed(&state, "a", platform).await;
            assert_eq!(result.is_ok(), is_taken, "{platform} {result:?}");
            // A refusal leaves it to whom it belongs.
            let next = if is_taken { platform } else { "weixin" };
            claimed(&state, "a", next).await.unwrap();
            assert!(claimed(&state, "a", "qq").await.is_err());
        }
    }
}
