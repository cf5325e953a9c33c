//! Rules that need additions to the interface: who is provisional, who is on no list, a list node that is gone, idleness,
//! and the bucket of publications.

use super::help::*;
use super::world::*;
use omemo::error::Status;
use omemo::manager::api::decrypted::{Action, Decrypted};
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::event::NoticeKind;
use omemo::protocol::address::BareJid;
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};

in_both_namespaces! {
    a_provisional_device_is_said_so,
    what_was_read_on_a_provisional_key_is_said_so,
    content_of_a_device_on_no_list_is_said_so,
    a_list_node_that_is_gone_makes_its_devices_inactive,
    a_list_node_that_is_gone_in_one_namespace_leaves_the_other,
    an_own_list_node_that_is_gone_is_made_again,
    an_older_answer_does_not_undo_that_a_node_is_gone,
    a_manager_is_idle_when_run_would_do_nothing,
    an_exhausted_bucket_is_a_publish_limit,
}

// The additions, in one place.

fn device_is_provisional(client: &RustDevice, jid: &BareJid, id: u32) -> bool {
    client.device(jid, id).unwrap().provisional
}

fn read_is_provisional(read: &Decrypted) -> bool {
    read.provisional
}

fn is_not_listed(read: &Decrypted) -> bool {
    read.not_listed
}

fn list_is_gone(client: &RustDevice, jid: &BareJid, namespace: Namespace) {
    client.manager().device_list_gone(jid, namespace).unwrap();
}

fn is_idle(client: &RustDevice) -> bool {
    client.manager().is_idle()
}

const PUBLISH_LIMIT: Status = Status::PublishLimit;

fn a_provisional_device_is_said_so(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let mut romeo = RawDevice::of(ns, ROMEO, 7);
    let (_, hello) = romeo.greet(&juliet, &server, "hello");
    juliet.read(&romeo.jid, &hello);
    assert!(device_is_provisional(&juliet, &romeo.jid, 7));
    juliet.restart();
    assert!(device_is_provisional(&juliet, &romeo.jid, 7));
    juliet.connect(&mut server);
    romeo.publish(&mut server);
    juliet.refresh(&romeo.jid, &mut server);
    assert!(!device_is_provisional(&juliet, &romeo.jid, 7));
    // One whose key is not known is none, nor is our own.
    push(&juliet, &romeo.jid, &[7, 8]);
    juliet.step();
    assert!(!device_is_provisional(&juliet, &romeo.jid, 8));
    assert!(juliet.manager().devices(None).unwrap().iter().all(|device| !device.provisional));
}

fn what_was_read_on_a_provisional_key_is_said_so(ns: Namespace) {
    let mut server = Server::of(ns);
    let juliet = RustDevice::new(JULIET, &mut server);
    let mut romeo = RawDevice::of(ns, ROMEO, 7);
    let (mut session, hello) = romeo.greet(&juliet, &server, "hello");
    assert!(read_is_provisional(&juliet.read(&romeo.jid, &hello)));
    let more = romeo.write(&mut session, (&juliet.jid, juliet.id()), "more");
    assert!(read_is_provisional(&juliet.read(&romeo.jid, &more)));
    romeo.publish(&mut server);
    juliet.refresh(&romeo.jid, &mut server);
    let more = romeo.write(&mut session, (&juliet.jid, juliet.id()), "more");
    assert!(!read_is_provisional(&juliet.read(&romeo.jid, &more)));
}

fn content_of_a_device_on_no_list_is_said_so(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    let listed = juliet.say(&romeo.jid, "listed", &mut server);
    romeo.refresh(&juliet.jid, &mut server);
    assert!(!is_not_listed(&romeo.read(&juliet.jid, &listed)));
    let stolen = juliet.say(&romeo.jid, "from the stolen phone", &mut server);
    push(&romeo, &juliet.jid, &[77]);
    let read = romeo.read(&juliet.jid, &stolen);
    assert_eq!(text(&read), "from the stolen phone");
    assert!(is_not_listed(&read));
    assert_eq!(read.action, Action::Show);
    // Back on the list.
    push(&romeo, &juliet.jid, &[77, juliet.id()]);
    let again = juliet.say(&romeo.jid, "again", &mut server);
    assert!(!is_not_listed(&romeo.read(&juliet.jid, &again)));
}

