//! One device that uses the library as a C program does: a manager, its callbacks into a `World`, its inbox.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{null, null_mut};
use std::rc::Rc;

use super::abi;
use super::store::Store;
use super::world::{Answer, Kind, Mail, Question, World};

/// Judges one device: a level, or none.
pub type Judge = Box<dyn FnMut(&Device) -> Option<&'static str>>;

/// How `decide_trust` is answered.
pub enum Trust {
    /// Everybody is trusted.
    All,
    /// Answered, but nothing is decided.
    LeaveOpen,
    /// The dialog is closed.
    Decline,
    /// The request is kept in `Client::held` for the test to answer.
    Hold,
    /// A level for each device, or none.
    Ask(Judge),
}

/// A row of a device list of the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub jid: String,
    pub id: u32,
    pub identity: Option<Vec<u8>>,
    pub fingerprint: Option<String>,
    pub trust: i32,
    pub level: String,
    pub active: bool,
    pub identity_changed: bool,
    pub shown_key: Option<Vec<u8>>,
    pub preferred: Option<String>,
    pub downgraded: bool,
}

/// A row of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub jid: Option<String>,
    pub device: u32,
    pub ns: Option<String>,
    pub status: i32,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub status: i32,
    pub text: String,
    pub context: Option<String>,
    pub rows: Vec<Row>,
    pub messages: Vec<String>,
    /// What each of these transports.
    pub keys: Vec<Option<KeyParts>>,
}

/// The key of a message, in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyParts {
    pub key: Vec<u8>,
    pub tag: Option<Vec<u8>>,
    pub iv: Option<Vec<u8>>,
}

impl KeyParts {
    /// Asks for one part after the other.
    fn of(part: impl Fn(i32, *mut usize) -> *const u8) -> Option<Self> {
        let [key, tag, iv] = [0, 1, 2].map(|number| bytes(|len| part(number, len)));
        assert_eq!((part(3, null_mut()), part(-1, null_mut())), (null(), null()), "there are three parts");
        key.map(|key| Self { key, tag, iv })
    }
}

impl Outcome {
    /// The status of a device's row.
    pub fn row(&self, jid: &str, device: u32) -> Option<i32> {
        self.rows
            .iter()
            .find(|row| row.jid.as_deref() == Some(jid) && row.device == device)
            .map(|row| row.status)
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, abi::OK, "{} {} {:?}", status_name(self.status), self.text, self.rows);
        self
    }
}

/// What came out of a stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decrypted {
    pub action: i32,
    pub status: i32,
    pub text: String,
    pub plaintext: Option<Vec<u8>>,
    pub body: Option<String>,
    pub from: Option<String>,
    pub device: u32,
    pub namespace: Option<String>,
    pub identity: Option<Vec<u8>>,
    pub trust: i32,
    pub level: Option<String>,
    pub flags: u32,
    pub key: Option<KeyParts>,
}

/// A notice: number, namespace, JID, device, status.
pub type Notice = (i32, Option<String>, Option<String>, u32, i32);

/// What the callbacks see; the library's user_data.
struct Shared {
    world: World,
    endpoint: usize,
    jid: String,
    trust: RefCell<Trust>,
    levels: RefCell<BTreeMap<String, i32>>,
    held: RefCell<Vec<(u64, Vec<Device>)>>,
    asked: Cell<u64>,
    outcomes: RefCell<BTreeMap<u64, Outcome>>,
    notices: RefCell<Vec<Notice>>,
    withdrawn: RefCell<Vec<u64>>,
    log: RefCell<Vec<String>>,
    wakeups: Cell<u64>,
    in_run: Cell<bool>,
    outside_run: Cell<u64>,
    destroyed: Cell<u64>,
}

/// What a client may be given beside its JID.
pub struct Setup {
    pub store: Store,
    pub trust: Trust,
    pub options: Vec<(i32, u64)>,
    /// What it speaks, most preferred first; empty for the library's default. `None`: what the world speaks.
    pub namespaces: Option<Vec<&'static str>>,
    /// Own level names and what they come to; `evaluate_trust` is given when there is one.
    pub levels: BTreeMap<String, i32>,
    pub default_level: Option<String>,
    /// Use the library's own store in memory (faster; a restart loses it).
    pub memory: bool,
    /// Its table of callbacks ends before delete_bundle, as with a header that has none.
    pub old_table: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            store: Store::new(),
            trust: Trust::All,
            options: Vec::new(),
            namespaces: None,
            levels: BTreeMap::new(),
            default_level: None,
            memory: false,
            old_table: false,
        }
    }
}

