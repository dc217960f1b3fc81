//! Which ids come back, said once more and in other words than in the crate.

/// Whether every client sends this id back as it was.
pub(crate) fn can_come_back(id: &str) -> bool {
    let is_printable = id.chars().all(|character| (' '..='~').contains(&character));
    is_printable && id == id.trim() && id.len() <= 1024
}
