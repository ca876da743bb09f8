//! `media[].url`: the decrypted content of what people sent, for the agent.
//!
//! A URL is unguessable, belongs to one piece of media of one account, and expires. Content is fetched
//! when it is asked for. What is not whole is broken off, and never ends as if it were.

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
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::sandbox::budget::Charge;
use crate::sandbox::limits::Exceeded;
use crate::sandbox::tenant::Tenant;
use crate::transfer::Content;

/// How long a URL works: as long as a person can be answered.
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

#[derive(Default)]
struct Links {
    by_secret: HashMap<String, (Link, Charge)>,
    /// Of each account, oldest first: no account takes the place of another's.
    order: HashMap<Arc<str>, VecDeque<(Duration, String)>>,
}

/// Why there is no content.
pub struct Unavailable {
    /// What the agent gets.
    pub status: StatusCode,
    /// In one line, for the agent and the log.
    pub why: String,
}

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

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

impl MediaServer {
    /// Listens on a free port of the loopback interface.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start(clock: Clock) -> std::io::Result<MediaServer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let server = MediaServer {
            address: listener.local_addr()?,
            links: Arc::default(),
            clock,
        };
        let serving = server.clone();
        tokio::spawn(async move {
            loop {
                // A connection that can't be taken is the client's trouble; the next one may be.
                let Ok((connection, _)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let server = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| {
                        let server = server.clone();
                        async move { Ok::<_, Infallible>(server.answer(request).await) }
                    });
                    let connection = TokioIo::new(connection);
                    // How a transfer ends is told by the transfer.
                    let _ = http1::Builder::new()
                        .serve_connection(connection, service)
                        .await;
                });
            }
        });
        Ok(server)
    }

    /// A URL for a piece of media of an account. At most so many of it work at the same time, and
    /// within its budget; the oldest go first.
    ///
    /// # Errors
    /// When there is no room for it without any other.
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

    fn links(&self) -> std::sync::MutexGuard<'_, Links> {
        // What a panicked holder left is whole: each change is one call.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let secret = request.uri().path().strip_prefix("/media/");
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
        match *request.method() {
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
        // In chunks, so that only the good word about the last byte ends it: by its length alone, a
        // content that does not decrypt can look whole.
        head(&self, &mime).map(|()| StreamBody::new(body).boxed_unsync())
    }
}

struct Windows {
    content: Content,
    left: u64,
}

impl Windows {
    /// The next window; none after the last one of a content that is whole.
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

/// The head of an answer. The content is data: no browser is to make anything else of it.
fn head(link: &Link, mime: &str) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    let mime = HeaderValue::from_str(mime);
    headers.insert(
        header::CONTENT_TYPE,
        mime.unwrap_or(HeaderValue::from_static(UNKNOWN_MIME)),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let name = link.name.as_deref().unwrap_or_default();
    let encoded: String = name
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect();
    if !encoded.is_empty()
        && let Ok(value) = HeaderValue::from_str(&format!("attachment; filename*=UTF-8''{encoded}"))
    {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
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
