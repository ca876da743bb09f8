//! What an agent's reply names: a file of this machine, a URL, or the content itself.
//!
//! The size and the MD5 are known before the first byte is sent. No file is read into memory, except
//! content that came in the reply. A `path`, with its links resolved, must lie under a directory that
//! the operator allows, and is opened from that directory ([`super::folder`]). A `url` must lead to a
//! public https address or to an origin of the rules. Redirects are not followed.

use std::io::{Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty};
use md5::{Digest, Md5};
use tokio_util::io::ReaderStream;

use super::origin::{Origin, words};
use super::{MediaRules, inline};
use crate::agent::message::ReplyMedia;
use crate::clock::Clock;
use crate::egress::client::HttpClient;
use crate::egress::credential::Secrets;
use crate::egress::rule::Rule;
use crate::egress::{Egress, Limits, Timeouts};

const READ_BYTES: usize = 256 * 1024;

/// A file that is ready to be uploaded, as often as it takes.
pub struct Outgoing {
    /// File name, as the agent or its place gives it.
    pub name: String,
    /// Media type, where the agent or the server told it.
    pub mime: Option<String>,
    /// Bytes.
    pub size: u64,
    /// Of the content.
    pub md5: [u8; 16],
    source: Source,
}

debug_by_name!(Outgoing);

enum Source {
    File(std::fs::File),
    Bytes(Bytes),
}

/// Why a file is not sent: one sentence, without the content and without a URL's query.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It has more bytes than the rules allow.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<String> for Refused {
    fn from(why: String) -> Refused {
        Refused::Other(why)
    }
}

impl Outgoing {
    /// Finds and measures what a reply names.
    ///
    /// # Errors
    /// Why it is not sent.
    pub async fn prepare(
        media: &ReplyMedia,
        rules: &MediaRules,
        client: &HttpClient,
        clock: &Clock,
    ) -> Result<Outgoing, Refused> {
        match media {
            ReplyMedia::Path(path) => {
                let (path, rules) = (PathBuf::from(path), rules.clone());
                blocking(move || open(&path, &rules)).await
            }
            ReplyMedia::Url(url) => download(url, rules, client, clock).await,
            ReplyMedia::Data { name, mime, data } => {
                let inline = inline::read(data)?;
                let bytes = inline.bytes;
                if bytes.len() as u64 > rules.max_out {
                    return Err(Refused::TooLarge(rules.max_out));
                }
                let mime = mime.clone().or(inline.mime);
                Ok(Outgoing {
                    name: inline::name(name.as_deref().unwrap_or_default(), mime.as_deref()),
                    mime,
                    size: bytes.len() as u64,
                    md5: Md5::digest(&bytes).into(),
                    source: Source::Bytes(bytes.into()),
                })
            }
        }
    }

    /// The content from its start. One reader at a time.
    ///
    /// # Errors
    /// When the file can't be read any more.
    pub fn content(&self) -> std::io::Result<BoxStream<'static, std::io::Result<Bytes>>> {
        Ok(match &self.source {
            Source::Bytes(bytes) => stream::iter([Ok(bytes.clone())]).boxed(),
            Source::File(file) => {
                let mut file = file.try_clone()?;
                file.seek(SeekFrom::Start(0))?;
                let file = tokio::fs::File::from_std(file);
                ReaderStream::with_capacity(file, READ_BYTES).boxed()
            }
        })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(error.to_string().into()))
}

/// Opens a file of this machine, if it may be sent. A file outside of the allowed directories and a file
/// that does not exist get the same error, so a path reveals nothing about the rest of the machine.
fn open(path: &Path, rules: &MediaRules) -> Result<Outgoing, Refused> {
    const OUTSIDE: &str =
        "its path names no file in a directory that may be sent from: see --media-dir";
    if !path.is_absolute() {
        return Err("its path is not absolute".to_owned().into());
    }
    // Resolves the links now, as text. The file is then opened without following any.
    let real = path.canonicalize().map_err(|_| OUTSIDE.to_owned())?;
    let mut opened = rules
        .allowed
        .iter()
        .filter_map(|folder| folder.file(&real, &rules.denied));
    let file = opened
        .next()
        .ok_or_else(|| OUTSIDE.to_owned())?
        .map_err(|error| format!("its file can't be sent: {error}"))?;
    let name = real
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    measured(file, name, None, rules)
}

