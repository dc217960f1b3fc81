//! Tickets and client certificates.

use rustls::{AlertDescription, Error, client::Resumption};

use super::*;
use crate::tls::handshake::Beginning;

/// One conversation, in which the client gets a ticket.
fn beginning(client_config: &Arc<ClientConfig>, config: &TlsConfig) -> Option<Beginning> {
    let (client, server) = meet(client_config, config);
    assert!(client.error.is_none() || server.established.is_none());
    server.established.map(|established| established.beginning)
}

fn meet(client_config: &Arc<ClientConfig>, config: &TlsConfig) -> (Client, Server) {
    let mut client = Client::shared(client_config, "localhost");
    let mut server = Server::new(config);
    converse(&mut client, &mut server, 50);
    if server.established.is_some() && client.error.is_none() {
        server.receive(&client.send(b"a request"));
        client.receive(&server.send(b"an answer"));
        assert_eq!(client.received, b"an answer");
        assert_eq!(server.received, b"a request");
    }
    (client, server)
}

#[test]
fn sessions_are_resumed_with_tickets_and_without_a_store() {
    let (config, client_config) = localhost();
    let client_config = Arc::new(client_config);
    assert_eq!(beginning(&client_config, &config), Some(Beginning::Full));
    for _ in 0..3 {
        assert_eq!(beginning(&client_config, &config.clone()), Some(Beginning::Resumed));
    }
    assert!(!config.server().session_storage.can_cache());
}

#[test]
fn one_ticket_is_sent() {
    let (client, mut server) = connected();
    assert_eq!(client.connection.tls13_tickets_received(), 1);
    assert_eq!(server.session().sent_records(), 1);
}

#[test]
fn early_data_is_not_accepted() {
    let (config, mut client_config) = localhost();
    client_config.enable_early_data = true;
    let client_config = Arc::new(client_config);
    beginning(&client_config, &config);
    let mut client = Client::shared(&client_config, "localhost");
    assert!(client.connection.early_data().is_none(), "the ticket does not allow it");
    assert_eq!(config.server().max_early_data_size, 0);
}

#[test]
fn tickets_survive_a_renewed_certificate_if_that_is_wanted() {
    let authority = Authority::new();
    let client_config = Arc::new(authority.client_config());
    let certificate = || authority.certificate(&["localhost"]);
    let old = TlsConfig::builder(certificate()).build().unwrap();
    beginning(&client_config, &old);
    let renewed = TlsConfig::builder(certificate()).tickets_of(&old).build().unwrap();
    assert_eq!(beginning(&client_config, &renewed), Some(Beginning::Resumed));
    let other = TlsConfig::builder(certificate()).build().unwrap();
    assert_eq!(beginning(&client_config, &other), Some(Beginning::Full));
}

fn with_certificate(authority: &Authority, issued: &Issued) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_client_auth_cert(issued.chain.clone(), issued.key.clone_key())
        .unwrap()
}

#[test]
fn client_certificates_are_checked_and_kept() {
    let (authority, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let certificate = authority.certificate(&["localhost"]);
    let build = |clients| {
        TlsConfig::builder(certificate.clone()).client_certificates(clients).build().unwrap()
    };
    let required = build(ClientCertificates::required(&clients.pem).unwrap());
    let optional = build(ClientCertificates::optional(&clients.pem).unwrap());
    let not_asked = TlsConfig::builder(certificate.clone()).build().unwrap();
    let (known, unknown) = (clients.issue(&["known"]), strangers.issue(&["unknown"]));
    let none = || Arc::new(authority.client_config());
    let known_config = || Arc::new(with_certificate(&authority, &known));
    let unknown_config = || Arc::new(with_certificate(&authority, &unknown));

    let shown = |client: Arc<ClientConfig>, config| {
        let (client, server) = meet(&client, config);
        let established = server.established.ok_or(client.error)?;
        Ok::<_, Option<Error>>(established.client_certificates)
    };
    let known_der = vec![Box::from(known.chain[0].as_ref())];
    let alert = |description| Err(Some(Error::AlertReceived(description)));
    assert_eq!(shown(known_config(), &required), Ok(known_der.clone()));
    assert_eq!(shown(known_config(), &optional), Ok(known_der));
    assert_eq!(shown(known_config(), &not_asked), Ok(vec![]));
    assert_eq!(shown(none(), &optional), Ok(vec![]));
    assert_eq!(shown(none(), &required), alert(AlertDescription::CertificateRequired));
    assert_eq!(shown(unknown_config(), &required), alert(AlertDescription::UnknownCA));
    assert_eq!(shown(unknown_config(), &optional), alert(AlertDescription::UnknownCA));
}

#[test]
fn a_revoked_authority_cannot_resume() {
    let (authority, old_clients, new_clients) =
        (Authority::new(), Authority::new(), Authority::new());
    let certificate = authority.certificate(&["localhost"]);
    let builder = |clients: Option<ClientCertificates>| {
        let builder = TlsConfig::builder(certificate.clone());
        match clients {
            Some(clients) => builder.client_certificates(clients),
            None => builder,
        }
    };
    let required = |authority: &Authority| ClientCertificates::required(&authority.pem).ok();
    let optional = |authority: &Authority| ClientCertificates::optional(&authority.pem).ok();
    let client_config = with_certificate(&authority, &old_clients.issue(&["client"]));
    let fresh = || {
        let mut client_config = client_config.clone();
        client_config.resumption = Resumption::in_memory_sessions(8);
        Arc::new(client_config)
    };
    let old = builder(required(&old_clients)).build().unwrap();

    let same = builder(required(&old_clients)).tickets_of(&old).build().unwrap();
    let client = fresh();
    assert_eq!(beginning(&client, &old), Some(Beginning::Full));
    let (_, server) = meet(&client, &same);
    let established = server.established.unwrap();
    assert_eq!(established.beginning, Beginning::Resumed);
    assert_eq!(established.client_certificates.len(), 1, "the ticket says who it is");

    for (clients, expected) in [
        (required(&new_clients), None),
        (optional(&new_clients), None),
        (optional(&old_clients), Some(Beginning::Full)),
        (None, Some(Beginning::Full)),
    ] {
        let client = fresh();
        assert_eq!(beginning(&client, &old), Some(Beginning::Full));
        let changed = builder(clients).tickets_of(&old).build().unwrap();
        assert_eq!(beginning(&client, &changed), expected);
    }
}

#[test]
fn rules_of_the_application_are_never_taken_for_the_same() {
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let certificate = Certificate::from_pem(&issued.chain_pem, &issued.key_pem).unwrap();
    let server = TlsConfig::builder(certificate.clone()).build().unwrap();
    let foreign = TlsConfig::from_rustls_0_23((**server.server()).clone());
    let client = Arc::new(authority.client_config());
    beginning(&client, &foreign);
    let changed = TlsConfig::builder(certificate).tickets_of(&foreign).build().unwrap();
    assert_eq!(beginning(&client, &changed), Some(Beginning::Full));
}
