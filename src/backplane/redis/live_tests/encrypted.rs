//! `rediss://`, with certificates made by openssl.

use std::{fs, path::Path, process::Command};

use super::server::{Folder, is_installed, start_on_port};
use super::wait_for_append;
use crate::{
    backplane::redis::{
        Address, Down, Settings,
        test_support::{Event, Running, append},
    },
    span::protocol::{Reply, Request},
};

/// A certificate authority, and a certificate of `localhost` and 127.0.0.1.
fn make_certificates(folder: &Path) {
    let config = "[v3]\nsubjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
    fs::write(folder.join("v3"), config).unwrap();
    for command in [
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem \
         -days 30 -subj /CN=authority",
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out request.pem \
         -subj /CN=redis",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem \
         -days 30 -extfile v3 -extensions v3",
    ] {
        let run = Command::new("openssl")
            .args(command.split_whitespace())
            .current_dir(folder)
            .output()
            .expect("openssl runs");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
}

fn start(url: &str, roots: Option<Vec<u8>>, name: Option<&str>) -> Running {
    Running::start_with(Settings {
        address: Address::parse(url).unwrap(),
        client_name: "test".into(),
        tls_roots: roots,
        tls_name: name.map(str::to_owned),
    })
}

#[test]
fn certificates_are_checked() {
    if !is_installed("openssl") {
        return;
    }
    let folder = Folder::new();
    make_certificates(&folder.0);
    let file = |name: &str| folder.0.join(name).display().to_string();
    let options = |port: u16| {
        let options = [
            ["--tls-port", &port.to_string()],
            ["--tls-cert-file", &file("cert.pem")],
            ["--tls-key-file", &file("key.pem")],
            ["--tls-ca-cert-file", &file("ca.pem")],
            ["--tls-auth-clients", "no"],
        ];
        options.concat().into_iter().map(str::to_owned).collect()
    };
    let Some((server, port)) = start_on_port(options) else { return };
    let roots = || Some(fs::read(file("ca.pem")).unwrap());
    for host in ["localhost", "127.0.0.1"] {
        let link = start(&format!("rediss://{host}:{port}"), roots(), None);
        link.member.wait_until_connected();
        link.member.ask_to_read(0);
        for number in 1..100 {
            link.ask(append(number));
        }
        wait_for_append(&link, 99);
        assert_eq!(link.member.wait_for_reply(), Reply::Entries(Vec::new()));
        // Large in both directions.
        let topic: std::sync::Arc<str> = "x".repeat(8 << 20).into();
        link.ask(Request::Recall(vec![topic]));
        let is_it = |event: &Event| matches!(event, Event::Answered(Reply::Recalled { .. }));
        link.member.wait_for(is_it);
        let mut admin = server.admin();
        admin.ask(&format!("RPUSH large {}", "y".repeat(8 << 20)));
        link.ask(Request::Recall(vec!["large".into()]));
        link.member.wait_for(is_it);
    }
    let url = format!("rediss://localhost:{port}");
    let fails = |link: Running| match link.member.wait_until_down() {
        Down::Tls(why) => why,
        other => panic!("{other:?}"),
    };
    let why = fails(start(&url, None, None));
    assert!(why.contains("UnknownIssuer"), "{why}");
    let why = fails(start(&url, roots(), Some("redis.example")));
    assert!(why.contains("not valid for name"), "{why}");
    start(&url, roots(), Some("localhost")).member.wait_until_connected();
    // Without TLS, to a server that expects it.
    let link = start(&format!("redis://127.0.0.1:{port}"), None, None);
    assert!(matches!(link.member.wait_until_down(), Down::Closed(_) | Down::Malformed(_)));
}
