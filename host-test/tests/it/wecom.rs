//! WeCom from a person's phone to the agent and back, through the component, its webhooks and the
//! simulated server.

mod answers;
mod callbacks;
pub(crate) mod harness;
mod limits;
mod passive;

const ALICE: &str = "alice";
const BOB: &str = "bob";
