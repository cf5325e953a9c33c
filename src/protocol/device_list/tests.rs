//! What is in a list, what two of them say together, and how much they may hold.
#![allow(clippy::arithmetic_side_effects)] // a test may panic

use super::super::foreign::{Name, Node};
use super::*;
use Namespace::{Legacy, Omemo2};

fn name(local: &str) -> Name {
    Name { namespace: "x".into(), local: local.into() }
}

fn element(local: &str) -> Element {
    Element { name: name(local), attributes: Vec::new(), children: vec![Node::Text(local.to_owned())] }
}

fn attribute(local: &str, value: &str) -> Attribute {
    Attribute { name: name(local), value: value.to_owned() }
}

fn list(ids: &[u32]) -> DeviceList {
    DeviceList::of(Omemo2, ids.iter().copied().map(ListedDevice::new).collect())
}

/// Ids, and the names of what others wrote, in their order.
fn order(list: &DeviceList) -> Vec<String> {
    let entries = list.in_order().map(|entry| match entry {
        Entry::Device(device) => device.id.to_string(),
        Entry::Element(element) => element.name.local.to_string(),
    });
    entries.collect()
}

fn with_children(ids: &[u32], children: &[Child]) -> DeviceList {
    let mut list = list(ids);
    list.others.children = children.to_vec();
    list
}

#[test]
fn a_device_is_added_once_and_while_there_is_room() {
    let mut list = list(&(1..=255).collect::<Vec<_>>());
    assert_eq!(list.add(ListedDevice::new(7)).unwrap_err().status(), Status::Argument);
    list.add(ListedDevice::new(256)).unwrap();
    assert_eq!(list.devices.len(), limits::DEVICES_PER_JID);
    assert_eq!(list.add(ListedDevice::new(257)).unwrap_err().status(), Status::Limit);
    assert_eq!(list.set(ListedDevice::new(257)).unwrap_err().status(), Status::Limit);
    list.set(ListedDevice::labelled(7, "phone".to_owned(), [1; 64])).unwrap();
    assert_eq!(list.devices[6].label.as_deref(), Some("phone"));
    assert_eq!((list.devices.len(), list.devices[6].label_signature), (256, Some([1; 64])));
}

#[test]
fn a_device_goes_with_all_its_entries_and_nothing_else_does() {
    let repeated = |id| Child::Other(OtherDevice::Repeated(id), element("again"));
    let odd = Child::Other(OtherDevice::NoNumber, element("odd"));
    let children = [
        Child::Device(1),
        repeated(1),
        odd.clone(),
        repeated(2),
        Child::Foreign(element("own")),
        Child::Device(2),
    ];
    let mut list = with_children(&[1, 2], &children);
    assert!(!list.remove(3));
    assert_eq!(list.others.children, children);
    assert!(list.remove(1));
    assert_eq!(list.others.children, [odd, repeated(2), Child::Foreign(element("own")), Child::Device(2)]);
    assert_eq!(list.ids().map(DeviceId::get).collect::<Vec<_>>(), [2]);
}

#[test]
fn what_cannot_be_served_is_named() {
    let other = |kind| Child::Other(kind, element("odd"));
    let list = with_children(
        &[0, 1, 0x8000_0000],
        &[
            other(OtherDevice::OutOfRange),
            other(OtherDevice::Repeated(1)),
            other(OtherDevice::NoNumber),
            Child::Foreign(element("own")),
        ],
    );
    let expected =
        [Unserveable::Id(0), Unserveable::Id(0x8000_0000), Unserveable::OutOfRange, Unserveable::NoNumber];
    assert_eq!(list.unserveable().collect::<Vec<_>>(), expected);
}

#[test]
fn lists_are_united_without_repeating_anything() {
    let (a, b) = (Child::Foreign(element("a")), Child::Foreign(element("b")));
    let mut one = with_children(&[1, 2], &[Child::Device(2), a.clone()]);
    one.others.attributes = vec![attribute("k", "1")];
    let mut two = with_children(&[2, 3], &[Child::Device(3), b.clone(), a.clone(), Child::Device(2)]);
    two.others.attributes = vec![attribute("k", "2"), attribute("l", "3")];
    one.merge(&two).unwrap();
    assert_eq!(order(&one), ["2", "a", "1", "3", "b"], "ours stay before what comes new");
    assert_eq!(one.others.attributes, [attribute("k", "1"), attribute("l", "3")]);
    let before = one.clone();
    one.merge(&two).unwrap();
    assert_eq!(one, before);
    // A device that is added later stands at the end.
    one.add(ListedDevice::new(9)).unwrap();
    assert_eq!(order(&one), ["2", "a", "1", "3", "b", "9"]);
}

#[test]
fn united_lists_hold_no_more_than_one_can() {
    let most = limits::FOREIGN_BYTES / SHORTEST_ENTRY;
    let more = with_children(&[], &[Child::Foreign(element("more"))]);
    for (count, status) in [(most - 1, None), (most, Some(Status::Limit))] {
        let mut full = with_children(&[], &vec![Child::Foreign(element("x")); count]);
        assert_eq!(full.merge(&more).err().map(|error| error.status()), status);
    }
}

#[test]
fn two_lists_say_the_same_if_nothing_but_the_order_of_attributes_differs() {
    let mut read = ListedDevice::labelled(1, "phone".to_owned(), [1; 64]);
    read.as_read = Some(Box::new(Element {
        attributes: vec![attribute("id", "1"), attribute("label", "phone")],
        ..element("device")
    }));
    let base = DeviceList {
        others: Others {
            attributes: vec![attribute("k", "1"), attribute("l", "2")],
            children: vec![Child::Device(1), Child::Foreign(element("a"))],
        },
        ..DeviceList::of(Omemo2, vec![read.clone()])
    };
    let mut turned = base.clone();
    turned.others.attributes.reverse();
    turned.devices[0].as_read.as_mut().unwrap().attributes.reverse();
    assert!(base.says_the_same(&turned) && turned.says_the_same(&base));
    let changed = |change: &dyn Fn(&mut DeviceList)| {
        let mut other = base.clone();
        change(&mut other);
        other
    };
    for (what, other) in [
        ("namespace", changed(&|list| list.namespace = Legacy)),
        ("attributes", changed(&|list| list.others.attributes.truncate(1))),
        ("an entry more", changed(&|list| list.devices.push(ListedDevice::new(2)))),
        ("the order", changed(&|list| list.others.children.reverse())),
        ("another element", changed(&|list| list.others.children[1] = Child::Foreign(element("b")))),
        ("another device", changed(&|list| list.devices[0] = ListedDevice { as_read: None, ..read.clone() })),
        (
            "another text",
            changed(&|list| {
                list.devices[0].as_read.as_mut().unwrap().children = vec![Node::Text("t".to_owned())]
            }),
        ),
    ] {
        assert!(!base.says_the_same(&other) && !other.says_the_same(&base), "{what}");
    }
    // What was not read but made is compared by what it says.
    let made =
        |label: &str| DeviceList::of(Omemo2, vec![ListedDevice::labelled(1, label.to_owned(), [1; 64])]);
    assert!(made("a").says_the_same(&made("a")) && !made("a").says_the_same(&made("b")));
}
