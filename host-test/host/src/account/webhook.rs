//! HTTP requests of the platform to the component of an account.
//!
//! Promise: a request reaches an instance that serves. If that instance is about to be replaced, the
//! request goes to the successor. Both may see it: platforms repeat their callbacks as well, so a
//! component recognises a repeat.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::Instant;

use super::Shared;
use super::handle::Handle;
use crate::instance::{Ended, HandleError, Instance, ResponseBody};

/// How long a request waits for an instance. Real time: the platform waits, too.
const SUCCESSOR_WAIT: Duration = Duration::from_secs(2);

impl Handle {
    /// Whether the account's component takes HTTP requests.
    pub fn has_handler(&self) -> bool {
        self.shared.setup().plugin.has_handler()
    }

    /// Hands a request to the component, and waits for the head of its answer; while the instance is
    /// being replaced, up to two seconds for the next one.
    ///
    /// # Errors
    /// All of [`HandleError`]; [`HandleError::Ended`] when there is no instance in time.
    pub async fn webhook(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<ResponseBody>, HandleError> {
        if !self.has_handler() {
            return Err(HandleError::NoHandler);
        }
        let (head, body) = request.into_parts();
        let end = Instant::now() + SUCCESSOR_WAIT;
        let mut before = None;
        loop {
            let instance = self.shared.serving(before.as_ref(), end).await?;
            let body = Full::new(body.clone());
            let result = instance
                .handle(Request::from_parts(head.clone(), body))
                .await;
            let is_over = match &result {
                Err(HandleError::Ended(_)) => true,
                Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
                    !self.shared.stages.is_serving(&instance)
                }
                Ok(_) | Err(_) => false,
            };
            if !is_over || Instant::now() >= end {
                return result;
            }
            before = Some(instance);
        }
    }
}

impl Shared {
    /// An instance that serves and is to go on doing so, another one than `before`.
    async fn serving(
        &self,
        before: Option<&Instance>,
        end: Instant,
    ) -> Result<Instance, HandleError> {
        let is_new = |instance: &&Instance| before.is_none_or(|before| !instance.is_same(before));
        let mut stages = self.stages.follow();
        let serving = stages.find(|stage| stage.serving().filter(is_new).cloned());
        let found = tokio::time::timeout_at(end, serving).await;
        found.map_err(|_| HandleError::Ended(Ended("it is being replaced".into())))
    }
}
