//! WeCom from a person's phone to the agent and back, through the component, its webhooks and the
//! simulated server.

mod answers;
mod callbacks;
mod limits;
mod passive;
pub(crate) mod world;

const ALICE: &str = "alice";
const BOB: &str = "bob";
