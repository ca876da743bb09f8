//! The typing indicator: shown while the agent takes longer than a moment, and always ended.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Shared;

/// A quicker answer costs no typing requests.
const MOMENT: Duration = Duration::from_millis(500);
/// How often it is shown again where the component does not say.
const REFRESH: Duration = Duration::from_secs(5);

/// Counts the indicators that are shown.
pub struct Typing {
    shown: watch::Sender<usize>,
}

impl Default for Typing {
    fn default() -> Typing {
        Typing {
            shown: watch::channel(0).0,
        }
    }
}

impl Typing {
    /// Waits until none is shown any more.
    pub async fn ended(&self) {
        // The sender lives in `self`.
        let _ = self.shown.subscribe().wait_for(|shown| *shown == 0).await;
    }
}

/// Dropping it ends the indicator.
struct Shown {
    _end: watch::Sender<()>,
}

impl Shared {
    /// Shows the indicator after a moment, until this is dropped.
    pub(super) async fn typing_after_a_moment(self: &Arc<Self>, conversation: &str) -> Infallible {
        self.clock().sleep(MOMENT).await;
        let _shown = self.show_typing(conversation.to_owned());
        std::future::pending().await
    }

    /// A task of its own ends the indicator after the request that shows it, never before.
    fn show_typing(self: &Arc<Self>, conversation: String) -> Shown {
        let shared = Arc::clone(self);
        let refresh = shared
            .setup()
            .plugin
            .descriptor()
            .typing_refresh
            .map_or(REFRESH, Duration::from_millis);
        let (end, mut ended) = watch::channel(());
        shared.queues.typing.shown.send_modify(|shown| *shown += 1);
        tokio::spawn(async move {
            loop {
                shared.typing(&conversation, true).await;
                tokio::select! {
                    biased;
                    // Nothing is ever sent: this is the drop of the other end.
                    _ = ended.changed() => break,
                    () = shared.clock().sleep(refresh) => {}
                }
            }
            shared.typing(&conversation, false).await;
            shared.queues.typing.shown.send_modify(|shown| *shown -= 1);
        });
        Shown { _end: end }
    }

    async fn typing(&self, conversation: &str, on: bool) {
        let instance = self.stages.instance();
        if let Some(instance) = instance
            && let Err(error) = instance.typing(conversation.to_owned(), on).await
        {
            tracing::debug!(
                account = &*self.id,
                instance = self.instance_number(),
                "typing: {error}"
            );
        }
    }
}