/// One device of one account.
pub struct Client {
    pub world: World,
    pub jid: String,
    pub endpoint: usize,
    pub store: Store,
    shared: Rc<Shared>,
    options: Vec<(i32, u64)>,
    namespaces: Vec<&'static str>,
    default_level: Option<String>,
    memory: bool,
    old_table: bool,
    manager: *mut abi::Opaque,
}

impl Client {
    /// A device that trusts everybody, offline.
    pub fn new(world: &World, jid: &str) -> Self {
        Self::with(world, jid, Setup::default())
    }

    pub fn with(world: &World, jid: &str, setup: Setup) -> Self {
        Self::try_with(world, jid, setup)
            .unwrap_or_else(|(status, why)| panic!("{}: {why}", status_name(status)))
    }

    /// As `with`, or why `omemo_manager_new` refused.
    pub fn try_with(world: &World, jid: &str, setup: Setup) -> Result<Self, (i32, String)> {
        let endpoint = world.join(jid);
        let shared = Rc::new(Shared {
            world: world.clone(),
            endpoint,
            jid: jid.to_owned(),
            trust: RefCell::new(setup.trust),
            levels: RefCell::new(setup.levels),
            held: RefCell::default(),
            asked: Cell::default(),
            outcomes: RefCell::default(),
            notices: RefCell::default(),
            withdrawn: RefCell::default(),
            log: RefCell::default(),
            wakeups: Cell::default(),
            in_run: Cell::default(),
            outside_run: Cell::default(),
            destroyed: Cell::default(),
        });
        let mut client = Self {
            world: world.clone(),
            jid: jid.to_owned(),
            endpoint,
            store: setup.store,
            shared,
            options: setup.options,
            namespaces: setup.namespaces.unwrap_or_else(|| vec![world.namespace()]),
            default_level: setup.default_level,
            memory: setup.memory,
            old_table: setup.old_table,
            manager: null_mut(),
        };
        client.open()?;
        Ok(client)
    }

    /// A device that trusts everybody, connected.
    pub fn online(world: &World, jid: &str) -> Self {
        let client = Self::new(world, jid);
        client.connect().ok();
        client
    }

    fn open(&mut self) -> Result<(), (i32, String)> {
        let own_levels = !self.shared.levels.borrow().is_empty();
        let callbacks = abi::Callbacks {
            struct_size: match self.old_table {
                true => std::mem::offset_of!(abi::Callbacks, delete_bundle),
                false => size_of::<abi::Callbacks>(),
            },
            fetch_device_list: Some(fetch_device_list),
            fetch_bundle: Some(fetch_bundle),
            publish_device_list: Some(publish_device_list),
            publish_bundle: Some(publish_bundle),
            send_message: Some(send_message),
            decide_trust: Some(decide_trust),
            withdrawn: Some(withdrawn),
            notify: Some(notify),
            evaluate_trust: own_levels.then_some(evaluate_trust as unsafe extern "C" fn(_, _, _) -> _),
            wakeup: Some(wakeup),
            now: Some(now),
            delete_bundle: Some(delete_bundle),
        };
        let jid = c_string(&self.jid);
        let user_data: *mut c_void = Rc::into_raw(Rc::clone(&self.shared)).cast_mut().cast();
        let log_data: *mut c_void = Rc::into_raw(Rc::clone(&self.shared)).cast_mut().cast();
        // SAFETY: all pointers are of live objects; the two user_data are given back by `destroy`.
        unsafe {
            let storage = if self.memory {
                let mut storage = null_mut();
                assert_eq!(abi::omemo_storage_memory_new(&mut storage), abi::OK);
                storage
            } else {
                self.store.open()
            };
            let config = abi::omemo_config_new();
            abi::omemo_config_set_jid(config, jid.as_ptr());
            abi::omemo_config_set_storage(config, storage);
            assert_eq!(
                abi::omemo_config_set_callbacks(config, &callbacks, user_data, Some(destroy)),
                abi::OK
            );
            assert_eq!(abi::omemo_config_set_log(config, 4, Some(log), log_data, Some(destroy)), abi::OK);
            if !self.namespaces.is_empty() {
                let names: Vec<CString> = self.namespaces.iter().map(|ns| c_string(ns)).collect();
                let names: Vec<*const c_char> = names.iter().map(|ns| ns.as_ptr()).collect();
                let status = abi::omemo_config_set_namespaces(config, names.as_ptr(), names.len());
                assert_eq!(status, abi::OK, "namespaces: {}", status_name(status));
            }
            for (option, value) in &self.options {
                abi::omemo_config_set_option(config, *option, *value);
            }
            if let Some(level) = &self.default_level {
                abi::omemo_config_set_default_level(config, c_string(level).as_ptr());
            }
            let status = abi::omemo_manager_new(config, &mut self.manager);
            let why = text(abi::omemo_config_error(config)).unwrap_or_default();
            abi::omemo_config_free(config);
            abi::omemo_storage_free(storage);
            if status == abi::OK { Ok(()) } else { Err((status, why)) }
        }
    }

