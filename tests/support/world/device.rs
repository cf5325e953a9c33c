//! `Device`: what a scenario does with a device of ours, whichever face of the library it lives behind. All words are
//! those of the stanzas: JIDs and XML as strings.

use super::storage::{FaultyStorage, Records};
use super::{Answer, Mail, World};
use omemo::error::Status;
use omemo::manager::api::decrypted::Action;
use omemo::manager::api::device::CoreTrust;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::config::{Delivery, Habits, Healing};
use omemo::protocol::namespace::Namespace;
use std::sync::Arc;

/// How a device is set up.
#[derive(Clone)]
pub struct Options {
    pub namespaces: Vec<Namespace>,
    /// The trust level of keys that nobody has judged. Requests about trust are held, see `Device::prompts`.
    pub default_level: &'static str,
    pub storage: Arc<FaultyStorage>,
    pub healing: Healing,
    pub delivery: Delivery,
    /// The trust policy; `None`: that of the face, under which nothing is decided without the user.
    pub policy: Option<Policy>,
    /// Unused pre keys at which new ones are made.
    pub pre_key_threshold: usize,
    /// Whose habits it has; on the Rust face only.
    pub habits: Habits,
}

/// The ready-made trust policies, with their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Ask = 0,
    Tofu = 1,
    Btbv = 2,
}

impl Options {
    /// Speaks what the world speaks; unjudged keys are trusted.
    pub fn of(world: &World) -> Self {
        let namespace = if world.namespace() == super::NS_2 { Namespace::Omemo2 } else { Namespace::Legacy };
        Self {
            namespaces: vec![namespace],
            default_level: "trusted",
            storage: Arc::default(),
            healing: Healing::Manual,
            delivery: Delivery::Direct,
            policy: None,
            pre_key_threshold: 99,
            habits: Habits::Own,
        }
    }
}

/// A row of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportRow {
    pub jid: Option<String>,
    pub device: u32,
    pub namespace: Option<Namespace>,
    pub status: Status,
    /// `None` where the face of the library does not give it to this trait.
    pub text: Option<String>,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub status: Status,
    pub rows: Vec<ReportRow>,
    pub messages: Vec<String>,
}

impl Report {
    /// The status of a device's row.
    pub fn row(&self, jid: &str, device: u32) -> Option<Status> {
        self.rows_of(jid).into_iter().find(|(id, _)| *id == device).map(|(_, status)| status)
    }

    /// Device and status of the rows of a JID.
    pub fn rows_of(&self, jid: &str) -> Vec<(u32, Status)> {
        let rows = self.rows.iter().filter(|row| row.jid.as_deref() == Some(jid));
        rows.map(|row| (row.device, row.status)).collect()
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, Status::Ok, "{:?}", self.rows);
        self
    }

    /// How many keys all messages hold for devices with this id.
    pub fn keys_for(&self, device: u32) -> usize {
        let key = format!("rid='{device}'");
        self.messages.iter().map(|xml| xml.matches(&key).count()).sum()
    }
}

/// What came out of a stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    pub status: Status,
    pub action: Action,
    pub text: Option<String>,
    pub from: Option<String>,
    pub core_trust: CoreTrust,
    pub key: Option<[u8; 32]>,
    pub room: Option<String>,
    /// 0: not kept until it is acknowledged.
    pub receipt: u64,
    /// It was handed out before.
    pub repeated: bool,
}

/// One device that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub id: u32,
    pub key: Option<[u8; 32]>,
    pub level: String,
    pub core_trust: CoreTrust,
    /// It is announced in some namespace.
    pub active: bool,
    pub conflicting_key: Option<[u8; 32]>,
    /// Messages of it that could not be decrypted, in all namespaces.
    pub failed_messages: u32,
    /// The lengths of the sending and the receiving chain in the namespace of the world; -1: none.
    pub chains: (i64, i64),
}

/// News.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub kind: NoticeKind,
    pub jid: Option<String>,
    pub device: u32,
    pub status: Status,
}

