//! A fault, built or read.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::effect::{CutAt, DownloadAs, Effect, Reference, SentAs, StallAt, Status, UploadUrl};
use super::limit::Limit;
use super::mangle::Mangle;
use crate::json::{Member, Millis};

/// What happens to the requests of an endpoint, and to how many of them.
///
/// Without [`Fault::times`] it stays until it is cleared.
///
/// ```
/// use std::time::Duration;
/// use gateway_simulator::Fault;
///
/// let slow_proxy = Fault::status(524).after(Duration::from_secs(17)).times(3);
/// # let _ = slow_proxy;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "Members")]
pub struct Fault {
    pub(crate) limit: Limit,
    pub(crate) delay: Duration,
    processed: bool,
    pub(crate) effect: Effect,
}

impl Fault {
    fn new(effect: Effect) -> Fault {
        Fault {
            effect,
            ..Fault::default()
        }
    }

    /// The true answer, so much later.
    pub fn delay(delay: Duration) -> Fault {
        Fault::default().after(delay)
    }

    /// This HTTP status, from 200 to 599, with an HTML page.
    pub fn status(code: u16) -> Fault {
        Fault::new(Effect::Status(Status::of_code(code)))
    }

    /// 302 to this URL. Of the iLink server.
    pub fn redirect(url: impl Into<String>) -> Fault {
        Fault::redirect_with(302, url)
    }

    /// This HTTP status, from 200 to 599, with a `Location`. Of the iLink server.
    pub fn redirect_with(code: u16, url: impl Into<String>) -> Fault {
        Fault::new(Effect::Status(Status {
            redirect: Some(url.into()),
            ..Status::of_code(code)
        }))
    }

    /// This HTTP status with the two headers in which the CDN says why it refuses.
    pub fn cdn_error(
        code: u16,
        message: impl Into<String>,
        error_code: impl Into<String>,
    ) -> Fault {
        Fault::new(Effect::Status(Status {
            message: Some(message.into()),
            error_code: Some(error_code.into()),
            ..Status::of_code(code)
        }))
    }

    /// 200 with this text, whatever it is.
    pub fn body(text: impl Into<String>) -> Fault {
        Fault::new(Effect::Body(text.into()))
    }

    /// 200 with `{"ret": …}`. Of the iLink server.
    pub fn ret(code: i64) -> Fault {
        Fault::result("ret", code.into())
    }

    /// 200 with `{"errcode": …}`.
    pub fn errcode(code: i64) -> Fault {
        Fault::result("errcode", code.into())
    }

    fn result(name: &str, code: Value) -> Fault {
        Fault::new(Effect::Result(Map::from_iter([(name.to_owned(), code)])))
    }

    /// Adds an `errmsg` to a [`Fault::ret`] or a [`Fault::errcode`]; nothing to others.
    #[must_use]
    pub fn with_errmsg(mut self, text: impl Into<String>) -> Fault {
        if let Effect::Result(result) = &mut self.effect {
            result.insert("errmsg".to_owned(), text.into().into());
        }
        self
    }

    /// The true answer without these members; of `upload`, without these headers. Of the iLink
    /// server.
    pub fn without<S: Into<String>>(members: impl IntoIterator<Item = S>) -> Fault {
        let members = members.into_iter().map(Into::into);
        Fault::new(Effect::Without(members.collect()))
    }

    /// The first half of the true answer, as if it were whole.
    pub fn truncated() -> Fault {
        Fault::new(Effect::Truncated)
    }

    /// The true answer with bytes that no encoder would write.
    pub fn mangled(mangle: Mangle) -> Fault {
        Fault::new(Effect::Mangled(mangle))
    }

    /// The connection is closed.
    pub fn cut(at: CutAt) -> Fault {
        Fault::new(Effect::Cut(at))
    }

    /// Nothing more comes.
    pub fn stall(at: StallAt) -> Fault {
        Fault::new(Effect::Stall(at))
    }

