//! Topics that span workers: what is promised, one by one. Random scenarios are in `span_chaos.rs`.

#[path = "spanning/ahead.rs"]
mod ahead;
#[path = "support/decoders.rs"]
mod decoders;
#[path = "spanning/loss.rs"]
mod loss;
#[path = "spanning/sharing.rs"]
mod sharing;
#[path = "spanning/waiting.rs"]
mod waiting;
#[path = "spanning/words.rs"]
mod words;
