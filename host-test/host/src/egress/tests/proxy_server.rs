//! A proxy and a server with TLS, both in this process.

use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::ToSocketAddrs;
use tokio_rustls::TlsAcceptor;

use super::*;

/// How a proxy treats a connection once it has read the head of a request.
#[derive(Clone, Copy)]
pub(super) enum Treats {
    /// Passes it on to the upstream server, whatever host is named.
    Well,
    /// Answers this.
    With(&'static str),
    /// Agrees to a tunnel and ends it.
    Cutting,
}

pub(super) const REFUSED: &str = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
pub(super) const UNAUTHORIZED: &str = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                            proxy-authenticate: Basic realm=x\r\ncontent-length: 0\r\n\r\n";

/// A proxy that keeps the heads of what it was asked.
pub(super) struct TestProxy {
    pub(super) address: SocketAddr,
    pub(super) heads: Arc<Mutex<Vec<String>>>,
}

impl TestProxy {
    pub(super) async fn start(upstream: SocketAddr, treats: Treats) -> TestProxy {
        TestProxy::start_with(upstream, treats, None).await
    }

    pub(super) async fn start_with(
        upstream: SocketAddr,
        treats: Treats,
        tls: Option<TlsAcceptor>,
    ) -> TestProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = heads.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, tls) = (kept.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            let stream = tls.accept(stream).await?;
                            pass_on(stream, upstream, treats, &kept).await
                        }
                        None => pass_on(stream, upstream, treats, &kept).await,
                    }
                });
            }
        });
        TestProxy { address, heads }
    }

    pub(super) fn everything(&self) -> Proxies {
        Proxies::everything_through(&format!("http://{}", self.address)).unwrap()
    }

    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

pub(super) async fn pass_on<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    upstream: impl ToSocketAddrs,
    treats: Treats,
    kept: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let is_tunnel = head.starts_with("CONNECT ");
    kept.lock().unwrap().push(head);
    if let Treats::With(answer) = treats {
        return stream.write_all(answer.as_bytes()).await;
    }
    if is_tunnel {
        stream
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await?;
    }
    if matches!(treats, Treats::Cutting) {
        return stream.flush().await;
    }
    let mut server = TcpStream::connect(upstream).await?;
    if !is_tunnel {
        server.write_all(&read).await?;
    }
    copy_bidirectional(&mut stream, &mut server).await?;
    Ok(())
}

/// A certificate for `example.com` and `proxy.test`: who shows it, and who believes it.
pub(super) fn certificate() -> (TlsAcceptor, Arc<ClientConfig>) {
    let names = ["example.com", "proxy.test"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (TlsAcceptor::from(Arc::new(server)), Arc::new(client))
}

/// A server with TLS in front of the usual one.
pub(super) async fn tls_in_front_of(server: &Server, tls: TlsAcceptor) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, behind) = (listener.local_addr().unwrap(), server.address);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let mut stream = tls.accept(stream).await?;
                let mut server = TcpStream::connect(behind).await?;
                copy_bidirectional(&mut stream, &mut server).await
            });
        }
    });
    address
}

/// Knows the proxy's name; to ask for another is a failure.
pub(super) struct TheProxyAlone;

impl Resolve for TheProxyAlone {
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let known = host == "proxy.test";
        async move {
            match known {
                true => Ok(vec![IpAddr::from([127, 0, 0, 1])]),
                false => Err(io::Error::other("only the proxy knows it")),
            }
        }
        .boxed()
    }
}