    /// The process ends and starts again on the same store. It is offline then; what was not taken from the inbox
    /// waits, as on a server.
    pub fn restart(&mut self) {
        self.close();
        self.open().unwrap_or_else(|(status, why)| panic!("{}: {why}", status_name(status)));
    }

    /// The same with other namespaces.
    pub fn restart_with(&mut self, namespaces: &[&'static str]) {
        self.namespaces = namespaces.to_vec();
        self.restart();
    }

    /// Let the manager go; everything but `restart` and the inbox is over then.
    pub fn close(&mut self) {
        // SAFETY: our own handle, freed once; NULL is allowed.
        self.in_run(|| unsafe { abi::omemo_manager_free(self.manager) });
        self.manager = null_mut();
    }

    /// For functions this module does not wrap.
    pub fn raw(&self) -> *mut abi::Opaque {
        self.manager
    }

    // -- the loop

    fn in_run<R>(&self, call: impl FnOnce() -> R) -> R {
        self.shared.in_run.set(true);
        let result = call();
        self.shared.in_run.set(false);
        result
    }

    /// `omemo_manager_run`, once.
    pub fn run(&self) -> i32 {
        // SAFETY: our own handle.
        self.in_run(|| unsafe { abi::omemo_manager_run(self.manager) })
    }

    pub fn timeout(&self) -> i64 {
        // SAFETY: our own handle.
        unsafe { abi::omemo_manager_timeout(self.manager) }
    }

    /// Run, give due answers, let the clock go on to the next answer, until an operation is over. Time also passes
    /// to the library's own deadlines when nothing else can happen.
    #[track_caller]
    pub fn finish(&self, op: u64) -> Outcome {
        for _ in 0..100_000 {
            self.run();
            if let Some(outcome) = self.shared.outcomes.borrow_mut().remove(&op) {
                return outcome;
            }
            if give_due_answers(&self.world) == 0 && !self.pass_time(true) {
                panic!("operation {op} of {} is stuck: no answer is due and no deadline stands", self.jid);
            }
        }
        panic!("operation {op} of {} never ends", self.jid)
    }

    /// The outcome of an operation, if it is over.
    pub fn outcome(&self, op: u64) -> Option<Outcome> {
        self.shared.outcomes.borrow_mut().remove(&op)
    }

    /// Let the clock go on to the next answer, or (`deadlines`) to when the library wants to run.
    fn pass_time(&self, deadlines: bool) -> bool {
        let now_ms = self.world.now_ms();
        let timeout = self.timeout();
        let deadline = (deadlines && timeout >= 0).then(|| now_ms + timeout.max(1));
        match self.world.next_due().into_iter().chain(deadline).min() {
            Some(at) => {
                self.world.advance((at - now_ms).max(0));
                true
            }
            None => false,
        }
    }

    /// Run until there is nothing to do but to wait for a deadline.
    pub fn settle(&self) {
        settle(&[self]);
    }

    // -- operations

    pub fn connect(&self) -> Outcome {
        let op = self.start_connect();
        self.finish(op)
    }

    pub fn start_connect(&self) -> u64 {
        let mut op = 0;
        // SAFETY: our own handle; user_data lives as long as the manager.
        let status =
            unsafe { abi::omemo_manager_connected(self.manager, 0, Some(done), self.user_data(), &mut op) };
        assert_eq!(status, abi::OK, "connected: {}", status_name(status));
        op
    }

    pub fn disconnect(&self) {
        // SAFETY: our own handle.
        assert_eq!(unsafe { abi::omemo_manager_disconnected(self.manager) }, abi::OK);
    }

    /// Start to encrypt a text; the number of the operation, or the status of the start.
    pub fn start_encrypt(&self, to: &[&str], body: &str, policy: i32) -> Result<u64, i32> {
        self.start_draft(to, |draft| {
            // SAFETY: the string lives for its call.
            unsafe {
                abi::omemo_draft_set_body(draft, c_string(body).as_ptr());
                abi::omemo_draft_set_policy(draft, policy);
            }
        })
    }

    /// Start to encrypt what `fill` makes of a draft.
    pub fn start_draft(&self, to: &[&str], fill: impl FnOnce(*mut abi::Opaque)) -> Result<u64, i32> {
        let mut op = 0;
        // SAFETY: all strings live for their call, the draft is freed here.
        let status = unsafe {
            let draft = abi::omemo_draft_new();
            for jid in to {
                abi::omemo_draft_add_recipient(draft, c_string(jid).as_ptr());
            }
            fill(draft);
            let status =
                abi::omemo_manager_encrypt(self.manager, draft, Some(done), self.user_data(), &mut op);
            abi::omemo_draft_free(draft);
            status
        };
        if status == abi::OK { Ok(op) } else { Err(status) }
    }

    #[track_caller]
    pub fn encrypt(&self, to: &[&str], body: &str) -> Outcome {
        let op = self.start_encrypt(to, body, abi::POLICY_WAIT).unwrap_or_else(|status| {
            panic!("encrypt does not start: {}", status_name(status));
        });
        self.finish(op)
    }

    /// Encrypt a text that must succeed, as one stanza, and do not send it.
    #[track_caller]
    pub fn seal(&self, to: &[&str], body: &str) -> String {
        let mut messages = self.encrypt(to, body).ok().messages;
        assert_eq!(messages.len(), 1, "one namespace, one stanza");
        messages.remove(0)
    }

    /// Encrypt and send, in one stanza for each namespace that is needed. The stanzas that were sent.
    #[track_caller]
    pub fn say(&self, to: &[&str], body: &str) -> Vec<String> {
        let stanzas = self.encrypt(to, body).ok().messages;
        assert!(!stanzas.is_empty(), "somebody is written to");
        for xml in &stanzas {
            self.world.post(self.endpoint, to, xml);
        }
        stanzas
    }

    pub fn refresh(&self, jid: &str) -> Outcome {
        let mut op = 0;
        // SAFETY: as in start_connect.
        let status = unsafe {
            abi::omemo_manager_refresh_devices(
                self.manager,
                c_string(jid).as_ptr(),
                null(),
                Some(done),
                self.user_data(),
                &mut op,
            )
        };
        assert_eq!(status, abi::OK, "refresh: {}", status_name(status));
        self.finish(op)
    }

    // -- what comes in

    /// Decrypt a stanza; `Err` is the status of the call itself.
    pub fn decrypt(&self, from: &str, xml: &str) -> Result<Decrypted, i32> {
        self.decrypt_in(Some(from), None, xml)
    }

    /// The same, in a room; without `from` the room does not tell who it was.
    pub fn decrypt_in(&self, from: Option<&str>, room: Option<&str>, xml: &str) -> Result<Decrypted, i32> {
        let from = from.map(c_string);
        let room = room.map(c_string);
        let mut out = null_mut();
        // SAFETY: the strings live for the call, the result is freed here and only borrowed from before.
        unsafe {
            let status = abi::omemo_manager_decrypt_xml(
                self.manager,
                from.as_ref().map_or(null(), |from| from.as_ptr()),
                room.as_ref().map_or(null(), |room| room.as_ptr()),
                xml.as_ptr().cast(),
                xml.len(),
                &mut out,
            );
            if status != abi::OK {
                return Err(status);
            }
            let decrypted = Decrypted {
                action: abi::omemo_decrypted_action(out),
                status: abi::omemo_decrypted_status(out),
                text: text(abi::omemo_decrypted_text(out)).unwrap_or_default(),
                plaintext: bytes(|len| abi::omemo_decrypted_plaintext(out, len)),
                body: text(abi::omemo_decrypted_body(out)),
                from: text(abi::omemo_decrypted_from(out)),
                device: abi::omemo_decrypted_device(out),
                namespace: text(abi::omemo_decrypted_namespace(out)),
                identity: bytes(|len| abi::omemo_decrypted_identity_key(out, len)),
                trust: abi::omemo_decrypted_trust(out),
                level: text(abi::omemo_decrypted_level(out)),
                flags: abi::omemo_decrypted_flags(out),
                key: KeyParts::of(|part, len| abi::omemo_decrypted_key(out, part, len)),
            };
            abi::omemo_decrypted_free(out);
            Ok(decrypted)
        }
    }

    /// Take everything from the inbox: pushed lists go to the manager, stanzas are decrypted and returned.
    #[track_caller]
    pub fn receive(&self) -> Vec<Decrypted> {
        let mut all = Vec::new();
        while let Some(mail) = self.world.take(self.endpoint) {
            match mail {
                Mail::DeviceList { jid, xml, .. } => {
                    self.push(&jid, &xml);
                }
                Mail::Stanza { from, xml } => {
                    all.push(self.decrypt(&from, &xml).unwrap_or_else(|status| {
                        panic!("{} cannot be given a stanza: {}", self.jid, status_name(status))
                    }));
                }
            }
        }
        all
    }

    /// Take everything and return the texts to show.
    #[track_caller]
    pub fn read(&self) -> Vec<String> {
        self.receive().into_iter().filter_map(|decrypted| decrypted.body).collect()
    }

    /// A device list came by PEP.
    pub fn push(&self, jid: &str, xml: &str) -> i32 {
        let mut list = null_mut();
        // SAFETY: strings of their stated length, the list is freed here.
        unsafe {
            let status = abi::omemo_device_list_parse(xml.as_ptr().cast(), xml.len(), &mut list);
            if status != abi::OK {
                return status;
            }
            let status = abi::omemo_manager_update_device_list(self.manager, c_string(jid).as_ptr(), list);
            abi::omemo_device_list_free(list);
            status
        }
    }

    // -- devices and trust

    /// What the library knows of a JID's devices; "" for the own account, this device first.
    #[track_caller]
    pub fn devices(&self, jid: &str) -> Vec<Device> {
        let mut list = null_mut();
        let jid = (!jid.is_empty()).then(|| c_string(jid));
        // SAFETY: as in decrypt_in.
        unsafe {
            let jid = jid.as_ref().map_or(null(), |jid| jid.as_ptr());
            let status = abi::omemo_manager_devices(self.manager, jid, &mut list);
            assert_eq!(status, abi::OK, "devices: {}", status_name(status));
            let devices = read_devices(list);
            abi::omemo_devices_free(list);
            devices
        }
    }

    /// The id of this device.
    #[track_caller]
    pub fn id(&self) -> u32 {
        self.devices("").first().expect("this device is in the own list").id
    }

    /// Its identity key, in Ed25519 form.
    #[track_caller]
    pub fn identity(&self) -> Vec<u8> {
        self.devices("").first().and_then(|device| device.identity.clone()).expect("the own key is known")
    }

    pub fn set_trust(&self, jid: &str, key: &[u8], level: &str) -> i32 {
        // SAFETY: all live for the call.
        unsafe {
            abi::omemo_manager_set_trust(
                self.manager,
                c_string(jid).as_ptr(),
                key.as_ptr(),
                key.len(),
                c_string(level).as_ptr(),
            )
        }
    }

    /// `None`: by the order again.
    pub fn prefer_namespace(&self, jid: &str, device: u32, ns: Option<&str>) -> i32 {
        let (jid, ns) = (c_string(jid), ns.map(c_string));
        let ns = ns.as_ref().map_or(null(), |ns| ns.as_ptr());
        // SAFETY: our own handle and C strings.
        unsafe { abi::omemo_manager_prefer_namespace(self.manager, jid.as_ptr(), device, ns) }
    }

    pub fn accept_identity(&self, jid: &str, device: u32, key: &[u8]) -> i32 {
        // SAFETY: all live for the call.
        unsafe {
            abi::omemo_manager_accept_identity(
                self.manager,
                c_string(jid).as_ptr(),
                device,
                key.as_ptr(),
                key.len(),
            )
        }
    }

    /// How trust questions are answered from now on.
    pub fn set_trust_policy(&self, trust: Trust) {
        *self.shared.trust.borrow_mut() = trust;
    }

    /// What level names come to from now on (only for a client that was made with some).
    pub fn set_levels(&self, levels: BTreeMap<String, i32>) {
        *self.shared.levels.borrow_mut() = levels;
    }

    /// The trust questions that were held back, and forget them.
    pub fn held(&self) -> Vec<(u64, Vec<Device>)> {
        std::mem::take(&mut self.shared.held.borrow_mut())
    }

    /// How many trust questions were asked.
    pub fn asked(&self) -> u64 {
        self.shared.asked.get()
    }

    // -- what was told

    pub fn notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.shared.notices.borrow_mut())
    }

    pub fn withdrawn(&self) -> Vec<u64> {
        std::mem::take(&mut self.shared.withdrawn.borrow_mut())
    }

    pub fn log(&self) -> Vec<String> {
        self.shared.log.borrow().clone()
    }

    pub fn wakeups(&self) -> u64 {
        self.shared.wakeups.get()
    }

    /// Events that came while neither run nor free was going on: always 0, or the contract is broken.
    pub fn events_outside_run(&self) -> u64 {
        self.shared.outside_run.get()
    }

    /// How often `destroy` came: twice for each manager that was closed (callbacks and log).
    pub fn destroyed(&self) -> u64 {
        self.shared.destroyed.get()
    }

    fn user_data(&self) -> *mut c_void {
        Rc::as_ptr(&self.shared).cast_mut().cast()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close();
    }
}

