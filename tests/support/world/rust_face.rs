//! `Device` for the Rust face: stanzas are read and written here, as `ffi` does for the other.

use super::device::{Device, Known, News, Options, Policy, Prompt, Read, Report, ReportRow};
use super::raw::content;
use super::rust::RustDevice;
use super::server::{id, jid};
use super::storage::{FaultyStorage, Records};
use super::{Answer, Kind, Request, World};
use omemo::error::Status;
use omemo::manager::Config;
use omemo::manager::api::catch_up::CatchUp;
use omemo::manager::api::draft::{Draft, EncryptPolicy};
use omemo::manager::api::keep::Keep;
use omemo::manager::api::request::{self, Reason};
use omemo::manager::api::trust_policy::{Ask, Btbv, Tofu, TrustPolicy};
use omemo::protocol::address::DeviceId;
use omemo::protocol::namespace::Namespace;
use omemo::runtime::next_number;
use omemo::stanza::envelope;
use omemo::stanza::{bundle, device_list, message};
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

fn status_of<T>(result: omemo::error::Result<T>) -> Status {
    result.err().map_or(Status::Ok, |error| error.status())
}

fn reason(number: i32) -> Reason {
    let reasons = [Reason::NotFound, Reason::Failed, Reason::Timeout, Reason::Offline, Reason::Declined];
    reasons[usize::try_from(number).unwrap() - 1]
}

/// What an item that cannot be read answers: as `ffi` does it.
fn unreadable(error: &omemo::error::Error) -> request::Answer {
    request::Answer::Unreadable(error.clone())
}

impl RustDevice {
    fn place(&self) -> &(World, usize) {
        self.place.as_ref().expect("a device in a world")
    }

    /// A request as the world sees it; `None`: for a person.
    fn translate(&self, request: &request::Request) -> Option<Request> {
        use request::Request::{
            DecideTrust, DeleteBundle, FetchBundle, FetchDeviceList, PublishBundle, PublishDeviceList,
            SendMessage,
        };
        let own = self.jid.as_str();
        let (kind, ns, jid, device, xml) = match request {
            FetchDeviceList { namespace, jid } => (Kind::FetchList, namespace.uri(), jid.as_str(), 0, None),
            FetchBundle { namespace, jid, device } => {
                (Kind::FetchBundle, namespace.uri(), jid.as_str(), device.get(), None)
            }
            PublishDeviceList { list } => {
                (Kind::PublishList, list.namespace.uri(), own, 0, Some(device_list::write(list)))
            }
            PublishBundle { device, bundle } => {
                let xml = bundle::write(bundle).unwrap();
                (Kind::PublishBundle, bundle.namespace.uri(), own, device.get(), Some(xml))
            }
            DeleteBundle { namespace, device } => {
                (Kind::DeleteBundle, namespace.uri(), own, device.get(), None)
            }
            SendMessage { jid, message } => {
                (Kind::SendMessage, "", jid.as_str(), 0, Some(message::write(message)))
            }
            DecideTrust { .. } => return None,
        };
        let (world, endpoint) = self.place();
        let (ns, jid) = (ns.to_owned(), jid.to_owned());
        Some(Request { kind, endpoint: *endpoint, ns, jid, device, xml, at_ms: world.now_ms() })
    }
}

fn read(read: omemo::manager::api::decrypted::Decrypted) -> Read {
    let text = |bytes: &[u8]| match read.namespace {
        Namespace::Legacy => String::from_utf8(bytes.to_vec()).ok(),
        Namespace::Omemo2 => envelope::read_body(bytes).ok().flatten().map(|body| body.to_string()),
    };
    Read {
        status: read.error.status(),
        action: read.action,
        text: read.plaintext.as_deref().and_then(|bytes| text(bytes)),
        from: read.from.map(|from| from.as_str().to_owned()),
        core_trust: read.core_trust,
        key: read.identity_key,
        room: read.room.map(|room| room.as_str().to_owned()),
        receipt: read.receipt,
        repeated: read.repeated,
    }
}

