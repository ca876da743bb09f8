//! The addresses that a run listens on: the operator's API, and the callbacks of platforms.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::error::RunError;
use gateway_host::admin::{self, Token};
use gateway_host::clock::Clock;
use gateway_host::gateway::Gateway;
use gateway_host::listener::{Listener, Names, Tls};
use gateway_host::webhooks;

/// What an operator is told whose API others can reach.
const OPEN_ADMIN: &str = "the operator's API is open to other machines without TLS: whoever is on the way \
    reads its token and the messages. Add --tls-cert and --tls-key, or listen on 127.0.0.1 and put a proxy \
    with TLS before it";

/// Listeners that are bound, and serve nobody yet.
pub struct Servers {
    admin: Option<(Listener, Token)>,
    webhooks: Option<Listener>,
}

impl Servers {
    /// Binds them. `tls` has the files of the certificate and the key; `names` are those that the
    /// operator's API is called by besides this machine's.
    ///
    /// # Errors
    /// When the files can't be used or an address can't be bound, for the user to correct.
    pub async fn bind(
        admin: Option<(SocketAddr, Token)>,
        webhooks: Option<SocketAddr>,
        tls: Option<(PathBuf, PathBuf)>,
        names: Names,
    ) -> Result<Servers, RunError> {
        let tls = match tls {
            Some((certificate, key)) => {
                let loaded = Tls::load(&certificate, &key, Clock::new());
                Some(loaded.map_err(|error| RunError::Usage(error.to_string()))?)
            }
            None => None,
        };
        let admin = match admin {
            Some((address, token)) => {
                let (listener, address) = listen("--admin", address, &tls).await?;
                tracing::info!(%address, "the operator's API listens");
                if tls.is_none() && !address.ip().is_loopback() {
                    tracing::warn!(%address, "{OPEN_ADMIN}");
                }
                Some((listener.named(names), token))
            }
            None => None,
        };
        let webhooks = match webhooks {
            Some(address) => {
                let (listener, address) = listen("--webhooks", address, &tls).await?;
                tracing::info!(%address, "webhooks are listened for");
                Some(listener)
            }
            None => None,
        };
        Ok(Servers { admin, webhooks })
    }

    /// Whether callbacks are taken.
    pub fn has_webhooks(&self) -> bool {
        self.webhooks.is_some()
    }

    /// Serves the accounts of a gateway until the tasks are dropped.
    pub fn serve(self, gateway: &Gateway) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if let Some((listener, token)) = self.admin {
            tasks.spawn(admin::serve(listener, token, gateway.clone()));
        }
        if let Some(listener) = self.webhooks {
            tasks.spawn(webhooks::serve(listener, gateway.clone()));
        }
        tasks
    }
}

async fn listen(
    option: &str,
    address: SocketAddr,
    tls: &Option<Arc<Tls>>,
) -> Result<(Listener, SocketAddr), RunError> {
    let failed = |error: std::io::Error| RunError::Usage(format!("{option} {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let listener = Listener::from(listener);
    let listener = match tls {
        Some(tls) => listener.with_tls(Arc::clone(tls)),
        None => listener,
    };
    Ok((listener, address))
}