/// Run all clients and give all answers until nothing happens any more; deadlines are not waited for.
pub fn settle(clients: &[&Client]) {
    let Some(first) = clients.first() else { return };
    for _ in 0..100_000 {
        for client in clients {
            client.run();
        }
        let given = give_due_answers(&first.world);
        let busy = clients.iter().any(|client| client.timeout() == 0);
        if given == 0 && !busy && !first.pass_time(false) {
            return;
        }
    }
    panic!("the clients never come to rest");
}

/// Hand out the answers that are due; how many.
pub fn give_due_answers(world: &World) -> usize {
    let due = world.due_answers();
    let count = due.len();
    for (request, answer) in due {
        give(request, &answer);
    }
    count
}

/// Answer a request; the status of the call.
pub fn give(request: u64, answer: &Answer) -> i32 {
    // SAFETY: numbers, and a string with its length.
    unsafe {
        match answer {
            Answer::Done => abi::omemo_request_resolve(request),
            Answer::Xml(xml) => abi::omemo_request_resolve_xml(request, xml.as_ptr().cast(), xml.len()),
            Answer::Reject(reason) => abi::omemo_request_reject(request, *reason),
            Answer::Silence => abi::OK,
        }
    }
}

/// Answer a trust question that was held: a level for each device.
pub fn decide(request: u64, levels: &[&str]) -> i32 {
    // SAFETY: numbers and strings that live for the call.
    unsafe {
        for (index, level) in levels.iter().enumerate() {
            let status = abi::omemo_request_decide(request, index, c_string(level).as_ptr());
            if status != abi::OK {
                return status;
            }
        }
        abi::omemo_request_resolve(request)
    }
}

