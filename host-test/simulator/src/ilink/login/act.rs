//! What people do with QR codes, and the codes as they see them.

use serde_json::{Value, json};

/// What a person does with a QR code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Scans it. If the client has the token of the person's live bot, that ends the login.
    Scan,
    /// Scans it, and the phone shows digits that the client must send.
    ScanWithDigits,
    /// The client is sent to another host, after a scan if there was none. Any string; `None`
    /// names no host.
    Redirect(Option<String>),
    /// Confirms, after a scan if there was none.
    Confirm,
    /// The login ends, because the client has the person's live bot.
    Bound,
    /// The login ends, as after too many wrong digits.
    Block,
    /// The code expires, and as when the person declines.
    Expire,
}

/// A QR code as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QrCode {
    /// What a client asks with.
    pub qrcode: String,
    /// What the code shows.
    pub url: String,
    /// In the words of the wire, such as `scaned`.
    pub status: &'static str,
    /// Who scanned it.
    pub user: Option<String>,
    /// The digits that the phone showed.
    pub digits: Option<String>,
    /// The bot that was made.
    pub account: Option<String>,
    /// When it expires, since the Unix epoch.
    pub until_ms: u64,
}

impl QrCode {
    /// As the control paths write it.
    pub(super) fn json(&self) -> Value {
        json!({
            "qrcode": self.qrcode,
            "url": self.url,
            "status": self.status,
            "user": self.user,
            "digits": self.digits,
            "account": self.account,
            "until_ms": self.until_ms,
        })
    }
}
