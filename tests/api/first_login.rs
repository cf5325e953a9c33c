//! What the first login of a manager is for, through the C functions: the mark that it leaves in the bundle, and what waits
//! for it.

use crate::options::friends;
use crate::support::{Client, JULIET, Kind, NS_LEGACY, ROMEO, Setup, World, abi};
use omemo::error::Status;
use std::collections::BTreeSet;

/// The number of the option.
const MARK_START: i32 = 10;

in_both_namespaces! {
    with_the_option_each_first_login_publishes_a_new_pre_key,
    nothing_is_encrypted_at_once_before_the_first_login,
}

/// The ids of the pre keys in the published bundle.
fn pre_key_ids(client: &Client) -> BTreeSet<String> {
    let ns = client.world.namespace();
    let bundle = client.world.bundle(ns, &client.jid, client.id()).unwrap();
    let (element, id) = if ns == NS_LEGACY { ("<preKeyPublic ", "preKeyId='") } else { ("<pk ", "id='") };
    let starts = bundle.split(element).skip(1);
    starts.map(|rest| rest.split_once(id).unwrap().1.split_once('\'').unwrap().0.to_owned()).collect()
}

fn with_the_option_each_first_login_publishes_a_new_pre_key(ns: &'static str) {
    for (options, renewed) in [(vec![(MARK_START, 1)], 1), (vec![(MARK_START, 0)], 0), (vec![], 0)] {
        let world = World::speaking(ns, 1);
        let mut romeo = Client::with(&world, ROMEO, Setup { options, ..Setup::default() });
        romeo.connect().ok();
        for _ in 0..2 {
            let before = pre_key_ids(&romeo);
            assert_eq!(before.len(), 100);
            world.advance(86_400_000);
            romeo.restart();
            romeo.connect().ok();
            let after = pre_key_ids(&romeo);
            assert_eq!((after.len(), after.difference(&before).count()), (100, renewed));
            // The second login of the same manager leaves none.
            romeo.disconnect();
            romeo.connect().ok();
            assert_eq!(pre_key_ids(&romeo), after);
        }
    }
}

fn nothing_is_encrypted_at_once_before_the_first_login(ns: &'static str) {
    let world = World::speaking(ns, 1);
    let (mut romeo, juliet) = friends(&world, &[]);
    let at_once = |romeo: &Client, text: &str| {
        let operation = romeo.start_encrypt(&[JULIET], text, abi::ENCRYPT_NOW).unwrap();
        romeo.run();
        romeo.outcome(operation).unwrap()
    };
    romeo.restart();
    let sent = world.count(Kind::SendMessage);
    let early = at_once(&romeo, "early");
    assert_eq!((early.status, early.messages.len()), (Status::Offline as i32, 0));
    assert_eq!(world.count(Kind::SendMessage), sent);
    romeo.connect().ok();
    let late = at_once(&romeo, "late");
    assert_eq!((late.status, late.messages.len()), (abi::OK, 1));
    assert_eq!(juliet.decrypt(ROMEO, &late.messages[0]).unwrap().body.as_deref(), Some("late"));
    // The stream may be down again: the device was compared with the server.
    romeo.disconnect();
    assert_eq!(at_once(&romeo, "offline").status, abi::OK);
}
