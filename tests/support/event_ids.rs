//! Which ids clients send back, implemented independently of the crate.

/// Whether every client sends this id back unchanged.
pub(crate) fn can_come_back(id: &str) -> bool {
    let is_printable = id.chars().all(|character| (' '..='~').contains(&character));
    is_printable && id == id.trim() && id.len() <= 1024
}
