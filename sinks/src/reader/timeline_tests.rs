use imflow_proto::record::Ask;
use imflow_proto::wire::envelope::Body;

use super::super::testing::{Dice, Shelf, any_shelf};
use super::*;

fn read(shelf: &Shelf, timeline: Timeline) -> Messages {
    match shelf.ask(Ask::Timeline(timeline)) {
        Body::Messages(page) => page,
        other => panic!("{other:?}"),
    }
}

#[test]
fn pages_in_either_direction_equal_a_naive_merge() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let shelf = any_shelf(&mut dice, 40);
        let mut naive: Vec<Message> = shelf.messages.values().flatten().cloned().collect();
        naive.sort_by(|a, b| place_of(a).cmp(&place_of(b)));
        let limit = 1 + dice.below(60) as u32;
        let (mut found, mut after) = (Vec::new(), Place::default());
        loop {
            let page = read(&shelf, Timeline { after: Some(after), before: None, limit });
            assert!(page.items.len() <= limit as usize, "seed {seed}");
            found.extend(page.items);
            if !page.more {
                break;
            }
            after = to_place(found.last().expect("a page that is not the last has messages"));
        }
        assert_eq!(found, naive, "seed {seed}, forwards");
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = read(&shelf, Timeline { after: None, before, limit });
            found.splice(0..0, page.items);
            if !page.more {
                break;
            }
            before = Some(to_place(&found[0]));
        }
        assert_eq!(found, naive, "seed {seed}, backwards");
        // From a time alone, whether or not a message has it.
        let time = 100 + dice.below(150) as i64;
        let from = Place { created_at: time, ..Place::default() };
        let page = read(&shelf, Timeline { after: Some(from), before: None, limit: 200 });
        let rest: Vec<_> = naive.iter().filter(|m| m.created_at >= time).take(200).collect();
        assert_eq!(page.items.iter().collect::<Vec<_>>(), rest, "seed {seed}, from {time}");
    }
}

#[test]
fn a_page_is_closed_at_its_size() {
    let mut shelf = Shelf::default();
    (0..40).for_each(|n| shelf.add(["a", "b"][n % 2], n as i64, 60 << 10));
    let page = read(&shelf, Timeline { after: Some(Place::default()), ..Timeline::default() });
    assert_eq!((page.items.len(), page.more), (8, true));
}
