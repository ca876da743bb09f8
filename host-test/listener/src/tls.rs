//! TLS with a certificate from files. The files are read again when they change: certificates are
//! renewed every few weeks, and a gateway runs for months.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
/// What takes a connection with TLS.
pub(crate) use tokio_rustls::TlsAcceptor as Acceptor;

use crate::clock::Clock;

/// How often the files are checked while connections arrive.
const LOOK: Duration = Duration::from_secs(60);

/// Why there is no TLS, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// A certificate and its key.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    clock: Clock,
    now: Mutex<Now>,
}

debug_by_name!(Tls);

struct Now {
    acceptor: Acceptor,
    version: Version,
    looked: Duration,
}

/// What differs after a change of the files.
type Version = [Option<(SystemTime, u64)>; 2];

impl Tls {
    /// Reads both files, which are PEM: the server's certificate, followed by the intermediate ones, and
    /// its key. `clock` decides when they are checked again.
    ///
    /// # Errors
    /// One line that names the file and what is wrong with it.
    pub fn load(certificate: &Path, key: &Path, clock: Clock) -> Result<Arc<Tls>, TlsError> {
        let version = version(certificate, key);
        let now = Now {
            acceptor: read(certificate, key)?,
            version,
            looked: clock.elapsed(),
        };
        Ok(Arc::new(Tls {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            clock,
            now: Mutex::new(now),
        }))
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        // Each change is whole at any time.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The acceptor for the next connection. A connection that finds the files changed still gets the old
    /// certificate, so that it does not wait for the disk.
    pub(crate) fn acceptor(self: &Arc<Tls>) -> Acceptor {
        let time = self.clock.elapsed();
        let mut now = self.now();
        if time.saturating_sub(now.looked) >= LOOK {
            now.looked = time;
            let tls = Arc::clone(self);
            tokio::task::spawn_blocking(move || tls.look());
        }
        now.acceptor.clone()
    }

    fn look(&self) {
        let version = version(&self.certificate, &self.key);
        if self.now().version == version {
            return;
        }
        let read = read(&self.certificate, &self.key);
        let mut now = self.now();
        // If the files are half written, the next check sees the rest.
        now.version = version;
        match read {
            Ok(acceptor) => {
                now.acceptor = acceptor;
                tracing::info!("the certificate was read again");
            }
            Err(error) => tracing::error!("the old certificate goes on: {error}"),
        }
    }
}

fn version(certificate: &Path, key: &Path) -> Version {
    [certificate, key].map(|path| {
        let about = std::fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len()))
    })
}

fn read(certificate: &Path, key: &Path) -> Result<Acceptor, TlsError> {
    let of = |option: &str, path: &Path, why: &dyn std::fmt::Display| {
        TlsError(format!("{option} {}: {why}", path.display()))
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| of("--tls-cert", certificate, &error))?;
    if chain.is_empty() {
        let why = "it holds no certificate: name a PEM file";
        return Err(of("--tls-cert", certificate, &why));
    }
    // The error may not repeat what is in the file.
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
        rustls::pki_types::pem::Error::Io(error) => of("--tls-key", key, &error),
        _ => of(
            "--tls-key",
            key,
            &"it holds no private key: name a PEM file",
        ),
    })?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, secret));
    let mut config = config.map_err(|error| {
        let why = format!(
            "it can't be used with --tls-cert {}: {error}",
            certificate.display()
        );
        of("--tls-key", key, &why)
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Acceptor::from(Arc::new(config)))
}
