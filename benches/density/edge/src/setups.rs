//! The ways to serve a stream to a client: plain, over TLS, and through proxies.

use std::{env, ffi::OsString, net::SocketAddr, path::Path};

/// One way, and its name in the results.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    /// For the table.
    pub(crate) title: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Plain,
    Tls,
    Front(Front),
}

/// A proxy that terminates TLS.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) program: &'static str,
    /// Before the path of the configuration.
    pub(crate) arguments: &'static [&'static str],
    /// With `FOLDER`, `PORT` and `UPSTREAM`, the plain TCP listener.
    configuration: &'static str,
    /// A file without which it cannot start.
    needs: Option<&'static str>,
}

/// In the order of the table.
pub(crate) static ALL: [Setup; 9] = [
    Setup { name: "plain", title: "none: plain HTTP", kind: Kind::Plain },
    Setup { name: "tls", title: "**starwheel itself**", kind: Kind::Tls },
    Setup {
        name: "nginx-stream",
        title: "nginx `stream`",
        kind: Kind::Front(Front {
            needs: Some("/usr/lib/nginx/modules/ngx_stream_module.so"),
            ..nginx(include_str!("../fronts/nginx-stream.conf"))
        }),
    },
    Setup {
        name: "haproxy-tcp",
        title: "HAProxy `mode tcp`",
        kind: Kind::Front(haproxy(include_str!("../fronts/haproxy-tcp.cfg"))),
    },
    Setup {
        name: "haproxy",
        title: "HAProxy `mode http`",
        kind: Kind::Front(haproxy(include_str!("../fronts/haproxy.cfg"))),
    },
    Setup {
        name: "nginx-lean",
        title: "nginx, lean",
        kind: Kind::Front(nginx(include_str!("../fronts/nginx-lean.conf"))),
    },
    Setup {
        name: "nginx",
        title: "nginx, defaults",
        kind: Kind::Front(nginx(include_str!("../fronts/nginx.conf"))),
    },
    Setup {
        name: "caddy-lean",
        title: "Caddy, lean",
        kind: Kind::Front(caddy(include_str!("../fronts/Caddyfile-lean"))),
    },
    Setup {
        name: "caddy",
        title: "Caddy, defaults",
        kind: Kind::Front(caddy(include_str!("../fronts/Caddyfile"))),
    },
];

const fn nginx(configuration: &'static str) -> Front {
    Front { program: "nginx", arguments: &["-e", "stderr", "-c"], configuration, needs: None }
}

const fn haproxy(configuration: &'static str) -> Front {
    Front { program: "haproxy", arguments: &["-db", "-f"], configuration, needs: None }
}

const fn caddy(configuration: &'static str) -> Front {
    let arguments = &["run", "--adapter", "caddyfile", "--config"];
    Front { program: "caddy", arguments, configuration, needs: None }
}

impl Setup {
    /// Why this machine cannot run it.
    pub(crate) fn missing(&self) -> Option<String> {
        let Kind::Front(front) = &self.kind else { return None };
        if !is_installed(front.program) {
            return Some(format!("{} is not installed", front.program));
        }
        let file = front.needs.filter(|file| !Path::new(file).exists())?;
        Some(format!("{file} is missing"))
    }

    pub(crate) fn front(&self) -> Option<&Front> {
        match &self.kind {
            Kind::Front(front) => Some(front),
            Kind::Plain | Kind::Tls => None,
        }
    }
}

impl Front {
    pub(crate) fn configuration(&self, folder: &Path, port: u16, upstream: SocketAddr) -> String {
        self.configuration
            .replace("FOLDER", &folder.to_string_lossy())
            .replace("PORT", &port.to_string())
            .replace("UPSTREAM", &upstream.to_string())
    }
}

/// Debian has some of them in a folder that is not on every user's path.
pub(crate) fn search_path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin");
    path
}

fn is_installed(program: &str) -> bool {
    env::split_paths(&search_path()).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_the_recipes_that_are_measured() {
        let page = include_str!("../../../../docs/proxies.md");
        for front in ALL.iter().filter_map(Setup::front) {
            let Some((_, recipe)) = front.configuration.split_once("# recipe\n") else { continue };
            let recipe = recipe.split("# end of recipe").next().unwrap_or_default();
            let shown = front.configuration.contains("# end of recipe");
            assert!(shown, "a recipe of {} has no end", front.program);
            for line in recipe.lines() {
                let line = line
                    .trim()
                    .replace(
                        "127.0.0.1:PORT",
                        if front.program == "nginx" { "443" } else { ":443" },
                    )
                    .replace("FOLDER/both.pem", "/etc/ssl/app.pem")
                    .replace("FOLDER/key.pem", "/etc/ssl/app.key")
                    .replace("FOLDER/certificate.pem", "/etc/ssl/app.crt")
                    .replace("FOLDER/app.sock", "/run/app.sock")
                    .replace("FOLDER/announced.sock", "/run/app.sock");
                assert!(page.contains(&line), "docs/proxies.md lacks `{line}`");
            }
        }
    }
}
