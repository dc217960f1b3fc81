//! Random connections, checked against a simple model of admission.

use starwheel::{
    Config, Method, Peer, Response, Router, Sse, StatusCode,
    testing::{Client, Simulation},
};

use crate::{random::Random, story::secs};

/// A client, and the decision about it.
struct Visitor {
    client: Client,
    network: usize,
    status: u16,
    asked: bool,
}

const TOTAL: usize = 20;
const PER_ADDRESS: usize = 5;
const ADDRESSES: [&str; 8] = [
    "192.0.2.1:1",
    "[::ffff:192.0.2.1]:1",
    "192.0.2.2:1",
    "192.0.2.3:1",
    "[2001:db8::1]:1",
    "[2001:db8::2]:1",
    "[2001:db8:0:1::1]:1",
    "192.0.2.4:1",
];
/// The addresses that belong to one network have the same number.
const NETWORKS: [usize; 8] = [0, 0, 1, 2, 3, 3, 4, 5];

#[test]
fn random_connections_are_admitted_as_in_the_model() {
    let mut refused = [0, 0];
    for seed in 0..300 {
        let mut config = Config::default();
        config.limits.connections = Some(TOTAL);
        config.limits.connections_per_ip = Some(PER_ADDRESS);
        let router = Router::new()
            .get("/", |_req, _cx| Response::text("hello"))
            .get("/stream", |_req, _cx| Sse::every(secs(1), |stream| stream.send("tick")));
        let mut simulation = Simulation::with_config(config, seed, router);
        let (mut random, mut crowd) = (Random::new(seed), Vec::<Visitor>::new());
        for _ in 0..200 {
            match random.below(10) {
                0..4 => come(&mut simulation, &mut random, &mut crowd),
                4..6 => ask(&mut simulation, &mut random, &mut crowd),
                6..8 => leave(&mut simulation, &mut random, &mut crowd),
                8 => simulation.advance(secs(random.between(0, 4))),
                _ => simulation.turn(),
            }
            crowd.retain(|visitor| simulation.is_open(visitor.client));
            assert_eq!(simulation.stats().connections as usize, crowd.len());
        }
        refused[0] += simulation.stats().refused.with(StatusCode::TOO_MANY_REQUESTS);
        refused[1] += simulation.stats().refused.with(StatusCode::SERVICE_UNAVAILABLE);
        crowd.iter().for_each(|visitor| simulation.reset(visitor.client));
        simulation.turn();
        assert_eq!(simulation.stats().connections, 0);
        crowd.clear();
        // All connections are gone: all places are free again.
        for (address, network) in ADDRESSES.into_iter().zip(NETWORKS).take(4) {
            let newcomers = if network == 0 { 2 } else { PER_ADDRESS };
            for _ in 0..newcomers {
                let client = simulation.connect_from(Peer::Ip(address.parse().unwrap()));
                simulation.request(client, Method::Get, "/", &[], b"");
                simulation.turn();
                assert_eq!(simulation.response(client).status, 200, "seed {seed}");
            }
        }
    }
    assert!(refused.iter().all(|count| *count > 100), "both happened often: {refused:?}");
}

fn come(simulation: &mut Simulation, random: &mut Random, crowd: &mut Vec<Visitor>) {
    let which = random.below(ADDRESSES.len());
    let network = NETWORKS[which];
    let inside = crowd.iter().filter(|visitor| visitor.status == 200);
    let neighbours = inside.clone().filter(|visitor| visitor.network == network).count();
    let status = match (neighbours, inside.count()) {
        (PER_ADDRESS.., _) => 429,
        (_, TOTAL..) => 503,
        _ => 200,
    };
    let client = simulation.connect_from(Peer::Ip(ADDRESSES[which].parse().unwrap()));
    crowd.push(Visitor { client, network, status, asked: false });
}

fn ask(simulation: &mut Simulation, random: &mut Random, crowd: &mut [Visitor]) {
    if crowd.is_empty() {
        return;
    }
    let visitor = &mut crowd[random.below(crowd.len())];
    if !std::mem::replace(&mut visitor.asked, true) {
        let target = random.pick(&["/", "/stream"]);
        simulation.request(visitor.client, Method::Get, target, &[], b"");
        simulation.turn();
        assert_eq!(simulation.response(visitor.client).status, visitor.status);
    }
}

fn leave(simulation: &mut Simulation, random: &mut Random, crowd: &mut [Visitor]) {
    if crowd.is_empty() {
        return;
    }
    let visitor = &mut crowd[random.below(crowd.len())];
    visitor.asked = true; // Too late for that.
    match random.percent(50) {
        true => simulation.reset(visitor.client),
        false => simulation.half_close(visitor.client),
    }
}
