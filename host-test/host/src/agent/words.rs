//! What people are told when an agent fails.

use std::time::Duration;

/// The sentences, each said once. One that is empty is not said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// In place of an answer that will not come.
    pub failure: String,
    /// While an answer is late because the agent fails.
    pub outage: String,
    /// How long a person waits for that.
    pub outage_after: Duration,
}

impl Default for Words {
    fn default() -> Words {
        Words {
            failure: "抱歉，这条消息我没能处理。/ Sorry, I could not process this message."
                .to_owned(),
            outage:
                "我暂时无法回复，恢复后会马上答复你。/ I can't reply at the moment. Your message \
                     is kept, and I will answer as soon as I can."
                    .to_owned(),
            outage_after: Duration::from_secs(120),
        }
    }
}
