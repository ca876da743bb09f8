//! Who may speak to the agent. Decided before anything is stored, downloaded or answered.

use std::collections::BTreeSet;

use super::message::{Body, ChatKind, Event};

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
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Policy, &'static str> {
        match text {
            "open" => Ok(Policy::Open),
            "allowlist" => Ok(Policy::Allowlist),
            "disabled" => Ok(Policy::Disabled),
            _ => Err("is none of `open`, `allowlist`, `disabled`"),
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
    /// Whether what happened may reach the agent. What is no message is judged by its conversation,
    /// which is the person's own where it is direct; in a group nobody can tell whose it is.
    pub fn admits(&self, event: &Event) -> bool {
        let (conversation, sender) = match &event.body {
            Body::Message(message) => (&message.conversation, Some(&message.sender)),
            Body::Recalled { conversation, .. } | Body::Other { conversation, .. } => {
                let is_direct = conversation.kind == ChatKind::Direct;
                (conversation, is_direct.then_some(&conversation.id))
            }
        };
        let policy = match conversation.kind {
            ChatKind::Direct => self.direct,
            ChatKind::Group => self.group,
        };
        match policy {
            Policy::Open => true,
            Policy::Allowlist => sender.is_none_or(|sender| self.allowed.contains(sender)),
            Policy::Disabled => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Conversation, Message};

    fn access(direct: Policy, group: Policy) -> Access {
        Access {
            direct,
            group,
            allowed: BTreeSet::from(["alice".to_owned()]),
        }
    }

    fn event(body: Body) -> Event {
        let id = "e".to_owned();
        Event { id, body }
    }

    fn admits(direct: Policy, group: Policy, kind: ChatKind, sender: &str) -> bool {
        let message = Message {
            conversation: Conversation {
                id: "c".into(),
                kind,
            },
            sender: sender.into(),
            sent_at_ms: 0,
            received_ms: 0,
            text: String::new(),
            media: Vec::new(),
            quote: None,
            reply_token: None,
        };
        access(direct, group).admits(&event(Body::Message(message)))
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
    fn what_is_no_message_is_judged_by_the_person() {
        use Policy::{Allowlist, Disabled, Open};
        let other = |kind, id: &str| {
            let conversation = Conversation {
                id: id.into(),
                kind,
            };
            let (name, json) = ("enter_agent".to_owned(), "{}".to_owned());
            event(Body::Other {
                conversation,
                name,
                json,
            })
        };
        let listed = access(Allowlist, Allowlist);
        assert!(listed.admits(&other(ChatKind::Direct, "alice")));
        assert!(!listed.admits(&other(ChatKind::Direct, "mallory")));
        assert!(listed.admits(&other(ChatKind::Group, "g")));
        assert!(!access(Open, Disabled).admits(&other(ChatKind::Group, "g")));
        assert!(access(Open, Disabled).admits(&other(ChatKind::Direct, "mallory")));
        assert!(!access(Disabled, Open).admits(&other(ChatKind::Direct, "alice")));
    }

    #[test]
    fn an_unknown_policy_is_an_error_and_never_open() {
        for text in ["", "OPEN", "Open ", "all", "*"] {
            assert!(text.parse::<Policy>().is_err());
        }
    }
}
