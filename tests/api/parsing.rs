//! What is read and given as structures, through the C functions: lists that keep what others wrote, both forms of keys.

use crate::sample_bundle;
use crate::support::abi::{self, *};
use std::ffi::{CStr, CString, c_char};
use std::ptr::{null, null_mut};

use omemo::protocol::bundle::published_key;
use omemo::protocol::namespace::Namespace;
use omemo::stanza::bundle;

fn text(text: *const c_char) -> Option<String> {
    // SAFETY: a C string of the library's, or NULL.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned())
}

fn name(status: i32) -> String {
    // SAFETY: any number is allowed.
    text(unsafe { omemo_status_name(status) }).unwrap()
}

/// A device list of the C functions.
struct List(*mut Opaque);

impl List {
    fn parse(xml: &str) -> Result<List, i32> {
        let mut list = null_mut();
        // SAFETY: so many bytes, and a place for the handle.
        match unsafe { omemo_device_list_parse(xml.as_ptr().cast(), xml.len(), &raw mut list) } {
            abi::OK => Ok(List(list)),
            status => Err(status),
        }
    }

    fn xml(&self) -> String {
        let mut len = 0;
        // SAFETY: a live list.
        let xml = text(unsafe { omemo_device_list_xml(self.0, &raw mut len) }).unwrap();
        assert_eq!(xml.len(), len);
        xml
    }

    fn other(&self, index: usize) -> Option<String> {
        let mut len = 0;
        // SAFETY: a live list.
        let other = text(unsafe { omemo_device_list_other_xml(self.0, index, &raw mut len) });
        assert_eq!(other.as_ref().map_or(0, String::len), len);
        other
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: freed once.
        unsafe { omemo_device_list_free(self.0) };
    }
}

/// A bundle of the C functions.
struct Keys(*mut Opaque);

type Getter = unsafe extern "C" fn(*const Opaque, *mut usize) -> *const u8;

