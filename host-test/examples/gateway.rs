//! A gateway with one account of WeChat, whose agent repeats what it hears.

use std::path::Path;
use std::sync::Arc;

use gateway_host::account::{AccountOptions, Post};
use gateway_host::agent::{self, message::Reply};
use gateway_host::clock::Clock;
use gateway_host::gateway::Gateway;
use gateway_host::runtime::Runtime;
use gateway_host::state::{Durability, StateSpec};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // One runtime, one store and one component serve all accounts of the process.
    let runtime = Runtime::new(Clock::new())?;
    let state = StateSpec::Directory("./weixin-state".into());
    let gateway = Gateway::new(&runtime, state.open(Durability::Process).await?);
    gateway.install(runtime.load(Path::new("weixin.wasm")).await?);

    // `Ok` acknowledges a message. After an error the agent gets it again.
    let agent = agent::from_fn(|message, _progress| async move {
        Ok(Reply::of_text(format!("You said: {}", message.text)))
    });
    // Each account has its own instance, its own part of the store and its own credentials.
    let options = AccountOptions::new(std::env::var("WEIXIN_ACCOUNT_ID")?)
        .secret("bot-token", std::env::var("WEIXIN_TOKEN")?)
        .config("base-url", std::env::var("WEIXIN_BASE_URL")?);
    let account = gateway.add("weixin", options, Arc::new(agent)).await?;

    // A message of the gateway's own accord. The key makes a repeated call harmless.
    let text = "The nightly **build** is done.";
    let post = Post::new("report-2026-11-24", "wxid_alice@im.wechat", text);
    match account.send(post).await {
        Ok(receipt) => println!("{:?}", receipt.parts),
        Err(error) => println!("{error}"),
    }
    tokio::signal::ctrl_c().await?;
    gateway.stop().await;
    Ok(())
}
