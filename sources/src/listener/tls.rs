//! TLS in front of a listener: certificate and key from two PEM files, read anew when they change.
//!
//! A renewed certificate serves those who connect from then on; connections that live are not touched.
//! Files that cannot be read any more leave the old ones in force, and say so in the log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use imflow_kind::StartError;
use parking_lot::Mutex;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the service's own certificate first.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What serves those who connect.
pub(super) struct Tls {
    files: TlsFiles,
    current: Mutex<(Option<Stamp>, Arc<ServerConfig>)>,
}

/// When the files were written, and how long they are.
type Stamp = [(SystemTime, u64); 2];

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When they cannot be read, or do not belong together.
    pub(super) fn open(files: TlsFiles) -> Result<Arc<Self>, StartError> {
        let (stamp, config) = (files.stamp(), files.read().map_err(StartError::new)?);
        Ok(Arc::new(Self { files, current: Mutex::new((stamp, config)) }))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.lock().1))
    }

    /// Reads the files anew whenever they have changed; for good.
    pub(super) async fn follow(&self, listener: &str) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.look(listener);
        }
    }

    fn look(&self, listener: &str) {
        let stamp = self.files.stamp();
        if stamp.is_none() || stamp == self.current.lock().0 {
            return;
        }
        match self.files.read() {
            Ok(config) => {
                *self.current.lock() = (stamp, config);
                tracing::info!(listener, "the certificate was read anew");
            }
            Err(error) => {
                // Told once for each change.
                self.current.lock().0 = stamp;
                tracing::error!(
                    listener,
                    "{error}; the certificate that was read before stays in use"
                );
            }
        }
    }
}

impl TlsFiles {
    fn stamp(&self) -> Option<Stamp> {
        let of = |path: &PathBuf| {
            let data = std::fs::metadata(path).ok()?;
            Some((data.modified().ok()?, data.len()))
        };
        Some([of(&self.certificate)?, of(&self.key)?])
    }

    fn read(&self) -> Result<Arc<ServerConfig>, String> {
        let failed = |what: &str, path: &PathBuf, error: &dyn std::fmt::Display| {
            format!(
                "the TLS {what} {} cannot be read: {error}; it is expected in PEM",
                path.display()
            )
        };
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| failed("certificate", &self.certificate, &error))?;
        if chain.is_empty() {
            return Err(failed("certificate", &self.certificate, &"it holds no certificate"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| failed("key", &self.key, &error))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let mut config = config.map_err(|error| {
            format!(
                "the TLS certificate {} and the key {} cannot be used: {error}; they must belong together",
                self.certificate.display(),
                self.key.display()
            )
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