/// A request about trust that waits for the test.
#[derive(Clone, Debug)]
pub struct Prompt {
    pub request_id: u64,
    pub devices: Vec<(String, u32)>,
}

/// A device of ours in a `World`.
pub trait Device: Sized {
    /// Opens it, offline; the status of what made it fail.
    fn try_open(world: &World, jid: &str, options: Options) -> Result<Self, Status>;
    fn world(&self) -> &World;
    fn name(&self) -> &str;
    /// Its address in the world.
    fn endpoint(&self) -> usize;
    fn storage(&self) -> &Arc<FaultyStorage>;
    /// The process ends and starts again on the storage as it is now; offline.
    fn restart(&mut self);
    /// The same on a store that somebody has made hold these records: a backup.
    fn restart_on(&mut self, records: Records);

    /// Hands requests to the world until none comes without an answer.
    fn go_on(&self);
    /// Milliseconds until the library wants to run.
    fn due_in(&self) -> Option<u64>;
    fn give(&self, request_id: u64, answer: &Answer) -> Status;
    /// The end of an operation, once, if it is over.
    fn report(&self, operation: u64) -> Option<Report>;

    fn begin_connect(&self) -> u64;
    /// Where an archive is going to be read, until `end_catch_up`.
    fn begin_connect_to_catch_up(&self) -> u64;
    fn disconnect(&self);
    fn begin_refresh(&self, jid: &str) -> Result<u64, Status>;
    fn begin_catch_up(&self) -> Status;
    fn end_catch_up(&self) -> Result<u64, Status>;
    fn begin_replace_sessions(&self, jid: Option<&str>, device: u32) -> Result<u64, Status>;
    fn begin_encrypt(&self, to: &[&str], text: &str, policy: EncryptPolicy) -> Result<u64, Status>;
    fn decrypt(&self, from: Option<&str>, room: Option<&str>, xml: &str) -> Result<Read, Status>;
    /// The client has the content under this receipt safe.
    fn acknowledge(&self, receipt: u64) -> Status;
    /// The next content after this receipt that nobody has acknowledged.
    fn unacknowledged(&self, after: u64) -> Result<Read, Status>;
    fn update_device_list(&self, jid: &str, xml: &str) -> Status;
    fn set_trust(&self, jid: &str, key: &[u8; 32], level: &str) -> Status;
    /// Forgets a JID but for the trust in its keys.
    fn purge_jid(&self, jid: &str) -> Status;
    fn accept_identity(&self, jid: &str, device: u32, key: &[u8; 32]) -> Status;
    /// What is known of a JID's devices; `None`: the own account, this device first.
    fn known(&self, jid: Option<&str>) -> Vec<Known>;
    /// The notices since the last call.
    fn news(&self) -> Vec<News>;
    fn log_lines(&self) -> Vec<String>;
    /// The requests about trust since the last call.
    fn prompts(&self) -> Vec<Prompt>;
    fn decide(&self, request_id: u64, index: usize, level: &str) -> Status;

    // -- made of these

    /// Opens it, offline, which must succeed.
    #[track_caller]
    fn open(world: &World, jid: &str, options: Options) -> Self {
        Self::try_open(world, jid, options).unwrap()
    }

    /// Opens it and connects.
    #[track_caller]
    fn online(world: &World, jid: &str) -> Self {
        let device = Self::open(world, jid, Options::of(world));
        device.connect().ok();
        device
    }

    fn own_id(&self) -> u32 {
        self.known(None)[0].id
    }

    fn own_key(&self) -> [u8; 32] {
        self.known(None)[0].key.expect("the own key is known")
    }

    fn find(&self, jid: &str, id: u32) -> Option<Known> {
        self.known(Some(jid)).into_iter().find(|known| known.id == id)
    }