impl Device for RustDevice {
    fn try_open(world: &World, name: &str, options: Options) -> Result<Self, Status> {
        let config = Config {
            jid: jid(name),
            namespaces: options.namespaces,
            default_trust_level_name: options.default_level.to_owned(),
            request_timeout_ms: 60_000,
            max_open_fetches: 32,
            skipped_per_session: 1_000,
            skipped_per_message: 1_000,
            healing: options.healing,
            start_mark: omemo::manager::config::StartMark::None,
            max_unanswered_messages: None,
            signed_pre_key_period_ms: 604_800_000,
            pre_key_threshold: options.pre_key_threshold,
            habits: options.habits,
            delivery: options.delivery,
        };
        let mut device = RustDevice::closed(config, options.storage);
        let policy: Option<&'static dyn TrustPolicy> = options.policy.map(|policy| match policy {
            Policy::Ask => &Ask as &dyn TrustPolicy,
            Policy::Tofu => &Tofu,
            Policy::Btbv => &Btbv,
        });
        let (clock, policy) = (world.clock(), Mutex::new(policy));
        device.services = Arc::new(super::rust::TestServices { clock, policy, ..Default::default() });
        device.place = Some((world.clone(), world.join(name)));
        RustDevice::open(&device).map_err(|error| error.status())?;
        Ok(device)
    }

    fn world(&self) -> &World {
        &self.place().0
    }

    fn name(&self) -> &str {
        self.jid.as_str()
    }

    fn endpoint(&self) -> usize {
        self.place().1
    }

    fn storage(&self) -> &Arc<FaultyStorage> {
        &self.storage
    }

    fn restart(&mut self) {
        RustDevice::restart(self);
    }

    fn restart_on(&mut self, records: Records) {
        self.manager.replace(None);
        self.storage.put_back(records);
        // What a copy uses again is told apart from what no copy may by whoever restores it.
        self.headers.borrow_mut().clear();
        RustDevice::open(self).unwrap();
    }

    fn go_on(&self) {
        for _ in 0..10_000 {
            let asked = self.step();
            for request_id in self.withdrawn.borrow_mut().drain(..) {
                self.world().withdraw(request_id);
            }
            if asked.is_empty() {
                return;
            }
            for (request_id, request) in asked {
                if let request::Request::DecideTrust { devices, .. } = &request {
                    let devices =
                        devices.iter().map(|device| (device.jid.as_str().to_owned(), device.id)).collect();
                    self.prompts.borrow_mut().push(Prompt { request_id, devices });
                } else if let Some(answer) = self.world().ask(request_id, self.translate(&request).unwrap()) {
                    assert_eq!(self.give(request_id, &answer), Status::Ok);
                }
            }
        }
        panic!("questions without end");
    }

    fn due_in(&self) -> Option<u64> {
        self.manager().timeout()
    }

    fn give(&self, request_id: u64, answer: &Answer) -> Status {
        let manager = self.manager();
        let open = match manager.request(request_id) {
            Ok(open) => open,
            Err(error) => return error.status(),
        };
        let typed = match (answer, open) {
            (Answer::Silence, _) => return Status::Ok,
            (Answer::Done, _) => request::Answer::Done,
            (Answer::Reject(number), _) => request::Answer::Rejected(reason(*number)),
            (Answer::Xml(xml), request::Request::FetchDeviceList { .. }) => {
                let list = device_list::parse(xml.as_bytes());
                list.map_or_else(|error| unreadable(&error), request::Answer::DeviceList)
            }
            (Answer::Xml(xml), request::Request::FetchBundle { device, .. }) => {
                let bundle = bundle::parse(xml.as_bytes(), Some(device.get()));
                bundle.map_or_else(|error| unreadable(&error), request::Answer::Bundle)
            }
            (Answer::Xml(_), other) => panic!("no item answers {other:?}"),
        };
        status_of(manager.answer(request_id, typed))
    }

    fn report(&self, operation: u64) -> Option<Report> {
        let outcome = self.done.borrow_mut().remove(&operation)?;
        let row = |row: &omemo::manager::api::report::Row| ReportRow {
            jid: row.jid.as_ref().map(|jid| jid.as_str().to_owned()),
            device: row.device,
            namespace: row.namespace,
            status: row.error.status(),
            text: Some(row.error.to_string()),
        };
        Some(Report {
            status: outcome.status(),
            rows: outcome.rows.iter().map(row).collect(),
            messages: outcome.messages.iter().map(message::write).collect(),
        })
    }

    fn begin_connect(&self) -> u64 {
        RustDevice::begin_connect(self)
    }

    fn begin_connect_to_catch_up(&self) -> u64 {
        let operation = next_number();
        self.manager().connected(operation, CatchUp::Expected).unwrap();
        operation
    }

    fn disconnect(&self) {
        self.manager().disconnected().unwrap();
    }

    fn begin_refresh(&self, of: &str) -> Result<u64, Status> {
        let operation = next_number();
        let begun = self.manager().refresh_devices(operation, Some(jid(of)), None);
        begun.map(|()| operation).map_err(|error| error.status())
    }

    fn begin_catch_up(&self) -> Status {
        self.manager().catch_up_begin().map_or_else(|error| error.status(), |()| Status::Ok)
    }

    fn end_catch_up(&self) -> Result<u64, Status> {
        let operation = next_number();
        self.manager().catch_up_end(operation).map(|()| operation).map_err(|error| error.status())
    }

    fn begin_replace_sessions(&self, of: Option<&str>, device: u32) -> Result<u64, Status> {
        let operation = next_number();
        let begun = self.manager().replace_sessions(operation, of.map(jid), DeviceId::new(device));
        begun.map(|()| operation).map_err(|error| error.status())
    }

    fn begin_encrypt(&self, to: &[&str], text: &str, policy: EncryptPolicy) -> Result<u64, Status> {
        let mut rng = self.rng();
        let mut plaintext = |namespace: &Namespace| {
            (*namespace, Zeroizing::new(content(*namespace, &self.jid, text, &mut rng).into_bytes()))
        };
        let draft = Draft {
            recipients: to.iter().map(|to| jid(to)).collect(),
            plaintexts: self.config.namespaces.iter().map(&mut plaintext).collect(),
            policy,
            ..Draft::default()
        };
        let operation = next_number();
        self.manager().encrypt(operation, draft).map(|()| operation).map_err(|error| error.status())
    }

    fn decrypt(&self, from: Option<&str>, room: Option<&str>, xml: &str) -> Result<Read, Status> {
        let message = message::parse(xml.as_bytes()).map_err(|error| error.status())?;
        let (from, room) = (from.map(jid), room.map(jid));
        let decrypted = self.manager().decrypt(from.as_ref(), room.as_ref(), &message);
        decrypted.map(read).map_err(|error| error.status())
    }

    fn acknowledge(&self, receipt: u64) -> Status {
        status_of(self.manager().acknowledge(receipt))
    }

    fn unacknowledged(&self, after: u64) -> Result<Read, Status> {
        match self.manager().unacknowledged(after) {
            Ok(kept) => kept.map(read).ok_or(Status::NotFound),
            Err(error) => Err(error.status()),
        }
    }

    fn update_device_list(&self, of: &str, xml: &str) -> Status {
        match device_list::parse(xml.as_bytes()) {
            Ok(list) => status_of(self.manager().update_device_list(&jid(of), &list)),
            Err(error) => error.status(),
        }
    }

    fn set_trust(&self, of: &str, key: &[u8; 32], level: &str) -> Status {
        status_of(self.manager().set_trust(&jid(of), key, level))
    }

    fn accept_identity(&self, of: &str, device: u32, key: &[u8; 32]) -> Status {
        status_of(self.manager().accept_identity(&jid(of), id(device), key))
    }

    fn purge_jid(&self, of: &str) -> Status {
        status_of(self.manager().purge_jid(&jid(of), Keep::Trust))
    }

    fn known(&self, of: Option<&str>) -> Vec<Known> {
        let devices = self.manager().devices(of.map(jid).as_ref()).unwrap();
        let known = |device: omemo::manager::api::device::Device| Known {
            id: device.id,
            key: device.identity_key,
            level: device.trust_level_name,
            core_trust: device.core_trust,
            active: !device.active.is_empty(),
            conflicting_key: device.conflicting_key,
            failed_messages: device.sessions.iter().map(|session| session.failed_messages).sum(),
            chains: device.sessions.first().map_or((-1, -1), |session| {
                let length = |length: Option<u32>| length.map_or(-1, i64::from);
                (length(session.sending_chain_length), length(session.receiving_chain_length))
            }),
        };
        devices.into_iter().map(known).collect()
    }

    fn news(&self) -> Vec<News> {
        let notices = std::mem::take(&mut *self.notices.borrow_mut());
        let news = |notice: omemo::manager::api::event::Notice| News {
            kind: notice.kind,
            jid: notice.jid.map(|jid| jid.as_str().to_owned()),
            device: notice.device,
            status: notice.status,
        };
        notices.into_iter().map(news).collect()
    }

    fn log_lines(&self) -> Vec<String> {
        self.services.lines.lock().unwrap().clone()
    }

    fn prompts(&self) -> Vec<Prompt> {
        std::mem::take(&mut *self.prompts.borrow_mut())
    }

    fn decide(&self, request_id: u64, index: usize, level: &str) -> Status {
        status_of(self.manager().decide(request_id, index, level))
    }
}
