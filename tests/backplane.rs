//! Topics of several machines: what is promised, one by one. Random scenarios are in
//! `backplane_chaos.rs`.

#[path = "support/client.rs"]
mod client;
#[path = "backplane/closing.rs"]
mod closing;
#[path = "backplane/counts.rs"]
mod counts;
#[path = "backplane/doubt.rs"]
mod doubt;
#[path = "backplane/ids.rs"]
mod ids;
#[path = "backplane/in_process.rs"]
mod in_process;
#[path = "backplane/leaks.rs"]
mod leaks;
#[path = "backplane/losses.rs"]
mod losses;
#[path = "backplane/publishing.rs"]
mod publishing;
#[path = "backplane/recovery.rs"]
mod recovery;
#[path = "backplane/waiting.rs"]
mod waiting;
#[path = "backplane/words.rs"]
mod words;
