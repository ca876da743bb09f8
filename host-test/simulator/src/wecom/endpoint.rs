//! The endpoints of the API.

/// An endpoint of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// `gettoken`.
    GetToken,
    /// `message/send`.
    Send,
    /// `media/upload`.
    Upload,
    /// `media/get`.
    Get,
}

impl Endpoint {
    pub(crate) const ALL: [Endpoint; 4] = [
        Endpoint::GetToken,
        Endpoint::Send,
        Endpoint::Upload,
        Endpoint::Get,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Endpoint::GetToken => "gettoken",
            Endpoint::Send => "message/send",
            Endpoint::Upload => "media/upload",
            Endpoint::Get => "media/get",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Endpoint> {
        Endpoint::ALL
            .into_iter()
            .find(|endpoint| endpoint.name() == name)
    }

    pub(crate) fn is_get(self) -> bool {
        matches!(self, Endpoint::GetToken | Endpoint::Get)
    }
}
