//! One device that uses the library as a C program does: a manager, its callbacks into a `World`, its inbox.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{null, null_mut};
use std::rc::Rc;

use super::Store;
use super::abi;
use super::callbacks::*;
pub use super::requests::*;
use super::store_file::StoreFile;
pub use super::values::*;
use super::world::{Answer, Kind, Mail, Request, World};

/// What it starts, and how that ends.
#[path = "operations.rs"]
mod operations;

/// What a client may be given beside its JID.
pub struct Setup {
    pub store: Store,
    pub trust: Trust,
    pub options: Vec<(i32, u64)>,
    /// What it speaks, most preferred first; empty for the library's default. `None`: what the world speaks.
    pub namespaces: Option<Vec<&'static str>>,
    /// Own level names and what they come to; `evaluate_trust` is given when there is one.
    pub levels: BTreeMap<String, i32>,
    pub default_trust_level_name: Option<String>,
    /// Use the library's own store in memory (faster; a restart loses it).
    pub memory: bool,
    /// Use the library's own store in this file.
    pub file: Option<StoreFile>,
    /// Its table of callbacks ends before delete_bundle, as with a header that has none.
    pub old_table: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            store: Store::default(),
            trust: Trust::All,
            options: Vec::new(),
            namespaces: None,
            levels: BTreeMap::new(),
            default_trust_level_name: None,
            memory: false,
            file: None,
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
    default_trust_level_name: Option<String>,
    memory: bool,
    file: Option<StoreFile>,
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
            default_trust_level_name: setup.default_trust_level_name,
            memory: setup.memory,
            file: setup.file,
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
            request_withdrawn: Some(withdrawn),
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
            } else if let Some(file) = &self.file {
                let mut storage = null_mut();
                let path = c_string(file.path().to_str().unwrap());
                let status = abi::omemo_storage_sqlite_open(path.as_ptr(), &mut storage);
                assert_eq!(status, abi::OK, "{:?}", text(abi::omemo_storage_error(storage)));
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
            if let Some(level) = &self.default_trust_level_name {
                abi::omemo_config_set_default_trust_level_name(config, c_string(level).as_ptr());
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
    pub(super) fn pass_time(&self, deadlines: bool) -> bool {
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
            Ok(Decrypted::take(out))
        }
    }

    /// The client has the content safe.
    pub fn acknowledge(&self, receipt: u64) -> i32 {
        // SAFETY: the manager lives.
        unsafe { abi::omemo_manager_acknowledge(self.manager, receipt) }
    }

    /// The next content after this receipt that nobody has acknowledged.
    pub fn unacknowledged(&self, after: u64) -> Result<Decrypted, i32> {
        let mut out = null_mut();
        // SAFETY: the manager lives; the result is freed by `take`.
        match unsafe { abi::omemo_manager_unacknowledged(self.manager, after, &mut out) } {
            // SAFETY: it was just given, and is used by nobody else.
            abi::OK => Ok(unsafe { Decrypted::take(out) }),
            status => Err(status),
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

    /// Forgets a JID.
    pub fn purge_jid(&self, jid: &str, keep_trust: bool) -> i32 {
        // SAFETY: our own handle and a C string.
        unsafe { abi::omemo_manager_purge_jid(self.manager, c_string(jid).as_ptr(), keep_trust) }
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

    /// How trust requests are answered from now on.
    pub fn set_trust_policy(&self, trust: Trust) {
        *self.shared.trust.borrow_mut() = trust;
    }

    /// What level names come to from now on (only for a client that was made with some).
    pub fn set_levels(&self, levels: BTreeMap<String, i32>) {
        *self.shared.levels.borrow_mut() = levels;
    }

    /// The trust requests that were held back, and forget them.
    pub fn held(&self) -> Vec<(u64, Vec<Device>)> {
        std::mem::take(&mut self.shared.held.borrow_mut())
    }

    /// How many trust requests were asked.
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

    /// Forgets all that it was told and did not take.
    pub fn forget(&self) {
        self.shared.log.take();
        self.shared.outcomes.take();
        self.shared.notices.take();
        self.shared.withdrawn.take();
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
