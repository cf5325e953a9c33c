//! What a store that fails leaves behind.

use super::world::*;
use omemo::error::{Error, Status};
use omemo::manager::api::draft::EncryptPolicy;
use omemo::protocol::namespace::Namespace::{self};
use std::sync::atomic::Ordering::SeqCst;

in_both_namespaces! {
    a_store_that_fails_at_any_commit_leaves_an_account_that_works,
    f28_a_decrypt_whose_commit_failed_may_be_made_again,
    f26_an_encrypt_whose_commit_failed_hands_nothing_out,
    an_encrypt_whose_store_cannot_be_read_says_so_and_blames_no_device,
}

/// A conversation in which each call may be made again when the store failed.
fn conversation(romeo: &RustDevice, juliet: &RustDevice, server: &mut Server) {
    let again = |error: &Error| error.status() == Status::Storage;
    for n in 0..3 {
        let mut sent = None;
        for _ in 0..3 {
            let outcome = romeo.encrypt(&[&juliet.jid], &format!("{n}"), EncryptPolicy::Wait, server);
            if !again(&outcome.error) {
                assert_eq!(outcome.status(), Status::Ok, "{:?}", outcome.rows);
                sent = Some(outcome.messages[0].clone());
                break;
            }
        }
        assert_eq!(text(&juliet.read(&romeo.jid, &sent.unwrap())), n.to_string());
        juliet.run(server);
        let reply = juliet.say(&romeo.jid, "reply", server);
        let mut read = romeo.manager().decrypt(Some(&juliet.jid), None, &reply);
        if read.as_ref().is_err_and(again) {
            read = romeo.manager().decrypt(Some(&juliet.jid), None, &reply);
        }
        // Where the store kept the step of a commit that failed, the content was lost with the process.
        let Ok(read) = read else { panic!("a store that fails once was asked twice") };
        assert!(matches!(read.error.status(), Status::Ok | Status::Duplicate));
        let mut trust = romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted");
        if trust.as_ref().is_err_and(again) {
            trust = romeo.manager().set_trust(&juliet.jid, &juliet.key(), "trusted");
        }
        trust.unwrap();
        for (_, to, message) in std::mem::take(&mut server.mail) {
            let (reader, writer) = if to == juliet.jid { (juliet, romeo) } else { (romeo, juliet) };
            let read = reader.manager().decrypt(Some(&writer.jid), None, &message);
            assert!(read.is_ok_and(|read| read.plaintext.is_none()) || romeo.storage.has_failed());
        }
    }
}

fn a_store_that_fails_at_any_commit_leaves_an_account_that_works(ns: Namespace) {
    for fault in [Fault::Nothing, Fault::Everything] {
        for restart in [false, true] {
            let mut n = 0;
            loop {
                n += 1;
                assert!(n < 100);
                let (mut server, romeo, juliet) = two(ns);
                romeo.storage.fail(n, fault);
                conversation(&romeo, &juliet, &mut server);
                let failed = romeo.storage.has_failed();
                romeo.storage.fault.lock().unwrap().take();
                if restart {
                    romeo.restart();
                    assert_eq!(romeo.connect(&mut server).status(), Status::Ok, "commit {n}, {fault:?}");
                }
                romeo.run_later(&mut server);
                juliet.run_later(&mut server);
                server.settle(&[&romeo, &juliet]);
                both_ways(&romeo, &juliet, &mut server);
                if !failed {
                    assert!(n > 8, "the conversation makes {n} commits");
                    break;
                }
            }
        }
    }
}

fn f28_a_decrypt_whose_commit_failed_may_be_made_again(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let message = romeo.say(&juliet.jid, "once more", &mut server);
    juliet.storage.fail(1, Fault::Nothing);
    let failed = juliet.manager().decrypt(Some(&romeo.jid), None, &message);
    assert_eq!(failed.err().unwrap().status(), Status::Storage);
    assert_eq!(text(&juliet.read(&romeo.jid, &message)), "once more");
}

fn f26_an_encrypt_whose_commit_failed_hands_nothing_out(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    for fault in [Fault::Nothing, Fault::Everything] {
        romeo.storage.fail(1, fault);
        let outcome = romeo.encrypt(&[&juliet.jid], "x", EncryptPolicy::Wait, &mut server);
        assert_eq!((outcome.status(), outcome.messages.len()), (Status::Storage, 0));
        let message = romeo.say(&juliet.jid, "y", &mut server);
        assert_eq!(text(&juliet.read(&romeo.jid, &message)), "y");
    }
}

fn an_encrypt_whose_store_cannot_be_read_says_so_and_blames_no_device(ns: Namespace) {
    for (locked, expected) in [(false, Status::Storage), (true, Status::StorageLocked)] {
        let (mut server, romeo, juliet) = friends(ns);
        romeo.storage.locked.store(locked, SeqCst);
        let mut failures = 0;
        for n in 1.. {
            romeo.restart();
            romeo.connect(&mut server);
            let operation = romeo.begin_encrypt(&[&juliet.jid], "x", EncryptPolicy::Now);
            romeo.storage.fail_load(n);
            romeo.run(&mut server);
            let outcome = romeo.take(operation);
            if romeo.storage.load_fault.lock().unwrap().take().is_some() {
                assert_eq!(outcome.status(), Status::Ok);
                break;
            }
            assert_eq!((outcome.status(), outcome.rows.len()), (expected, 0), "load {n}");
            assert!(outcome.messages.is_empty());
            failures += 1;
        }
        assert!(failures >= 2, "the device's record and its session are loaded");
    }
}
