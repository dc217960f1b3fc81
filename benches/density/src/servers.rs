//! The servers that `benches/density/build` has made ready, and what each of them can do.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use starwheel_load::server::Program;

use crate::Result;

/// What a server must answer for a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Hello,
    Idle,
    Tick,
    Topic,
    Page,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) program: Program,
    pub(crate) version: String,
}

/// In the order of the tables: ourselves, bounds, peers.
pub(crate) const KNOWN: [Known; 17] = [
    Known { name: "starwheel", kind: Kind::Ours, routes: ALL },
    Known { name: "workers-1", kind: Kind::Variant, routes: &[] },
    Known { name: "workers-2", kind: Kind::Variant, routes: &[] },
    Known { name: "axum-starwheel", kind: Kind::Variant, routes: &[] },
    Known { name: "floor", kind: Kind::Floor, routes: EVENTS },
    Known { name: "floor-ms", kind: Kind::Variant, routes: &[] },
    Known { name: "floor-batch", kind: Kind::Variant, routes: &[] },
    Known { name: "libev", kind: Kind::Peer, routes: EVENTS },
    Known { name: "uwebsockets", kind: Kind::Peer, routes: EVENTS },
    Known { name: "uwebsockets-topics", kind: Kind::Variant, routes: &[] },
    Known { name: "hyper", kind: Kind::RustPeer, routes: EVENTS },
    Known { name: "actix", kind: Kind::RustPeer, routes: EVENTS },
    Known { name: "axum", kind: Kind::RustPeer, routes: ALL },
    Known { name: "datastar", kind: Kind::RustPeer, routes: ALL },
    Known { name: "go", kind: Kind::Peer, routes: EVENTS },
    Known { name: "node", kind: Kind::Peer, routes: EVENTS },
    Known { name: "nchan", kind: Kind::Peer, routes: &[Route::Hello, Route::Idle, Route::Topic] },
];

#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    routes: &'static [Route],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Floor,
    /// Takes part only where a workload names it.
    Variant,
    RustPeer,
    Peer,
}

impl Known {
    pub(crate) fn can(&self, route: Route) -> bool {
        self.routes.contains(&route)
    }
}

pub(crate) fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

/// Those that were built, in the order of [`KNOWN`].
pub(crate) fn built() -> Result<Vec<Server>> {
    let folder = folder()?;
    let servers: Vec<Server> = KNOWN.iter().filter_map(|known| find(&folder, known.name)).collect();
    match servers.is_empty() {
        true => Err(format!("no server in {}; run benches/density/build", folder.display()).into()),
        false => Ok(servers),
    }
}

/// A program that `build` has made ready, whether it is a server or not.
pub(crate) fn find_built(name: &str) -> Result<Option<Server>> {
    Ok(find(&folder()?, name))
}

fn find(folder: &Path, name: &str) -> Option<Server> {
    let version = fs::read_to_string(folder.join(name).with_extension("version")).ok()?;
    let program = Program::new(folder.join(name));
    Some(Server { program, version: version.trim().into() })
}

/// `target/servers` beside the folder that this program lies in.
fn folder() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let target = program.parent().and_then(Path::parent).ok_or("this program has no folder")?;
    Ok(target.join("servers"))
}

const ALL: &[Route] = &[Route::Hello, Route::Idle, Route::Tick, Route::Topic, Route::Page];
const EVENTS: &[Route] = &[Route::Hello, Route::Idle, Route::Tick, Route::Topic];