/// The name of a status.
pub fn status_name(status: i32) -> String {
    // SAFETY: a constant string.
    unsafe { text(abi::omemo_status_name(status)) }.unwrap_or_default()
}

// -- C values

fn c_string(text: &str) -> CString {
    CString::new(text).expect("no NUL in a string for C")
}

/// # Safety
/// `pointer` is NULL or a NUL-terminated string.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    // SAFETY: by contract.
    (!pointer.is_null())
        .then(|| unsafe { CStr::from_ptr(pointer) }.to_str().expect("UTF-8 from the library").to_owned())
}

fn bytes(get: impl FnOnce(*mut usize) -> *const u8) -> Option<Vec<u8>> {
    let mut len = 0;
    let pointer = get(&mut len);
    // SAFETY: the library says how many bytes there are.
    (!pointer.is_null()).then(|| unsafe { std::slice::from_raw_parts(pointer, len) }.to_vec())
}

/// # Safety
/// `list` is a live omemo_devices.
unsafe fn read_devices(list: *const abi::Opaque) -> Vec<Device> {
    // SAFETY: by contract; the getters check the index.
    unsafe {
        (0..abi::omemo_devices_count(list))
            .map(|index| Device {
                jid: text(abi::omemo_devices_jid(list, index)).unwrap_or_default(),
                id: abi::omemo_devices_id(list, index),
                identity: bytes(|len| abi::omemo_devices_identity_key(list, index, len)),
                fingerprint: text(abi::omemo_devices_fingerprint(list, index)),
                trust: abi::omemo_devices_trust(list, index),
                level: text(abi::omemo_devices_level(list, index)).unwrap_or_default(),
                active: abi::omemo_devices_active(list, index, null()),
                identity_changed: abi::omemo_devices_identity_changed(list, index),
                shown_key: bytes(|len| abi::omemo_devices_shown_key(list, index, len)),
                preferred: text(abi::omemo_devices_preferred_namespace(list, index)),
                downgraded: abi::omemo_devices_downgraded(list, index),
            })
            .collect()
    }
}