fn measured(
    mut file: std::fs::File,
    name: String,
    mime: Option<String>,
    rules: &MediaRules,
) -> Result<Outgoing, Refused> {
    let failed = |error: std::io::Error| format!("its file can't be read: {error}");
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut digest = Md5::new();
    let mut window = vec![0; READ_BYTES];
    let mut size = 0;
    loop {
        let read = file.read(&mut window).map_err(failed)?;
        if read == 0 {
            break;
        }
        size += read as u64;
        if size > rules.max_out {
            return Err(Refused::TooLarge(rules.max_out));
        }
        digest.update(window.get(..read).unwrap_or_default());
    }
    Ok(Outgoing {
        name,
        mime,
        size,
        md5: digest.finalize().into(),
        source: Source::File(file),
    })
}

/// Downloads a URL to a file without a name, which vanishes with its last reader.
async fn download(
    url: &str,
    rules: &MediaRules,
    client: &HttpClient,
    clock: &Clock,
) -> Result<Outgoing, Refused> {
    let uri: Uri = url.parse().map_err(|_| "its URL is none".to_owned())?;
    let rule = rule_for(&uri, &rules.origins)?;
    let limits = Limits {
        media_bytes: rules.max_out,
        ..Limits::default()
    };
    // Links point into the operator's own network, so they bypass the proxy to the platform.
    let egress = Egress::new(
        client.direct(),
        vec![rule],
        Secrets::default(),
        limits,
        clock.clone(),
    );
    let request = Request::get(&uri)
        .body(Empty::<Bytes>::new())
        .map_err(|_| "its URL is none".to_owned())?;
    let failed = |error: &dyn std::fmt::Display| format!("its URL can't be fetched: {error}");
    let response = egress
        .send(request, Timeouts::default())
        .await
        .map_err(|error| failed(&error))?;
    if !response.status().is_success() {
        return Err(failed(&format!("HTTP {}", response.status().as_u16())).into());
    }
    let mime = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    let name = inline::name(name, mime.as_deref());
    let mut file = tempfile::tempfile().map_err(|error| failed(&error))?;
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failed(&error))?;
        if let Ok(window) = frame.into_data() {
            // A write to the page cache; a slow disk shows in the copy, not here.
            file.write_all(&window).map_err(|error| failed(&error))?;
        }
    }
    let rules = rules.clone();
    blocking(move || measured(file, name, mime, &rules)).await
}

