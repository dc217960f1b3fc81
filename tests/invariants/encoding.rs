//! Invariant 9: a faulty `Encode` affects only the code that sends it.

use crate::{
    ends::assert_costs_itself_alone,
    story::{Ids, data, secs, serving},
};
use starwheel::{Encode, EventBuffer, Sse, Topic, testing::EventParser};

struct Unencodable;

impl Encode for Unencodable {
    fn encode(&self, out: &mut EventBuffer) {
        out.data("half of it");
        panic!("an Encode of the user's");
    }
}

#[test]
fn invariant_9_a_panic_in_an_encode_leaves_no_partial_event() {
    let (simulation, wrong) = assert_costs_itself_alone(|_, _| {
        Sse::every(secs(1), |stream| {
            stream.send("whole");
            stream.send(Unencodable);
        })
    });
    assert_eq!(data(&simulation, wrong), ["whole"]);
    assert_eq!(simulation.stats().closed.panicked, 1);

    // Sent from elsewhere, it affects the sender, not the receiving stream.
    let ids = Ids::default();
    let keep = ids.clone();
    let (mut simulation, innocent) = assert_costs_itself_alone(move |_, cx| {
        let (keep, to) = (keep.clone(), keep.clone());
        cx.after(secs(1), move |cx| {
            cx.send(to.last(), Unencodable);
        });
        Sse::new().on_connect(move |stream| keep.keep(stream.id()))
    });
    let id = ids.last();
    simulation.run(|cx| assert!(cx.send(id, "still here")));
    assert_eq!(data(&simulation, innocent), ["still here"]);
}

/// Replaces the buffer that it is given.
struct Replacing(&'static str);

impl Encode for Replacing {
    fn encode(&self, out: &mut EventBuffer) {
        *out = EventBuffer::new();
        out.data(self.0);
    }
}

#[test]
fn invariant_9_an_encode_that_replaces_its_buffer_costs_its_own_stream() {
    for text in ["x", "longer than what was there before: id: 7"] {
        let (simulation, wrong) = assert_costs_itself_alone(move |_, _| {
            Sse::every(secs(1), move |stream| {
                stream.send("lost");
                stream.send(Replacing(text));
            })
        });
        let read = EventParser::read(&simulation.response(wrong).body);
        assert_eq!((read.events, read.unknown_fields), (vec![], vec![]));
        assert_eq!(simulation.stats().closed.panicked, 1);

        // Sent or published from elsewhere, it affects the sender.
        let topic = Topic::new("t");
        let watched = topic.clone();
        let mut simulation = serving(move |_, _| Sse::new().subscribe(&watched));
        let client = simulation.get("/");
        let streams = simulation.context().streams().collect::<Vec<_>>();
        simulation.queue(move |cx| cx.publish(&topic, Replacing(text)).unwrap());
        let stream = streams[0];
        simulation.queue(move |cx| _ = cx.send(stream, Replacing(text)));
        simulation.turn();
        simulation.run(|cx| assert!(cx.send(streams[0], "still here")));
        assert_eq!(data(&simulation, client), ["still here"]);
        assert_eq!(simulation.stats().panics, 2);
    }
}
