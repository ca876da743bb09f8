//! `media[].url`: the decrypted content of what people sent, for the agent.
//!
//! A URL can't be guessed, belongs to one file of one account, and expires. The content is fetched when
//! an agent asks for it. A transfer that is not complete breaks off, and never ends as if it were. A
//! browser can only save the content as a file, and pages of other origins get nothing.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use mime::Mime;
use tokio::net::TcpListener;

use super::origin::Origin;
use crate::clock::Clock;
use crate::listener::{Listener, ListenerLimits, Names, Peer, Received};
use crate::sandbox::budget::Charge;
use crate::sandbox::limits::Exceeded;
use crate::sandbox::tenant::Tenant;
use crate::transfer::Content;

/// How long a URL works: as long as the person can be answered.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// What a URL takes beside the texts that belong to it.
const LINK_BYTES: usize = 1024;
const UNKNOWN_MIME: &str = "application/octet-stream";

/// Serves media to agents on this machine. Clones share it.
#[derive(Clone)]
pub struct MediaServer {
    address: SocketAddr,
    links: Arc<Mutex<Links>>,
    clock: Clock,
}

debug_by_name!(MediaServer);

#[derive(Default)]
struct Links {
    by_secret: HashMap<String, (Link, Charge)>,
    /// The URLs of each account, oldest first. No account takes another one's room.
    order: HashMap<Arc<str>, VecDeque<(Duration, String)>>,
}

/// Why there is no content.
pub struct Unavailable {
    /// What the agent gets.
    pub status: StatusCode,
    /// In one line, for the agent and the log.
    pub why: String,
}

debug_by_name!(Unavailable);

/// Opens the content of one piece of media.
pub type Fetch = Arc<dyn Fn() -> BoxFuture<'static, Result<Content, Unavailable>> + Send + Sync>;

/// What a URL stands for.
#[derive(Clone)]
pub struct Link {
    /// Opens it, each time anew.
    pub fetch: Fetch,
    /// File name.
    pub name: Option<String>,
    /// Media type, where it is known without the content.
    pub mime: Option<String>,
    /// Bytes, where the platform told it.
    pub size: Option<u64>,
    /// More than this is broken off.
    pub max_bytes: u64,
    /// Bytes of the handle that `fetch` opens.
    pub handle_bytes: usize,
}

debug_by_name!(Link);

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

impl MediaServer {
    /// Listens on a free port of the loopback interface.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start(clock: Clock, limits: ListenerLimits) -> std::io::Result<MediaServer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let server = MediaServer {
            address: listener.local_addr()?,
            links: Arc::default(),
            clock,
        };
        let listener = Listener::from(listener).limited(limits);
        let serving = server.clone();
        let answer = move |request, peer| {
            let server = serving.clone();
            async move { Ok::<_, Infallible>(server.answer(request, peer).await) }
        };
        tokio::spawn(listener.serve("media", answer));
        Ok(server)
    }

    /// Makes a URL for a file of an account. Only a limited number of an account's URLs work at the same
    /// time, and within its budget; the oldest ones stop working first.
    ///
    /// # Errors
    /// When there is no room, even without the account's other URLs.
    pub fn link(&self, tenant: &Tenant, link: Link) -> Result<String, Exceeded> {
        let account = &tenant.account;
        let secret = format!("{:032x}", rand::random::<u128>());
        let url = format!("http://{}/media/{secret}", self.address);
        let expires = self.clock.elapsed() + LIFETIME;
        let mut links = self.links();
        links.forget_expired(self.clock.elapsed());
        let held = loop {
            match tenant.budget().charge(link.weight()) {
                Ok(held) => break held,
                Err(exceeded) if !links.forget_oldest(account) => return Err(exceeded),
                Err(_) => {}
            }
        };
        let most = tenant.limits.media_links.max(1);
        links.insert(account, most, (expires, secret), (link, held));
        Ok(url)
    }

    /// The origin of the URLs that it gives.
    pub(crate) fn origin(&self) -> Option<Origin> {
        format!("http://{}", self.address).parse().ok()
    }

    fn links(&self) -> std::sync::MutexGuard<'_, Links> {
        // What a panicked holder left is whole: each change is one call.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Received>, peer: Peer) -> Response<Body> {
        let (request, _) = request.into_parts();
        if let Err(foreign) = Names::default().check(peer.local, &request) {
            return refusal(StatusCode::FORBIDDEN, foreign.sentence());
        }
        let secret = request.uri.path().strip_prefix("/media/");
        let link = {
            let mut links = self.links();
            links.forget_expired(self.clock.elapsed());
            let found = secret.and_then(|secret| links.by_secret.get(secret));
            found.map(|(link, _)| link.clone())
        };
        let Some(link) = link else {
            let why = "there is no such media, or its URL has expired";
            return refusal(StatusCode::NOT_FOUND, why);
        };
        match request.method {
            Method::HEAD => {
                let mime = link.mime.as_deref().unwrap_or(UNKNOWN_MIME);
                let mut response = head(&link, mime).map(|()| empty());
                if let Some(size) = link.size {
                    let headers = response.headers_mut();
                    headers.insert(header::CONTENT_LENGTH, size.into());
                }
                response
            }
            Method::GET => link.serve().await,
            _ => refusal(StatusCode::METHOD_NOT_ALLOWED, "use GET or HEAD"),
        }
    }
}

