//! State is changed by its owner: one file uses transports, and one file, or one type, writes a
//! field.

use crate::{
    Complaint,
    items::{Function, Items, Struct, Visibility},
    source::Source,
    tokens::{Kind, Token, Tokens},
};

/// Structs that change only through their methods, with the fields that may be visible.
const CLOSED: &[(&str, &[&str])] = &[
    // The outbox has its own methods, and every step that queues bytes needs it.
    ("Conn", &["outbox"]),
    ("Streaming", &[]),
    ("Conns", &[]),
    ("Timer", &[]),
    ("Links", &[]),
    ("Pending", &[]),
    ("Coding", &[]),
    ("Topics", &[]),
    ("Driver", &["topic"]),
    ("Watchdog", &[]),
    ("Routes", &[]),
    ("Tags", &[]),
    ("Occupancy", &[]),
];

/// Parts of these that no visible function may return as `&mut`.
const NOT_LENT: &[&str] = &["Phase", "Output", "Streaming", "Slot", "Timer", "Driver", "Pass"];

/// Structs whose methods write their fields in one file only.
const CHANGED_IN: &[(&str, &str)] = &[("Conn", "src/conn/transitions.rs")];

/// Folders that are one owner: their files may write each other's fields.
const ONE_OWNER: &[&str] = &[
    // All of its functions are methods of `Topics`.
    "src/engine/topics/",
    // All of its functions are methods of `Session`: what is sent, and what is received.
    "src/tls/session/",
];

/// Structs whose fields another file may write: which struct, which file, and why.
const WRITTEN_ELSEWHERE: &[(&str, &str, &str)] =
    &[("Hooks", "src/engine/api/sse.rs", "the builder fills them in")];

/// The files of the engine that may touch a transport.
const TRANSPORT_FILES: &[&str] = &[
    "src/engine/links.rs",
    "src/engine/secured.rs",
    "src/engine/secured/tls.rs",
    "src/engine/transport.rs",
];

/// The methods of `Transport`, and those of `std::io` that could replace them.
const TRANSPORT_METHODS: &[&str] = &[
    "end_on_close",
    "read",
    "read_exact",
    "read_to_end",
    "read_vectored",
    "reset_on_close",
    "send_keep_alive_probes",
    "shutdown_write",
    "splits_reads",
    "write",
    "write_all",
    "write_queued",
    "write_vectored",
];

/// Receivers with other methods of these names: the file (any if empty) and the receiver.
const OTHER_RECEIVERS: &[(&str, &str)] = &[("", "links"), ("src/engine/scratch.rs", "hasher")];

/// A file with its declarations and writes.
pub(crate) type Read<'a> = (&'a Source, Items);

pub(crate) fn check(files: &[Read<'_>]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (source, items) in files {
        let complaint = |(line, what)| Complaint { file: source.file.clone(), line, what };
        let in_engine = source.file.starts_with("src/engine/");
        if in_engine && !TRANSPORT_FILES.contains(&source.file.as_str()) {
            complaints.extend(transports(source).into_iter().map(complaint));
        }
        complaints.extend(items.structs.iter().flat_map(visible_fields).map(complaint));
        complaints.extend(items.functions.iter().filter_map(|it| lent(source, it)).map(complaint));
        complaints.extend(foreign_writes(source, items, files).into_iter().map(complaint));
    }
    complaints
}

