//! Posts under way. A post goes on when its caller goes away. A caller that comes again with the same key
//! waits for the same post, so files are not uploaded twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

use super::api_error::ApiError;
use super::message_request::MessageRequest;
use crate::account::{Handle, Receipt};

type Outcome = Result<Receipt, ApiError>;

/// The posts under way, by account and key. Clones share them.
#[derive(Clone, Default)]
pub struct Jobs {
    by_key: Arc<Mutex<HashMap<(String, String), Job>>>,
}

struct Job {
    request: Arc<MessageRequest>,
    outcome: Shared<BoxFuture<'static, Outcome>>,
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Job>> {
        // What a panicked holder left is whole: each change is one call.
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a post, or joins the same one; waits for what becomes of it.
    pub async fn outcome(&self, account: Handle, key: String, request: MessageRequest) -> Outcome {
        let name = (account.id().to_owned(), key.clone());
        let outcome = {
            let mut jobs = self.lock();
            match jobs.get(&name) {
                Some(job) if *job.request == request => job.outcome.clone(),
                Some(_) => {
                    return Err(ApiError::key_conflict(format!(
                        "the key `{key}` belongs to another post that is on its way: choose a new \
                         key for each post"
                    )));
                }
                None => {
                    let request = Arc::new(request);
                    let (jobs_of_all, post) = (self.clone(), Arc::clone(&request));
                    let ended = name.clone();
                    let task = tokio::spawn(async move {
                        let outcome = post.send(&account, key).await;
                        jobs_of_all.lock().remove(&ended);
                        outcome
                    });
                    let outcome = async move {
                        task.await.unwrap_or_else(|error| {
                            Err(ApiError::unknown_outcome(format!(
                                "the host failed: {error}"
                            )))
                        })
                    };
                    let outcome = outcome.boxed().shared();
                    let job = Job {
                        request,
                        outcome: outcome.clone(),
                    };
                    jobs.insert(name, job);
                    outcome
                }
            }
        };
        outcome.await
    }
}
