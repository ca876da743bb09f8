//! What the simulator answers: the endpoints of the bot API, the login's among them, and the two
//! of the CDN.

use http::Method;

/// An endpoint of the bot API or of the CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// `getupdates`: the long poll.
    GetUpdates,
    /// `sendmessage`.
    SendMessage,
    /// `getconfig`: a typing ticket.
    GetConfig,
    /// `sendtyping`.
    SendTyping,
    /// `msg/notifystart`: the client comes.
    NotifyStart,
    /// `msg/notifystop`: the client goes.
    NotifyStop,
    /// `getuploadurl`: allows an upload.
    GetUploadUrl,
    /// `get_bot_qrcode` of the login.
    GetBotQrcode,
    /// `get_qrcode_status` of the login: the long poll.
    GetQrcodeStatus,
    /// `upload` of the CDN.
    Upload,
    /// `download` of the CDN.
    Download,
}

impl Endpoint {
    pub(crate) const ALL: [Endpoint; 11] = [
        Endpoint::GetUpdates,
        Endpoint::SendMessage,
        Endpoint::GetConfig,
        Endpoint::SendTyping,
        Endpoint::NotifyStart,
        Endpoint::NotifyStop,
        Endpoint::GetUploadUrl,
        Endpoint::GetBotQrcode,
        Endpoint::GetQrcodeStatus,
        Endpoint::Upload,
        Endpoint::Download,
    ];

    /// Whether it is one of the CDN's, which knows no bot and no token.
    pub(crate) fn is_of_cdn(self) -> bool {
        matches!(self, Endpoint::Upload | Endpoint::Download)
    }

    /// Whether its answer may be long in coming, so that a proxy on the way may give up on it.
    pub(crate) fn is_poll(self) -> bool {
        matches!(self, Endpoint::GetUpdates | Endpoint::GetQrcodeStatus)
    }

    /// Whether it is one of the login's, which comes before there is a bot.
    pub(crate) fn is_of_login(self) -> bool {
        matches!(self, Endpoint::GetBotQrcode | Endpoint::GetQrcodeStatus)
    }

    /// Whether the server accepts this method.
    pub(crate) fn takes(self, method: &Method) -> bool {
        match self {
            // The official client posts; its early versions and others get.
            Endpoint::GetBotQrcode => *method == Method::POST || *method == Method::GET,
            Endpoint::GetQrcodeStatus | Endpoint::Download => *method == Method::GET,
            _ => *method == Method::POST,
        }
    }

    /// The bot API's endpoint at this path of a URL.
    pub(crate) fn at(path: &str) -> Option<Endpoint> {
        let name = path.strip_prefix("/ilink/bot/")?;
        let name = match name.strip_prefix("msg/") {
            Some(notify) => notify.strip_prefix("notify").and(Some(notify))?,
            None => Some(name).filter(|name| !name.starts_with("notify"))?,
        };
        Endpoint::named(name).filter(|endpoint| !endpoint.is_of_cdn())
    }

    /// The endpoint with this name, as faults and the wire log write it.
    pub(crate) fn named(name: &str) -> Option<Endpoint> {
        Endpoint::ALL
            .into_iter()
            .find(|endpoint| endpoint.name() == name)
    }

    /// The last part of the path.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Endpoint::GetUpdates => "getupdates",
            Endpoint::SendMessage => "sendmessage",
            Endpoint::GetConfig => "getconfig",
            Endpoint::SendTyping => "sendtyping",
            Endpoint::NotifyStart => "notifystart",
            Endpoint::NotifyStop => "notifystop",
            Endpoint::GetUploadUrl => "getuploadurl",
            Endpoint::GetBotQrcode => "get_bot_qrcode",
            Endpoint::GetQrcodeStatus => "get_qrcode_status",
            Endpoint::Upload => "upload",
            Endpoint::Download => "download",
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
            "/ilink/bot/upload",
        ] {
            assert_eq!(Endpoint::at(wrong), None, "{wrong}");
        }
    }
}
