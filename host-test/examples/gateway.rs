use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use gateway_host::account::{AccountOptions, Post};
use gateway_host::agent::message::{Message, Reply};
use gateway_host::agent::progress::Progress;
use gateway_host::agent::{Agent, AgentError};
use gateway_host::clock::Clock;
use gateway_host::gateway::Gateway;
use gateway_host::media::MediaRules;
use gateway_host::runtime::Runtime;
use gateway_host::state::{Durability, StateSpec};

struct MyAgent;

impl Agent for MyAgent {
    /// `Ok` acknowledges the message; after an error it comes again. What takes long can say
    /// `progress.say("…")` before.
    fn answer<'a>(
        &'a self,
        message: &'a Message,
        _progress: &'a Progress,
    ) -> BoxFuture<'a, Result<Option<Reply>, AgentError>> {
        async move { Ok(Reply::of_text(format!("You said: {}", message.text))) }.boxed()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // One runtime and one component for all accounts of the process.
    let runtime = Runtime::new(Clock::new())?;
    let plugin = runtime.load(Path::new("weixin.wasm")).await?;
    let state = StateSpec::Directory("./weixin-state".into())
        .open(Durability::Process)
        .await?;
    let gateway = Gateway::new(&runtime, state);
    gateway.install(plugin);

    // Each account has its own instance, store and credentials. Add as many as you have.
    let account = gateway
        .add(
            "weixin",
            AccountOptions {
                id: std::env::var("WEIXIN_ACCOUNT_ID")?,
                secrets: [("bot-token".to_owned(), std::env::var("WEIXIN_TOKEN")?)].into(),
                config: [("base-url".to_owned(), std::env::var("WEIXIN_BASE_URL")?)].into(),
                media: MediaRules::default(),
            },
            Arc::new(MyAgent),
        )
        .await?;

    // A message of the gateway's own accord. The key makes a repeated call harmless.
    let post = Post {
        key: "report-2026-11-24".to_owned(),
        conversation: "wxid_alice@im.wechat".to_owned(),
        answers: None,
        text: "The nightly **build** is done.".to_owned(),
        media: Vec::new(),
        progress: false,
        queue_until: None,
    };
    match account.send(post).await {
        Ok(receipt) => println!("{:?}", receipt.parts),
        Err(error) => println!("{error}"),
    }
    tokio::signal::ctrl_c().await?;
    gateway.stop().await;
    Ok(())
}