impl Links {
    fn insert(
        &mut self,
        account: &Arc<str>,
        most: usize,
        entry: (Duration, String),
        link: (Link, Charge),
    ) {
        self.by_secret.insert(entry.1.clone(), link);
        let order = self.order.entry(Arc::clone(account)).or_default();
        order.push_back(entry);
        while order.len() > most
            && let Some((_, secret)) = order.pop_front()
        {
            self.by_secret.remove(&secret);
        }
    }

    /// Whether there was one.
    fn forget_oldest(&mut self, account: &str) -> bool {
        let order = self.order.get_mut(account);
        let oldest = order.and_then(VecDeque::pop_front);
        oldest.is_some_and(|(_, secret)| self.by_secret.remove(&secret).is_some())
    }

    fn forget_expired(&mut self, now: Duration) {
        let by_secret = &mut self.by_secret;
        self.order.retain(|_, order| {
            while let Some((expires, secret)) = order.front()
                && *expires <= now
            {
                by_secret.remove(secret);
                order.pop_front();
            }
            !order.is_empty()
        });
    }
}

impl Link {
    /// What it takes of its account's budget.
    fn weight(&self) -> usize {
        let texts = [&self.name, &self.mime].map(|text| text.as_ref().map_or(0, String::len));
        LINK_BYTES + self.handle_bytes + texts.iter().sum::<usize>()
    }

    async fn serve(self) -> Response<Body> {
        let content = match (self.fetch)().await {
            Ok(content) => content,
            Err(Unavailable { status, why }) => {
                tracing::warn!("media can't be fetched: {why}");
                return refusal(status, &why);
            }
        };
        let mime = content.mime.clone();
        let windows = Windows {
            content,
            left: self.max_bytes,
        };
        let body = stream::try_unfold(windows, |mut windows| async move {
            let window = windows.next().await?;
            Ok(window.map(|window| (Frame::data(window), windows)))
        });
        // Chunked, so that the transfer ends well only if the content was whole. By its length alone,
        // content that does not decrypt could look whole.
        head(&self, &mime).map(|()| StreamBody::new(body).boxed_unsync())
    }
}

struct Windows {
    content: Content,
    left: u64,
}

impl Windows {
    /// The next window. `None` after the last one, if the content was whole.
    async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        let broken = |why: &str| {
            tracing::warn!("media is broken off: {why}");
            Err(std::io::Error::other(why.to_owned()))
        };
        if let Some(window) = self.content.bytes.recv().await {
            let Some(left) = self.left.checked_sub(window.len() as u64) else {
                return broken("it is larger than allowed");
            };
            self.left = left;
            return Ok(Some(window));
        }
        match (&mut self.content.done).await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(error)) => broken(&error.message),
            Err(_) => broken("the instance ended"),
        }
    }
}

/// The head of an answer. The content is data: no browser is to make anything else of it, whatever the
/// component calls it.
fn head(link: &Link, mime: &str) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    let parsed = mime.parse::<Mime>();
    let is_type = parsed.is_ok_and(|mime| !mime.subtype().as_str().is_empty());
    let mime = HeaderValue::from_str(mime).ok().filter(|_| is_type);
    headers.insert(
        header::CONTENT_TYPE,
        mime.unwrap_or(HeaderValue::from_static(UNKNOWN_MIME)),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    );
    let disposition = disposition(link.name.as_deref().unwrap_or_default());
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    response
}

/// To be saved, under this name where there is one.
fn disposition(name: &str) -> HeaderValue {
    let encoded: String = name
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect();
    let named = format!("attachment; filename*=UTF-8''{encoded}");
    let named = HeaderValue::from_str(&named)
        .ok()
        .filter(|_| !encoded.is_empty());
    named.unwrap_or(HeaderValue::from_static("attachment"))
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn refusal(status: StatusCode, why: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(format!("{why}\n")));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_a_file_whatever_it_is_called() {
        let link = |name: Option<&str>| Link {
            fetch: Arc::new(|| unreachable!("it is not fetched")),
            name: name.map(str::to_owned),
            mime: None,
            size: None,
            max_bytes: 0,
            handle_bytes: 0,
        };
        for (mime, expect) in [
            ("image/png", "image/png"),
            ("text/html; charset=utf-8", "text/html; charset=utf-8"),
            ("audio/silk", "audio/silk"),
            ("", UNKNOWN_MIME),
            ("html", UNKNOWN_MIME),
            ("text/", UNKNOWN_MIME),
            ("text/html, text/plain", UNKNOWN_MIME),
            ("text/html\r\nset-cookie: a=b", UNKNOWN_MIME),
            ("text/html\n", UNKNOWN_MIME),
            ("图片/png", UNKNOWN_MIME),
        ] {
            let response = head(&link(None), mime);
            assert_eq!(response.headers()[header::CONTENT_TYPE], expect, "{mime}");
            assert_eq!(response.headers().len(), 4);
        }
        for (name, expect) in [
            (None, "attachment"),
            (Some(""), "attachment"),
            (Some("a b.txt"), "attachment; filename*=UTF-8''a%20b.txt"),
            (Some("\"\r\n;"), "attachment; filename*=UTF-8''%22%0D%0A%3B"),
            (Some("报"), "attachment; filename*=UTF-8''%E6%8A%A5"),
        ] {
            let response = head(&link(name), "text/html");
            let headers = response.headers();
            assert_eq!(headers[header::CONTENT_DISPOSITION], expect, "{name:?}");
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            let policy = &headers[header::CONTENT_SECURITY_POLICY];
            assert_eq!(policy, "default-src 'none'; sandbox");
        }
    }
}