// -- callbacks

/// # Safety
/// `user_data` came from `Client::open` and was not destroyed yet.
unsafe fn shared<'a>(user_data: *mut c_void) -> &'a Shared {
    // SAFETY: by contract.
    unsafe { &*user_data.cast::<Shared>() }
}

/// # Safety
/// As `shared`; strings are NULL or NUL-terminated.
unsafe fn ask(
    user_data: *mut c_void,
    request: u64,
    kind: Kind,
    ns: *const c_char,
    jid: Option<String>,
    device: u32,
    xml: Option<String>,
) {
    // SAFETY: by contract.
    let (shared, ns) = unsafe { (event(user_data), text(ns).unwrap_or_default()) };
    let question = Question {
        kind,
        endpoint: shared.endpoint,
        ns,
        jid: jid.unwrap_or_else(|| shared.jid.clone()),
        device,
        xml,
        at_ms: shared.world.now_ms(),
    };
    if let Some(answer) = shared.world.ask(request, question) {
        give(request, &answer);
    }
}

/// An event, which must come inside run.
///
/// # Safety
/// As `shared`.
unsafe fn event<'a>(user_data: *mut c_void) -> &'a Shared {
    // SAFETY: by contract.
    let shared = unsafe { shared(user_data) };
    if !shared.in_run.get() {
        shared.outside_run.set(shared.outside_run.get() + 1);
    }
    shared
}

