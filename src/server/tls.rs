//! TLS, by rustls: what `[tls]` names, read and checked as a whole.

use std::{path::Path, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use crate::config::{ClientCertificates, SettingsError, TlsSettings, refuse_open, regular};

/// gRPC is HTTP/2; the pages for operators are read by HTTP/1.1 too.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What new connections are met with; None: no certificate is set.
pub(super) fn load(settings: &TlsSettings) -> Result<Option<Arc<ServerConfig>>, SettingsError> {
    let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) else {
        return Ok(None);
    };
    let chain = certificates(certificate)?;
    refuse_open(key)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| wrong(key, format!("no private key: {error}")))?;
    let provider = Arc::new(ring::default_provider());
    let clients = client_verifier(settings, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(certificate, error.to_string()))?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    // Also finds a key that is not the certificate's.
    let mut config = builder
        .with_single_cert(chain, private)
        .map_err(|error| wrong(certificate, format!("with {}: {error}", key.display())))?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Some(Arc::new(config)))
}

fn client_verifier(
    settings: &TlsSettings,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, SettingsError> {
    let Some(path) = &settings.client_ca else {
        return Ok(None);
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| wrong(path, format!("not a CA's certificate: {error}")))?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match settings.client {
        ClientCertificates::None => return Ok(None),
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        ClientCertificates::Required => builder,
    };
    let verifier = builder
        .build()
        .map_err(|error| wrong(path, error.to_string()))?;
    Ok(Some(verifier))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    regular(path)?;
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let found = read().map_err(|error| wrong(path, format!("no certificate in PEM: {error}")))?;
    match found.is_empty() {
        true => Err(wrong(path, "no certificate in PEM".to_owned())),
        false => Ok(found),
    }
}

fn wrong(path: &Path, why: String) -> SettingsError {
    SettingsError::File {
        path: path.to_owned(),
        why,
    }
}
