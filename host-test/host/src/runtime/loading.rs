//! Loads components: reads, compiles and checks them, and asks them for their description.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::{
    MARK, PACKAGE, PACKAGE_VERSION, Plugin, Runtime, Started, descriptor, innermost, metered,
    within,
};
use crate::bindings::exports::gateway::channel::meta::Descriptor;
use crate::egress::credential::Secrets;
use crate::egress::{self, Egress};
use crate::exports::{Exports, ExportsPre};
use crate::sandbox::limits::Exceeded;
use crate::sandbox::tenant::Tenant;
use crate::sandbox::{Sandbox, offload};
use crate::state::memory::MemoryState;

/// Why a component can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("component {}: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system or wasmtime says.
        reason: String,
    },
    /// It is something else, by its first bytes.
    #[error("component {}: it is no WebAssembly component, {what}", .path.display())]
    SomethingElse {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// It is broken, or uses what wasmtime can't compile.
    #[error("component {}: it is no WebAssembly component that this host can compile: it is cut off, broken or newer than this host ({reason})", .path.display())]
    NotAComponent {
        /// The file.
        path: PathBuf,
        /// What the system or wasmtime says.
        reason: String,
    },
    /// It belongs to another world.
    #[error(
        "component {}: it exports {found}, this host runs {PACKAGE}@{PACKAGE_VERSION}: use a \
         component or a host of the same version", .path.display()
    )]
    WrongWorld {
        /// The file.
        path: PathBuf,
        /// The interface that it exports instead.
        found: String,
    },
    /// It asks for something that this host does not give.
    #[error("component {}: it imports what this host does not give ({reason})", .path.display())]
    Unlinkable {
        /// The file.
        path: PathBuf,
        /// What the system or wasmtime says.
        reason: String,
    },
    /// It has not all that a channel has.
    #[error(
        "component {}: it lacks an export of {PACKAGE}@{PACKAGE_VERSION}, or has it in another \
         shape ({reason})", .path.display()
    )]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// What the system or wasmtime says.
        reason: String,
    },
    /// It failed to describe itself.
    #[error("component {}: it does not describe itself as it must ({reason})", .path.display())]
    Undescribed {
        /// The file.
        path: PathBuf,
        /// What the system or wasmtime says.
        reason: String,
    },
}