    /// Gives the answers that are due now; how many.
    fn give_due(&self) -> usize {
        let due = self.world().due_answers_of(self.endpoint());
        due.iter().for_each(|(request_id, answer)| {
            let _ = self.give(*request_id, answer);
        });
        due.len()
    }

    /// Runs and lets time pass, to the next answer or deadline, until an operation is over; gives its end.
    #[track_caller]
    fn finish(&self, operation: u64) -> Report {
        for _ in 0..100_000 {
            self.go_on();
            if let Some(report) = self.report(operation) {
                return report;
            }
            if self.give_due() == 0 {
                let now = self.world().now_ms();
                let deadline = self.due_in().map(|ms| now + i64::try_from(ms.max(1)).unwrap());
                let next = self.world().next_due().into_iter().chain(deadline).min();
                self.world().advance((next.expect("the operation is stuck") - now).max(0));
            }
        }
        panic!("an operation never ends");
    }

    #[track_caller]
    fn connect(&self) -> Report {
        self.finish(self.begin_connect())
    }

    #[track_caller]
    fn reconnect(&self) -> Report {
        self.disconnect();
        self.connect()
    }

    #[track_caller]
    fn refresh(&self, jid: &str) -> Report {
        self.finish(self.begin_refresh(jid).unwrap())
    }

    #[track_caller]
    fn replace_sessions(&self, jid: Option<&str>, device: u32) -> Report {
        self.finish(self.begin_replace_sessions(jid, device).unwrap())
    }

    #[track_caller]
    fn encrypt(&self, to: &[&str], text: &str, policy: EncryptPolicy) -> Report {
        self.finish(self.begin_encrypt(to, text, policy).unwrap())
    }

    /// Encrypts for one JID, which must succeed, and does not send it.
    #[track_caller]
    fn seal(&self, to: &str, text: &str) -> String {
        self.encrypt(&[to], text, EncryptPolicy::Wait).ok().messages.remove(0)
    }

    /// Encrypts and sends.
    #[track_caller]
    fn say(&self, to: &str, text: &str) -> Report {
        let report = self.encrypt(&[to], text, EncryptPolicy::Wait).ok();
        for xml in &report.messages {
            self.world().post(self.endpoint(), &[to], xml);
        }
        report
    }

    #[track_caller]
    fn read(&self, from: &str, xml: &str) -> Read {
        self.decrypt(Some(from), None, xml).unwrap()
    }

    /// Takes everything from the inbox; what came out of the stanzas.
    fn receive(&self) -> Vec<Read> {
        let mut all = Vec::new();
        while let Some(mail) = self.world().take(self.endpoint()) {
            match mail {
                Mail::DeviceList { jid, xml, .. } => {
                    let _ = self.update_device_list(&jid, &xml);
                }
                Mail::Stanza { from, xml } => all.push(self.read(&from, &xml)),
            }
        }
        all
    }

    /// Takes everything from the inbox; the texts to show.
    fn texts(&self) -> Vec<String> {
        self.receive().into_iter().filter_map(|read| read.text).collect()
    }
}

/// Runs all devices and takes their mail until nothing comes; time stands still.
pub fn settle<D: Device>(devices: &[&D]) {
    for _ in 0..100 {
        let mut busy = false;
        for device in devices {
            device.go_on();
            busy |= device.give_due() > 0;
            busy |= !device.world().is_empty(device.endpoint());
            device.receive();
        }
        if !busy {
            return;
        }
    }
    panic!("the devices never come to rest");
}

/// Runs all devices and gives all answers until nothing happens any more. Takes no mail, and waits for no deadline.
pub fn run_all<D: Device>(devices: &[&D]) {
    let Some(first) = devices.first() else { return };
    for _ in 0..100_000 {
        let mut given = 0;
        for device in devices {
            device.go_on();
            given += device.give_due();
        }
        if given > 0 {
            continue;
        }
        let Some(due_ms) = first.world().next_due() else { return };
        first.world().advance((due_ms - first.world().now_ms()).max(0));
    }
    panic!("the devices never come to rest");
}
