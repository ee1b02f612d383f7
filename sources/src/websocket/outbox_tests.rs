use super::*;

fn outbox(limits: Limits) -> Outbox {
    let outbox = Outbox::new(Format::Json, Arc::new(limits), Arc::default());
    outbox.welcome(b"w");
    outbox.take(&mut Vec::new());
    outbox
}

/// Room for so many pushes of small groups.
fn room(pushes: usize) -> Limits {
    let outbox = super::super::bands::Capacity::scaled(pushes * 36 / 5, 1 << 20);
    Limits { outbox, ..Limits::default() }
}

fn push(outbox: &Outbox, text: &'static str, now: u64) -> bool {
    push_as(outbox, "c1", What::Notice, Band::P1, text, now)
}

fn message(outbox: &Outbox, conversation_id: &str, seq: u64) {
    push_as(outbox, conversation_id, What::Message(seq), Band::P1, "m", 0);
}

fn push_as(
    outbox: &Outbox,
    conversation_id: &str,
    what: What,
    band: Band,
    text: &'static str,
    now: u64,
) -> bool {
    let conversation = super::super::bands::hash_of(conversation_id);
    let frame = &Bytes::from_static(text.as_bytes());
    let pushed = Pushed { frame, band, conversation, conversation_id, what };
    outbox.push(std::iter::once(pushed), now)
}

/// All that can be written.
fn written(outbox: &Outbox) -> String {
    let mut all = String::new();
    loop {
        let mut out = Vec::new();
        let left = outbox.take(&mut out).left;
        all.push_str(&String::from_utf8_lossy(&out));
        if !left {
            return all;
        }
    }
}

fn notices(text: &str) -> Vec<&str> {
    text.split("upToSeq\":").skip(1).filter_map(|rest| rest.split('}').next()).collect()
}

#[test]
fn the_first_push_leaves_at_once_and_the_next_wait_for_the_window() {
    let outbox = outbox(Limits::default());
    assert!(!push(&outbox, "a", 100) && outbox.is_scheduled());
    assert_eq!(written(&outbox), "a");
    assert!(push(&outbox, "b", 102), "waits for the window's end");
    assert!(!push(&outbox, "c", 103), "is on the list already");
    assert!(!outbox.is_scheduled());
    outbox.end_window(105);
    assert_eq!(written(&outbox), "bc");
}

#[test]
fn a_reply_takes_waiting_pushes_along_in_their_order() {
    let outbox = outbox(Limits::default());
    push(&outbox, "a", 0);
    written(&outbox);
    push(&outbox, "b", 1);
    push(&outbox, "c", 1);
    outbox.expect(2);
    outbox.reply(b"R");
    let mut out = Vec::new();
    assert_eq!(outbox.take(&mut out).unanswered, 1);
    assert_eq!(out, b"Rbc");
}

#[test]
fn messages_that_find_no_room_become_one_notice_until_they_are_pulled() {
    let outbox = outbox(room(2));
    for seq in 1..=9 {
        message(&outbox, "c1", seq);
    }
    let all = written(&outbox);
    assert!(all.starts_with("mm") && notices(&all) == ["9"], "{all}");
    message(&outbox, "c1", 10);
    assert_eq!(written(&outbox), "", "nothing is pushed that would leave a hole");
    outbox.tell_gaps();
    assert_eq!(notices(&written(&outbox)), ["10"]);
    outbox.tell_gaps();
    assert_eq!(written(&outbox), "", "it is told of what is new only");
    outbox.pulled(super::super::bands::hash_of("c1"), 9);
    assert_eq!(notices(&written(&outbox)), ["10"], "there is more than it pulled");
    outbox.pulled(super::super::bands::hash_of("c1"), 10);
    message(&outbox, "c1", 11);
    assert_eq!(written(&outbox), "m");
    assert_eq!(outbox.load().gaps, 0);
}

#[test]
fn a_notice_that_waits_says_what_is_true_when_it_leaves() {
    let outbox = outbox(Limits::default());
    push_as(&outbox, "c1", What::Notify(5), Band::P2, "", 0);
    for seq in 6..=8 {
        message(&outbox, "c1", seq);
    }
    message(&outbox, "c2", 1);
    let all = written(&outbox);
    assert_eq!(notices(&all), ["8"], "{all}");
    assert!(all.contains('m'), "other conversations are pushed");
}

