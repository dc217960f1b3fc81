//! The joins of spliced streams: clients of all codings come, stall, are passed by and go while
//! events of hostile shape are published and sent; two decoders per coding must agree on exactly
//! what was said.

#![no_main]

#[allow(dead_code, reason = "part of it is for the tests of single pieces")]
#[path = "../../src/compress/tests/decoders.rs"]
mod decoders;
#[allow(dead_code, reason = "only its judgement of ends is used")]
#[path = "../../tests/support/decoders.rs"]
mod ends;
#[path = "../../tests/support/random.rs"]
mod random;

use std::{cell::RefCell, rc::Rc, time::Duration};

use libfuzzer_sys::fuzz_target;
use random::Random;
use starwheel::{
    Backpressure, Config, Context, Encoding, Ending, Method, Request, Sse, StreamId, Topic,
    testing::{BodyEnd, Client, EventParser, Simulation},
};

/// As browsers allow: 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;
/// So that a run stays short.
const STEPS_MAX: usize = 60;
const PUBLISHED_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let mut scene = Scene::new(Random::chosen(bytes));
    for _ in 0..STEPS_MAX {
        if scene.random.is_exhausted() {
            break;
        }
        scene.step();
    }
    scene.finish();
});

struct Scene {
    random: Random,
    simulation: Simulation,
    topic: Topic,
    retains: bool,
    /// The id of each stream, as `on_connect` got it.
    ids: Rc<RefCell<Vec<StreamId>>>,
    watchers: Vec<Watcher>,
    /// All texts, whether published or sent; their numbers are their places.
    texts: Vec<String>,
    published: Vec<usize>,
    published_bytes: usize,
}

struct Watcher {
    client: Client,
    id: StreamId,
    encoding: Encoding,
    /// What must come if it never stalls.
    expected: Vec<usize>,
    was_stalled: bool,
    is_gone: bool,
}

impl Scene {
    fn new(mut random: Random) -> Self {
        let mut config = Config::default();
        config.compression.zstd_level = random.pick(&[1, 1, 1, -3, 3, 9, 19]);
        config.compression.gzip_level = random.pick(&[6, 1, 9]);
        config.compression.brotli_quality = random.pick(&[4, 2, 3]);
        config.compression.history_bytes = random.pick(&[32 * 1024, 0, 10, 1000, 256 * 1024]);
        config.compression.window_bytes_max = random.pick(&[8 << 20, 128 << 10]);
        let topic = Topic::new("topic").backpressure(Backpressure::Latest);
        let topic = topic.log(random.pick(&[1000, 1, 2]), random.pick(&[1 << 20, 10_000]));
        let retains = random.percent(50);
        let topic = if retains { topic.retain() } else { topic };
        let ids = Rc::new(RefCell::new(Vec::new()));
        let (born, watched) = (Rc::clone(&ids), topic.clone());
        let handler = move |_: &Request, _: &mut Context<'_>| {
            let born = Rc::clone(&born);
            let sse = Sse::new().subscribe(&watched);
            sse.on_connect(move |stream| born.borrow_mut().push(stream.id()))
        };
        Self {
            simulation: Simulation::with_config(config, 0, handler),
            random,
            topic,
            retains,
            ids,
            watchers: Vec::new(),
            texts: Vec::new(),
            published: Vec::new(),
            published_bytes: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(16) {
            0..7 => self.publish(),
            7..10 => self.join(),
            10 => self.send(),
            11 => self.with_somebody(|simulation, watcher| {
                simulation.stall(watcher.client);
                watcher.was_stalled = true;
            }),
            12 => self.with_somebody(|simulation, watcher| simulation.resume(watcher.client)),
            13 => {
                let bytes = 1 + self.random.below(4096);
                self.with_somebody(|simulation, it| simulation.read_some(it.client, bytes));
            }
            14 => self.with_somebody(|simulation, watcher| {
                simulation.reset(watcher.client);
                watcher.is_gone = true;
            }),
            _ => {
                let quiet = Duration::from_secs(15 * self.random.pick(&[1, 2, 3, 4, 100]));
                self.simulation.advance(quiet);
            }
        }
        self.simulation.turn();
    }

    fn publish(&mut self) {
        let Some(number) = self.write() else { return };
        self.published.push(number);
        for watcher in &mut self.watchers {
            watcher.expected.push(number);
        }
        let (text, topic) = (self.texts[number].clone(), self.topic.clone());
        self.simulation.run(|cx| {
            cx.publish(&topic, text).unwrap();
        });
    }

    fn send(&mut self) {
        if self.watchers.is_empty() {
            return;
        }
        let Some(number) = self.write() else { return };
        let place = self.random.below(self.watchers.len());
        let (text, watcher) = (self.texts[number].clone(), &mut self.watchers[place]);
        let id = watcher.id;
        let mut is_taken = false;
        self.simulation.run(|cx| is_taken = cx.send(id, text));
        if is_taken {
            watcher.expected.push(number);
        }
    }

