//! Topics that span workers: what is promised, one by one.

#[test]
fn todo() {}
