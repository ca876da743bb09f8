//! What an agent says before its answer.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::{BoxFuture, FutureExt};
use gateway_host::agent::http::HttpAgent;
use gateway_host::agent::message::{Message, Reply};
use gateway_host::agent::progress::Progress;
use gateway_host::agent::{Agent, AgentError};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};

use crate::harness::{ALICE, Harness, eventually};

#[tokio::test]
async fn progress_over_http_arrives_before_the_reply() {
    let harness = Harness::new().await;
    let (lines, body) = mpsc::unbounded::<Result<&'static str, std::io::Error>>();
    let body = Arc::new(Mutex::new(Some(body)));
    let router = Router::new().route(
        "/",
        post(async move || {
            let body = body.lock().await.take().unwrap();
            let header = [("content-type", "application/x-ndjson")];
            (header, Body::from_stream(body.boxed()))
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let agent = HttpAgent::new(url.parse().unwrap(), harness.clock.clone());
    let account = harness.start(Arc::new(agent), &[]).await;

    harness.simulator.say(ALICE, "what is the weather?");
    let send = |line| lines.unbounded_send(Ok(line)).unwrap();
    send("{\"text\": \"looking\", \"progress\": true}\n");
    harness
        .until(|simulator| simulator.answers(ALICE) == ["looking"])
        .await;
    send("{\"text\": \"still looking\", \"progress\": true}\n");
    harness
        .until(|simulator| simulator.answers(ALICE) == ["looking", "still looking"])
        .await;
    assert_eq!(account.health().await.unwrap().unacknowledged, 1);
    send("{\"text\": \"sunny\"}\n");
    drop(lines);
    harness
        .until(|simulator| simulator.answers(ALICE) == ["looking", "still looking", "sunny"])
        .await;
    assert_eq!(account.health().await.unwrap().unacknowledged, 0);
    harness.check();
}

/// Says progress each time that it is asked, and keeps the sink.
struct Talker {
    said: Mutex<Vec<Progress>>,
    answers: Semaphore,
}

impl Agent for Talker {
    fn answer<'a>(
        &'a self,
        _: &'a Message,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<Option<Reply>, AgentError>> {
        async move {
            let times = {
                let mut said = self.said.lock().await;
                said.push(progress.clone());
                said.len()
            };
            progress.say("looking");
            self.answers.acquire().await.unwrap().forget();
            match times {
                1 => Err(AgentError::Status(500)),
                _ => Ok(Reply::of_text("done".to_owned())),
            }
        }
        .boxed()
    }
}

#[tokio::test]
async fn repeated_progress_is_shown_once_and_late_progress_never() {
    let harness = Harness::new().await;
    let agent = Arc::new(Talker {
        said: Mutex::default(),
        answers: Semaphore::new(0),
    });
    let account = harness.start(agent.clone(), &[]).await;
    harness.simulator.say(ALICE, "hello");
    harness
        .until(|simulator| simulator.answers(ALICE) == ["looking"])
        .await;
    agent.answers.add_permits(1);
    // It fails, is asked again, and says the same again.
    eventually(async || {
        harness.clock.advance(std::time::Duration::from_secs(1));
        agent.said.lock().await.len() == 2
    })
    .await;
    agent.said.lock().await[0].say("of the attempt that failed");
    agent.answers.add_permits(1);
    harness
        .until(|simulator| simulator.answers(ALICE).contains(&"done".to_owned()))
        .await;
    for progress in agent.said.lock().await.iter() {
        progress.say("too late");
    }
    eventually(async || account.health().await.unwrap().queued == 0).await;
    assert_eq!(harness.simulator.answers(ALICE), ["looking", "done"]);
    assert_eq!(account.metrics().agent_messages.get(), 2);
    assert_eq!(account.metrics().agent_failures.get(), 1);
    harness.check();
}