    /// The true answer, a byte at a time, of `download` a KiB, so far apart. Of the iLink server.
    pub fn drip(every: Duration) -> Fault {
        Fault::new(Effect::Drip(every))
    }

    /// How an accepted `sendmessage` is answered.
    pub fn sent_as(answer: SentAs) -> Fault {
        Fault::new(Effect::Sent(answer))
    }

    /// Which references `getuploadurl` gives.
    pub fn upload_reference(reference: Reference) -> Fault {
        Fault::new(Effect::UploadUrl(UploadUrl {
            reference,
            full_url: None,
        }))
    }

    /// `getuploadurl` gives this string instead of the true URL.
    pub fn upload_full_url(url: impl Into<String>) -> Fault {
        Fault::new(Effect::UploadUrl(UploadUrl {
            full_url: Some(url.into()),
            ..UploadUrl::default()
        }))
    }

    /// The answer of a login's endpoint.
    pub fn login_answer(answer: Map<String, Value>) -> Fault {
        Fault::new(Effect::LoginAnswer(answer))
    }

    /// The body of an `upload` is read in pieces, so far apart.
    pub fn slow_read(every: Duration) -> Fault {
        Fault::new(Effect::SlowRead(every))
    }

    /// `download` serves a ciphertext under another key.
    pub fn wrong_key() -> Fault {
        Fault::new(Effect::Download(DownloadAs::WrongKey))
    }

    /// `download` serves a ciphertext whose padding is wrong.
    pub fn bad_padding() -> Fault {
        Fault::new(Effect::Download(DownloadAs::BadPadding))
    }

    /// So many bytes follow the file of a `download`, without a `Content-Length`.
    pub fn extra_bytes(count: u64) -> Fault {
        Fault::new(Effect::Download(DownloadAs::Extra(count)))
    }

    /// It ends after so many requests.
    #[must_use]
    pub fn times(mut self, requests: u64) -> Fault {
        self.limit.times = Some(requests);
        self
    }

    /// It ends after one request.
    #[must_use]
    pub fn once(self) -> Fault {
        self.times(1)
    }

    /// So many requests pass untouched first.
    #[must_use]
    pub fn skip(mut self, requests: u64) -> Fault {
        self.limit.skip = requests;
        self
    }

    /// The answer comes so much later, after the request took effect, if it does.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Fault {
        self.delay = delay;
        self
    }

    /// The request takes effect although its answer is another one.
    #[must_use]
    pub fn processed(mut self) -> Fault {
        self.processed = true;
        self
    }

    /// What a proxy says that waited for too long.
    pub(crate) fn timed_out() -> Fault {
        Fault::status(524)
    }

    /// Whether the request takes effect.
    pub(crate) fn takes_effect(&self) -> bool {
        match self.effect {
            Effect::Status(_) | Effect::Body(_) | Effect::Result(_) | Effect::LoginAnswer(_) => {
                self.processed
            }
            Effect::Cut(at) => at != CutAt::Before,
            Effect::Stall(at) => at != StallAt::Before,
            _ => true,
        }
    }

    /// Whether an endpoint of this name can have it.
    ///
    /// # Errors
    /// A sentence that names the member that is wrong.
    pub(crate) fn check(
        &self,
        endpoint: &str,
        allows: impl FnOnce(&Effect) -> bool,
    ) -> Result<(), String> {
        if let Effect::Status(status) = &self.effect {
            if !(200..=599).contains(&status.code) {
                return Err(format!(
                    "`{endpoint}.status` must be an HTTP status from 200 to 599."
                ));
            }
            if let Err(member) = status.headers() {
                return Err(format!(
                    "`{endpoint}.{member}` cannot be the value of a header."
                ));
            }
        }
        match allows(&self.effect) {
            true => Ok(()),
            false => Err(format!(
                "`{endpoint}.{}` is nothing that a fault of this endpoint can have.",
                self.effect.member()
            )),
        }
    }
}

