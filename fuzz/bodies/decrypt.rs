//! The target `decrypt`: a live account is given genuine messages that the input's bytes have edited, from its peer, from
//! others and through a room.
//!
//! A message that is rejected leaves the store as it was, byte for byte; what is shown is a text that was written; and
//! afterwards the peer's next message is still read.

use std::sync::{Arc, OnceLock};

use omemo::error::Status;
use omemo::manager::api::decrypted::Action;
use omemo::manager::api::draft::{Draft, EncryptPolicy};
use omemo::manager::api::request::{Answer, Reason};
use omemo::protocol::message::Message;
use omemo::protocol::namespace::Namespace;
use omemo::runtime::next_number;
use zeroize::Zeroizing;

use super::bytes::Bytes;
use super::peer::Peer;
use super::world::{Account, FaultyStorage, JULIET, MERCUTIO, ROMEO, ROOM, Records, Server, jid};

/// A genuine message and its text; no text: an empty one.
pub struct Genuine {
    pub message: Message,
    pub text: Option<&'static str>,
}

/// A store after some conversation in both namespaces, and what comes next.
pub struct Fixture {
    pub records: Records,
    pub genuine: Vec<Genuine>,
    /// Of each namespace, the next message of a session, which no input holds.
    pub last: Vec<Message>,
}

/// The peer's device of a namespace.
fn device(namespace: Namespace) -> u32 {
    4_700 + namespace.code()
}

pub fn fixture() -> &'static Fixture {
    static SCENE: OnceLock<Fixture> = OnceLock::new();
    SCENE.get_or_init(make)
}

fn make() -> Fixture {
    let mut server = Server::default();
    let account = Account::open(ROMEO, Arc::default(), 1).unwrap();
    account.connect(&mut server);
    let own = account.manager.device_id().unwrap().unwrap().get();
    let (mut genuine, mut last) = (Vec::new(), Vec::new());
    for namespace in Namespace::ALL {
        let bundle = server.bundles[&(namespace.code(), ROMEO.to_owned(), own)].clone();
        let mut peer = Peer::new(namespace, JULIET, device(namespace), 0);
        peer.publish(&mut server);
        let list = server.lists[&(namespace.code(), JULIET.to_owned())].clone();
        account.manager.update_device_list(&jid(JULIET), &list).unwrap();
        // A conversation that the account has begun.
        peer.read(&encrypt(&account, &mut server, namespace));
        let read = |message: &Message| {
            let decrypted = account.manager.decrypt(Some(&jid(JULIET)), None, message).unwrap();
            assert_eq!(decrypted.error.status(), Status::Ok);
        };
        let mut keep = |message: Message, text: Option<&'static str>| {
            genuine.push(Genuine { message, text });
        };
        let old = peer.write(ROMEO, own, Some("old"));
        read(&old);
        keep(old, Some("old"));
        keep(peer.write(ROMEO, own, Some("skipped")), Some("skipped"));
        // Another session supersedes it, and goes back where it was.
        let mut other = Peer::new(namespace, JULIET, device(namespace), 1);
        other.begin(&bundle);
        read(&other.write(ROMEO, own, Some("other")));
        read(&peer.write(ROMEO, own, Some("after it")));
        // An answer, and with it the end of a chain of which one message is missing.
        peer.read(&encrypt(&account, &mut server, namespace));
        read(&peer.write(ROMEO, own, Some("a chain begins")));
        keep(peer.write(ROMEO, own, Some("next")), Some("next"));
        keep(peer.write(ROMEO, own, None), None);
        for _ in 0..60 {
            peer.write(ROMEO, own, None);
        }
        // So many that the account wants to answer, which it has no time for.
        read(&peer.write(ROMEO, own, Some("far")));
        keep(peer.write(ROMEO, own, Some("farther")), Some("farther"));
        last.push(peer.write(ROMEO, own, Some("last")));
        // Others that begin one: the same device, one that nobody lists, and a stranger's.
        let mut again = Peer::new(namespace, JULIET, device(namespace), 3);
        again.begin(&bundle);
        keep(again.write(ROMEO, own, Some("again")), Some("again"));
        keep(again.write(ROMEO, own, Some("again, second")), Some("again, second"));
        for (name, id) in [(JULIET, 9_000), (MERCUTIO, 9_001)] {
            let mut stranger = Peer::new(namespace, name, id + namespace.code() * 10, 0);
            stranger.begin(&bundle);
            keep(stranger.write(ROMEO, own, Some("stranger")), Some("stranger"));
        }
    }
    Fixture { records: account.storage.all(), genuine, last }
}

