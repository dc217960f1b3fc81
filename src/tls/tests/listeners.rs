//! Configurations that are replaced while listeners use them.

use std::net::SocketAddr;

use super::*;
use crate::tls::handshake::Beginning;

fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn beginning(client_config: &Arc<ClientConfig>, listener: &TlsListener) -> Option<Beginning> {
    let mut client = Client::shared(client_config, "localhost");
    let mut server = Server::new(&listener.config());
    converse(&mut client, &mut server, 50);
    if server.established.is_some() {
        client.receive(&server.send(b"an answer"));
    }
    server.established.map(|established| established.beginning)
}

#[test]
fn a_reload_keeps_tickets_without_being_asked() {
    let authority = Authority::new();
    let config = || TlsConfig::builder(authority.certificate(&["localhost"])).build().unwrap();
    let listeners = TlsListeners::default();
    let listener = listeners.add(Some(address(1)), config());
    let client = Arc::new(authority.client_config());
    assert_eq!(beginning(&client, &listener), Some(Beginning::Full));
    for _ in 0..3 {
        listeners.reload(config()).unwrap();
        assert_eq!(beginning(&client, &listener), Some(Beginning::Resumed));
    }
}

#[test]
fn a_reload_that_changes_the_check_of_clients_ends_their_tickets() {
    let (authority, old_clients, new_clients) =
        (Authority::new(), Authority::new(), Authority::new());
    let certificate = authority.certificate(&["localhost"]);
    let config = |clients: &Authority| {
        TlsConfig::builder(certificate.clone())
            .client_certificates(ClientCertificates::required(&clients.pem).unwrap())
            .build()
            .unwrap()
    };
    let issued = old_clients.issue(&["client"]);
    let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_client_auth_cert(issued.chain.clone(), issued.key.clone_key())
        .unwrap();
    let client = Arc::new(client);
    let listeners = TlsListeners::default();
    let listener = listeners.add(None, config(&old_clients));
    assert_eq!(beginning(&client, &listener), Some(Beginning::Full));
    listeners.reload(config(&old_clients)).unwrap();
    assert_eq!(beginning(&client, &listener), Some(Beginning::Resumed));
    listeners.reload(config(&new_clients)).unwrap();
    assert_eq!(beginning(&client, &listener), None, "its authority was revoked");
    // Also if the old rules come back: a ticket is not a certificate.
    listeners.reload(config(&old_clients)).unwrap();
    assert_eq!(beginning(&client, &listener), Some(Beginning::Full));
}

#[test]
fn a_reload_replaces_what_all_listeners_have_in_common_or_nothing() {
    let authority = Authority::new();
    let config = || TlsConfig::builder(authority.certificate(&["localhost"])).build().unwrap();
    let problem = |result: Result<(), TlsError>| result.unwrap_err().problem();
    let listeners = TlsListeners::default();
    assert_eq!(problem(listeners.reload(config())), TlsProblem::NoListener);
    let public = config();
    let [one, two] = [1, 2].map(|port| listeners.add(Some(address(port)), public.clone()));
    listeners.reload(config()).unwrap();
    assert!(one.config().is_same_as(&two.config()) && !one.config().is_same_as(&public));
    let internal = listeners.add(Some(address(3)), config());
    let before = [&one, &internal].map(|listener| listener.config());
    assert_eq!(problem(listeners.reload(config())), TlsProblem::SeveralConfigurations);
    let after = [&one, &internal].map(|listener| listener.config());
    assert!(before.iter().zip(&after).all(|(before, after)| before.is_same_as(after)));
    listeners.reload_on(address(3), config()).unwrap();
    assert!(before[0].is_same_as(&one.config()) && !before[1].is_same_as(&internal.config()));
    assert_eq!(problem(listeners.reload_on(address(4), config())), TlsProblem::NoListener);
    // A listener that is closed has no say.
    drop(internal);
    listeners.reload(config()).unwrap();
    drop((one, two));
    assert_eq!(problem(listeners.reload(config())), TlsProblem::NoListener);
}
