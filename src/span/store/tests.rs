use super::*;
use crate::topic::{Compressible, Continues};

const RETENTION: Retention = Retention { log_entries: 1_000, history_s: 60 };

fn append(number: u64, events: &[&str]) -> Request {
    let post = |data: &&str| Post {
        topic: "a".into(),
        keeps: Keeps { events: 100, bytes: 10_000 },
        compression: Compressible::Yes,
        continues: Continues::Yes,
        once: None,
        events: format!("data: {data}\n\n").into_bytes().into(),
    };
    let posts = events.iter().map(post).collect();
    Request::Append {
        batch: Arc::new(Batch { number, posts, bytes: 0 }),
        base: 1,
        retention: RETENTION,
    }
}

fn greet(store: &mut Store, floor: u64) -> Greeting {
    match store.apply("anna", &Request::Greet { floor }, 0) {
        Ok(Reply::Greeted(greeting)) => greeting,
        other => panic!("{other:?}"),
    }
}

/// What a generation leaves out that this member begins.
fn leap() -> u64 {
    generation_leap("anna")
}

/// Everything that a member can see.
fn view(store: &mut Store) -> [Result<Reply, ServerError>; 2] {
    [Request::Recall(vec!["a".into()]), Request::Read { after: 0, most: 10_000 }]
        .map(|request| store.apply("anna", &request, 0))
}

#[test]
fn a_restart_loses_the_last_calls_and_no_others() {
    for before in [0, 3, CALLS_MAX as u64 + 50] {
        let mut store = Store::new("model");
        greet(&mut store, 0);
        for number in 1..=before {
            store.apply("anna", &append(number, &["kept"]), 0).unwrap();
        }
        let expected = view(&mut store);
        for number in before + 1..=before + 5 {
            store.apply("anna", &append(number, &["lost", "too"]), 0).unwrap();
            // Reads change nothing.
            let _ = view(&mut store);
        }
        store.restart(Survives::WithoutLast(5));
        assert_eq!(view(&mut store), expected, "{before}");
        let greeting = greet(&mut store, before + 12);
        let follows = before + 2;
        let place = before + 13 + leap();
        assert_eq!(greeting.position, place, "after all that members have seen");
        assert_eq!(greeting.generations[1].1, follows);
        let batch = store.apply("anna", &append(before + 1, &["again"]), 0);
        let up_to = place + 1;
        assert_eq!(batch, Ok(Reply::Appended { number: before + 1, was_known: false, up_to }));
    }
}

#[test]
fn a_store_that_loses_nothing_begins_a_generation_and_knows_its_batches() {
    let mut store = Store::new("model");
    greet(&mut store, 0);
    store.apply("anna", &append(1, &["1", "2"]), 0).unwrap();
    store.restart(Survives::All);
    let greeting = greet(&mut store, 4);
    let place = 5 + leap();
    assert_eq!((greeting.generations[1].1, greeting.position), (4, place));
    let again = store.apply("anna", &append(1, &["1", "2"]), 0);
    assert_eq!(again, Ok(Reply::Appended { number: 1, was_known: true, up_to: place }));
}

#[test]
fn a_store_that_loses_everything_gives_no_place_again() {
    let mut store = Store::new("model");
    greet(&mut store, 0);
    store.apply("anna", &append(1, &["1", "2"]), 0).unwrap();
    store.restart(Survives::Nothing);
    assert_eq!(store.apply("anna", &append(2, &["3"]), 0), Ok(Reply::Strange));
    let greeting = greet(&mut store, 4);
    assert_eq!((greeting.generations.len(), greeting.generations[0].1), (1, 0));
    assert_eq!(greeting.position, 5 + leap());
}

#[test]
fn a_store_without_room_changes_nothing() {
    let mut store = Store::new("model");
    greet(&mut store, 0);
    let before = view(&mut store);
    store.set_room(RoomLeft::None);
    let refused = store.apply("anna", &append(1, &["1"]), 0);
    assert!(matches!(refused, Ok(Reply::Refused { number: 1, .. })), "{refused:?}");
    let next = Request::Append {
        batch: Arc::new(Batch { number: 2, posts: vec![], bytes: 0 }),
        base: 1,
        retention: RETENTION,
    };
    assert_eq!(store.apply("anna", &next, 0), Ok(Reply::Missing { number: 2 }));
    assert_eq!(view(&mut store), before);
}

/// Names end with those of members here; those of generations must differ in their times.
#[test]
fn names_of_generations_grow_whatever_the_clock_says() {
    let mut store = Store::new("model");
    for (life, now_ms) in [5_000, 4_000, 4_000, 9_000, 0].into_iter().enumerate() {
        store.restart(Survives::All);
        let greeting = store.apply("anna", &Request::Greet { floor: 0 }, now_ms);
        let Ok(Reply::Greeted(Greeting { generations, .. })) = greeting else { panic!() };
        assert_eq!(generations.len(), life + 1);
        assert!(generations.is_sorted_by(|one, next| one.0 < next.0), "{generations:?}");
    }
}
