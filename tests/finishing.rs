//! Topics that end: what is promised, one by one. Random scenarios are in `topic_chaos.rs`,
//! `span_chaos.rs` and `backplane_chaos.rs`.

#[path = "finishing/again.rs"]
mod again;
#[path = "support/decoders.rs"]
mod decoders;
#[path = "finishing/driven.rs"]
mod driven;
#[path = "finishing/machines.rs"]
mod machines;
#[path = "finishing/names.rs"]
mod names;
#[path = "finishing/streams.rs"]
mod streams;
#[path = "finishing/words.rs"]
mod words;
#[path = "finishing/workers.rs"]
mod workers;
