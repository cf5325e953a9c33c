//! Labels on the own list, of whatever namespaces the account speaks (R8, R26): those of others come and go unharmed.

use super::world::*;
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::api::request::Request;
use omemo::protocol::device_list::{DeviceList, ListedDevice};
use omemo::protocol::namespace::Namespace::{self, Legacy, Omemo2};
use omemo::stanza::device_list;

const LABEL: &str = "Gajim &amp; Romeo&apos;s &lt;phone&gt; \u{1f339}";

fn signature() -> String {
    // 64 bytes.
    format!("{}{}==", "Qk1O".repeat(21), "Qg")
}

fn list_xml(namespace: Namespace, devices: &str) -> String {
    let name = if namespace == Omemo2 { "devices" } else { "list" };
    format!("<{name} xmlns='{}'>{devices}</{name}>", namespace.uri())
}

fn parsed(namespace: Namespace, devices: &str) -> DeviceList {
    device_list::parse(list_xml(namespace, devices).as_bytes()).unwrap()
}

fn labelled(id: u32) -> String {
    format!("<device id='{id}' label='{LABEL}' labelsig='{}'/>", signature())
}

/// The list as it was published last in a namespace.
fn published(client: &RustDevice, namespace: Namespace) -> DeviceList {
    let lists = client
        .asked
        .borrow()
        .iter()
        .filter_map(|request| match request {
            Request::PublishDeviceList { list } if list.namespace == namespace => Some(list.clone()),
            _ => None,
        })
        .collect::<Vec<_>>();
    lists.last().expect("no list was published").clone()
}

fn entry(list: &DeviceList, id: u32) -> ListedDevice {
    list.devices.iter().find(|device| device.id == id).expect("taken off the list").clone()
}

fn speaking(namespaces: &[Namespace]) -> Config {
    Config { namespaces: namespaces.to_vec(), ..config(namespaces[0], ROMEO, "trusted") }
}

/// Every way to be configured with a namespace in it.
fn configurations(namespace: Namespace) -> Vec<Vec<Namespace>> {
    vec![vec![namespace], vec![Legacy, Omemo2], vec![Omemo2, Legacy]]
}

/// Sets an account up whose lists name other devices already.
fn joining(namespaces: &[Namespace], omemo2: &str, legacy: &str) -> (Server, RustDevice) {
    let mut server = Server::of(namespaces[0]);
    for (namespace, devices) in [(Omemo2, omemo2), (Legacy, legacy)] {
        server.lists.insert((namespace, jid(ROMEO)), parsed(namespace, devices));
    }
    let romeo = RustDevice::with(speaking(namespaces), &mut server);
    (server, romeo)
}

#[test]
fn r8_labels_on_the_lists_harm_no_account_whatever_it_speaks() {
    for namespaces in [vec![Legacy], vec![Omemo2], vec![Legacy, Omemo2], vec![Omemo2, Legacy]] {
        let (mut server, romeo) = joining(&namespaces, &labelled(99), &labelled(99));
        for namespace in &namespaces {
            let list = published(&romeo, *namespace);
            assert_eq!(list.devices.len(), 2, "{namespaces:?}");
            let own = entry(&list, romeo.id());
            assert_eq!((own.label, own.label_signature), (None, None));
        }
        // Each namespace got what belongs to it, and a list that comes by itself is taken as well.
        for namespace in &namespaces {
            let list = parsed(*namespace, &(labelled(99) + &labelled(romeo.id()) + &labelled(100)));
            romeo.manager().update_device_list(&romeo.jid, &list).unwrap();
            server.lists.insert((*namespace, romeo.jid.clone()), list);
        }
        romeo.run_later(&mut server);
        assert_eq!(romeo.device(&romeo.jid, 100).unwrap().active.len(), namespaces.len());
        assert_eq!(romeo.reconnect(&mut server).status(), Status::Ok);
        assert_eq!(romeo.device(&romeo.jid, 100).unwrap().active.len(), namespaces.len());
    }
}

#[test]
fn a_legacy_list_is_written_with_the_labels_of_others_only() {
    for namespaces in configurations(Legacy) {
        let (_, romeo) = joining(&namespaces, &labelled(99), &labelled(99));
        let list = published(&romeo, Legacy);
        let other = entry(&list, 99);
        assert_eq!((other.label, other.label_signature), (None, None));
        let xml = device_list::write(&list);
        // What another client put there is its own business; this library adds none.
        assert_eq!(xml.matches("label=").count(), 1, "{xml}");
        assert!(xml.contains(&labelled(99)), "{xml}");
        // Not even where a client hands in a list that has some.
        let devices = list.devices.iter().map(|device| ListedDevice {
            label: Some("Gajim".to_owned()),
            label_signature: Some([7; 64]),
            as_read: None,
            ..device.clone()
        });
        let xml = device_list::write(&DeviceList::of(Legacy, devices.collect()));
        assert!(!xml.contains("label"), "{xml}");
    }
}

#[test]
fn labels_of_other_devices_are_published_again_byte_for_byte() {
    for namespaces in configurations(Omemo2) {
        let (mut server, romeo) = joining(&namespaces, &labelled(99), "");
        let as_it_was = entry(&parsed(Omemo2, &labelled(99)), 99);
        assert!(as_it_was.label_signature.is_some());
        for _ in 0..2 {
            let list = published(&romeo, Omemo2);
            assert_eq!(entry(&list, 99), as_it_was);
            let xml = device_list::write(&list);
            assert!(xml.contains(&signature()), "{xml}");
            assert_eq!(
                device_list::parse(xml.as_bytes()).unwrap(),
                list,
                "what was written is read as it was"
            );
            // Another client takes this device off the list; putting it back keeps the labels as well.
            let before = romeo.count_asked(is_publish);
            server.lists.insert((Omemo2, romeo.jid.clone()), parsed(Omemo2, &labelled(99)));
            let list = &server.lists[&(Omemo2, romeo.jid.clone())];
            romeo.manager().update_device_list(&romeo.jid, list).unwrap();
            romeo.run_later(&mut server);
            assert!(romeo.count_asked(is_publish) > before, "this device was not put back");
        }
        assert_eq!(entry(&published(&romeo, Omemo2), 99), as_it_was);
    }
}

#[test]
fn r26_a_label_signature_that_is_none_takes_no_device_with_it() {
    let bad = [
        "label='Kaidan'".to_owned(),
        "label='Kaidan' labelsig=''".to_owned(),
        "label='Kaidan' labelsig='AAAA'".to_owned(),
        "label='Kaidan' labelsig='no base64!'".to_owned(),
        format!("label='Kaidan' labelsig='AAAA{}'", signature()),
        format!("labelsig='{}'", signature()),
    ];
    for namespaces in configurations(Omemo2) {
        for bad in &bad {
            let devices = format!("<device id='98' {bad}/>{}<device id='100'/>", labelled(99));
            let (_, romeo) = joining(&namespaces, &devices, "");
            let list = published(&romeo, Omemo2);
            let ids: Vec<_> = list.devices.iter().map(|device| device.id).collect();
            assert_eq!(ids, [98, 99, 100, romeo.id()], "{bad}");
            // What nobody can verify is not published in our name; the sound label beside it is.
            let spoilt = entry(&list, 98);
            assert_eq!((spoilt.label, spoilt.label_signature), (None, None), "{bad}");
            assert_eq!(entry(&list, 99), entry(&parsed(Omemo2, &labelled(99)), 99), "{bad}");
            for id in [98, 99, 100] {
                assert_eq!(romeo.device(&romeo.jid, id).unwrap().active, [Omemo2], "{bad}");
            }
        }
    }
}