impl Runtime {
    /// Loads, compiles and checks a component.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub async fn load(&self, path: &Path) -> Result<Plugin, LoadError> {
        let bytes = self.read(path).await?;
        self.load_bytes(path, bytes).await
    }

    /// The same. Returns `None` if the content of the file has this digest.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub async fn load_other(
        &self,
        path: &Path,
        digest: Option<&str>,
    ) -> Result<Option<Plugin>, LoadError> {
        let bytes = self.read(path).await?;
        if digest == Some(&*digest_of(&bytes)) {
            return Ok(None);
        }
        self.load_bytes(path, bytes).await.map(Some)
    }

    async fn read(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        if let Ok(data) = tokio::fs::metadata(path).await {
            self.check_size(path, data.len())?;
        }
        let bytes = tokio::fs::read(path).await;
        bytes.map_err(|error| LoadError::Unreadable {
            path: path.to_owned(),
            reason: match error.kind() {
                ErrorKind::IsADirectory => "it is a directory: name the .wasm file".to_owned(),
                ErrorKind::NotFound => "there is no such file".to_owned(),
                _ => format!("it can't be read: {error}"),
            },
        })
    }

    /// The same for what is in memory; `path` is its name.
    ///
    /// # Errors
    /// One sentence that has the name.
    pub async fn load_bytes(&self, path: &Path, bytes: Vec<u8>) -> Result<Plugin, LoadError> {
        let path_buf = || path.to_owned();
        self.check_size(path, u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        if let Some(what) = something_else(&bytes) {
            return Err(LoadError::SomethingElse {
                path: path_buf(),
                what,
            });
        }
        let digest = digest_of(&bytes);
        let engine = self.engine.clone();
        let compiled = tokio::task::spawn_blocking(move || Component::new(&engine, &bytes))
            .await
            .map_err(|error| error.to_string())
            .and_then(|component| component.map_err(|error| innermost(&error)));
        let component = compiled.map_err(|reason| LoadError::NotAComponent {
            path: path_buf(),
            reason,
        })?;
        self.check_world(&component)
            .map_err(|found| LoadError::WrongWorld {
                path: path_buf(),
                found,
            })?;
        let imports = component
            .component_type()
            .imports(&self.engine)
            .map(|(name, _)| name.to_owned())
            .collect();
        let pre =
            self.linker
                .instantiate_pre(&component)
                .map_err(|error| LoadError::Unlinkable {
                    path: path_buf(),
                    reason: innermost(&error),
                })?;
        let pre = ExportsPre::new(pre).map_err(|error| LoadError::Incomplete {
            path: path_buf(),
            reason: innermost(&error),
        })?;
        let descriptor = self
            .describe(&pre)
            .await
            .map_err(|error| LoadError::Undescribed {
                path: path_buf(),
                reason: innermost(&error),
            })?;
        descriptor::check(&descriptor).map_err(|reason| LoadError::Undescribed {
            path: path_buf(),
            reason,
        })?;
        Ok(Plugin {
            has_handler: pre.has_handler(),
            pre,
            descriptor: Arc::new(descriptor),
            digest: digest.into(),
            imports,
        })
    }

    /// Refuses a component that is too large to be compiled.
    fn check_size(&self, path: &Path, bytes: u64) -> Result<(), LoadError> {
        let most = self.component_bytes;
        if bytes <= most {
            return Ok(());
        }
        Err(LoadError::Unreadable {
            path: path.to_owned(),
            reason: format!("it has more than {most} bytes (`RuntimeOptions::component_bytes`)"),
        })
    }

    /// What the component exports instead, where its world is not this host's.
    fn check_world(&self, component: &Component) -> Result<(), String> {
        let ty = component.component_type();
        let exports: Vec<&str> = ty
            .exports(&self.engine)
            .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentInstance(_)))
            .map(|(name, _)| name)
            .collect();
        let wanted = format!("{PACKAGE}/{MARK}@{PACKAGE_VERSION}");
        if exports.contains(&wanted.as_str()) {
            return Ok(());
        }
        let version = exports
            .iter()
            .filter_map(|name| name.strip_prefix(&format!("{PACKAGE}/")))
            .find_map(|name| name.split_once('@'))
            .map(|(_, version)| version);
        Err(match (version, exports.as_slice()) {
            (Some(version), _) => format!("{PACKAGE}@{version}"),
            (None, []) => "no interface".to_owned(),
            (None, exports) => {
                let shown: Vec<&str> = exports.iter().take(3).copied().collect();
                format!("{} and no {PACKAGE}", shown.join(", "))
            }
        })
    }

    /// Asks a component for its description, in a sandbox that reaches nothing.
    pub(super) async fn describe(&self, pre: &ExportsPre) -> wasmtime::Result<Descriptor> {
        let egress = Egress::new(
            self.client.clone(),
            Vec::new(),
            Secrets::default(),
            egress::Limits::default(),
            self.clock.clone(),
        );
        let tenant = Tenant::new("".into(), self.limits.clone());
        let egress = egress.within(Arc::clone(&tenant.share));
        let sandbox = Sandbox::new(
            Arc::clone(&tenant),
            Arc::default(),
            Arc::new(MemoryState::default()),
            egress,
            self.clock.clone(),
        );
        let Started {
            mut store,
            exports: Exports { channel, .. },
            meter,
        } = self.instantiate(pre, sandbox).await?;
        let metering = meter.clone();
        let describing = offload::run(metering, async move {
            let describing = store.run_concurrent(async |accessor| {
                channel.gateway_channel_meta().call_describe(accessor).await
            });
            metered(meter, &tenant, describing).await
        });
        let limit = self.limits.calls.describe;
        match within(limit, describing).await {
            Some(described) => described?,
            None => Err(Exceeded::call("calls.describe", "it takes longer", limit).into()),
        }
    }
}

fn digest_of(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(bytes))
}

/// Says what a file is that is no component.
fn something_else(bytes: &[u8]) -> Option<&'static str> {
    // A binary's magic number is followed by a version and a layer: 1 and 0 is a module, and a layer
    // of 1 a component.
    match bytes {
        [] => Some("it is empty"),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Some(
            "it is a core module: build it for the target wasm32-wasip2, or make it a component \
             with `wasm-tools component new`",
        ),
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => None,
        [b'\0', b'a', b's', b'm', ..] => {
            Some("it is cut off, or of a WebAssembly that this host does not know")
        }
        [0x7f, b'E', b'L', b'F', ..] => Some("it is a program or library of a machine"),
        text if std::str::from_utf8(text).is_ok() => Some(
            "it is text: a component is binary, `wasm-tools parse` makes one of its text format",
        ),
        _ => Some("its first bytes are of another kind of file"),
    }
}