fn a_list_node_that_is_gone_makes_its_devices_inactive(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    romeo.refresh(&juliet.jid, &mut server);
    assert!(romeo.is_active(&juliet.jid, juliet.id()));
    server.lists.remove(&(ns, juliet.jid.clone()));
    list_is_gone(&romeo, &juliet.jid, ns);
    romeo.step();
    assert!(!romeo.is_active(&juliet.jid, juliet.id()));
    let outcome = romeo.encrypt(&[&juliet.jid], "x", EncryptPolicy::Wait, &mut server);
    assert_eq!(rows(&outcome, &juliet.jid), [(0, Status::NoDevices)]);
    romeo.restart();
    assert!(!romeo.is_active(&juliet.jid, juliet.id()));
}

fn a_list_node_that_is_gone_in_one_namespace_leaves_the_other(ns: Namespace) {
    let mut server = Server::of(ns);
    let mut settings = config(ns, ROMEO, "trusted");
    settings.namespaces = vec![Legacy, Omemo2];
    let romeo = RustDevice::with(settings, &mut server);
    let juliet = jid(JULIET);
    for namespace in [Legacy, Omemo2] {
        romeo.manager().update_device_list(&juliet, &list(namespace, &[7])).unwrap();
    }
    list_is_gone(&romeo, &juliet, ns);
    romeo.step();
    let other = if ns == Legacy { Omemo2 } else { Legacy };
    assert_eq!(romeo.device(&juliet, 7).unwrap().active, [other]);
}

fn an_own_list_node_that_is_gone_is_made_again(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    server.lists.remove(&(ns, romeo.jid.clone()));
    list_is_gone(&romeo, &romeo.jid, ns);
    romeo.run_later(&mut server);
    assert_eq!(server.list(&romeo.jid), [romeo.id()]);
}

fn an_older_answer_does_not_undo_that_a_node_is_gone(ns: Namespace) {
    let (_server, romeo, _) = two(ns);
    let tybalt = jid(TYBALT);
    romeo.begin_refresh(&tybalt);
    for (request_id, request) in romeo.step() {
        if is_list_of(&tybalt)(&request) {
            let answer = omemo::manager::api::request::Answer::DeviceList(list(ns, &[7]));
            romeo.manager().answer(request_id, answer).unwrap();
        }
    }
    list_is_gone(&romeo, &tybalt, ns);
    romeo.step();
    assert!(!romeo.is_active(&tybalt, 7));
}

fn a_manager_is_idle_when_run_would_do_nothing(ns: Namespace) {
    let (mut server, romeo, juliet) = friends(ns);
    romeo.run_later(&mut server);
    assert!(is_idle(&romeo));
    // Noted and not applied; then an open request; then nothing.
    let operation = romeo.begin_encrypt(&[&juliet.jid], "x", EncryptPolicy::Wait);
    assert!(!is_idle(&romeo));
    romeo.run(&mut server);
    romeo.take(operation);
    assert!(is_idle(&romeo));
    // A first message is to be answered.
    let mut tybalt = RawDevice::of(ns, TYBALT, 5);
    let (_, hello) = tybalt.greet(&romeo, &server, "x");
    romeo.read(&tybalt.jid, &hello);
    assert!(!is_idle(&romeo));
    romeo.run_later(&mut server);
    assert!(is_idle(&romeo));
}

fn an_exhausted_bucket_is_a_publish_limit(ns: Namespace) {
    let mut server = Server::of(ns);
    let romeo = RustDevice::new(ROMEO, &mut server);
    for _ in 0..60 {
        server.lists.insert((ns, romeo.jid.clone()), list(ns, &[100]));
        push(&romeo, &romeo.jid, &[100]);
        romeo.run(&mut server);
        romeo.advance(60_000);
    }
    let notices = romeo.notices.borrow();
    let failed: Vec<_> = notices.iter().filter(|notice| notice.kind == NoticeKind::PublishFailed).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].status, failed[0].namespace), (PUBLISH_LIMIT, Some(ns)));
}
