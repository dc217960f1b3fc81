//! Transports and fields, used by a file that does not own them.

use super::{complaints, refuses_among};

/// Owners, and what others may see of them.
const OWNERS: &[(&str, &str)] = &[
    ("src/conn/mod.rs", "pub(crate) struct Conn { pub(crate) outbox: Outbox, phase: Phase }"),
    ("src/engine/keys.rs", "pub struct StreamId { pub(super) conn: u32 }"),
    ("src/engine/topics/mod.rs", "pub(super) struct TopicState { pub(super) last_use: u64 }"),
    ("src/engine/calls/mod.rs", "struct Hooks { pub(in crate::engine) on_connect: u8 }"),
    ("src/engine/stats.rs", "pub struct Stats { pub ticks: u64 }"),
];

#[track_caller]
fn refuses(file: &str, text: &str, lines: &[usize]) {
    refuses_among(OWNERS, file, text, lines);
}

#[track_caller]
fn allows(file: &str, text: &str) {
    refuses(file, text, &[]);
}

#[test]
fn a_complaint_names_the_owner() {
    let mut files = OWNERS.to_vec();
    files.push(("src/engine/turn/send.rs", "fn f() {\nstate.last_use = now;\n}"));
    let expected = "src/engine/turn/send.rs:2: writes `TopicState::last_use` of \
                    src/engine/topics/mod.rs: call a method of its owner that says what happened";
    assert_eq!(complaints(super::LIB, &files), [expected]);
}

#[test]
fn transports_are_touched_in_one_file() {
    for code in [
        "impl<T: Transport> Engine<T> { fn f(t: &mut T) { t.write(b) } }",
        "fn f() { self.links.get(index).write_vectored(&slices); }",
        "fn f() { self.links.get(index); }",
        "fn f() { self.transport(index).read(&mut buffer) }",
        "fn f() { let socket = self.transport(index); }",
        "fn f() { transport.shutdown_write() }",
        "fn f() { (*socket).reset_on_close() }",
        "fn f() { sockets[0].send_keep_alive_probes(tcp) }",
        "fn f() { T::write(&mut socket, bytes) }",
        "fn f() { slices.map(T::write) }",
        "fn f() { std::io::Write::write_all(socket, bytes) }",
        "fn f() { socket.read_to_end(&mut all) }",
        "struct X<T: Transport>(T);",
        "fn f<T: Transport>(t: T) {}",
        "fn f(t: impl Transport) {}",
        "fn f(t: &mut dyn Transport) {}",
        "impl<T> X<T> where T: Transport {}",
        "use super::Transport as Socket;",
    ] {
        for file in ["src/engine/turn/send.rs", "src/engine/conns.rs", "src/engine/core/a.rs"] {
            refuses(file, code, &[1]);
            refuses(file, &format!("\n\n{code}"), &[3]);
        }
        allows("src/engine/links.rs", code);
        allows("src/reactor/socket.rs", code);
        allows("src/engine/conns.rs", &format!("#[cfg(test)] mod tests {{ {code} }}"));
    }
}

#[test]
fn to_say_what_to_write_is_no_touch() {
    let send = "use super::Transport; impl<T: Transport> Engine<T> { fn f(&mut self) { \
                self.links.write(index, &slices); self.links.shutdown_write(index); } }";
    allows("src/engine/turn/send.rs", send);
    allows("src/engine/scratch.rs", "fn f() { hasher.write(bytes); }");
    refuses("src/engine/conns.rs", "fn f() { hasher.write(bytes); }", &[1]);
    allows("src/engine/mod.rs", "fn transport(&mut self) -> &mut T { self.links.get(index) }");
    allows("src/engine/conns.rs", "fn write(read: u8) { self.read = 1; write!(f, \"\") }");
}