/// Structs in these tables that no longer exist, so that nothing is checked.
pub(crate) fn missing(files: &[Read<'_>]) -> Vec<String> {
    let is_there =
        |name: &str| files.iter().any(|(_, items)| items.structs.iter().any(|it| it.name == name));
    let closed = CLOSED.iter().map(|(name, _)| *name);
    let named = closed.chain(WRITTEN_ELSEWHERE.iter().map(|(name, ..)| *name));
    named.filter(|name| !is_there(name)).map(|name| format!("no struct `{name}`")).collect()
}

fn transports(source: &Source) -> Vec<(usize, String)> {
    let tokens = &source.tokens;
    let mut complaints = Vec::new();
    for at in (1..tokens.len()).filter(|&at| !source.is_test[at]) {
        let Some(name) = tokens.name(at) else { continue };
        let line = tokens[at].line;
        if name == "Transport" && !is_imported(tokens, at) && !is_bound(tokens, at) {
            let what = "names `Transport` other than in `impl<T: Transport>`: transports are the \
                        business of src/engine/links.rs";
            complaints.push((line, what.to_owned()));
        }
        let is_method = TRANSPORT_METHODS.contains(&name);
        let is_lent = name == "transport"
            || (name == "get"
                && receiver(tokens, at) == Some("links")
                && !source.module[1..].is_empty());
        let calls_method = tokens.punct(at - 1, '.') && tokens.punct(at + 1, '(');
        let of_other = receiver(tokens, at).is_some_and(|receiver| {
            let is_other = |(file, name): &(&str, &str)| {
                *name == receiver && (file.is_empty() || *file == source.file)
            };
            OTHER_RECEIVERS.iter().any(is_other)
        });
        let is_call = calls_method && ((is_method && !of_other) || is_lent);
        if is_call || (is_method && tokens.path_sep(at - 1)) {
            let what = format!(
                "`{name}` on what may be a transport: only src/engine/links.rs reads, writes and \
                 shuts down; say what to write with `self.links`"
            );
            complaints.push((line, what));
        }
    }
    complaints
}

/// Part of a `use` declaration.
fn is_imported(tokens: &[Token], at: usize) -> bool {
    let starts = |token: &Token| matches!(&token.kind, Kind::Name(name) if name == "use");
    let ends = |token: &Token| matches!(token.kind, Kind::Punct(';'));
    let last = tokens[..at].iter().rposition(|token| starts(token) || ends(token));
    // Under another name its later uses would not be found.
    last.is_some_and(|last| starts(&tokens[last])) && tokens.name(at + 1) != Some("as")
}

/// In `impl<T: Transport>`.
fn is_bound(tokens: &[Token], at: usize) -> bool {
    at > 3
        && tokens.name(at - 4) == Some("impl")
        && tokens.punct(at - 3, '<')
        && tokens.name(at - 2) == Some("T")
        && tokens.punct(at - 1, ':')
        && tokens.punct(at + 1, '>')
}

/// The name before `.method`; `None` if it is not called on a name.
fn receiver(tokens: &[Token], at: usize) -> Option<&str> {
    let is_method = at > 1 && tokens.punct(at - 1, '.');
    is_method.then(|| tokens.name(at - 2))?
}

fn visible_fields(it: &Struct) -> Vec<(usize, String)> {
    let Some((_, allowed)) = CLOSED.iter().find(|(name, _)| *name == it.name) else {
        return Vec::new();
    };
    let visible = it.fields.iter().filter(|field| {
        field.visibility != Visibility::Private && !allowed.contains(&field.name.as_str())
    });
    let what = |name: &str| {
        format!(
            "`{}::{name}` can be set from elsewhere: give `{}` a method that says what happened",
            it.name, it.name
        )
    };
    visible.map(|field| (field.line, what(&field.name))).collect()
}

/// A visible function that returns `&mut` of a part that is [not lent](NOT_LENT).
fn lent(source: &Source, function: &Function) -> Option<(usize, String)> {
    let tokens = &source.tokens;
    let mut lent = function.signature.clone().filter(|&at| {
        let is_return = tokens[function.signature.start..at].windows(2).any(|pair| {
            matches!([&pair[0].kind, &pair[1].kind], [Kind::Punct('-'), Kind::Punct('>')])
        });
        let is_changeable = at > 0 && tokens.name(at - 1) == Some("mut");
        is_return && is_changeable && tokens.name(at).is_some_and(|name| NOT_LENT.contains(&name))
    });
    let at = lent.next().filter(|_| function.is_visible && !function.is_test)?;
    let what = format!(
        "`{}` lends `&mut {}`: give its owner a method that says what happened",
        function.name,
        tokens.name(at)?
    );
    Some((tokens[at].line, what))
}

fn foreign_writes(source: &Source, items: &Items, files: &[Read<'_>]) -> Vec<(usize, String)> {
    let mut complaints = Vec::new();
    for write in &items.writes {
        let home = CHANGED_IN.iter().find(|(name, _)| write.method_of.as_deref() == Some(*name));
        if let Some((name, _)) = home.filter(|(_, file)| *file != source.file) {
            let what = format!(
                "`{name}` changes `{}` here: everything that can happen to it is in {}",
                write.field,
                home.map_or("", |home| home.1)
            );
            complaints.push((write.line, what));
        }
        if write.method_of.is_some() {
            continue;
        }
        let declared: Vec<_> =
            files.iter().flat_map(|file| declarations(file, &write.field)).collect();
        let is_own = |it: &Declaration<'_>| {
            it.visibility == Visibility::Public
                || it.file == source.file
                || ONE_OWNER
                    .iter()
                    .any(|folder| it.file.starts_with(folder) && source.file.starts_with(folder))
                || WRITTEN_ELSEWHERE
                    .iter()
                    .any(|(name, file, _)| (*name, *file) == (it.owner, source.file.as_str()))
        };
        let foreign = declared.iter().find(|it| it.visibility == Visibility::Restricted);
        if let Some(foreign) = foreign.filter(|_| !declared.iter().any(is_own)) {
            let what = format!(
                "writes `{}::{}` of {}: call a method of its owner that says what happened",
                foreign.owner, write.field, foreign.file
            );
            complaints.push((write.line, what));
        }
    }
    complaints
}

/// A field that some struct declares.
struct Declaration<'a> {
    file: &'a str,
    owner: &'a str,
    visibility: Visibility,
}

fn declarations<'a>(
    (source, items): &'a Read<'_>,
    field: &str,
) -> impl Iterator<Item = Declaration<'a>> {
    items.structs.iter().filter_map(move |it| {
        let found = it.fields.iter().find(|declared| declared.name == field)?;
        Some(Declaration { file: &source.file, owner: &it.name, visibility: found.visibility })
    })
}
