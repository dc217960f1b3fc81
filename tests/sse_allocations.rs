//! Encoding into a buffer that has room allocates nothing.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    time::Duration,
};

use starwheel::{
    BoxError, Encode, Event, EventBuffer,
    datastar::{ExecuteScript, PatchElements, PatchMode, PatchSignals},
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it is; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are the callee's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the callee's.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[track_caller]
fn assert_allocates_nothing(event: impl Encode) {
    let mut out = EventBuffer::new();
    out.push("x".repeat(10_000).as_str());
    out.push(&event);
    let before = ALLOCATIONS.get();
    assert!(before > 0, "the counter counts");
    out.push(&event);
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn encoding_allocates_nothing() -> Result<(), BoxError> {
    let retry = Duration::from_millis(2);
    assert_allocates_nothing("two\nlines");
    assert_allocates_nothing(format_args!("{}\n{}", 1, 2.5));
    assert_allocates_nothing(
        Event::new("a\r\nb").id(7_u64)?.name("n")?.retry(retry).comment("c\nd"),
    );
    assert_allocates_nothing(
        PatchElements::new(format_args!("<b>{}</b>\n", 42))
            .selector("#a\n#b")
            .mode(PatchMode::Inner)
            .view_transition_selector("#c")
            .id(u64::MAX)?
            .retry(retry),
    );
    assert_allocates_nothing(PatchSignals::json("{\n}")?.only_if_missing().id("x")?);
    assert_allocates_nothing(ExecuteScript::new("'</script>'\n'<!--'").attribute("a", "<\n>")?);

    let before = ALLOCATIONS.get();
    let event = Event::new("x").id(7_u64)?;
    let patch = PatchElements::new("<b>").selector("#a").id(8_u64)?;
    assert_eq!(ALLOCATIONS.get() - before, 0, "building {event:?} or {patch:?} allocated");
    Ok(())
}