#[test]
fn a_slow_consumer_of_one_conversation_keeps_the_others_and_its_replies() {
    let outbox = outbox(Limits { outbox_gaps: 3, ..room(2) });
    outbox.reply(b"R");
    for seq in 1..=50 {
        message(&outbox, "busy", seq);
    }
    assert_eq!(outbox.take(&mut Vec::new()).closing, None);
    for conversation in ["a", "b", "c", "d", "e", "f"] {
        (1..=3).for_each(|seq| message(&outbox, conversation, seq));
    }
    let closing = outbox.take(&mut Vec::new()).closing;
    assert_eq!(closing, Some(Closing { why: Close::SlowConsumer, patient: false }));
}

#[test]
fn a_receipt_that_finds_no_room_is_told_of_and_holds_no_messages_back() {
    let outbox = outbox(room(1));
    message(&outbox, "c1", 1);
    push(&outbox, "receipt", 0);
    assert_eq!(notices(&written(&outbox)), ["0"]);
    message(&outbox, "c1", 2);
    assert_eq!(written(&outbox), "m");
}

#[test]
fn the_moment_goes_first_and_makes_room_for_the_next() {
    let outbox = outbox(Limits::default());
    push(&outbox, "a", 0);
    for _ in 0..MAX_FLEETING + 5 {
        outbox.push_fleeting(&Bytes::from_static(b"t"), 0);
    }
    let mut out = Vec::new();
    assert_eq!(outbox.take(&mut out).dropped, 5);
    assert_eq!(out, [&b"t".repeat(MAX_FLEETING)[..], b"a"].concat());
}

#[test]
fn nothing_leaves_before_the_welcome() {
    let outbox = Outbox::new(Format::Json, Arc::default(), Arc::default());
    push(&outbox, "a", 0);
    assert_eq!(written(&outbox), "");
    outbox.welcome(b"W");
    assert_eq!(written(&outbox), "Wa");
}

#[test]
fn a_finished_outbox_takes_nothing() {
    let outbox = outbox(Limits::default());
    let mut out = Vec::new();
    push(&outbox, "a", 0);
    outbox.finish(&mut out);
    push(&outbox, "b", 0);
    outbox.reply(b"R");
    outbox.finish(&mut out);
    assert_eq!(out, b"a");
}

fn resumable() -> Outbox {
    let outbox = outbox(Limits::default());
    outbox.keep();
    outbox
}

#[test]
fn the_next_connection_goes_on_where_the_client_has_read_to() {
    let lost = resumable();
    for text in ["a", "b", "c"] {
        push(&lost, text, 0);
    }
    assert_eq!(written(&lost), "abc");
    lost.expect(1);
    assert!(lost.park());
    push(&lost, "d", 1);
    lost.reply(b"R");
    assert!(!lost.is_scheduled(), "nobody is there to be woken");
    let legacy = lost.bequeath(1).expect("all of it is kept");
    let next = resumable();
    next.inherit(legacy);
    push(&next, "e", 9);
    assert_eq!(written(&next), "bcde", "what was not read, what gathered, what is live");
    let again = next.bequeath(3).expect("counts go on over connections");
    assert_eq!(again.frames, ["d", "e"]);
}

#[test]
fn gaps_are_taken_along_and_what_is_not_whole_is_not_resumed() {
    let lost = resumable();
    assert!(lost.park());
    push_as(&lost, "c1", What::Notify(5), Band::P2, "", 0);
    message(&lost, "c1", 6);
    let next = resumable();
    next.inherit(lost.bequeath(0).expect("whole"));
    message(&next, "c1", 7);
    assert_eq!(notices(&written(&next)), ["6"], "what came before the new one");
    next.tell_gaps();
    assert_eq!(notices(&written(&next)), ["7"]);
    assert!(lost.bequeath(1).is_none(), "more than was written");
    let overfull = Outbox::new(
        Format::Json,
        Arc::new(Limits { outbox_gaps: 1, ..Limits::default() }),
        Arc::default(),
    );
    overfull.keep();
    assert!(overfull.park());
    for conversation in ["a", "b"] {
        push_as(&overfull, conversation, What::Notify(1), Band::P2, "", 0);
    }
    assert!(overfull.bequeath(0).is_none(), "its gaps were forgotten");
    let plain = outbox(Limits::default());
    assert!(!plain.park(), "nobody asked for it");
}
