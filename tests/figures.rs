//! Figures by route and by topic: what is counted where, how many there are at most, and that parts
//! and sums agree.

#[path = "support/story.rs"]
mod story;

#[path = "figures/of_routes.rs"]
mod of_routes;
#[path = "figures/of_topics.rs"]
mod of_topics;
#[path = "figures/slow_clients.rs"]
mod slow_clients;
