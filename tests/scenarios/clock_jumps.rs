//! The wall clock jumps by years, forwards and back: nothing is deleted early, no message is refused, and nobody floods the
//! server.

use crate::support::world::device::{Device, News, Report, settle};
use crate::support::{Answer, JULIET, Kind, ROMEO, RawDevice, TYBALT, World};
use omemo::error::Status;
use omemo::manager::api::event::NoticeKind;
use omemo::protocol::namespace::Namespace;
use omemo::stanza::bundle;

in_both_namespaces_and_faces! {
    the_conversation_goes_on_after_each_jump,
    skipped_messages_are_read_after_a_jump,
    what_was_sent_on_a_superseded_session_is_read_after_a_jump,
    what_was_sent_on_a_retired_session_is_read_after_a_jump,
    a_clock_that_jumps_forth_and_back_ends_no_archived_session,
    a_used_pre_key_that_is_still_published_is_kept_over_a_jump,
    an_empty_message_that_waits_is_sent_after_a_jump,
    no_time_is_refused,
}

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
const TEN_YEARS: i64 = 3_653 * DAY;
const START: i64 = 1_700_000_000_000;

/// Where the clock may jump to: ten years ahead and back, the beginning, and the ends of clocks of 32 bits.
const JUMPS: [(&str, i64); 8] = [
    ("ten years ahead", START + TEN_YEARS),
    ("ten years back", START - TEN_YEARS),
    ("1970", 0),
    ("2038-01-19T03:14:08Z", 2_147_483_648_000),
    ("2106-02-07T06:28:16Z", 4_294_967_296_000),
    ("a day back", START - DAY),
    ("25 hours ahead", START + DAY + DAY / 24),
    ("29 days ahead", START + 29 * DAY),
];

/// Runs a body for each jump, in a world of its own, and fails with the names of all that went wrong.
#[track_caller]
fn after_each_jump(body: impl Fn(&str, i64) -> Result<(), String>) {
    let wrong =
        JUMPS.iter().filter_map(|(name, to)| body(name, *to).err().map(|why| format!("{name}: {why}")));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, wanted: &T) -> Result<(), String> {
    if got == wanted { Ok(()) } else { Err(format!("{what}: {got:?}, not {wanted:?}")) }
}

/// Writes both ways until both have used the session.
#[track_caller]
fn converse<D: Device>(one: &D, other: &D) {
    for (from, to, text) in [(one, other, "hello"), (other, one, "welcome"), (one, other, "well met")] {
        from.say(to.name(), text);
        settle_but_texts(&[one, other]);
        assert_eq!(to.texts(), [text]);
        settle(&[one, other]);
    }
}

/// Runs all devices; what lies in their inboxes stays there.
fn settle_but_texts<D: Device>(devices: &[&D]) {
    devices.iter().for_each(|device| device.go_on());
}

fn friends<D: Device>(world: &World, other: &str) -> (D, D) {
    let (romeo, friend) = (D::online(world, ROMEO), D::online(world, other));
    settle(&[&romeo, &friend]);
    converse(&romeo, &friend);
    (romeo, friend)
}

/// The most wake-ups, and requests of all kinds, in ten minutes in which nothing happens.
const WAKE_UPS: usize = 60;

/// The device runs when the library wants to, for ten minutes: it is not woken in vain, and asks for little.
fn rests<D: Device>(device: &D) -> Result<(), String> {
    let world = device.world();
    let asked_before = world.journal().len();
    let (mut left_ms, mut wake_ups) = (10 * MINUTE, 0);
    while let Some(due_ms) = device.due_in().map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)) {
        left_ms = left_ms.saturating_sub(due_ms);
        wake_ups += 1;
        if left_ms <= 0 || wake_ups > WAKE_UPS {
            break;
        }
        world.clock().advance(due_ms.unsigned_abs());
        device.go_on();
    }
    equal("wake-ups without end", &(wake_ups > WAKE_UPS), &false)?;
    equal("many requests", &(world.journal().len() - asked_before > WAKE_UPS), &false)
}

/// Sessions and what is kept with them.
fn kept<D: Device>(device: &D) -> Vec<String> {
    let sessions =
        |key: &String| ["v1/session/", "v1/archive/", "v1/skipped/"].iter().any(|kind| key.starts_with(kind));
    device.storage().all().into_keys().filter(sessions).collect()
}

