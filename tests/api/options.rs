//! What the options of a configuration change, and that a stanza says it was delayed, through the C functions.

use crate::support::{Client, JULIET, Kind, NS_2, ROMEO, Setup, World, abi, edit, settle};

/// Numbers of `omemo_option`.
const HEALING: i32 = 5;
const MAX_UNANSWERED_MESSAGES: i32 = 6;
const SIGNED_PRE_KEY_PERIOD_S: i32 = 7;
const PRE_KEY_THRESHOLD: i32 = 8;

/// Two friends, the first of whom has set an option.
pub(crate) fn friends(world: &World, options: &[(i32, u64)]) -> (Client, Client) {
    let set = Setup { options: options.to_vec(), ..Setup::default() };
    let romeo = Client::with(world, ROMEO, set);
    romeo.connect().ok();
    let juliet = Client::online(world, JULIET);
    romeo.say(&[JULIET], "hello");
    juliet.receive();
    settle(&[&romeo, &juliet]);
    juliet.say(&[ROMEO], "welcome");
    romeo.receive();
    settle(&[&romeo, &juliet]);
    romeo.refresh(JULIET).ok();
    (romeo, juliet)
}

fn signed_pre_key(world: &World, client: &Client) -> String {
    let bundle = world.bundle(NS_2, ROMEO, client.id()).unwrap();
    edit::text(&bundle, edit::names(NS_2).signature)
}

fn pre_keys(world: &World, client: &Client) -> usize {
    edit::count(&world.bundle(NS_2, ROMEO, client.id()).unwrap(), "pk")
}

#[test]
fn a_device_that_does_not_answer_gets_as_many_messages_as_the_option_says() {
    for (limit, sent) in [(1, 54), (60, 60), (0, 70)] {
        let world = World::new(1);
        let (romeo, _juliet) = friends(&world, &[(MAX_UNANSWERED_MESSAGES, limit)]);
        let served = (0..70).filter(|_| romeo.encrypt(&[JULIET], "hello").status == abi::OK).count();
        assert_eq!(served, sent, "{limit}");
    }
}

#[test]
fn a_signed_pre_key_lives_as_long_as_the_option_says() {
    for (options, days) in [(vec![(SIGNED_PRE_KEY_PERIOD_S, 86_400)], 1), (vec![], 7)] {
        let world = World::new(1);
        let (romeo, _juliet) = friends(&world, &options);
        let first = signed_pre_key(&world, &romeo);
        for half_hour in 0..days * 48 {
            assert_eq!(signed_pre_key(&world, &romeo), first, "after {half_hour} half hours of {days} days");
            world.advance(1_800_000);
            settle(&[&romeo]);
        }
        assert_ne!(signed_pre_key(&world, &romeo), first, "{days}");
    }
}

#[test]
fn pre_keys_are_made_anew_where_the_option_says() {
    for (options, left) in [(vec![(PRE_KEY_THRESHOLD, 98)], 99), (vec![], 100)] {
        let world = World::new(1);
        let romeo = Client::with(&world, ROMEO, Setup { options, ..Setup::default() });
        romeo.connect().ok();
        let juliet = Client::online(&world, JULIET);
        juliet.say(&[ROMEO], "hello");
        romeo.receive();
        settle(&[&romeo, &juliet]);
        assert_eq!(pre_keys(&world, &romeo), left);
    }
}

/// Juliet's stanza, which nobody can authenticate; `delay` stands beside the message in it.
fn forged(juliet: &Client, delay: &str) -> String {
    let stanza = edit::flip(&juliet.seal(&[ROMEO], "x"), "key", 30);
    format!("<message xmlns='jabber:client'>{stanza}{delay}</message>")
}

#[test]
fn only_what_was_sent_just_now_has_a_session_replaced() {
    const DELAY: &str = "<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/>";
    for (delay, replaced) in [(DELAY, 0), ("", 1)] {
        let world = World::new(1);
        let (romeo, juliet) = friends(&world, &[(HEALING, 1)]);
        let before = world.count(Kind::SendMessage);
        for _ in 0..3 {
            let read = romeo.decrypt(JULIET, &forged(&juliet, delay)).unwrap();
            assert_eq!(read.status, omemo::error::Status::DecryptionFailed as i32);
            settle(&[&romeo]);
        }
        assert_eq!(romeo.devices(JULIET)[0].failed_messages, if replaced == 0 { 3 } else { 1 });
        assert_eq!(world.count(Kind::SendMessage) - before, replaced, "{delay}");
    }
}