impl Keys {
    fn get(&self, getter: Getter) -> Option<Vec<u8>> {
        let mut len = 0;
        // SAFETY: a live bundle; the bytes are copied while it lives.
        unsafe {
            let bytes = getter(self.0, &raw mut len);
            (!bytes.is_null()).then(|| std::slice::from_raw_parts(bytes, len).to_vec())
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // SAFETY: freed once; NULL is allowed.
        unsafe { omemo_bundle_free(self.0) };
    }
}

#[test]
fn a_list_that_was_read_is_written_with_what_others_put_there() {
    for (ns, tag) in [("urn:xmpp:omemo:2", "devices"), ("eu.siacs.conversations.axolotl", "list")] {
        let xml = format!(
            "<{tag} xmlns='{ns}'><device id='7' label='Kaidan'/><x xmlns='y'/><device id='0'/><device id='9'/><device/></{tag}>"
        );
        let list = List::parse(&xml).unwrap();
        // SAFETY: a live list.
        unsafe {
            assert_eq!(omemo_device_list_count(list.0), 3);
            assert_eq!([0, 1, 2, 3].map(|index| omemo_device_list_id(list.0, index)), [7, 0, 9, 0]);
            assert!(
                omemo_device_list_label(list.0, 0).is_null(),
                "a label without a signature does not count"
            );
        }
        assert_eq!(list.other(0).unwrap(), format!("<device xmlns='{ns}' id='7' label='Kaidan'/>"));
        assert_eq!((list.other(1), list.other(2), list.other(3)), (None, None, None));
        assert_eq!(list.xml(), xml);
        // SAFETY: a live list.
        assert_eq!(unsafe { omemo_device_list_add(list.0, 11, null(), null()) }, abi::OK);
        assert_eq!(list.other(3), None);
        assert_eq!(list.xml(), xml.replace(&format!("</{tag}>"), &format!("<device id='11'/></{tag}>")));
    }
    // SAFETY: NULL is allowed.
    unsafe { assert!(omemo_device_list_other_xml(null(), 0, null_mut()).is_null()) };
}

#[test]
fn lists_that_are_not_understood_and_lists_that_are_too_long_say_which() {
    let status = |xml: &str| name(List::parse(xml).err().expect(xml));
    assert_eq!(
        (name(abi::ERR_MALFORMED), name(abi::ERR_LIMIT)),
        ("OMEMO_ERR_MALFORMED".to_owned(), "OMEMO_ERR_LIMIT".to_owned())
    );
    assert_eq!(status("<devices xmlns='urn:xmpp:omemo:2'><x xmlns='y'/></devices>"), "OMEMO_ERR_MALFORMED");
    assert_eq!(status("<list xmlns='eu.siacs.conversations.axolotl'><dev/></list>"), "OMEMO_ERR_MALFORMED");
    for count in [257, 300, 1_000] {
        let devices: String = (1..=count).map(|id| format!("<device id='{id}'/>")).collect();
        assert_eq!(
            status(&format!("<devices xmlns='urn:xmpp:omemo:2'>{devices}</devices>")),
            "OMEMO_ERR_LIMIT"
        );
    }
    let long = "x".repeat(70_000);
    assert_eq!(
        status(&format!("<devices xmlns='urn:xmpp:omemo:2'><device id='1' a='{long}'/></devices>")),
        "OMEMO_ERR_LIMIT"
    );
}

#[test]
fn bundles_are_made_from_either_form_and_give_both() {
    for namespace in Namespace::ALL {
        let ns = CString::new(namespace.uri()).unwrap();
        for sign in [0, 1] {
            let bundle = sample_bundle::with_sign(namespace, sign);
            let wire_key = bundle.published_identity_key().unwrap();
            let wire_signature = bundle.published_signature();
            let mut unsigned = bundle.identity_key;
            unsigned[31] &= 0x7f;
            let (ed, pre_key) = (bundle.identity_key.to_vec(), bundle.signed_pre_key.to_vec());
            let mut forms = vec![
                (ed.clone(), pre_key.clone(), bundle.signature),
                (ed.clone(), pre_key.clone(), wire_signature),
                (wire_key.clone(), pre_key.clone(), wire_signature),
            ];
            if namespace == Namespace::Legacy {
                let wire_pre_key = published_key(namespace, &bundle.signed_pre_key);
                forms.push((ed.clone(), wire_pre_key.clone(), wire_signature));
                forms.push((wire_key.clone(), wire_pre_key, wire_signature));
                // Computed from the Curve25519 form, the key has no sign but that of the signature.
                forms.push((unsigned.to_vec(), pre_key.clone(), wire_signature));
            }
            for (key, pre_key, signature) in forms {
                // SAFETY: a C string, and bytes of these lengths.
                let made = Keys(unsafe {
                    omemo_bundle_new(
                        ns.as_ptr(),
                        key.as_ptr(),
                        key.len(),
                        4,
                        pre_key.as_ptr(),
                        pre_key.len(),
                        signature.as_ptr(),
                        signature.len(),
                    )
                });
                assert_eq!(made.get(omemo_bundle_identity_key).unwrap(), ed);
                assert_eq!(made.get(omemo_bundle_signature).unwrap(), bundle.signature);
                assert_eq!(made.get(omemo_bundle_wire_identity_key).unwrap(), wire_key);
                assert_eq!(made.get(omemo_bundle_wire_signature).unwrap(), wire_signature);
                // SAFETY: a live bundle.
                let xml = text(unsafe { omemo_bundle_xml(made.0, null_mut()) }).unwrap();
                assert_eq!(xml, bundle::write(&bundle).unwrap());
            }
        }
    }
}

#[test]
fn wire_forms_that_are_none_are_refused() {
    let key = sample_bundle::with_sign(Namespace::Legacy, 1).published_identity_key().unwrap();
    let other_type = [&[6][..], &key[1..]].concat();
    let twist = [&[5, 2][..], &[0; 31]].concat();
    let signed = [3; 32];
    let made = |ns: &CStr, key: &[u8], key_len: usize, pre_key: &[u8]| {
        // SAFETY: a C string, and bytes of these lengths, or a length that is refused unread.
        let made = unsafe {
            omemo_bundle_new(
                ns.as_ptr(),
                key.as_ptr(),
                key_len,
                1,
                pre_key.as_ptr(),
                pre_key.len(),
                [0; 64].as_ptr(),
                64,
            )
        };
        !Keys(made).0.is_null()
    };
    let (legacy, new) = (c"eu.siacs.conversations.axolotl", c"urn:xmpp:omemo:2");
    assert!(made(legacy, &key, 33, &signed));
    assert!(!made(legacy, &other_type, 33, &signed), "another type byte");
    assert!(!made(legacy, &twist, 33, &signed), "no point of the curve");
    assert!(!made(legacy, &key, 31, &signed));
    assert!(!made(legacy, &key, 34, &signed), "a length that is refused unread");
    assert!(!made(new, &key, 33, &signed), "there this form does not exist");
    assert!(made(new, &key[1..], 32, &signed));
    assert!(!made(c"urn:x", &key, 33, &signed));
    let wire_signed = [&[5][..], &signed].concat();
    assert!(made(legacy, &key, 33, &wire_signed));
    assert!(!made(legacy, &key, 33, &[&[6][..], &signed].concat()), "another type byte");
    assert!(!made(new, &key[1..], 32, &wire_signed), "there this form does not exist");
    assert!(!made(legacy, &key, 33, &signed[1..]));
    // SAFETY: NULL is allowed.
    unsafe {
        assert!(omemo_bundle_wire_identity_key(null(), null_mut()).is_null());
        assert!(omemo_bundle_wire_signature(null(), null_mut()).is_null());
        assert!(omemo_bundle_new(legacy.as_ptr(), null(), 33, 1, null(), 32, null(), 64).is_null());
        let short =
            omemo_bundle_new(legacy.as_ptr(), key.as_ptr(), 33, 1, signed.as_ptr(), 32, [0; 64].as_ptr(), 63);
        assert!(short.is_null(), "a signature of another length");
        let bundle = Keys(omemo_bundle_new(
            new.as_ptr(),
            signed.as_ptr(),
            32,
            1,
            signed.as_ptr(),
            32,
            [0; 64].as_ptr(),
            64,
        ));
        assert_eq!(omemo_bundle_append_pre_key(bundle.0, 1, signed.as_ptr(), 31), abi::ERR_ARGUMENT);
        assert_eq!(omemo_bundle_append_pre_key(bundle.0, 1, wire_signed.as_ptr(), 33), abi::ERR_ARGUMENT);
        assert_eq!(omemo_bundle_append_pre_key(bundle.0, 1, signed.as_ptr(), 32), abi::OK);
        let bundle = Keys(omemo_bundle_new(
            legacy.as_ptr(),
            key.as_ptr(),
            33,
            1,
            signed.as_ptr(),
            32,
            [0; 64].as_ptr(),
            64,
        ));
        assert_eq!(omemo_bundle_append_pre_key(bundle.0, 1, wire_signed.as_ptr(), 33), abi::OK);
    }
}

#[test]
fn pushes_say_that_a_list_is_gone_or_late() {
    let gone = |xml: &str| {
        // SAFETY: so many bytes.
        text(unsafe { omemo_device_list_gone(xml.as_ptr().cast(), xml.len()) })
    };
    for namespace in Namespace::ALL {
        let node = namespace.device_list_node();
        let push = |event: &str, more: &str| {
            format!(
                "<message><event xmlns='http://jabber.org/protocol/pubsub#event'>{event}</event>{more}</message>"
            )
        };
        let retracted = push(&format!("<items node='{node}'><retract id='current'/></items>"), "");
        assert_eq!(gone(&retracted).as_deref(), Some(namespace.uri()));
        assert_eq!(gone(&push(&format!("<purge node='{node}'/>"), "")).as_deref(), Some(namespace.uri()));
        assert_eq!(List::parse(&retracted).err(), Some(abi::ERR_MALFORMED));
        let tag = if namespace == Namespace::Omemo2 { "devices" } else { "list" };
        let item = format!("<items node='{node}'><item><{tag} xmlns='{}'/></item></items>", namespace.uri());
        assert_eq!(gone(&push(&item, "")), None);
        let delay = "<delay xmlns='urn:xmpp:delay' stamp='2026-11-27T13:36:56Z'/>";
        for (more, expected) in [("", false), (delay, true)] {
            let list = List::parse(&push(&item, more)).unwrap();
            // SAFETY: a live list.
            assert_eq!(unsafe { omemo_device_list_is_delayed(list.0) }, expected);
        }
    }
    assert_eq!((gone("<"), gone("")), (None, None));
    // SAFETY: NULL is allowed.
    unsafe { assert!(omemo_device_list_gone(null(), 5).is_null() && !omemo_device_list_is_delayed(null())) };
}