/// The clock jumps; the device runs for some minutes, starts again, connects, and runs again. Nothing that it has is gone
/// then, nothing is complained about, and little is published.
fn jump<D: Device>(device: &mut D, to_ms: i64) -> Result<(), String> {
    let world = device.world().clone();
    let devices = |device: &D| device.known(Some(JULIET)).len() + device.known(Some(TYBALT)).len();
    let own_bundle = |device: &D| {
        let xml = world.bundle(world.namespace(), ROMEO, device.own_id()).unwrap();
        bundle::parse(xml.as_bytes(), None).unwrap()
    };
    let (before, devices_before, bundle_before) = (kept(device), devices(device), own_bundle(device));
    device.news();
    world.clear_journal();
    world.clock().set_wall(to_ms);
    let run = |device: &D| {
        for _ in 0..3 {
            device.go_on();
            let _ = device.due_in();
            world.clock().advance(MINUTE.unsigned_abs());
        }
        device.go_on();
    };
    run(device);
    device.restart();
    let report = device.connect();
    run(device);
    rests(device)?;
    equal("connected", &report.status, &Status::Ok)?;
    let rows: Vec<Status> = report.rows.iter().map(|row| row.status).collect();
    equal("rows", &rows.iter().all(|status| *status == Status::Ok), &true)?;
    for kind in [Kind::PublishList, Kind::PublishBundle] {
        equal("many publications", &(world.count(kind) > 3), &false)?;
    }
    let news: Vec<News> = device.news().into_iter().filter(|news| news.kind != NoticeKind::Devices).collect();
    equal("news", &news, &Vec::new())?;
    let lines: Vec<String> = device.log_lines().into_iter().filter(|line| line.contains("CORRUPT")).collect();
    equal("log", &lines, &Vec::new())?;
    equal("devices", &devices(device), &devices_before)?;
    let after = kept(device);
    let gone: Vec<&String> = before.iter().filter(|key| !after.contains(key)).collect();
    equal("gone records", &gone, &Vec::new())?;
    let own = own_bundle(device);
    // A step counts for a day at most.
    equal("signed pre key", &own.signed_pre_key_id, &bundle_before.signed_pre_key_id)?;
    equal("pre keys", &(25..=100).contains(&own.pre_keys.len()), &true)
}

fn reads<D: Device>(device: &D, from: &str, (xml, text): (&str, &str)) -> Result<(), String> {
    let read = Device::read(device, from, xml);
    equal("withheld", &(read.status, read.text.as_deref()), &(Status::Ok, Some(text)))
}

fn the_conversation_goes_on_after_each_jump<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (mut romeo, juliet) = friends::<D>(&world, JULIET);
    let withheld: Vec<(String, String)> = JUMPS
        .iter()
        .chain([&("the time before", START)])
        .map(|(name, _)| (juliet.seal(ROMEO, name), (*name).to_owned()))
        .collect();
    converse(&romeo, &juliet);
    for ((name, to), (xml, text)) in JUMPS.iter().chain([&("the time before", START)]).zip(&withheld) {
        jump(&mut romeo, *to).unwrap_or_else(|why| panic!("{name}: {why}"));
        juliet.reconnect().ok();
        reads(&romeo, JULIET, (xml, text)).unwrap_or_else(|why| panic!("{name}: {why}"));
        settle(&[&romeo, &juliet]);
        converse(&romeo, &juliet);
        converse(&juliet, &romeo);
    }
}

fn skipped_messages_are_read_after_a_jump<D: Device>(ns: &'static str) {
    after_each_jump(|name, to| {
        let world = World::speaking(ns, 2);
        let (mut romeo, juliet) = friends::<D>(&world, JULIET);
        let withheld = juliet.seal(ROMEO, name);
        juliet.say(ROMEO, "next");
        assert_eq!(romeo.texts(), ["next"]);
        jump(&mut romeo, to)?;
        reads(&romeo, JULIET, (&withheld, name))
    });
}

fn what_was_sent_on_a_superseded_session_is_read_after_a_jump<D: Device>(ns: &'static str) {
    after_a_jump_on_an_archived_session(ns, |_: &D, juliet: &D| juliet.replace_sessions(Some(ROMEO), 0).ok());
}

fn what_was_sent_on_a_retired_session_is_read_after_a_jump<D: Device>(ns: &'static str) {
    after_a_jump_on_an_archived_session(ns, |romeo: &D, _: &D| romeo.replace_sessions(Some(JULIET), 0).ok());
}

fn a_clock_that_jumps_forth_and_back_ends_no_archived_session<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 4);
    let (mut romeo, juliet) = friends::<D>(&world, JULIET);
    let withheld = juliet.seal(ROMEO, "withheld");
    juliet.replace_sessions(Some(ROMEO), 0).ok();
    settle(&[&romeo, &juliet]);
    converse(&romeo, &juliet);
    for time in 0..10 {
        for to in [0, START] {
            // Each jump ahead counts for a day, so that the signed pre key is replaced meanwhile.
            let before = kept(&romeo);
            world.clock().set_wall(to);
            romeo.go_on();
            romeo.restart();
            romeo.connect().ok();
            rests(&romeo).unwrap_or_else(|why| panic!("{time}, {to}: {why}"));
            assert_eq!(kept(&romeo), before, "{time}, {to}");
        }
    }
    reads(&romeo, JULIET, (&withheld, "withheld")).unwrap();
}