#[test]
fn states_have_no_visible_fields() {
    for (text, lines) in [
        ("struct Conn {\npub(crate) phase: Phase,\noutput: Output }", &[2][..]),
        ("struct Conn {\npub(super) outbox: Outbox,\npub(super) output: Output }", &[3]),
        (
            "struct Conn {\n#[cfg(x)]\npub(in crate::conn) output: HashMap<A, B>,\npub a: u8 }",
            &[3, 4],
        ),
        ("pub struct Conns {\na: Box<dyn Fn(u8) -> (A, B)>,\npub(super) slots: Slab<Slot> }", &[3]),
        ("struct Links<T>(\npub(super) Vec<Option<T>>);", &[2]),
        ("struct Links<T, F: Fn(u8) -> u8>(Vec<(T, F)>,\npub u8);", &[2]),
        ("struct Topics<T> where T: Into<u8> {\npub(super) passes: u8 }", &[2]),
    ] {
        refuses("src/conn/mod.rs", text, lines);
    }
    allows("src/conn/mod.rs", "pub struct Conn { outbox: Outbox, /* pub */ phase: Phase }");
    allows("src/conn/mod.rs", "struct Connection { pub phase: Phase } struct Conns;");
}

#[test]
fn parts_of_states_are_not_lent_for_change() {
    for code in [
        "impl Conn { pub(crate) fn phase_mut(&mut self) -> &mut Phase { &mut self.phase } }",
        "impl Conn { pub(super) const fn a(&mut self) -> Option<&mut Streaming> { None } }",
        "impl Conns { pub(in crate::engine) fn slot(&mut self) -> Option<(u8, &'a mut Slot)> {} }",
    ] {
        refuses("src/conn/transitions.rs", code, &[1]);
    }
    allows("src/conn/transitions.rs", "impl Conn { fn a(&mut self) -> &mut Phase { x } }");
    allows("src/conn/transitions.rs", "pub fn a(it: &mut Streaming) -> &Phase { &it.phase }");
}

#[test]
fn a_connection_changes_in_one_file() {
    for code in [
        "impl Conn { fn f(&mut self) { self.phase = Phase::Answering; } }",
        "impl Conn { fn f(&mut self) { if x { self.generation += 1 } } }",
        "impl fmt::Debug for Conn { fn f(&mut self) { mem::replace(&mut self.output, Quiet); } }",
    ] {
        refuses("src/conn/phase.rs", code, &[1]);
        allows("src/conn/transitions.rs", code);
    }
    allows("src/conn/phase.rs", "impl Outbox { fn f(&mut self) { self.phase = 1; } }");
}

#[test]
fn fields_are_written_by_their_owner() {
    for write in [
        "state.last_use = now;",
        "self.topics[index].last_use = now;",
        "f().last_use += 1;",
        "self.state.last_use <<= 1;",
        "*state.last_use = 1;",
        "if a { state.last_use -= 1 }",
        "let old = mem::take(&mut state.last_use);",
        "let old = std::mem::replace(&mut self.topics[0].last_use, now);",
    ] {
        let code = format!("impl Core {{ fn f(&mut self) {{\n{write}\n}} }}");
        refuses("src/engine/turn/send.rs", &code, &[2]);
        refuses("src/reactor/mod.rs", &code, &[2]);
        allows("src/engine/topics/pass.rs", &code);
        let own = format!("struct Own {{ last_use: u64 }} {code}");
        allows("src/engine/turn/send.rs", &own);
        allows("src/engine/turn/send.rs", &format!("#[cfg(test)] mod tests {{ {code} }}"));
    }
}

#[test]
fn to_read_a_field_is_no_write() {
    for read in [
        "if state.last_use == now {}",
        "if state.last_use <= now && state.last_use >= now {}",
        "match state.last_use { x => x }",
        "let last_use = state.last_use;",
        "let x = X { last_use: 1, ..last_use };",
        "g(&mut state.last_use);",
        "core.stats.ticks += 1;",
        "self.last_use = 1;",
    ] {
        allows("src/engine/turn/send.rs", &format!("impl Core {{ fn f(&mut self) {{ {read} }} }}"));
    }
}

#[test]
fn only_listed_fields_are_written_elsewhere() {
    let code = "impl Sse { fn f(mut self) { self.hooks.on_connect = hook; } }";
    allows("src/engine/api/sse.rs", code);
    refuses("src/engine/turn/send.rs", code, &[1]);
}