unsafe extern "C" fn fetch_device_list(
    data: *mut c_void,
    request: u64,
    ns: *const c_char,
    jid: *const c_char,
) {
    // SAFETY: called by the library with our user_data, as are all below.
    unsafe { ask(data, request, Kind::FetchList, ns, text(jid), 0, None) }
}

unsafe extern "C" fn fetch_bundle(
    data: *mut c_void,
    request: u64,
    ns: *const c_char,
    jid: *const c_char,
    device: u32,
) {
    // SAFETY: see above.
    unsafe { ask(data, request, Kind::FetchBundle, ns, text(jid), device, None) }
}

unsafe extern "C" fn publish_device_list(
    data: *mut c_void,
    request: u64,
    ns: *const c_char,
    list: *const abi::Opaque,
) {
    // SAFETY: see above.
    unsafe {
        ask(data, request, Kind::PublishList, ns, None, 0, text(abi::omemo_device_list_xml(list, null_mut())))
    }
}

unsafe extern "C" fn publish_bundle(
    data: *mut c_void,
    request: u64,
    ns: *const c_char,
    device: u32,
    bundle: *const abi::Opaque,
) {
    // SAFETY: see above.
    unsafe {
        ask(
            data,
            request,
            Kind::PublishBundle,
            ns,
            None,
            device,
            text(abi::omemo_bundle_xml(bundle, null_mut())),
        )
    }
}

unsafe extern "C" fn delete_bundle(data: *mut c_void, request: u64, ns: *const c_char, device: u32) {
    // SAFETY: see above.
    unsafe { ask(data, request, Kind::DeleteBundle, ns, None, device, None) }
}

unsafe extern "C" fn send_message(
    data: *mut c_void,
    request: u64,
    jid: *const c_char,
    message: *const abi::Opaque,
) {
    // SAFETY: see above.
    unsafe {
        let xml = text(abi::omemo_message_xml(message, null_mut()));
        ask(data, request, Kind::SendMessage, null(), text(jid), 0, xml);
    }
}

