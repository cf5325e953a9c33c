//! The checks at the end of a flow see what goes wrong: each of these spoils one thing behind the client's back.

use crate::flow::{FLOWS, Flow, Step};
use crate::matrix::caught;
use crate::stage::{Plan, Stage};
use crate::support::world::server::jid;
use crate::support::{JULIET, ROMEO, RawDevice};
use omemo::protocol::namespace::Namespace::Omemo2;

fn flow(name: &str) -> &'static Flow {
    FLOWS.iter().find(|flow| flow.name == name).unwrap()
}

/// Plays a flow without failure, spoils something, and gives what the end finds wrong.
fn found(name: &str, spoil: impl FnOnce(&mut Stage)) -> Vec<String> {
    caught(|run| {
        let mut stage = Stage::new(flow(name), Plan::Nothing);
        stage.play_all();
        spoil(&mut stage);
        stage.end_all();
        run.wrong = std::mem::take(&mut stage.wrong);
    })
    .wrong
}

#[track_caller]
fn assert_found(wrong: &[String], what: &str) {
    assert!(wrong.iter().any(|found| found.contains(what)), "{what:?} is not among {wrong:?}");
}

#[test]
fn nothing_is_found_where_nothing_is_spoilt() {
    assert!(found("session", |_| ()).is_empty());
}

#[test]
fn an_older_store_is_found_out() {
    let wrong = found("session", |stage| {
        let old = stage.romeo.storage.all();
        stage.play(Step::Say);
        stage.close();
        stage.romeo.storage.put_back(old);
    });
    assert_found(&wrong, "a message key was used twice");
}

#[test]
fn a_device_too_many_on_the_list_is_found_out() {
    let wrong = found("session", |stage| RawDevice::of(Omemo2, ROMEO, 99).publish(&mut stage.server));
    assert_found(&wrong, "the list is");
}

#[test]
fn a_level_that_nobody_gave_is_found_out() {
    let wrong = found("session", |stage| {
        let key = stage.juliet.key();
        stage.romeo.manager().set_trust(&jid(JULIET), &key, "custom").unwrap();
    });
    assert_found(&wrong, "which nobody said");
}

#[test]
fn a_message_that_is_read_twice_is_found_out() {
    let wrong = found("session", |stage| {
        let mail = stage.juliet_writes().unwrap();
        stage.seen.push((mail.from, mail.message));
    });
    assert_found(&wrong, "decrypted twice");
}

#[test]
fn a_message_that_is_lost_is_found_out() {
    let wrong = found("session", |stage| {
        let mail = stage.juliet_writes().unwrap();
        // It was read, and nobody saw the text.
        stage.romeo.manager().decrypt(Some(&mail.from), None, &mail.message).unwrap();
        stage.inbox.push_back(mail);
    });
    assert_found(&wrong, "cannot be read: OMEMO_ERR_DUPLICATE");
}

#[test]
fn a_used_pre_key_that_is_published_is_found_out() {
    let wrong = found("session", |stage| {
        let own = stage.own_id().unwrap();
        let bundle = &stage.server.bundles[&(Omemo2, jid(ROMEO), own)];
        stage.used.insert((Omemo2.code(), own, bundle.pre_keys[3].id));
    });
    assert_found(&wrong, "still published");
}

#[test]
fn kept_content_that_is_lost_is_found_out() {
    let wrong = found("acknowledged", |stage| {
        stage.open();
        stage.kept.holds = true;
        stage.play(Step::Hear);
        stage.kept.holds = false;
        let listed = stage.romeo.manager().unacknowledged(0).unwrap().unwrap();
        // Nobody has stored it.
        stage.romeo.manager().acknowledge(listed.receipt).unwrap();
    });
    assert_found(&wrong, "content is lost that nobody has acknowledged");
}