/// A fault as JSON; [`super`] has the shape.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a JSON object")]
struct Members {
    times: Member<u64>,
    skip: u64,
    delay_ms: Millis,
    processed: bool,
    status: Member<u16>,
    redirect: Member<String>,
    message: Member<String>,
    code: Member<String>,
    body: Member<String>,
    ret: Member<Value>,
    errcode: Member<Value>,
    errmsg: Member<Value>,
    without: Member<Vec<String>>,
    truncated: bool,
    mangled: Member<Mangle>,
    cut: Member<CutAt>,
    stall: Member<StallAt>,
    drip_ms: Member<Millis>,
    answer: Member<Answer>,
    upload_full_url: Member<String>,
    read_ms: Member<Millis>,
    wrong_key: bool,
    bad_padding: bool,
    extra_bytes: Member<u64>,
}

/// `answer`, which is another thing for each endpoint that has it.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "`answer` of sendmessage is one of \"black-hole\", \"empty\", \"no-ret\" and \
                 \"string-id\", of getuploadurl one of \"full-url\", \"param\", \"both\" and \
                 \"neither\", and of the login an object"
)]
enum Answer {
    Sent(SentAs),
    Reference(Reference),
    Login(Map<String, Value>),
}

impl TryFrom<Members> for Fault {
    type Error = &'static str;

    fn try_from(members: Members) -> Result<Fault, &'static str> {
        Ok(Fault {
            limit: Limit {
                skip: members.skip,
                times: members.times.given(),
            },
            delay: members.delay_ms.0,
            processed: members.processed,
            effect: members.effect()?,
        })
    }
}

impl Members {
    /// The one effect that is named.
    fn effect(self) -> Result<Effect, &'static str> {
        let result = [
            ("ret", self.ret),
            ("errcode", self.errcode),
            ("errmsg", self.errmsg),
        ];
        let result = result
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.given()?)));
        let result: Map<String, Value> = result.collect();
        let (mut sent, mut reference, mut login) = (None, None, None);
        match self.answer.given() {
            Some(Answer::Sent(answer)) => sent = Some(answer),
            Some(Answer::Reference(answer)) => reference = Some(answer),
            Some(Answer::Login(answer)) => login = Some(answer),
            None => {}
        }
        let full_url = self.upload_full_url.given();
        let upload_url = (reference.is_some() || full_url.is_some()).then(|| UploadUrl {
            reference: reference.unwrap_or(UploadUrl::default().reference),
            full_url,
        });
        let redirect = self.redirect.given();
        let code = self.status.given();
        let code = code.or(redirect.is_some().then_some(302));
        let (message, error_code) = (self.message.given(), self.code.given());
        if code.is_none() && (message.is_some() || error_code.is_some()) {
            return Err("there is a `message` or a `code`, but no `status`");
        }
        let status = code.map(|code| Status {
            code,
            redirect,
            message,
            error_code,
        });
        let named = [
            status.map(Effect::Status),
            self.body.given().map(Effect::Body),
            (!result.is_empty()).then_some(Effect::Result(result)),
            login.map(Effect::LoginAnswer),
            self.without.given().map(Effect::Without),
            self.truncated.then_some(Effect::Truncated),
            self.mangled.given().map(Effect::Mangled),
            self.cut.given().map(Effect::Cut),
            self.stall.given().map(Effect::Stall),
            self.drip_ms.given().map(|every| Effect::Drip(every.0)),
            sent.map(Effect::Sent),
            upload_url.map(Effect::UploadUrl),
            self.read_ms.given().map(|every| Effect::SlowRead(every.0)),
            self.wrong_key
                .then_some(Effect::Download(DownloadAs::WrongKey)),
            self.bad_padding
                .then_some(Effect::Download(DownloadAs::BadPadding)),
            self.extra_bytes
                .given()
                .map(|count| Effect::Download(DownloadAs::Extra(count))),
        ];
        let mut named = named.into_iter().flatten();
        let effect = named.next().unwrap_or_default();
        match named.next() {
            Some(_) => Err("more than one fault is named; a list gives several in order"),
            None => Ok(effect),
        }
    }
}
