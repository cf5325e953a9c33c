//! `Device` for the C face: over `Client`, which reaches the library by its C functions only.

use super::device::{Device, Known, News, Options, Prompt, Read, Report, ReportRow};
use super::storage::{FaultyStorage, Records};
use super::{Answer, World};
use crate::support::abi;
use crate::support::client::{self, Client, Setup, Trust};
use omemo::error::Status;
use omemo::manager::api::decrypted::Action;
use omemo::manager::api::device::CoreTrust;
use omemo::manager::api::draft::EncryptPolicy;
use omemo::manager::api::event::NoticeKind;
use omemo::manager::config::{Delivery, Healing};
use omemo::protocol::namespace::Namespace;
use std::sync::Arc;

fn status(number: i32) -> Status {
    Status::from_number(number).expect("a status of the library")
}

fn core_trust(number: i32) -> CoreTrust {
    [CoreTrust::Undecided, CoreTrust::Trusted, CoreTrust::Distrusted][usize::try_from(number).unwrap()]
}

fn key(bytes: Option<Vec<u8>>) -> Option<[u8; 32]> {
    bytes.map(|bytes| bytes.try_into().expect("keys have 32 bytes"))
}

fn read(read: client::Decrypted) -> Read {
    Read {
        status: status(read.status),
        action: [Action::Hide, Action::Show, Action::Warn][usize::try_from(read.action).unwrap()],
        text: read.body,
        from: read.from,
        core_trust: core_trust(read.trust),
        key: key(read.identity),
        room: read.room,
        receipt: read.receipt,
        repeated: read.flags & 8 != 0,
    }
}

impl Device for Client {
    fn try_open(world: &World, jid: &str, options: Options) -> Result<Self, Status> {
        Client::try_with(
            world,
            jid,
            Setup {
                store: options.storage,
                trust: Trust::Hold,
                namespaces: Some(options.namespaces.into_iter().map(Namespace::uri).collect()),
                default_trust_level_name: Some(options.default_level.to_owned()),
                options: [
                    (5, u64::from(options.healing == Healing::Automatic)),
                    (8, options.pre_key_threshold as u64),
                    (11, u64::from(options.delivery == Delivery::Acknowledged)),
                ]
                .into_iter()
                .chain(options.policy.map(|policy| (9, policy as u64)))
                .collect(),
                ..Setup::default()
            },
        )
        .map_err(|(number, _)| status(number))
    }

    fn world(&self) -> &World {
        &self.world
    }

    fn name(&self) -> &str {
        &self.jid
    }

    fn endpoint(&self) -> usize {
        self.endpoint
    }

    fn storage(&self) -> &Arc<FaultyStorage> {
        &self.store
    }

    fn restart(&mut self) {
        Client::restart(self);
    }

    fn restart_on(&mut self, records: Records) {
        self.close();
        self.store.put_back(records);
        Client::restart(self);
    }

    fn go_on(&self) {
        for _ in 0..10_000 {
            assert_eq!(self.run(), abi::OK);
            if self.timeout() != 0 {
                return;
            }
        }
        panic!("work without end");
    }

    fn due_in(&self) -> Option<u64> {
        u64::try_from(self.timeout()).ok()
    }

    fn give(&self, request: u64, answer: &Answer) -> Status {
        status(client::give(request, answer))
    }

    fn report(&self, operation: u64) -> Option<Report> {
        let outcome = self.outcome(operation)?;
        let row = |row: client::Row| ReportRow {
            jid: row.jid,
            device: row.device,
            namespace: row.ns.as_deref().and_then(Namespace::from_uri),
            status: status(row.status),
            text: None,
        };
        Some(Report {
            status: status(outcome.status),
            rows: outcome.rows.into_iter().map(row).collect(),
            messages: outcome.messages,
        })
    }

    fn begin_connect(&self) -> u64 {
        self.start_connect()
    }

    fn begin_connect_to_catch_up(&self) -> u64 {
        self.try_connect(abi::CATCH_UP_EXPECTED).expect("a stream begins")
    }

    fn disconnect(&self) {
        Client::disconnect(self);
    }

    fn begin_refresh(&self, jid: &str) -> Result<u64, Status> {
        self.start_refresh(jid).map_err(status)
    }

    fn begin_catch_up(&self) -> Status {
        status(self.start_catch_up())
    }

    fn end_catch_up(&self) -> Result<u64, Status> {
        self.finish_catch_up().map_err(status)
    }

    fn begin_replace_sessions(&self, jid: Option<&str>, device: u32) -> Result<u64, Status> {
        self.start_replace_sessions(jid, device).map_err(status)
    }

    fn begin_encrypt(&self, to: &[&str], text: &str, policy: EncryptPolicy) -> Result<u64, Status> {
        self.start_encrypt(to, text, policy as i32).map_err(status)
    }

    fn decrypt(&self, from: Option<&str>, room: Option<&str>, xml: &str) -> Result<Read, Status> {
        self.decrypt_in(from, room, xml).map(read).map_err(status)
    }

    fn acknowledge(&self, receipt: u64) -> Status {
        status(Client::acknowledge(self, receipt))
    }

    fn unacknowledged(&self, after: u64) -> Result<Read, Status> {
        Client::unacknowledged(self, after).map(read).map_err(status)
    }

    fn update_device_list(&self, jid: &str, xml: &str) -> Status {
        status(self.push(jid, xml))
    }

    fn set_trust(&self, jid: &str, key: &[u8; 32], level: &str) -> Status {
        status(Client::set_trust(self, jid, key, level))
    }

    fn accept_identity(&self, jid: &str, device: u32, key: &[u8; 32]) -> Status {
        status(Client::accept_identity(self, jid, device, key))
    }

    fn purge_jid(&self, jid: &str) -> Status {
        status(Client::purge_jid(self, jid, true))
    }

    fn known(&self, jid: Option<&str>) -> Vec<Known> {
        let known = |device: client::Device| Known {
            id: device.id,
            key: key(device.identity),
            level: device.level,
            core_trust: core_trust(device.trust),
            active: device.active,
            conflicting_key: key(device.conflicting_key),
            failed_messages: device.failed_messages,
            chains: device.chains,
        };
        self.devices(jid.unwrap_or_default()).into_iter().map(known).collect()
    }

    fn news(&self) -> Vec<News> {
        let kinds = [
            NoticeKind::Devices,
            NoticeKind::IdentityChanged,
            NoticeKind::Downgraded,
            NoticeKind::PublishFailed,
            NoticeKind::SessionBroken,
            NoticeKind::BlindlyTrusted,
            NoticeKind::Undecided,
            NoticeKind::RolledBack,
        ];
        let news = |(kind, _, jid, device, number): client::Notice| News {
            kind: kinds[usize::try_from(kind).unwrap() - 1],
            jid,
            device,
            status: status(number),
        };
        self.notices().into_iter().map(news).collect()
    }

    fn log_lines(&self) -> Vec<String> {
        self.log()
    }

    fn prompts(&self) -> Vec<Prompt> {
        let prompt = |(request, devices): (u64, Vec<client::Device>)| Prompt {
            request_id: request,
            devices: devices.into_iter().map(|device| (device.jid, device.id)).collect(),
        };
        self.held().into_iter().map(prompt).collect()
    }

    fn decide(&self, request: u64, index: usize, level: &str) -> Status {
        status(client::note_level(request, index, level))
    }
}
