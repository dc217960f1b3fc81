//! Certificates and keys that cannot be used, and what the errors say.

use std::{env, fs, process};

use super::*;

fn problem(chain: &str, key: &str) -> TlsProblem {
    Certificate::from_pem(chain, key).unwrap_err().problem()
}

#[test]
fn unusable_certificates_and_keys_are_told_apart() {
    let authority = Authority::new();
    let (issued, other) = (authority.issue(&["a.test"]), authority.issue(&["b.test"]));
    let (chain, key) = (&issued.chain_pem[..], &issued.key_pem[..]);
    let broken = chain.replace("-----END", "!\n-----END");
    let no_certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let no_key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    assert_eq!(problem("", key), TlsProblem::NoCertificate);
    assert_eq!(problem(key, key), TlsProblem::NoCertificate);
    assert_eq!(problem(&broken, key), TlsProblem::MalformedPem);
    assert_eq!(problem(no_certificate, key), TlsProblem::BadCertificate);
    assert_eq!(problem(chain, ""), TlsProblem::NoKey);
    assert_eq!(problem(chain, &key.replace("PRIVATE", "ENCRYPTED PRIVATE")), TlsProblem::NoKey);
    assert_eq!(problem(chain, no_key), TlsProblem::BadKey);
    assert_eq!(problem(chain, &other.key_pem), TlsProblem::KeyMismatch);
    let authority_first = authority.pem.clone() + chain;
    assert_eq!(problem(&authority_first, key), TlsProblem::KeyMismatch);
    let roots = ClientCertificates::optional(no_certificate).unwrap_err();
    assert_eq!(roots.problem(), TlsProblem::BadClientRoots);
}

#[test]
fn a_chain_and_a_key_may_be_one_text() {
    let authority = Authority::new();
    let issued = authority.issue(&["A.test", "*.b.test"]);
    let all = [issued.key_pem, issued.chain_pem, authority.pem.clone()].concat();
    let certificate = Certificate::from_pem(&all, &all).unwrap();
    assert_eq!(certificate.names().collect::<Vec<_>>(), ["a.test", "*.b.test"]);
    assert_eq!(format!("{certificate:?}"), r#"Certificate { names: ["a.test", "*.b.test"], .. }"#);
}

#[test]
fn an_error_names_its_file_and_never_its_content() {
    let folder = env::temp_dir().join(format!("starwheel-tls-{}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (chain_path, key_path) = (folder.join("chain.pem"), folder.join("key.pem"));
    let authority = Authority::new();
    let (issued, other) = (authority.issue(&["a.test"]), authority.issue(&["b.test"]));
    fs::write(&chain_path, &issued.chain_pem).unwrap();
    let missing = Certificate::from_pem_files(&chain_path, &key_path).unwrap_err();
    fs::write(&key_path, &other.key_pem).unwrap();
    let mismatch = Certificate::from_pem_files(&chain_path, &key_path).unwrap_err();
    fs::write(&key_path, &issued.key_pem).unwrap();
    let certificate = Certificate::from_pem_files(&chain_path, &key_path);
    let no_roots = ClientCertificates::required_from_file(&key_path).unwrap_err();
    fs::remove_dir_all(&folder).unwrap();
    certificate.unwrap();
    for (error, problem) in [
        (missing, TlsProblem::Unreadable),
        (mismatch, TlsProblem::KeyMismatch),
        (no_roots, TlsProblem::NoCertificate),
    ] {
        assert_eq!((error.problem(), error.path()), (problem, Some(key_path.as_path())));
        let text = format!("{error} {error:?}");
        assert!(text.contains("key.pem: ") && !text.contains(&other.key_pem[40..60]), "{text}");
    }
}

/// What an application sets for rustls must not break what connections depend on.
#[test]
fn a_configuration_of_rustls_gets_what_we_need() {
    let (config, client_config) = localhost();
    let mut server = (**config.server()).clone();
    server.alpn_protocols = vec![b"h2".to_vec()];
    server.enable_secret_extraction = false;
    server.max_early_data_size = 1000;
    server.send_half_rtt_data = true;
    server.send_tls13_tickets = 4;
    let config = TlsConfig::from_rustls_0_23(server);
    let mut client = Client::new(client_config, "localhost");
    client.connection.set_buffer_limit(None);
    let mut server = Server::new(&config);
    converse(&mut client, &mut server, 10);
    client.receive(&server.send(b"after four tickets"));
    assert_eq!(client.received, b"after four tickets");
    assert_eq!(config.server().max_early_data_size, 0);
}
