//! A certificate for `localhost`, made at start, and clients that trust it.

use std::{fs, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    version::TLS13,
};

use crate::Result;

pub(crate) const NAME: &str = "localhost";
const CHAIN: &str = "certificate.pem";
const KEY: &str = "key.pem";

/// Writes the chain, the key, and both in one file, as HAProxy wants them. Returns what clients
/// need.
pub(crate) fn write_to(folder: &Path) -> Result<Arc<ClientConfig>> {
    // ECDSA on P-256: with RSA, handshakes cost more, in starwheel and in proxies.
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    fs::write(folder.join(CHAIN), &chain)?;
    fs::write(folder.join(KEY), &key)?;
    fs::write(folder.join("both.pem"), chain + &key)?;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    Ok(Arc::new(client(roots)?))
}

/// The same cipher and group for all servers, and full handshakes only.
fn client(roots: RootCertStore) -> Result<ClientConfig> {
    let provider = CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![ring::kx_group::X25519],
        ..ring::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// What [`write_to`] has written, for starwheel.
pub(crate) fn read_from(folder: &Path) -> Result<starwheel::Certificate> {
    Ok(starwheel::Certificate::from_pem_files(folder.join(CHAIN), folder.join(KEY))?)
}