/// A text is withheld while its session is archived, and still read when after the jump another one is.
fn after_a_jump_on_an_archived_session<D: Device>(ns: &'static str, archive: impl Fn(&D, &D) -> Report) {
    after_each_jump(|name, to| {
        let world = World::speaking(ns, 3);
        let (mut romeo, juliet) = friends::<D>(&world, JULIET);
        let withheld = juliet.seal(ROMEO, name);
        archive(&romeo, &juliet);
        settle(&[&romeo, &juliet]);
        converse(&romeo, &juliet);
        jump(&mut romeo, to)?;
        archive(&romeo, &juliet);
        settle(&[&romeo, &juliet]);
        reads(&romeo, JULIET, (&withheld, name))
    });
}

/// Strangers, and their first messages on the same pre key.
fn on_one_pre_key<D: Device>(romeo: &D, texts: [&str; 2]) -> [(String, String); 2] {
    let world = romeo.world();
    let namespace = Namespace::from_uri(world.namespace()).unwrap();
    let xml = world.bundle(world.namespace(), ROMEO, romeo.own_id()).unwrap();
    let mut bundle = bundle::parse(xml.as_bytes(), None).unwrap();
    bundle.pre_keys.truncate(1);
    texts.map(|text| {
        let jid = format!("stranger.{}@verona.lit", text.len());
        let mut raw = RawDevice::of(namespace, &jid, 5);
        raw.begin_with(&bundle);
        (jid, raw.say((ROMEO, romeo.own_id()), text))
    })
}

fn a_used_pre_key_that_is_still_published_is_kept_over_a_jump<D: Device>(ns: &'static str) {
    after_each_jump(|name, to| {
        // After a day the pre key may go, as it would without a jump.
        if name.ends_with("ahead") && !name.starts_with("ten") {
            return Ok(());
        }
        let world = World::speaking(ns, 5);
        let mut romeo = D::online(&world, ROMEO);
        let [(first, hello), (second, late)] = on_one_pre_key(&romeo, ["hello", "late"]);
        world.set_fault(|request| (request.kind == Kind::PublishBundle).then_some(Answer::Reject(2)));
        assert_eq!(Device::read(&romeo, &first, &hello).status, Status::Ok);
        romeo.go_on();
        world.clock().set_wall(to);
        romeo.go_on();
        romeo.restart();
        romeo.connect();
        romeo.go_on();
        reads(&romeo, &second, (&late, "late"))?;
        equal("given again", &Device::read(&romeo, &first, &hello).status, &Status::Duplicate)
    });
}

fn an_empty_message_that_waits_is_sent_after_a_jump<D: Device>(ns: &'static str) {
    after_each_jump(|_, to| {
        let world = World::speaking(ns, 6);
        let mut romeo = D::online(&world, ROMEO);
        let [(first, hello), _] = on_one_pre_key(&romeo, ["hello", "late"]);
        world.set_fault(|request| (request.kind == Kind::SendMessage).then_some(Answer::Reject(2)));
        assert_eq!(Device::read(&romeo, &first, &hello).status, Status::Ok);
        romeo.go_on();
        equal("tried", &(world.count(Kind::SendMessage) > 0), &true)?;
        world.clock().set_wall(to);
        romeo.go_on();
        romeo.restart();
        world.clear_fault();
        world.clear_journal();
        romeo.connect().ok();
        romeo.go_on();
        equal("sent", &world.count(Kind::SendMessage), &1)
    });
}

/// Whatever the client's clock says, nothing panics and nothing is refused.
fn no_time_is_refused<D: Device>(ns: &'static str) {
    let world = World::speaking(ns, 7);
    let (mut romeo, mut juliet) = friends::<D>(&world, JULIET);
    for wall_ms in [-1, 0, i64::MIN, i64::MAX, i64::MIN, -TEN_YEARS * 100, 1, i64::MAX - 1, START] {
        world.clock().set_wall(wall_ms);
        romeo.go_on();
        rests(&romeo).unwrap_or_else(|why| panic!("{wall_ms}: {why}"));
        converse(&romeo, &juliet);
        for device in [&mut romeo, &mut juliet] {
            device.restart();
            device.connect().ok();
        }
        converse(&juliet, &romeo);
        romeo.replace_sessions(Some(JULIET), 0).ok();
        settle(&[&romeo, &juliet]);
        let new = D::online(&world, TYBALT);
        settle(&[&romeo, &juliet, &new]);
        converse(&new, &romeo);
        world.leave(new.endpoint());
    }
}
