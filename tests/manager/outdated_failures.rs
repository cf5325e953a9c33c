//! What an encryption could not have is asked for again if it has to wait: a failure of an earlier stream, or of long ago, tells
//! nothing of the device.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::request::{Answer, Reason, Request};
use omemo::protocol::namespace::Namespace;

in_both_namespaces! {
    a_bundle_that_was_missing_before_a_new_stream_is_asked_for_again,
    a_list_that_failed_before_a_new_stream_is_asked_for_again,
    a_bundle_that_was_missing_before_a_long_prompt_is_asked_for_again,
    a_bundle_that_is_still_missing_is_a_row,
}

fn is_bundle_of_device(id: u32) -> impl Fn(&Request) -> bool {
    move |request| matches!(request, Request::FetchBundle { device, .. } if device.get() == id)
}

/// Juliet has devices 7 and 8; the bundle of 7 comes later than its list.
fn with_a_late_bundle(ns: Namespace, default_level: &str) -> (Server, RustDevice, [RawDevice; 2]) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::with(config(ns, ROMEO, default_level), &mut server);
    let raws = [7, 8].map(|id| RawDevice::of(ns, JULIET, id));
    raws.iter().for_each(|raw| raw.publish(&mut server));
    server.lists.insert((ns, jid(JULIET)), list(ns, &[7, 8]));
    server.bundles.remove(&(ns, jid(JULIET), 7));
    (server, romeo, raws)
}

fn a_bundle_that_was_missing_before_a_new_stream_is_asked_for_again(ns: Namespace) {
    let (mut server, romeo, raws) = with_a_late_bundle(ns, "trusted");
    let operation = romeo.begin_encrypt(&[&raws[0].jid], "text", EncryptPolicy::Wait);
    assert_eq!(romeo.run_holding(&mut server, is_bundle_of_device(8)).len(), 1);
    server.bundles.insert((ns, jid(JULIET), 7), raws[0].bundle());
    romeo.reconnect(&mut server);
    let outcome = romeo.take(operation);
    assert_eq!((serves(&outcome, 7), serves(&outcome, 8)), (true, true), "{:?}", outcome.rows);
}

fn a_list_that_failed_before_a_new_stream_is_asked_for_again(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let raws = [(JULIET, 7), (TYBALT, 8)].map(|(name, id)| RawDevice::of(ns, name, id));
    raws.iter().for_each(|raw| raw.publish(&mut server));
    let operation = romeo.begin_encrypt(&[&raws[0].jid, &raws[1].jid], "text", EncryptPolicy::Wait);
    let (juliet, held) = (is_list_of(&raws[0].jid), is_bundle_of_device(8));
    romeo.run_with(|request| match request {
        request if held(request) => None,
        request if juliet(request) => Some(Answer::Rejected(Reason::Failed)),
        request => Some(server.answer(&romeo, request)),
    });
    assert!(!romeo.is_done(operation));
    romeo.reconnect(&mut server);
    let outcome = romeo.take(operation);
    assert_eq!((serves(&outcome, 7), serves(&outcome, 8)), (true, true), "{:?}", outcome.rows);
}

fn a_bundle_that_was_missing_before_a_long_prompt_is_asked_for_again(ns: Namespace) {
    let (mut server, romeo, raws) = with_a_late_bundle(ns, "undecided");
    let operation = romeo.begin_encrypt(&[&raws[0].jid], "text", EncryptPolicy::Wait);
    let prompt = romeo.run_holding(&mut server, is_prompt)[0].0;
    server.bundles.insert((ns, jid(JULIET), 7), raws[0].bundle());
    romeo.advance(11 * 60_000);
    let decide = |prompt: u64| {
        romeo.manager().decide(prompt, 0, "trusted").unwrap();
        romeo.manager().answer(prompt, Answer::Done).unwrap();
    };
    decide(prompt);
    // It shows a key that nobody has judged.
    decide(romeo.run_holding(&mut server, is_prompt)[0].0);
    romeo.run(&mut server);
    let outcome = romeo.take(operation);
    assert_eq!((serves(&outcome, 7), serves(&outcome, 8)), (true, true), "{:?}", outcome.rows);
}

fn a_bundle_that_is_still_missing_is_a_row(ns: Namespace) {
    let (mut server, romeo, raws) = with_a_late_bundle(ns, "trusted");
    let operation = romeo.begin_encrypt(&[&raws[0].jid], "text", EncryptPolicy::Wait);
    for _ in 0..5 {
        romeo.run_holding(&mut server, is_bundle_of_device(8));
        romeo.manager().disconnected().unwrap();
        romeo.step();
        let login = romeo.begin_connect();
        romeo.run_holding(&mut server, is_bundle_of_device(8));
        romeo.take(login);
    }
    let asked = romeo.count_asked(is_bundle_of_device(7));
    romeo.reconnect(&mut server);
    let outcome = romeo.take(operation);
    assert_eq!(rows(&outcome, &raws[0].jid), [(7, Status::BundleNotFound), (8, Status::Ok)]);
    assert!(romeo.count_asked(is_bundle_of_device(7)) <= asked + 2, "the same is asked over and over");
}