/// What lets a request to this URL through, and no other.
fn rule_for(uri: &Uri, origins: &[Origin]) -> Result<Rule, Refused> {
    if let Some(origin) = origins.iter().find(|origin| origin.has(uri)) {
        return Ok(origin.rule().clone());
    }
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_matches(['[', ']']);
    let is_here = bare == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let scheme = uri.scheme_str().unwrap_or_default();
    if is_here || scheme == "http" {
        let place = words(uri);
        let what = match is_here {
            true => "this machine",
            false => "plain http",
        };
        return Err(format!(
            "its URL leads to {what}, and {place} is neither the agent's own origin nor one that \
             --media-origin allows: if it may be read, add --media-origin {place}"
        )
        .into());
    }
    Rule::new(scheme, host, uri.port_u16(), "/")
        .map_err(|error| format!("its URL is refused: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::super::folder::Folder;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn rules(allowed: &Path, denied: &Path) -> MediaRules {
        MediaRules {
            allowed: vec![Folder::open(allowed).unwrap()],
            denied: vec![denied.to_owned()],
            max_out: 1000,
            ..MediaRules::default()
        }
    }

    #[test]
    fn only_regular_files_under_the_allowed_directories_are_sent() {
        let root = tempfile::tempdir().unwrap();
        let (inside, state) = (root.path().join("in"), root.path().join("in/state"));
        std::fs::create_dir_all(&state).unwrap();
        let write = |path: &Path, size| std::fs::write(path, vec![7; size]).unwrap();
        write(&inside.join("ok.txt"), 3);
        write(&inside.join("big.txt"), 1001);
        write(&root.path().join("outside.txt"), 3);
        write(&state.join("secret"), 3);
        std::os::unix::fs::symlink(root.path().join("outside.txt"), inside.join("link")).unwrap();
        std::os::unix::fs::symlink(inside.join("ok.txt"), inside.join("good-link")).unwrap();
        std::os::unix::fs::symlink(&state, inside.join("way")).unwrap();
        let rules = rules(&inside, &state);
        let open = |path: &Path| open(path, &rules);

        let file = open(&inside.join("ok.txt")).unwrap();
        assert_eq!((file.size, file.name.as_str()), (3, "ok.txt"));
        assert_eq!(file.md5, <[u8; 16]>::from(Md5::digest([7, 7, 7])));
        assert!(open(&inside.join("good-link")).is_ok());
        for refused in [
            inside.join("big.txt"),
            root.path().join("outside.txt"),
            inside.join("link"),
            inside.join("../outside.txt"),
            state.join("secret"),
            inside.join("way/secret"),
            inside.clone(),
            inside.join("missing"),
            PathBuf::from("ok.txt"),
            PathBuf::from("/dev/zero"),
            PathBuf::from("/proc/self/environ"),
        ] {
            assert!(open(&refused).is_err(), "{}", refused.display());
        }
    }

    #[tokio::test]
    async fn data_is_decoded_and_bounded() {
        let rules = rules(Path::new("/"), Path::new("/"));
        let prepare = async |data: &str| {
            let media = ReplyMedia::Data {
                name: Some("a.txt".into()),
                mime: None,
                data: data.into(),
            };
            Outgoing::prepare(&media, &rules, &HttpClient::new(), &Clock::new()).await
        };
        let file = prepare("aGVsbG8=").await.unwrap();
        assert_eq!(file.size, 5);
        assert!(prepare("!").await.is_err());
        assert!(prepare(&STANDARD.encode([0; 1001])).await.is_err());
    }

    #[test]
    fn only_listed_origins_are_reached_beside_the_public_internet() {
        let origins: Vec<Origin> = [
            "http://127.0.0.1:8000",
            "https://files.local",
            "http://[::1]",
        ]
        .map(|origin| origin.parse().unwrap())
        .into();
        let asked = |url: &str| rule_for(&url.parse().unwrap(), &origins);
        for (url, is_configured) in [
            ("http://127.0.0.1:8000/a.png?b=c", true),
            ("https://files.local/a", true),
            ("https://files.local:443/a", true),
            ("http://[::1]:80/a", true),
            ("https://example.com/a", false),
            ("https://example.com:8443/a", false),
            // Where they lead is seen when they are resolved, and only public addresses pass.
            ("https://169.254.169.254/a", false),
            ("https://localhost.example/a", false),
        ] {
            let rule = asked(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(rule.configured, is_configured, "{url}");
        }
        for (url, expect) in [
            (
                "http://127.0.0.1:8001/a",
                "--media-origin http://127.0.0.1:8001",
            ),
            ("http://127.0.0.1/a", "--media-origin http://127.0.0.1"),
            (
                "https://127.0.0.1:8000/a",
                "--media-origin https://127.0.0.1:8000",
            ),
            (
                "http://localhost:8000/a",
                "--media-origin http://localhost:8000",
            ),
            ("https://localhost/a", "--media-origin https://localhost"),
            (
                "http://127.0.0.2:8000/a",
                "--media-origin http://127.0.0.2:8000",
            ),
            ("http://[::1]:8000/a", "--media-origin http://[::1]:8000"),
            ("http://10.0.0.1/a", "--media-origin http://10.0.0.1"),
            ("http://example.com/a", "--media-origin http://example.com"),
            (
                "http://u:hunter2@127.0.0.1:8000/a",
                "--media-origin http://127.0.0.1:8000",
            ),
            ("https://u:hunter2@127.1/a", "its URL is refused"),
            ("ftp://127.0.0.1:8000/a", "--media-origin"),
            ("gopher://example.com/a", "its URL is refused"),
            ("/a", "its URL is refused"),
        ] {
            let error = asked(url).unwrap_err().to_string();
            assert!(error.contains(expect), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_origin_is_read_without_its_path_and_never_with_a_user() {
        let origin = |text: &str| text.parse::<Origin>().map(|origin| origin.to_string());
        assert_eq!(
            origin("http://127.0.0.1:8000/a/b").unwrap(),
            "http://127.0.0.1:8000"
        );
        let of = Origin::of(&"https://agent.example/a?b=hunter2".parse().unwrap());
        assert_eq!(of.unwrap().to_string(), "https://agent.example");
        for wrong in [
            "",
            "*",
            "8000",
            "127.0.0.1:8000",
            "ftp://host",
            "http://u:hunter2@host",
            "http://",
        ] {
            let error = origin(wrong).unwrap_err().to_string();
            assert!(error.contains("http(s)://host"), "{wrong}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