fn encrypt(account: &Account, server: &mut Server, namespace: Namespace) -> Message {
    let draft = Draft {
        recipients: vec![jid(JULIET)],
        plaintexts: vec![(namespace, Zeroizing::new(b"hello".to_vec()))],
        policy: EncryptPolicy::Wait,
        namespaces: Some(vec![namespace]),
        ..Draft::default()
    };
    account.manager.encrypt(next_number(), draft).unwrap();
    let mut outcomes = account.settle(server);
    assert_eq!(outcomes[0].status(), Status::Ok, "{:?}", outcomes[0].rows);
    outcomes[0].messages.remove(0)
}

pub fn run(input: &[u8]) {
    let fixture = fixture();
    let account = Account::open(ROMEO, FaultyStorage::of(fixture.records.clone()), 2).unwrap();
    let mut bytes = Bytes::new(input);
    for _ in 0..8 {
        if bytes.is_empty() {
            break;
        }
        give(&account, fixture, &mut bytes);
    }
    for last in &fixture.last {
        let decrypted = account.manager.decrypt(Some(&jid(JULIET)), None, last).unwrap();
        assert_eq!(decrypted.error.status(), Status::Ok, "the session does not go on");
    }
    account.run(|_| Some(Answer::Rejected(Reason::Failed)));
}

fn give(account: &Account, fixture: &Fixture, bytes: &mut Bytes<'_>) {
    let head = bytes.byte();
    let message = edited(fixture, bytes);
    let room = jid(ROOM);
    let others = [JULIET, JULIET, JULIET, JULIET, MERCUTIO, ROMEO, ROOM].map(jid);
    let from = match head & 7 {
        7 => None,
        other => Some(&others[usize::from(other)]),
    };
    let room = (head & 8 != 0).then_some(&room);
    let before = account.storage.all();
    let decrypted = account.manager.decrypt(from, room, &message).unwrap();
    let status = decrypted.error.status();
    assert!(!matches!(status, Status::Internal | Status::Storage | Status::StorageCorrupt), "{status:?}");
    if status != Status::Ok {
        assert!(decrypted.plaintext.is_none() && decrypted.action != Action::Show);
        assert!(account.storage.all() == before, "a message rejected with {status:?} left a trace");
    }
    if let Some(plaintext) = &decrypted.plaintext {
        let is_it = |genuine: &Genuine| genuine.text.is_some_and(|text| text.as_bytes() == **plaintext);
        assert!(fixture.genuine.iter().any(is_it), "a text that nobody wrote");
    }
    if head & 16 != 0 {
        account.run(|_| Some(Answer::Rejected(Reason::NotFound)));
    }
    if head & 32 != 0 {
        account.advance(u64::from(head) << 18);
    }
}

/// Returns a genuine message after the edits that the input asks for.
fn edited(fixture: &Fixture, bytes: &mut Bytes<'_>) -> Message {
    let mut message = bytes.pick(&fixture.genuine).unwrap().message.clone();
    for _ in 0..bytes.byte() % 5 {
        let key = bytes.below(message.keys.len().max(1));
        match (bytes.byte() % 12, message.keys.get_mut(key)) {
            (0..4, Some(key)) => bytes.edit(key.bytes.get_or_insert_default()),
            (4, _) => bytes.edit(message.payload.get_or_insert_default()),
            (5, _) => bytes.edit(message.iv.get_or_insert_default()),
            (6, _) => message.sender_device = [0, 4_701, 4_702, 9_000, u32::MAX][bytes.below(5)],
            (7, Some(key)) => key.key_exchange = !key.key_exchange,
            (8, Some(key)) => key.jid = [None, Some(jid(ROMEO)), Some(jid(JULIET))][bytes.below(3)].clone(),
            (9, Some(key)) => {
                let mut second = key.clone();
                bytes.edit(second.bytes.get_or_insert_default());
                message.keys.insert(bytes.below(2), second);
            }
            (10, _) => match bytes.byte() % 4 {
                0 => message.payload = None,
                1 => message.iv = None,
                2 => message.keys.clear(),
                _ => message.namespace = Namespace::ALL[bytes.below(2)],
            },
            _ => {
                // Keys of another message: the same account, another session.
                let other = bytes.pick(&fixture.genuine).unwrap();
                message.keys.extend(other.message.keys.iter().cloned());
            }
        }
    }
    message
}
