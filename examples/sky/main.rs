//! The sky: ten thousand streams, each with an updater of its own, as stars that light up when they tick.
//! Buttons kill a thousand clients, stall them, or let all of them come back at once.
//!
//! `cargo run --release --example sky`, then open <http://127.0.0.1:8080>. `PORT` selects another port, 0 is
//! any free port. An argument is another number of stars, as far as there are descriptors. With `--features
//! dashboard`, the dashboard is at `/ops`.

mod crowd;
mod server;

use std::{
    env,
    error::Error,
    io,
    net::{SocketAddr, TcpListener},
    process::{Command, Stdio},
};

use socket2::{Domain, Socket, Type};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match &arguments[..] {
        [] | [_] => {
            let descriptors = starwheel::raise_descriptor_limit()?;
            let wanted = arguments.first().map_or(Ok(10_000), |stars| stars.parse())?;
            let stars = wanted.min(usize::try_from(descriptors)?.saturating_sub(SPARE_DESCRIPTORS));
            let mut reactor = server::new(stars)?;
            let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
            let listener = small_buffers(port.parse()?)?;
            let address = listener.local_addr()?;
            reactor.listen_on(listener)?;
            println!("listening on http://{address}");
            // The clients are a process of their own, with descriptors of its own. It ends with the server.
            Command::new(env::current_exe()?)
                .args([address.to_string(), stars.to_string()])
                .stdin(Stdio::null())
                .spawn()?;
            Ok(reactor.run()?)
        }
        [address, stars] => Ok(crowd::run(address.parse()?, stars.parse()?)?),
        _ => Err("usage: sky [STARS]".into()),
    }
}

/// A listener whose connections have small buffers, so that a client which does not read is soon noticed.
/// Otherwise the system would first take a megabyte for each.
fn small_buffers(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_send_buffer_size(16 * 1024)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
    socket.listen(1_024)?;
    Ok(socket.into())
}

/// For everything but stars.
const SPARE_DESCRIPTORS: usize = 100;
