//! The dashboard: the page of the operators, behind a login, with some clients of its own to show.
//!
//! `cargo run --release --features dashboard --example dashboard`, then open the address that it prints and log
//! in with the password that it prints. `PASSWORD` sets another one, `PORT` another port, 0 is any free port.
//! An argument is the number of clients.

mod clients;
mod login;
mod site;

use std::{
    env,
    error::Error,
    io::{self, Write},
};

use starwheel::{OriginCheck, Workers};

fn main() -> Result<(), Box<dyn Error>> {
    let count = env::args().nth(1).map_or(Ok(100), |count| count.parse())?;
    let password = env::var("PASSWORD").or_else(|_| login::random_text())?;
    let sessions = login::Sessions::default();
    let shown = password.clone();
    let workers = Workers::new(2, move |worker| {
        site::drive(worker);
        let router = site::routes().get("/metrics", {
            let all = worker.handle_of_all();
            move |_req, _cx| {
                starwheel::Response::bytes("text/plain; version=0.0.4", all.prometheus())
            }
        });
        let router = login::around_dashboard(router, &password, &sessions);
        // Pages from other sites cannot log an operator in.
        OriginCheck::new().around(router)
    })?;
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    let address = workers.listen(format!("127.0.0.1:{port}"))?;
    println!("listening on http://{address}");
    println!("open http://{address}/ops and log in with the password {shown}");
    io::stdout().flush()?;
    clients::start(address, count);
    Ok(workers.run()?)
}
