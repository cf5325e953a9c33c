//! Trust policies on the Rust face: one of the client's own, and that a policy changes nothing where none is needed.

use super::help::*;
use super::world::*;
use omemo::crypto::identity::IdentityKeyPair;
use omemo::error::Status;
use omemo::manager::api::device::{CoreTrust, Device};
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::api::trust_policy::{Btbv, KeyLevel, TrustPolicy, Verdict};
use omemo::protocol::namespace::Namespace;
use std::sync::atomic::Ordering::SeqCst;

in_both_namespaces! {
    a_client_may_have_a_policy_of_its_own,
    without_a_policy_the_services_evaluate,
    a_level_that_a_policy_does_not_know_is_a_row,
}

/// Gives even ids one level and odd ones another; one key of its JID is enough.
struct Parity;

impl TrustPolicy for Parity {
    fn core_trust(&self, level: &str) -> Option<CoreTrust> {
        match level {
            "none" => Some(CoreTrust::Undecided),
            "even" => Some(CoreTrust::Trusted),
            "odd" => Some(CoreTrust::Distrusted),
            _ => None,
        }
    }

    fn judge(&self, device: &Device, levels: &[KeyLevel]) -> Verdict {
        match (levels.len(), device.id % 2) {
            (0, 0) => Verdict::Level("even"),
            (0, _) => Verdict::Level("odd"),
            // A level that it does not know itself: the user is asked.
            _ => Verdict::Level("many"),
        }
    }
}

fn with_policy(
    ns: Namespace,
    policy: &'static dyn TrustPolicy,
    level: &str,
    server: &mut Server,
) -> RustDevice {
    let romeo = RustDevice::closed(config(ns, ROMEO, level), Default::default());
    *romeo.services.policy.lock().unwrap() = Some(policy);
    romeo.open().unwrap();
    assert_eq!(romeo.connect(server).status(), Status::Ok);
    romeo
}

fn a_client_may_have_a_policy_of_its_own(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = with_policy(ns, &Parity, "none", &mut server);
    for id in [4, 5] {
        RawDevice::of(ns, JULIET, id).publish(&mut server);
    }
    let juliet = jid(JULIET);
    let outcome = romeo.encrypt(&[&juliet], "text", EncryptPolicy::Wait, &mut server);
    assert!(serves(&outcome, 4) && !serves(&outcome, 5));
    assert_eq!(row(&outcome, &juliet, 5), Some(Status::Distrusted));
    let level = |id| romeo.device(&juliet, id).unwrap().trust_level_name;
    assert_eq!((level(4).as_str(), level(5).as_str()), ("even", "odd"));
    assert_eq!(romeo.count_notices(NoticeKind::BlindlyTrusted), 1);
    assert_eq!(romeo.count_asked(is_prompt), 0);

    RawDevice::of(ns, JULIET, 6).publish(&mut server);
    romeo.push(&juliet, &server);
    romeo.run(&mut server);
    let operation = romeo.begin_encrypt(&[&juliet], "text", EncryptPolicy::Wait);
    romeo.run_holding(&mut server, is_prompt);
    assert_eq!(romeo.count_asked(is_prompt), 1);
    assert_eq!(level(6), "none");
    romeo.manager().cancel(operation).unwrap();
}

fn without_a_policy_the_services_evaluate(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let evaluations = romeo.services.evaluations.load(SeqCst);
    assert!(evaluations > 0, "the default level was checked");
    let tybalt = with_policy(ns, &Btbv, "undecided", &mut server);
    let juliet = RustDevice::new(JULIET, &mut server);
    tybalt.say(&juliet.jid, "hello", &mut server);
    assert_eq!(tybalt.services.evaluations.load(SeqCst), 0);
}

fn a_level_that_a_policy_does_not_know_is_a_row(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let romeo = careful(ns, ROMEO, &mut server);
    romeo.refresh(&juliet.jid, &mut server);
    romeo.manager().set_trust(&juliet.jid, &juliet.key(), "custom").unwrap();
    // The next run has a policy, which knows no such level.
    *romeo.services.policy.lock().unwrap() = Some(&Btbv);
    romeo.restart();
    romeo.connect(&mut server);
    let outcome = romeo.encrypt(&[&juliet.jid], "text", EncryptPolicy::Wait, &mut server);
    assert_eq!(row(&outcome, &juliet.jid, juliet.id()), Some(Status::UnknownTrustLevel));
    assert_eq!(romeo.device(&juliet.jid, juliet.id()).unwrap().trust_level_name, "custom");
    // Somebody has decided about that key: another one is asked about.
    RawDevice::of(ns, JULIET, 6).publish(&mut server);
    romeo.push(&juliet.jid, &server);
    romeo.run(&mut server);
    romeo.begin_encrypt(&[&juliet.jid], "text", EncryptPolicy::Wait);
    romeo.run_holding(&mut server, is_prompt);
    assert_eq!(romeo.count_asked(is_prompt), 1);
}

/// In one namespace: levels know none, and thousands of them take seconds.
#[test]
fn where_no_level_has_room_the_others_get_the_message() {
    let ns = Namespace::Omemo2;
    let mut server = Server::of(ns);
    let romeo = with_policy(ns, &Btbv, "undecided", &mut server);
    let (juliet, tybalt) = (RustDevice::new(JULIET, &mut server), RustDevice::new(TYBALT, &mut server));
    romeo.say(&juliet.jid, "hello", &mut server);
    let mut rng = Seeded::fresh();
    let mut judge = || {
        let key = *IdentityKeyPair::generate(&mut rng).unwrap().public().ed();
        romeo.manager().set_trust(&juliet.jid, &key, "undecided").map_err(|error| error.status())
    };
    // The first one has a level by the policy.
    assert_eq!((1..4_096).filter(|_| judge() == Ok(())).count(), 4_095);
    assert_eq!(judge(), Err(Status::Limit));
    RawDevice::of(ns, JULIET, 6).publish(&mut server);
    romeo.push(&juliet.jid, &server);
    romeo.run(&mut server);
    let told = |kind| romeo.count_notices(kind);
    let (blind, undecided) = (told(NoticeKind::BlindlyTrusted), told(NoticeKind::Undecided));
    let room = [&juliet.jid, &tybalt.jid];
    let outcome = romeo.encrypt(&room, "hello", EncryptPolicy::Wait, &mut server);
    assert_eq!(outcome.status(), Status::Ok);
    assert!(serves(&outcome, juliet.id()) && serves(&outcome, tybalt.id()));
    assert_eq!(row(&outcome, &juliet.jid, 6), Some(Status::Undecided));
    assert_eq!(told(NoticeKind::BlindlyTrusted), blind + 1, "of the other JID");
    assert_eq!(told(NoticeKind::Undecided), undecided + 1);
}
