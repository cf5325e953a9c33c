//! The sign of an identity key, which a legacy key exchange does not tell and a bundle does (R2).

use super::world::*;
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::api::decrypted::Action;
use omemo::manager::api::device::CoreTrust;
use omemo::manager::api::event::NoticeKind;
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace::{Legacy, Omemo2};
use omemo::protocol::session::Session;

/// Juliet's device, of this sign, which nobody has heard of.
fn juliet(sign: bool) -> RawDevice {
    let strangers = std::iter::repeat_with(|| RawDevice::of(Legacy, JULIET, 77)).take(200);
    let mut fitting = strangers.filter(|stranger| stranger.identity.public().sign() == sign);
    fitting.next().expect("half of all keys have either sign")
}

fn with_sign(mut key: [u8; 32], sign: bool) -> [u8; 32] {
    key[31] = (key[31] & 0x7f) | if sign { 0x80 } else { 0 };
    key
}

fn first_message(juliet: &mut RawDevice, romeo: &RustDevice, server: &Server) -> (Session, Message) {
    assert!(!server.lists.contains_key(&(Legacy, juliet.jid.clone())), "her sign can be known");
    juliet.greet(romeo, server, "hello")
}

#[test]
fn a_legacy_key_exchange_is_decrypted_before_the_sign_of_its_senders_identity_is_known() {
    for sign in [false, true] {
        let mut server = Server::of(Legacy);
        let romeo = RustDevice::new(ROMEO, &mut server);
        let mut juliet = juliet(sign);
        let (mut session, hello) = first_message(&mut juliet, &romeo, &server);
        let read = romeo.read(&juliet.jid, &hello);
        assert_eq!((text(&read).as_str(), read.action, read.new_session), ("hello", Action::Show, true));
        let unsigned = with_sign(juliet.key(), false);
        assert_eq!(read.identity_key, Some(unsigned));
        assert_eq!(romeo.device(&juliet.jid, 77).unwrap().identity_key, Some(unsigned));

        juliet.publish(&mut server);
        romeo.push(&juliet.jid, &server);
        assert_eq!(romeo.refresh(&juliet.jid, &mut server).status(), Status::Ok);
        romeo.run_later(&mut server);
        assert_eq!(romeo.device(&juliet.jid, 77).unwrap().identity_key, Some(juliet.key()), "the real sign");
        assert_eq!(romeo.count_notices(NoticeKind::IdentityChanged), 0);
        // The session of before goes on, now with the real sign, and over a restart, too.
        for _ in 0..2 {
            let next = juliet.write(&mut session, (&romeo.jid, romeo.id()), "more");
            let read = romeo.read(&juliet.jid, &next);
            assert_eq!((text(&read).as_str(), read.new_session), ("more", false));
            assert_eq!(read.identity_key, Some(juliet.key()));
            romeo.restart();
        }
        romeo.connect(&mut server);
        let answer = romeo.say(&juliet.jid, "answer", &mut server);
        assert!(!juliet.bytes(&answer).key_exchange, "the session of the key exchange was given up");
        juliet.open(&mut session, &answer);
    }
}

#[test]
fn trust_given_by_either_sign_holds_when_the_real_one_is_shown() {
    for sign in [false, true] {
        for given in [false, true] {
            for (level, verdict) in [("trusted", CoreTrust::Trusted), ("distrusted", CoreTrust::Distrusted)] {
                let mut server = Server::of(Legacy);
                let romeo = RustDevice::with(config(Legacy, ROMEO, "undecided"), &mut server);
                let mut juliet = juliet(sign);
                let (mut session, hello) = first_message(&mut juliet, &romeo, &server);
                assert_eq!(romeo.read(&juliet.jid, &hello).core_trust, CoreTrust::Undecided);
                let named = with_sign(juliet.key(), given);
                romeo.manager().set_trust(&juliet.jid, &named, level).unwrap();
                let judged = || {
                    let device = romeo.device(&juliet.jid, 77).unwrap();
                    (device.trust_level_name, device.core_trust)
                };
                let provisional = match verdict {
                    CoreTrust::Trusted => CoreTrust::Undecided,
                    other => other,
                };
                assert_eq!(judged(), (level.to_owned(), provisional));
                juliet.publish(&mut server);
                romeo.push(&juliet.jid, &server);
                assert_eq!(romeo.refresh(&juliet.jid, &mut server).status(), Status::Ok);
                assert_eq!(romeo.device(&juliet.jid, 77).unwrap().identity_key, Some(juliet.key()));
                assert_eq!(judged(), (level.to_owned(), verdict), "{sign} {given}");
                romeo.restart();
                romeo.connect(&mut server);
                let next = juliet.write(&mut session, (&romeo.jid, romeo.id()), "more");
                if verdict == CoreTrust::Trusted {
                    let read = romeo.read(&juliet.jid, &next);
                    assert_eq!((text(&read).as_str(), read.core_trust), ("more", verdict));
                    romeo.say(&juliet.jid, "answer", &mut server);
                } else {
                    romeo.refuse(&juliet.jid, &next, Status::SenderDistrusted);
                }
            }
        }
    }
}

#[test]
fn the_bundle_of_the_other_namespace_shows_the_sign_as_well() {
    for sign in [false, true] {
        let mut server = Server::of(Legacy);
        let both = Config { namespaces: vec![Legacy, Omemo2], ..config(Legacy, ROMEO, "undecided") };
        let romeo = RustDevice::with(both, &mut server);
        let mut legacy = juliet(sign);
        let (_, hello) = first_message(&mut legacy, &romeo, &server);
        assert_eq!(text(&romeo.read(&legacy.jid, &hello)), "hello");
        let unsigned = with_sign(legacy.key(), false);
        romeo.manager().set_trust(&legacy.jid, &unsigned, "trusted").unwrap();
        // In the form that the other namespace publishes, of the same key: the sign of whoever made it.
        let mut omemo2 = legacy.in_namespace(Omemo2);
        assert_eq!(omemo2.key(), legacy.key());
        omemo2.publish(&mut server);
        assert_eq!(romeo.refresh(&legacy.jid, &mut server).status(), Status::Ok);
        let device = romeo.device(&legacy.jid, 77).unwrap();
        assert_eq!((device.identity_key, device.trust_level_name.as_str()), (Some(legacy.key()), "trusted"));
        assert_eq!(romeo.count_notices(NoticeKind::IdentityChanged), 0);
        let bundle = server.bundles[&(Omemo2, romeo.jid.clone(), romeo.id())].clone();
        let mut session = omemo2.initiate(&bundle);
        let next = omemo2.write(&mut session, (&romeo.jid, romeo.id()), "there");
        let read = romeo.read(&legacy.jid, &next);
        assert_eq!((text(&read).as_str(), read.core_trust), ("there", CoreTrust::Trusted));
        assert_eq!(read.identity_key, Some(legacy.key()));
    }
}
