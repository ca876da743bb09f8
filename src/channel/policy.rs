//! Who may speak to the agent. Decided before anything is stored, downloaded or answered.

use std::collections::BTreeSet;

use super::message::{ChatKind, Message};

/// Who is admitted to one kind of conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Everybody.
    Open,
    /// The senders that are listed.
    Allowlist,
    /// Nobody.
    Disabled,
}

impl std::str::FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Policy, String> {
        match text {
            "open" => Ok(Policy::Open),
            "allowlist" => Ok(Policy::Allowlist),
            "disabled" => Ok(Policy::Disabled),
            _ => Err(format!(
                "`{text}` is none of `open`, `allowlist`, `disabled`"
            )),
        }
    }
}

/// The access rules of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// For direct conversations.
    pub direct: Policy,
    /// For groups.
    pub group: Policy,
    /// Ids of senders, for both allowlists.
    pub allowed: BTreeSet<String>,
}

impl Access {
    /// Whether a message may reach the agent.
    pub fn admits(&self, message: &Message) -> bool {
        let policy = match message.conversation.kind {
            ChatKind::Direct => self.direct,
            ChatKind::Group => self.group,
        };
        match policy {
            Policy::Open => true,
            Policy::Allowlist => self.allowed.contains(&message.sender),
            Policy::Disabled => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::message::Conversation;

    fn admits(direct: Policy, group: Policy, kind: ChatKind, sender: &str) -> bool {
        let access = Access {
            direct,
            group,
            allowed: BTreeSet::from(["alice".to_owned()]),
        };
        access.admits(&Message {
            conversation: Conversation {
                id: "c".into(),
                kind,
            },
            sender: sender.into(),
            sent_at_ms: 0,
            text: String::new(),
            media: Vec::new(),
            quote: None,
            reply_token: None,
        })
    }

    #[test]
    fn each_policy_admits_whom_it_names() {
        use ChatKind::{Direct, Group};
        use Policy::{Allowlist, Disabled, Open};
        for (policy, alice, stranger) in [
            (Open, true, true),
            (Allowlist, true, false),
            (Disabled, false, false),
        ] {
            assert_eq!(admits(policy, Disabled, Direct, "alice"), alice);
            assert_eq!(admits(policy, Disabled, Direct, "mallory"), stranger);
            assert_eq!(admits(Disabled, policy, Group, "alice"), alice);
            assert_eq!(admits(Disabled, policy, Group, "mallory"), stranger);
        }
    }

    #[test]
    fn an_unknown_policy_is_an_error_and_never_open() {
        for text in ["", "OPEN", "Open ", "all", "*"] {
            assert!(text.parse::<Policy>().is_err());
        }
    }
}
