//! Differences that games have found, each by itself.

use crate::support::JULIET;
use crate::world::{ROMEO, RawDevice, RustDevice, Server, jid};
use omemo::manager::api::request::{Answer, Request};
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::namespace::Namespace::Omemo2;

/// What the client said before the stream broke counts as of its time, although the operation that asked has ended.
#[test]
fn answers_that_were_noted_before_the_stream_broke_are_applied() {
    let mut server = Server::of(Omemo2);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let juliet = RawDevice::of(Omemo2, JULIET, 11);
    romeo.manager().refresh_devices(1_000_001, Some(jid(JULIET)), None).unwrap();
    let asked = romeo.step();
    let (request_id, _) =
        asked.into_iter().find(|(_, request)| matches!(request, Request::FetchDeviceList { .. })).unwrap();
    let list = DeviceList::of(Omemo2, vec![ListedDevice::new(11)]);
    romeo.manager().answer(request_id, Answer::DeviceList(list)).unwrap();
    romeo.manager().disconnected().unwrap();
    romeo.step();
    assert!(romeo.device(&juliet.jid, 11).is_some(), "the list was given");
}

/// The same with a bundle.
#[test]
fn a_bundle_that_was_noted_before_the_stream_broke_is_applied() {
    let mut server = Server::of(Omemo2);
    let romeo = RustDevice::new(ROMEO, &mut server);
    let juliet = RawDevice::of(Omemo2, JULIET, 11);
    juliet.publish(&mut server);
    romeo.push(&juliet.jid, &server);
    romeo.manager().refresh_devices(1_000_002, Some(jid(JULIET)), None).unwrap();
    let open = romeo.run_with(|request| match request {
        Request::FetchBundle { .. } => None,
        other => Some(server.answer(&romeo, other)),
    });
    let (request_id, _) =
        open.into_iter().find(|(_, request)| matches!(request, Request::FetchBundle { .. })).unwrap();
    romeo.manager().answer(request_id, Answer::Bundle(juliet.bundle())).unwrap();
    romeo.manager().disconnected().unwrap();
    romeo.step();
    let device = romeo.device(&juliet.jid, 11).unwrap();
    assert_eq!(device.identity_key, Some(juliet.key()), "the bundle was given");
}
