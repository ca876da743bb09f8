//! The bot API's endpoints that the simulator answers.

/// An endpoint of the bot API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Endpoint {
    GetUpdates,
    SendMessage,
    GetConfig,
    SendTyping,
    NotifyStart,
    NotifyStop,
}

impl Endpoint {
    pub(super) const ALL: [Endpoint; 6] = [
        Endpoint::GetUpdates,
        Endpoint::SendMessage,
        Endpoint::GetConfig,
        Endpoint::SendTyping,
        Endpoint::NotifyStart,
        Endpoint::NotifyStop,
    ];

    /// The endpoint at this path of a URL.
    pub(super) fn at(path: &str) -> Option<Endpoint> {
        let name = path.strip_prefix("/ilink/bot/")?;
        let name = match name.strip_prefix("msg/") {
            Some(notify) => notify.strip_prefix("notify").and(Some(notify))?,
            None => Some(name).filter(|name| !name.starts_with("notify"))?,
        };
        Endpoint::named(name)
    }

    /// The endpoint with this name, as faults and the wire log write it.
    pub(super) fn named(name: &str) -> Option<Endpoint> {
        Endpoint::ALL
            .into_iter()
            .find(|endpoint| endpoint.name() == name)
    }

    /// The last part of the path.
    pub(super) fn name(self) -> &'static str {
        match self {
            Endpoint::GetUpdates => "getupdates",
            Endpoint::SendMessage => "sendmessage",
            Endpoint::GetConfig => "getconfig",
            Endpoint::SendTyping => "sendtyping",
            Endpoint::NotifyStart => "notifystart",
            Endpoint::NotifyStop => "notifystop",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_paths_are_endpoints() {
        assert_eq!(
            Endpoint::at("/ilink/bot/getupdates"),
            Some(Endpoint::GetUpdates)
        );
        assert_eq!(
            Endpoint::at("/ilink/bot/msg/notifystop"),
            Some(Endpoint::NotifyStop)
        );
        for wrong in [
            "/",
            "/ilink/bot/",
            "/ilink/bot/notifystart",
            "/ilink/bot/msg/getupdates",
            "/ilink/bot/getupdates/",
            "/getupdates",
        ] {
            assert_eq!(Endpoint::at(wrong), None, "{wrong}");
        }
    }
}