    fn join(&mut self) {
        let all = [Encoding::Zstd, Encoding::Brotli, Encoding::Gzip, Encoding::Identity];
        let encoding = self.random.pick(&all);
        let client = self.simulation.connect();
        let headers = [("Accept-Encoding", encoding.as_str())];
        self.simulation.request(client, Method::Get, "/", &headers, b"");
        self.simulation.turn();
        let id = *self.ids.borrow().last().expect("a stream was born");
        let retained = self.published.last().filter(|_| self.retains);
        self.watchers.push(Watcher {
            client,
            id,
            encoding,
            expected: retained.copied().into_iter().collect(),
            was_stalled: false,
            is_gone: false,
        });
    }

    fn with_somebody(&mut self, act: impl FnOnce(&mut Simulation, &mut Watcher)) {
        if !self.watchers.is_empty() {
            let place = self.random.below(self.watchers.len());
            act(&mut self.simulation, &mut self.watchers[place]);
        }
    }

    /// The next text: its number at one of its ends, between them something that repeats.
    fn write(&mut self) -> Option<usize> {
        let random = &mut self.random;
        let letter = |byte: usize| char::from(b'a' + (byte % 26) as u8);
        let last =
            self.texts.last().map_or("", |text| text.trim_matches(|c: char| !c.is_alphabetic()));
        let body: String = match random.below(6) {
            0 => {
                let period = random.pick(&[1, 4, 8, 3, 64]);
                let pattern: String = (0..period).map(|_| letter(random.below(26))).collect();
                let bytes = random.pick(&[10, 100, 5_000, 70_000, 140_000, 300_000]);
                pattern.chars().cycle().take(bytes + random.below(10)).collect()
            }
            1 => last.to_owned(),
            2 => last.chars().skip(random.below(300)).collect(),
            3 => format!("{last}{}", letter(random.below(26))),
            4 => {
                let mut bytes = last.as_bytes().to_vec();
                for _ in 0..random.below(8) {
                    if !bytes.is_empty() {
                        let place = random.below(bytes.len());
                        bytes[place] = letter(random.below(26)) as u8;
                    }
                }
                String::from_utf8(bytes).expect("letters")
            }
            _ => (0..random.below(40)).map(|_| letter(random.below(26))).collect(),
        };
        self.published_bytes += body.len();
        if self.published_bytes > PUBLISHED_BYTES_MAX {
            return None;
        }
        let number = self.texts.len();
        let is_in_front = random.percent(50);
        self.texts.push(if is_in_front {
            format!("{number} {body}")
        } else {
            format!("{body} {number}")
        });
        Some(number)
    }

    /// Everybody reads on, and each has what it must.
    fn finish(mut self) {
        for watcher in &self.watchers {
            self.simulation.resume(watcher.client);
        }
        self.simulation.turn();
        let is_finished = self.random.percent(50);
        for watcher in &self.watchers {
            let was_live = self.simulation.is_open(watcher.client);
            if is_finished {
                self.simulation.run(|cx| {
                    cx.close(watcher.id, Ending::Finish);
                });
            }
            let received = self.simulation.received(watcher.client);
            if received.is_empty() {
                continue;
            }
            let answer = self.simulation.response(watcher.client);
            // One that stalled for too long was cut anywhere.
            if watcher.is_gone || !was_live {
                continue;
            }
            let expected =
                (watcher.encoding != Encoding::Identity).then(|| watcher.encoding.as_str());
            assert_eq!(answer.header("content-encoding"), expected);
            if answer.end == BodyEnd::Complete {
                assert!(ends::is_whole(&answer), "the stream was finished, not its coding");
            }
            let plain =
                decoders::decode(watcher.encoding, &answer.body).expect("a stream of its coding");
            self.judge(watcher, &EventParser::read(&plain));
        }
    }

    fn judge(&self, watcher: &Watcher, read: &EventParser) {
        assert!(read.unknown_fields.is_empty());
        let got: Vec<usize> = read.events.iter().map(|event| self.number(&event.data)).collect();
        if watcher.was_stalled {
            // Passed by, perhaps; but in order, whether published or sent.
            let is_published = |number: &&usize| self.published.binary_search(number).is_ok();
            assert!(got.iter().filter(is_published).is_sorted());
            assert!(got.iter().filter(|number| !is_published(number)).is_sorted());
            assert!(got.iter().all(|number| watcher.expected.contains(number)));
            let last = watcher.expected.iter().rfind(is_published);
            assert!(last.is_none_or(|last| got.contains(last)), "the latest is missing");
        } else {
            assert_eq!(got, watcher.expected);
        }
    }

    /// The number of a text that arrived whole.
    #[track_caller]
    fn number(&self, data: &str) -> usize {
        let digits: String = data.chars().filter(char::is_ascii_digit).collect();
        let number: usize = digits.parse().expect("a number");
        assert!(self.texts[number] == data, "event {number} is not what was said");
        number
    }
}
