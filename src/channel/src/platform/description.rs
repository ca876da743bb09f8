//! What a platform is: what its host must know, and what its accounts have by default.

use std::time::Duration;

use crate::message::MediaKind;
use crate::settings::Defaults;

/// The description of a platform.
#[derive(Debug, Clone)]
pub struct Description {
    /// The component's version.
    pub version: &'static str,
    /// JSON Schema of the configuration keys. Secret keys carry `"writeOnly": true`.
    pub config_schema: &'static str,
    /// The limits of a text, and the defaults of what an operator may set.
    pub defaults: Defaults,
    /// The media that can be sent; none for a platform without [`super::MediaTransfer`].
    pub media: Vec<MediaKind>,
    /// How often [`super::Platform::typing`] has to be repeated; none without an indicator.
    pub typing_refresh: Option<Duration>,
    /// How long a sign of life counts: an instance is `connected` for twice this long after one. For a
    /// platform that is polled it is how long the platform holds a poll, until an answer says
    /// otherwise.
    pub hold: Duration,
    /// What the log says before the reason when the platform can't be reached.
    pub trouble: &'static str,
    /// Everything that the component reaches.
    pub egress: Vec<Egress>,
    /// Configuration keys whose value is an origin that the operator allows as it is.
    pub origins: Vec<&'static str>,
    /// Credentials that the host takes out of responses.
    pub captures: Vec<Capture>,
}

impl Description {
    /// A platform without media, typing indicator and limits beside [`Defaults::default`], that reaches
    /// nothing.
    pub fn new(version: &'static str, config_schema: &'static str) -> Description {
        Description {
            version,
            config_schema,
            defaults: Defaults::default(),
            media: Vec::new(),
            typing_refresh: None,
            hold: Duration::from_secs(30),
            trouble: "polls fail",
            egress: Vec::new(),
            origins: Vec::new(),
            captures: Vec::new(),
        }
    }
}

/// One place that the component reaches; the record of the WIT's `meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    /// `https` or `http`.
    pub scheme: &'static str,
    /// A name, `*.` and a suffix, or the key of one of [`Description::origins`] in braces.
    pub host: &'static str,
    /// None: the scheme's own port.
    pub port: Option<u16>,
    /// What the path must start with.
    pub path_prefix: &'static str,
    /// The credential that requests there may carry.
    pub credential: Option<CredentialUse>,
}

impl Egress {
    /// Requests over https without a credential.
    pub fn https(host: &'static str, path_prefix: &'static str) -> Egress {
        Egress {
            scheme: "https",
            host,
            port: None,
            path_prefix,
            credential: None,
        }
    }

    /// The same with a credential: the host puts its value where the request has `{{name}}`.
    pub fn with(self, name: &'static str, placement: Placement) -> Egress {
        Egress {
            credential: Some(CredentialUse { name, placement }),
            ..self
        }
    }
}

/// A credential that the host holds and the component never sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CredentialUse {
    /// Its name.
    pub name: &'static str,
    /// The only place where the host puts it.
    pub placement: Placement,
}

/// Where in a request a credential may stand; the cases of the WIT's `placement`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In the value of a header.
    Header,
    /// As a whole string of a JSON body.
    JsonBody,
    /// As the whole value of a parameter of the query.
    Query,
    /// Within one segment of the path, where the rule's `path_prefix` has the placeholder: the prefix
    /// `/bot{{token}}/` fits `/bot{{token}}/getMe`.
    PathSegment,
}

/// A credential that arrives in a JSON response; the record of the WIT's `meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// What the path of the request starts with.
    pub path_prefix: &'static str,
    /// RFC 6901 pointer to the string.
    pub json_pointer: &'static str,
    /// Name of the credential.
    pub credential: &'static str,
    /// What the host does with the value.
    pub keep: Keeping,
}

/// What a host does with a credential that it took out of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// A login brought it: it is put aside, and the host decides whose it is.
    Aside,
    /// It is the account's from now on.
    InUse,
}