unsafe extern "C" fn decide_trust(
    data: *mut c_void,
    request: u64,
    list: *const abi::Opaque,
    _context: *const c_char,
) {
    // SAFETY: see above.
    let (shared, devices) = unsafe { (event(data), read_devices(list)) };
    shared.asked.set(shared.asked.get() + 1);
    // SAFETY: see above; the policy is not borrowed while the library is called.
    unsafe {
        let levels: Vec<Option<&str>> = match &mut *shared.trust.borrow_mut() {
            Trust::All => devices.iter().map(|_| Some("trusted")).collect(),
            Trust::Ask(judge) => devices.iter().map(judge).collect(),
            Trust::LeaveOpen => Vec::new(),
            Trust::Hold => {
                shared.held.borrow_mut().push((request, devices));
                return;
            }
            Trust::Decline => {
                abi::omemo_request_reject(request, abi::REASON_DECLINED);
                return;
            }
        };
        for (index, level) in levels.iter().enumerate() {
            if let Some(level) = level {
                assert_eq!(abi::omemo_request_decide(request, index, c_string(level).as_ptr()), abi::OK);
            }
        }
        abi::omemo_request_resolve(request);
    }
}

unsafe extern "C" fn withdrawn(data: *mut c_void, request: u64) {
    // SAFETY: see above.
    let shared = unsafe { event(data) };
    shared.withdrawn.borrow_mut().push(request);
    shared.world.withdraw(request);
}

unsafe extern "C" fn notify(
    data: *mut c_void,
    notice: i32,
    ns: *const c_char,
    jid: *const c_char,
    device: u32,
    status: i32,
) {
    // SAFETY: see above.
    unsafe { event(data).notices.borrow_mut().push((notice, text(ns), text(jid), device, status)) }
}

unsafe extern "C" fn evaluate_trust(data: *mut c_void, devices: *const abi::Opaque, index: usize) -> i32 {
    // SAFETY: see above.
    unsafe {
        let level = text(abi::omemo_devices_level(devices, index)).unwrap_or_default();
        shared(data).levels.borrow().get(&level).copied().unwrap_or(-201)
    }
}

unsafe extern "C" fn wakeup(data: *mut c_void) {
    // SAFETY: see above.
    let shared = unsafe { shared(data) };
    shared.wakeups.set(shared.wakeups.get() + 1);
}

unsafe extern "C" fn now(data: *mut c_void) -> i64 {
    // SAFETY: see above.
    unsafe { shared(data) }.world.now_ms()
}

unsafe extern "C" fn log(data: *mut c_void, level: i32, target: *const c_char, line: *const c_char) {
    // SAFETY: see above.
    let (shared, target, line) = unsafe { (shared(data), text(target), text(line)) };
    shared.log.borrow_mut().push(format!(
        "{level} {} {}",
        target.unwrap_or_default(),
        line.unwrap_or_default()
    ));
}

unsafe extern "C" fn done(data: *mut c_void, op: u64, status: i32, result: *const abi::Opaque) {
    // SAFETY: see above; the result is borrowed until we return.
    unsafe {
        assert_eq!(status, abi::omemo_result_status(result), "the status and its result are one");
        let outcome = Outcome {
            status,
            text: text(abi::omemo_result_text(result)).unwrap_or_default(),
            context: text(abi::omemo_result_context(result)),
            rows: (0..abi::omemo_result_row_count(result))
                .map(|row| Row {
                    jid: text(abi::omemo_result_row_jid(result, row)),
                    device: abi::omemo_result_row_device(result, row),
                    ns: text(abi::omemo_result_row_namespace(result, row)),
                    status: abi::omemo_result_row_status(result, row),
                })
                .collect(),
            messages: (0..abi::omemo_result_message_count(result))
                .map(|index| {
                    text(abi::omemo_message_xml(abi::omemo_result_message(result, index), null_mut()))
                })
                .map(|xml| xml.expect("a message has its XML"))
                .collect(),
            keys: (0..abi::omemo_result_message_count(result))
                .map(|index| KeyParts::of(|part, len| abi::omemo_result_key(result, index, part, len)))
                .collect(),
        };
        let earlier = event(data).outcomes.borrow_mut().insert(op, outcome);
        assert!(earlier.is_none(), "operation {op} completed twice");
    }
}

unsafe extern "C" fn destroy(data: *mut c_void) {
    // SAFETY: the pointer of Rc::into_raw in `open`, given back once.
    let shared = unsafe { Rc::from_raw(data.cast::<Shared>()) };
    shared.destroyed.set(shared.destroyed.get() + 1);
}
